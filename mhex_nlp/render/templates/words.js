// SPDX-License-Identifier: Apache-2.0
// Tells of the word that is pointed at, or reached with the arrow keys, its score, place and tokens.
// Short names: every page of texts carries this.
"use strict";
for (const card of document.querySelectorAll(".c")) {
  const lines = [...card.querySelectorAll(".t")];
  const rows = card.querySelectorAll(".tokens tr + tr"); // none on the pages of a report
  const note = document.createElement("p");
  const hint = rows.length ? "Point at a word, or use arrow keys." : "";
  let at;
  const show = (word) => {
    at?.classList.remove("at");
    at = word;
    at?.classList.add("at");
    const { tokens, start, end } = at?.dataset ?? {};
    const told = (i) => [0, 2].map((n) => rows[i].cells[n].textContent.trim()).join(" ");
    const place = tokens === undefined ? "" : ` · ${start}–${end} · ${tokens.split(" ").map(told).join(", ")}`;
    note.textContent = at ? at.title + (tokens === undefined ? ` ${at.textContent}` : place) : hint;
  };
  for (const line of lines) {
    const words = [...line.querySelectorAll(".w")];
    line.tabIndex = 0;
    line.onmouseover = (event) => words.includes(event.target) && show(event.target);
    line.onclick = line.onmouseover;
    line.onblur = () => show();
    line.onkeydown = ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) show(words[words.indexOf(at) + step] ?? at);
      if (key === "Escape") show();
    };
  }
  note.className = rows.length ? "m" : "m say";
  note.role = "status";
  lines.at(-1).after(note);
  show();
}
