# SPDX-License-Identifier: Apache-2.0
"""Scores with errors in every display: their digits, the mark of a sign that is not settled; nothing without them."""

from __future__ import annotations

import copy
import io
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import mhex_nlp
from helpers.html import Reader, assert_inert
from helpers.render_examples import ATTACKS, EXAMPLES, PAIR, POSITIVE, attacked, refined
from mhex_nlp import Explanation, ScoredText, compare_explanations
from mhex_nlp.render import (
    render_figure,
    render_fragment,
    render_latex,
    render_page,
    render_report_page,
    render_terminal,
)
from mhex_nlp.render.errors import SETTLED_FROM, is_settled, span_error, with_error
from mhex_nlp.render.highlight import highlight

REFINED = refined(POSITIVE)
NOTE = "\u00b1 is one standard deviation, after 1 + 32 passes"


def report_page(document: dict[str, Any]) -> str:
    entry = {"explanation": document, "number": 3, "gold": None}
    about: dict[str, Any] = dict.fromkeys(("gold", "predicted", "previous", "following"))
    return render_report_page([entry], title="x", number=1, **about)


def printed(document: dict[str, Any], **options: Any) -> str:
    stream = io.StringIO()
    options = {"width": 300, "force_terminal": False, "color_system": None, **options}
    render_terminal(document, Console(file=stream, _environ={}, **options))
    return stream.getvalue()


PAGES = {"page": lambda document: render_page([document]), "fragment": render_fragment, "report page": report_page}


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_error_of_a_sum_is_that_of_the_covariance(size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(size, size))
    covariance = factor @ factor.T
    chosen = generator.random(size) < 0.6
    rows = [list(row[: index + 1]) for index, row in enumerate(covariance)]
    tokens = list(np.flatnonzero(chosen))[::-1]
    expected = max(chosen @ covariance @ chosen, 0.0) ** 0.5
    assert span_error(rows, tokens) == pytest.approx(expected, abs=1e-9)


def test_displays_and_explanations_have_the_same_errors() -> None:
    words = {word.text: word.error for word in Explanation.from_dict(REFINED).words()}
    drawn = {segment.text: segment.error for segment in highlight(REFINED).segments}
    assert drawn == words and len(drawn) > 15
    two = drawn["cinematography"]
    assert two is not None and two < sum(token["error"] for token in REFINED["tokens"][22:24]), "not a sum of errors"
    tokens = [segment.error for segment in highlight(REFINED, unit="tokens").segments]
    assert tokens == pytest.approx([token["error"] for token in REFINED["tokens"] if not token["special"]])


def test_what_is_not_settled_is_said_in_one_place() -> None:
    assert is_settled(0.1645, 0.1) and is_settled(-0.1645, 0.1) and not is_settled(0.1644, 0.1)
    assert is_settled(0.0, None) and is_settled(0.0, 0.0)
    files = [path for path in Path(mhex_nlp.__file__).parent.rglob("*.*") if path.suffix in (".py", ".j2", ".js")]
    assert [path.name for path in files if str(SETTLED_FROM) in path.read_text("utf-8")] == ["errors.py"]


@pytest.mark.parametrize(
    ("score", "error", "expected"),
    [
        (0.4213, 0.1134, "+0.42 \u00b1 0.11"),
        (-0.4213, 0.0134, "-0.421 \u00b1 0.013"),
        (0.04, 0.3, "+0.04 \u00b1 0.30"),
        (123.456, 0.0996, "+123.46 \u00b1 0.10"),
        (1234.5, 38.0, "+1234 \u00b1 38"),
        (1234.5, 381.0, "+1234 \u00b1 381"),
        (0.8124, 0.0, "+0.81240 \u00b1 0"),
        (0.8124, 1e-9, "+0.81240 \u00b1 0"),
        (0.0, 0.0, "+0.00 \u00b1 0"),
        (-1e-5, 0.02, "+0.000 \u00b1 0.020"),
        (4.2e-7, 1.1e-7, "(+4.2 \u00b1 1.1)e-07"),
        (-3e12, 2.5e11, "(-3.00 \u00b1 0.25)e+12"),
        (5e-324, 5e-324, "+0.00 \u00b1 0"),
        (1e38, 3e38, "(+1.0 \u00b1 3.0)e+38"),
    ],
)
def test_numbers_have_the_digits_that_their_error_calls_for(score: float, error: float, expected: str) -> None:
    assert with_error(score, error) == expected


