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
# Events that would run handlers left by an attack.
POKE = """() => {
  for (const element of document.querySelectorAll("*")) {
    for (const name of ["mouseover", "focus", "toggle", "load", "error"])
      element.dispatchEvent(new Event(name));
  }
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(null))));
}"""
LAYOUT = """() => {
  const width = document.documentElement.clientWidth;
  const wide = Math.max(0, document.documentElement.scrollWidth - width);
  const faults = { wide, beside: [], floating: [], outside: [] };
  const source = (e) => e.outerHTML.slice(0, 160);
  // `seen`: the room that the ancestors which clip leave visible; `card`: the box of the card that it is in.
  const walk = (element, seen, card) => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    const visible = {
      left: Math.max(seen.left, box.left), right: Math.min(seen.right, box.right),
      top: Math.max(seen.top, box.top), bottom: Math.min(seen.bottom, box.bottom),
    };
    if (!["static", "relative"].includes(style.position)) faults.floating.push(source(element));
    if (box.width && visible.right > visible.left && visible.bottom > visible.top) {
      if (visible.right > width + 0.5 || visible.left < -0.5) faults.beside.push(source(element));
      if (card && (visible.left < card.left - 0.5 || visible.right > card.right + 0.5 || visible.top < card.top - 0.5 ||
        visible.bottom > card.bottom + 0.5)) faults.outside.push(source(element));
    }
    const clip = { ...seen };
    if (style.overflowX !== "visible") Object.assign(clip, { left: visible.left, right: visible.right });
    if (style.overflowY !== "visible") Object.assign(clip, { top: visible.top, bottom: visible.bottom });
    const next = element.matches("article, div.c") ? box : card;
    for (const child of element.children) walk(child, clip, next);
  };
  walk(document.body, { left: -1e9, right: 1e9, top: -1e9, bottom: 1e9 }, null);
  const cards = [...document.querySelectorAll("article, div.c")].map((e) => [e.getBoundingClientRect(), e]);
  const over = cards.filter(([a], i) => cards.slice(i + 1, i + 6).some(([b]) =>
    a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5));
  return { ...faults, over: over.map(([, e]) => source(e)) };
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
        return list(self.page.eval_on_selector_all(selector, "all => all.map(e => e.textContent)"))

    def went(self, *paths: Path) -> None:
        """Declares pages that were reached by links, whose requests are expected."""
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
        faults: Mapping[str, Any] = self.do(LAYOUT)
        assert not any(faults.values()), {
            name: value if name == "wide" else value[:4] for name, value in faults.items()
        }

    def close(self) -> None:
        self.context.close()
