# SPDX-License-Identifier: Apache-2.0
"""Cards and comparisons in notebooks: the style sheets of hosts do not reach them, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.browser import open_page
from helpers.notebook_hosts import BROKEN, DIFFERENCES, IMITATED, converted, imitated
from helpers.positioned_examples import REFINED, SOURCES
from helpers.render_examples import PAIR, POSITIVE
from mhex_nlp import Explanation, ScoredText, compare_explanations
from mhex_nlp.explain.explanations import Explanations
from mhex_nlp.inputs.segmentation import word_spans
from mhex_nlp.render import render_context_fragment, render_positioned_fragment

LAYERS = {**POSITIVE, "notes": ["The heads choose positive where the model chooses negative."]}
EXPLAINED = Explanation.from_dict(LAYERS)
SCORED = [ScoredText(EXPLAINED.text, [(s, e, s % 7 - 3.0) for s, e in word_spans(EXPLAINED.text)], n) for n in "abc"]
FRAGMENTS = [
    EXPLAINED._repr_html_(),
    Explanation.from_dict(PAIR)._repr_html_(),  # with classes
    compare_explanations([EXPLAINED, *SCORED])._repr_html_(),
    compare_explanations([EXPLAINED, SCORED[0]])._repr_html_(),
    Explanations([EXPLAINED, Explanation.from_dict(PAIR)])._repr_html_() or "",
    render_positioned_fragment(REFINED),
    render_context_fragment(SOURCES),
]
GROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(25, 28, 34)"}


def assert_as_on_its_own(opened: Any, index: int, fragment: str, mark: str) -> None:
    differences = opened.page.evaluate(DIFFERENCES, [index, fragment, mark])
    assert not differences, (len(differences), differences[:12])


def assert_rows(opened: Any) -> None:
    """What JupyterLab's style sheet broke, said once more in the words of its users."""
    assert not opened.page.evaluate(BROKEN)
    tops = "all => all.map(e => e.getBoundingClientRect().top)"
    facts = opened.page.locator(".mhex").nth(0).locator(".f > div")
    assert facts.count() == 4 and len(set(facts.evaluate_all(tops))) == 1, "the facts stand in one row"
    style = "all => all.map(e => getComputedStyle(e)).map(s => [s.float, s.textAlign].join(' '))"
    assert set(opened.page.eval_on_selector_all(".mhex dt, .mhex .tokens td:first-child", style)) == {"none start"}


@pytest.mark.filterwarnings("ignore:IPython3 lexer unavailable")
@pytest.mark.parametrize(("template", "theme"), [("lab", "light"), ("lab", "dark"), ("classic", "light")])
def test_nothing_of_a_notebooks_style_sheet_reaches_us(browser: Any, template: str, theme: str) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert, which brings JupyterLab's style sheet, is not installed")
    system = {"light": "dark", "dark": "light"}[theme] if template == "lab" else theme  # JupyterLab's theme wins
    opened = open_page(browser, converted(FRAGMENTS, template, theme), width=1200, scheme=system)
    light = opened.page.evaluate("document.body.dataset.jpThemeLight")
    assert light == (None if template == "classic" else str(theme == "light").lower())
    for index, fragment in enumerate(FRAGMENTS):
        assert_as_on_its_own(opened, index, fragment, "" if light is None else f'data-jp-theme-light="{light}"')
    assert_rows(opened)
    assert opened.background(".mhex .c") == GROUND[theme]


@pytest.mark.parametrize(
    ("host", "theme"), [*((host, "light") for host in IMITATED), *((host, "dark") for host in ("vscode", "colab"))]
)
def test_nothing_of_a_hosts_style_sheet_reaches_us(browser: Any, host: str, theme: str) -> None:
    mark = {"vscode": f"class=vscode-{theme}", "colab": f"theme={theme}"}.get(host, "")
    for fragment in (FRAGMENTS[0], FRAGMENTS[3], FRAGMENTS[-1]):
        system = {"light": "dark", "dark": "light"}[theme] if mark else theme
        opened = open_page(browser, imitated(host, fragment, theme), scheme=system)
        assert_as_on_its_own(opened, 0, fragment, mark)
        assert opened.background(".mhex .c") == GROUND[theme]
        opened.page.close()