@given(st.floats(-1e30, 1e30), st.floats(0, 1e30))
def test_numbers_read_back(score: float, error: float) -> None:
    match = re.fullmatch(r"\(?([+-][0-9.]+) \u00b1 ([0-9.]+)(?:\)e([+-]\d+))?", with_error(score, error))
    assert match and match[1] not in ("-0", "-0.0", "-0.00")
    power = 10.0 ** int(match[3] or 0)
    allowed = 0.51 * max(error / 10, max(abs(score), error) * 1e-4) + 1e-300
    assert math.isclose(float(match[1]) * power, score, abs_tol=allowed)
    assert math.isclose(float(match[2]) * power, error, abs_tol=allowed)


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_pages_say_errors_and_mark_words_whose_sign_is_not_settled(kind: str, name: str) -> None:
    document = refined(EXAMPLES[name])
    page = PAGES[kind](document)
    words = re.findall(r'<span class="w (\w+)( q)?"[^>]* title="([^"]*)"', page)
    segments = highlight(document).segments
    assert len(words) == len(segments)
    for (level, mark, title), segment in zip(words, segments, strict=True):
        assert segment.score is not None and segment.error is not None
        unsettled = abs(segment.score) < 1.645 * segment.error
        assert bool(mark) is (unsettled and level != "z0")
        assert title.startswith(with_error(segment.score, segment.error).replace("-", "\u2212"))
        assert ("(sign not settled)" in title) is unsettled
    assert name not in ("positive", "chinese") or 3 < sum(bool(mark) for _, mark, _ in words) < len(words)
    assert NOTE in page and "|score| below 1.645 \u00b1" in page and "border-radius" in page
    if kind != "report page":
        assert_inert(Reader(page))
        assert "<dt>passes<dd><bdi>1 + 32</bdi>" in page and "refined by 32 further passes" in page
        cells = re.findall(r"<tr><td>[^<]*<td>[^<]*<td>([^<]*)", page)
        shown = [with_error(token["score"], token["error"]).replace("-", "\u2212") for token in document["tokens"]]
        assert [cell.strip() for cell in cells] == shown


@pytest.mark.parametrize("kind", PAGES)
def test_pages_without_errors_have_nothing_of_them(kind: str) -> None:
    page = PAGES[kind](POSITIVE)
    assert "\u00b1" not in page and "data-error" not in page and ".mhex .q{" not in page and "passes" not in page


def test_a_page_of_texts_with_and_without_errors() -> None:
    page = render_page([POSITIVE, REFINED, refined(POSITIVE, passes=9)])
    assert "after 1 + 8 to 1 + 32 passes" in page
    first = page[page.index("<article") : page.index("</article>")]
    assert "\u00b1" not in first and "+0.812 superb" in first


def test_attack_strings_stay_text_beside_errors() -> None:
    harmless = [tag for tag, _ in Reader(render_page([refined(attacked("harmless"))])).tags if tag != "span"]
    for attack in ATTACKS:
        document = refined(attacked(attack))
        reader = Reader(render_page([document]))
        assert [tag for tag, _ in reader.tags if tag != "span"] == harmless
        assert_inert(reader)
        out = printed(document, force_terminal=True, color_system="truecolor")
        assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out)
        assert "\x1b]" not in out
        assert render_latex(document).count(r"\begingroup") == 2


def test_a_terminal_without_colours_marks_words() -> None:
    out = printed(REFINED)
    assert "superb[+0.81 \u00b1 0.10]" in out and "thin[-0.38 \u00b1 0.10]" in out
    assert "[?]: sign not settled" in out and NOTE in out and "passes 1 + 32" in out
    unsure = printed(refined(POSITIVE, error=0.5))
    assert re.search(r"thin\[-0\.38 ± 0\.50\]\[\?\]", unsure) and "superb[+0.81 \u00b1 0.50][?]" in unsure
    assert "plot was" in unsure, "what is weak says nothing of a sign"


def test_a_terminal_with_colours_lists_the_strongest_words_with_their_errors() -> None:
    out = printed(refined(POSITIVE, error=0.5), force_terminal=True, color_system="truecolor")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert "strongest: superb +0.81 \u00b1 0.50[?], unforgettable" in plain
    weak = re.findall(r"\x1b\[([0-9;]*)m[^\x1b]*\bplot\b", out)
    assert set(weak) <= {"0"}, "a weak word that is not settled has no style at all"
    assert "strongest" not in printed(POSITIVE, force_terminal=True, color_system="truecolor")


