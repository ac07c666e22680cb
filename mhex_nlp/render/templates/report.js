// SPDX-License-Identifier: Apache-2.0
// Filters and sorts the list of texts. Values from the data reach the page as text alone, never as markup.
"use strict";
(() => {
  const FIRST = 100; // texts of a list that is made anew
  const STEP = 50; // those that are added at once, in one frame
  const PART = 25; // those that the browser lays out at once, when they come into view
  const { pages, labels, words, rows } = JSON.parse(document.getElementById("data").textContent);
  const section = document.getElementById("texts");
  const form = document.getElementById("filter");
  const list = document.getElementById("rows");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  let found = rows;
  let shown = 0;

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const percent = (share) => {
    if (share > 0 && share < 0.0005) return "<0.1%";
    if (share >= 0.9995 && share < 1) return ">99.9%";
    return `${(100 * share).toFixed(1).replace(/\.0$/, "")}%`;
  };

  // As Python's casefold: capitals letter by letter, since a capital sigma at a word's end would become another letter.
  const fold = (word) => [...word].map((letter) => letter.toUpperCase().toLowerCase()).join("");

  const item = ([number, id, predicted, value, gold, beginning, page, strong]) => {
    const entry = make("li");
    const link = make("a");
    link.href = `${pages[page]}#t${number}`;
    link.dir = "auto";
    link.append(make("bdi", "", beginning || "(no text)"));
    const wrong = gold !== null && predicted !== null && gold !== predicted;
    const facts = make("div", wrong ? "k wrong" : "k");
    facts.append(make("bdi", "", `#${id}`));
    if (predicted !== null) facts.append(make("b", "", labels[predicted]));
    if (value !== null) facts.append(make("span", "", predicted === null ? String(value) : percent(value)));
    if (gold !== null && gold !== predicted) facts.append(make("bdi", "", `label ${labels[gold]}`));
    for (const sign of strong.slice(0, 3)) {
      const word = make("bdi", sign > 0 ? "w p6" : "w n6", words[Math.abs(sign) - 1]);
      word.title = sign > 0 ? "speaks for it" : "speaks against it";
      facts.append(word);
    }
    entry.append(link, facts);
    return entry;
  };

  const watcher = new IntersectionObserver((seen) => {
    if (seen.some((each) => each.isIntersecting) && shown < found.length) show();
  }, { rootMargin: "900px" });

  const show = () => {
    const end = Math.min(found.length, shown + (shown ? STEP : FIRST));
    for (; shown < end; shown += PART) {
      const part = make("ol");
      part.append(...found.slice(shown, Math.min(end, shown + PART)).map(item));
      list.append(part);
    }
    shown = end;
    more.hidden = shown === found.length;
    // Anew, for it tells of changes alone, and a step may be less than a screen.
    watcher.unobserve(more.parentElement);
    watcher.observe(more.parentElement);
  };

  const filter = () => {
    const asked = Object.fromEntries(new FormData(form));
    const from = asked.from ? Number(asked.from) : 0;
    const to = asked.to ? Number(asked.to) : 1;
    const word = (asked.word || "").trim().toLowerCase();
    const folded = fold(word);
    const wanted = new Set();
    if (word) words.forEach((each, index) => (each.startsWith(word) || each.startsWith(folded)) && wanted.add(index + 1));
    const values = Object.keys(asked).filter((name) => /^s\d+$/.test(name) && asked[name]);
    found = rows.filter(([, , predicted, value, gold, , , strong, length, slices]) =>
      (!asked.predicted || String(predicted) === asked.predicted) &&
      (!asked.gold || String(gold) === asked.gold) &&
      (!asked.answer || (gold !== null && (gold === predicted) === (asked.answer === "right"))) &&
      (predicted === null || (value >= from && value <= to)) &&
      (!asked.least || length >= Number(asked.least)) && (!asked.most || length <= Number(asked.most)) &&
      values.every((name) => String(slices[name.slice(1)]) === asked[name]) &&
      (!word || strong.some((sign) => wanted.has(Math.abs(sign)))));
    const by = { unsure: (a, b) => a[3] - b[3], sure: (a, b) => b[3] - a[3] }[asked.sort];
    if (by) found.sort(by);
    count.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${form.dataset.of}`;
    list.replaceChildren();
    shown = 0;
    show();
  };

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  addEventListener("pageshow", filter); // a browser that comes back may have put answers into the form again
  more.addEventListener("click", show);
  for (const link of document.querySelectorAll("main a")) {
    const wanted = Object.entries(link.dataset);
    if (!wanted.length) continue;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      form.reset();
      for (const [name, value] of wanted) form.elements[name].value = value;
      filter();
      section.scrollIntoView();
      section.querySelector("h2").focus({ preventScroll: true });
    });
  }
  // Tables are sorted by the column whose head is pressed: numbers the largest first, then the other way round.
  const number = (cell) => parseFloat(cell.textContent.replace(/[,<>%]/g, "").replace("\u2212", "-"));
  for (const head of document.querySelectorAll(".sorts thead th")) {
    const button = make("button", "");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const body = head.closest("table").tBodies[0], column = head.cellIndex;
      const sign = head.ariaSort === "descending" ? 1 : -1;
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.ariaSort = sign < 0 ? "descending" : "ascending";
      const by = (a, b) => {
        const [one, two] = [number(a.cells[column]), number(b.cells[column])];
        if (isNaN(one) || isNaN(two)) return a.cells[column].textContent.localeCompare(b.cells[column].textContent) * -sign;
        return (one - two) * sign;
      };
      body.append(...[...body.rows].sort(by));
    });
  }
  section.hidden = document.getElementById("to-texts").hidden = false;
  filter();
})();
