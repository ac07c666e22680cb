# SPDX-License-Identifier: Apache-2.0
"""Pages opened from files, as users open them, with everything counted that a quiet page does not do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Runs before anything of the page, also where the page's own scripts may not run.
RECORD_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", e => window.violations.push(e.violatedDirective));
"""
# What a page does on events: handlers that an attack had left would answer to these.
POKE = """() => {
  for (const each of document.querySelectorAll("*")) {
    for (const name of ["mouseover", "focus", "toggle", "load", "error"])
      each.dispatchEvent(new Event(name));
  }
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(null))));
}"""
LAYOUT = """() => {
  const width = document.documentElement.clientWidth;
  const wide = Math.max(0, document.documentElement.scrollWidth - width);
  const found = { wide, beside: [], floating: [], outside: [] };
  const told = (e) => e.outerHTML.slice(0, 160);
  // `seen`: what all that an element may not leave has room for; `card`: the box of the card that it is in.
  const walk = (element, seen, card) => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    const own = {
      left: Math.max(seen.left, box.left), right: Math.min(seen.right, box.right),
      top: Math.max(seen.top, box.top), bottom: Math.min(seen.bottom, box.bottom),
    };
    if (!["static", "relative"].includes(style.position)) found.floating.push(told(element));
    if (box.width && own.right > own.left && own.bottom > own.top) {
      if (own.right > width + 0.5 || own.left < -0.5) found.beside.push(told(element));
      if (card && (own.left < card.left - 0.5 || own.right > card.right + 0.5 || own.top < card.top - 0.5 ||
        own.bottom > card.bottom + 0.5)) found.outside.push(told(element));
    }
    const clip = { ...seen };
    if (style.overflowX !== "visible") Object.assign(clip, { left: own.left, right: own.right });
    if (style.overflowY !== "visible") Object.assign(clip, { top: own.top, bottom: own.bottom });
    const next = element.matches("article, div.c") ? box : card;
    for (const child of element.children) walk(child, clip, next);
  };
  walk(document.body, { left: -1e9, right: 1e9, top: -1e9, bottom: 1e9 }, null);
  const cards = [...document.querySelectorAll("article, div.c")].map((e) => [e.getBoundingClientRect(), e]);
  const over = cards.filter(([a], i) => cards.slice(i + 1, i + 6).some(([b]) =>
    a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5));
  return { ...found, over: over.map(([, e]) => told(e)) };
}"""
# Tags with the names of their attributes: what markup in a value would add to.
SKELETON = """() => [...new Set([...document.querySelectorAll("*")].map((e) =>
  [e.tagName, ...[...e.attributes].map((a) => a.name).sort()].join(" ")))].sort()"""
OPEN_DETAILS = "() => document.querySelectorAll('details').forEach((d) => { d.open = true; })"


class Watched:
    """A browser tab, and all that happened in it.

    Args:
        browser: Playwright's.
        width: of the viewport, in pixels.
        scheme: "light" or "dark".
        options: of the browser's context.
    """

    def __init__(self, browser: Any, *, width: int = 1000, scheme: str = "light", **options: Any) -> None:
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=scheme, **options)
        self.context.add_init_script(RECORD_VIOLATIONS)
        self.requests: list[str] = []
        self.opened: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.page = self.context.new_page()
        self.context.on("page", lambda page: self.errors.append(f"a second page: {page.url}"))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dismiss)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def open(self, path: Path, part: str = "") -> Any:
        """A file by its address, as a double click opens it."""
        self.opened.append(path.as_uri())
        self.page.goto(path.as_uri() + part)
        return self.page

    def look(self, *, width: int | None = None, scheme: str | None = None) -> None:
        """Another width or colour scheme, for the page that is open."""
        if width is not None:
            self.page.set_viewport_size({"width": width, "height": 900})
        if scheme is not None:
            self.page.emulate_media(color_scheme=scheme)

    def do(self, script: str, value: Any = None) -> Any:
        return self.page.evaluate(script, value)

    def texts(self, selector: str) -> list[str]:
        found = self.page.eval_on_selector_all(selector, "all => all.map(e => e.textContent)")
        return [str(each) for each in found]

    def went(self, *paths: Path) -> None:
        """Declares pages that were reached by links, which are no requests to complain of."""
        self.opened += [path.as_uri() for path in paths]

    def assert_calm(self, violations: bool = True) -> None:
        """No dialog, error, message, policy violation, and no request but for the pages that the test went to."""
        assert not self.dialogs and not self.errors, (self.dialogs, self.errors)
        strangers = [url for url in self.requests if url.split("#")[0].split("?")[0] not in self.opened]
        assert not strangers, strangers
        if violations:
            violated = self.do("() => window.violations")
            assert not violated, violated

    def assert_laid_out(self) -> None:
        """Nothing is wider than the screen, beside it, over another card or out of its own."""
        found: Mapping[str, Any] = self.do(LAYOUT)
        assert not any(found.values()), {name: value if name == "wide" else value[:4] for name, value in found.items()}

    def close(self) -> None:
        self.context.close()