def test_latex_marks_words_and_writes_the_strongest() -> None:
    snippet = render_latex(refined(POSITIVE, error=0.3))
    assert r"superb $+0.81 \pm 0.30$" in snippet and r"\mhexn{5}{drags}\mhexunsettled{}" in snippet
    marked = [segment.text for segment in highlight(refined(POSITIVE, error=0.3)).segments if segment.marked]
    body = snippet.split("\\leavevmode ")[2].split("\\par")[0]
    assert body.count(r"\mhexunsettled{}") == len(marked) > 3
    assert r"\def\mhexunsettled" in snippet and "1 + 32 passes" in snippet
    assert "unsettled" not in render_latex(POSITIVE) and r"\pm" not in render_latex(POSITIVE)
    assert all(len(line) < 300 for line in snippet.splitlines())


def test_comparisons_have_the_errors_of_each_column() -> None:
    made = [Explanation.from_dict(POSITIVE), Explanation.from_dict(REFINED)]
    spans = [(segment.start, segment.end, segment.score) for segment in highlight(POSITIVE).segments]
    compared = compare_explanations([*made, ScoredText(POSITIVE["text"], spans, "captum")])
    page = compared.to_html()
    for word, own in zip(compared.words, made[1].words(), strict=True):
        assert word.errors == (None, own.error, None)
    row = page[page.index('<th scope="row"><bdi>superb') :]
    cells = re.findall('<span class="r">([^<]*)</span>', row)[:3]
    assert cells == ["+0.812", "+0.81 \u00b1 0.10", "+0.812"]
    assert ", sign not settled" in page and NOTE in page and NOTE in compared._repr_html_()
    stream = io.StringIO()
    from mhex_nlp.render import render_comparison_terminal

    render_comparison_terminal(compared._columns(), compared._table(), Console(file=stream, width=120, _environ={}))
    assert "+0.81 \u00b1 0.10" in stream.getvalue() and "[?]: sign not settled" in stream.getvalue()
    plain = compare_explanations(made[:1] * 2)
    assert "\u00b1" not in plain.to_html() and ".mhex .q{" not in plain.to_html()


def strokes(svg: bytes) -> list[str]:
    return [element.get("style", "") for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("path")]


def test_figures_have_error_bars_and_outlines() -> None:
    document = refined(POSITIVE, error=0.3)
    figures = {part: render_figure(document, "svg", part=part) for part in ("auto", "text", "words", "layers")}
    dotted = {part: sum("stroke-dasharray" in style for style in strokes(svg)) for part, svg in figures.items()}
    drawn = highlight(document)
    of_bars = sum(segment.unsettled for segment in drawn.strongest(10))
    assert dotted["text"] == sum(segment.marked for segment in drawn.segments) > 3
    assert dotted["words"] == of_bars > 3 and dotted["layers"] == 0
    assert dotted["auto"] == dotted["text"] + dotted["words"]
    ink = "stroke: #1c1e23"
    assert [sum(ink in style for style in strokes(figures[part])) for part in ("text", "words")] == [0, 30]
    assert sum(ink in style for style in strokes(render_figure(POSITIVE, "svg", part="words"))) == 0
    assert figures["auto"] == render_figure(copy.deepcopy(document), "svg")
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        with_bars, without = render_figure(document, kind), render_figure(document, kind, part="text")
        assert with_bars.startswith(start) and with_bars != without
    assert render_figure(POSITIVE, "svg") == render_figure(POSITIVE, "svg", part="text")


@pytest.mark.parametrize("text", ["", "x" * 300, "\u05e9\u05dc\u05d5\u05dd $a_1$"])
@pytest.mark.filterwarnings("ignore:No installed font holds")
def test_bars_of_any_words_are_drawn(text: str) -> None:
    from helpers.render_examples import explanation

    pieces = [("[CLS]", None, 0.1), *((word, index, 0.5 - index) for index, word in enumerate(text.split()))]
    document = refined(explanation(text, pieces))
    assert ElementTree.fromstring(render_figure(document, "svg", width=2)).tag.endswith("svg")


def test_repr_has_errors() -> None:
    assert "'superb' +0.81 \u00b1 0.10" in repr(Explanation.from_dict(REFINED))
    assert "\u00b1" not in repr(Explanation.from_dict(POSITIVE))


def test_a_covariance_of_another_size_is_refused() -> None:
    document = refined(PAIR)
    document["covariance"].pop()
    with pytest.raises(ValueError, match="covariance that is not 14 rows"):
        render_page([document])
    document = refined(PAIR)
    document["tokens"][1]["error"] = math.nan
    with pytest.raises(ValueError, match="token 1 has the score nan"):
        render_page([document])
