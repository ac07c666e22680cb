# SPDX-License-Identifier: Apache-2.0
"""A page opened in Chromium, with all that happened while it was open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from helpers.browser_watch import RECORD_VIOLATIONS

ADDRESS = "http://mhex.test/page.html"

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page and all that happened while it was open."""

    page: Any
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def background(self, selector: str) -> str:
        return str(self.page.eval_on_selector(selector, "e => getComputedStyle(e).backgroundColor"))

    def assert_calm(self) -> None:
        assert (self.requests, self.dialogs, self.errors) == ([ADDRESS], [], [])
        assert self.page.evaluate("window.violations") == []


def open_page(browser: Any, html: str, *, width: int = 1000, scheme: str = "light") -> Opened:
    """Serve `html` at ADDRESS from memory; every other request is refused and counted."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_init_script(RECORD_VIOLATIONS)
    opened = Opened(context.new_page())

    def answer(route: Any) -> None:
        opened.requests.append(route.request.url)
        if route.request.url == ADDRESS:
            route.fulfill(body=html.encode(), content_type="text/html")
        else:
            route.abort()

    def dismiss(dialog: Any) -> None:
        opened.dialogs.append(dialog.message)
        dialog.dismiss()

    context.route("**/*", answer)
    opened.page.on("dialog", dismiss)
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.on("console", lambda message: opened.errors.append(message.text))
    opened.page.goto(ADDRESS)
    opened.page.wait_for_load_state("networkidle")
    return opened
