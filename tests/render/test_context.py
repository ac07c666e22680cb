# SPDX-License-Identifier: Apache-2.0
"""What an answer rests on: links both ways, budgets in words, and every display of them."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from helpers.html import Reader, assert_inert, shown
from helpers.positioned_examples import CONTEXTS, LONG, ONE_SPAN, PRIOR, SOURCES, TOKENS, context, hostile_context
from helpers.render_examples import ATTACKS
from mhex_nlp.render import (
    render_context_figure,
    render_context_fragment,
    render_context_markdown,
    render_context_page,
    render_context_terminal,
)
from mhex_nlp.render.context import describe_budget, read_context, strongest
from mhex_nlp.render.highlight import to_levels


def printed(document: dict[str, Any]) -> str:
    stream = io.StringIO()
    render_context_terminal(document, Console(file=stream, _environ={}, width=400, color_system=None))
    return stream.getvalue()


def test_links_are_the_same_both_ways_on_the_scale_of_their_part() -> None:
    read = read_context(LONG)
    for span, links in zip(LONG["spans"], read.by_span, strict=True):
        assert [link.score for link in links] == span["scores"] and [link.error for link in links] == span["errors"]
        assert [link.level for link in links] == to_levels(span["scores"])
    assert [read.of_unit(unit)[2] for unit in range(60)] == list(read.by_span[2])
    most = strongest(read.by_span[0], 3)
    assert [abs(link.score) for link in most] == sorted(map(abs, LONG["spans"][0]["scores"]))[:-4:-1]


def changed(**parts: Any) -> dict[str, Any]:
    document = copy.deepcopy(SOURCES)
    for name, change in parts.items():
        document[name][1].update(change)
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"schema": "mhex-context/2.0"}, "expected 'mhex-context/1.0'"),
        ({"schema": "mhex-context/1.0", "prompt": ""}, "lacks continuation, units, spans"),
        (changed(units={"start": 1}), r"units\[1\] spans"),
        (changed(spans={"end": 999}), r"spans\[1\] spans"),
        (changed(spans={"scores": [1.0]}), r"spans\[1\] has 1 scores, expected 5"),
        (changed(spans={"scores": [1.0] * 4 + [float("nan")]}), "not a finite number"),
    ],
)
def test_malformed_documents_are_refused(document: dict[str, Any], message: str) -> None:
    for draw in (render_context_page, render_context_markdown, render_context_terminal):
        with pytest.raises(ValueError, match=message):
            draw(document)


@pytest.mark.parametrize("name", CONTEXTS)
def test_prompt_and_answer_stand_on_a_page_once(name: str) -> None:
    document = CONTEXTS[name]
    for page in (render_context_page(document), render_context_fragment(document)):
        reader = Reader(page)
        assert_inert(reader)
        assert "<script" not in page and reader.texts == [document["continuation"], document["prompt"]]
        # What is no unit of the prompt is pale, but for the white space between them.
        pale = re.findall('<span class="x">(.*?)</span>', page, re.S)
        assert pale == ["&lt;|user|&gt;\nRead this.\n", " \n&lt;|assistant|&gt;\n"]
        radios = sum(tag == "input" for tag, _ in reader.tags)
        units, spans = len(document["units"]), len(document["spans"])
        assert radios == spans + (units if spans > 1 and units <= 200 else 0)
        assert page.count("visibility:visible") == radios


def test_a_page_says_how_the_scores_came_about() -> None:
    text = Reader(render_context_page(SOURCES)).everything
    assert (
        "estimated from 32 ablations, with 34 passes of the model in all, starting from the mean of the model" in text
    )
    assert "(LDS) of 0.81 to 0.91" in text and "The model wrote this answer." in text and "held-out LDS0.86" in text
    assert "+3.51 \u00b1 0.30 2 Its architect was Stephen Sauvestre." in text
    prior = Reader(render_context_page(PRIOR)).everything
    assert "No ablation was run (budget 0): the scores are the prior alone, the mean of the model's attention." in prior
    assert "\u00b1" not in prior and "LDS" not in prior and "A prior is not measured on this text." in prior
    assert "This answer was given." in Reader(render_context_page(ONE_SPAN)).everything
    assert describe_budget({**SOURCES, "prior": "none"}).startswith("Scores say") and "starting" not in describe_budget(
        {**SOURCES, "prior": "none"}
    )


def test_a_table_too_long_says_what_it_leaves_out() -> None:
    many = context(["a"] * 1500, ["b", "c", "d", "e", "f"], kind="word")
    page = render_context_page(many)
    assert "The strongest 1,200 of the words are listed; 300 are not." in page
    assert page.count("<tr><td><span") == 1200 + 5
    assert "are not." not in render_context_page(TOKENS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_strings_stay_text(attack: str) -> None:
    document = hostile_context(attack)
    for draw in (render_context_page, render_context_fragment):
        reader, harmless = Reader(draw(document)), Reader(draw(hostile_context("harmless words, ")))
        kinds = [{(tag, *sorted(a)) for tag, a in each.tags if tag != "span"} for each in (reader, harmless)]
        assert kinds[0] <= kinds[1]
        assert_inert(reader)
        assert reader.texts == [shown(document["continuation"]), shown(document["prompt"])]
    for out in (printed(document), render_context_markdown(document)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", out)
    cells = [re.split(r"(?<!\\)\|", line) for line in out.splitlines() if line.startswith("|")]
    assert len(cells) == 4 and {len(row) for row in cells} == {6}


def test_terminal_and_markdown_name_the_strongest() -> None:
    out = printed(SOURCES)
    assert "A1 Work on it began in 1887.  log-probability -12.2, without the context -40.5, held-out LDS 0.91" in out
    assert "  +3.51 \u00b1 0.30 [2] Its architect" in out and "  +0.43 \u00b1 0.30[?] [5] Tickets" in out
    assert "budget 0" in printed(PRIOR)
    table = render_context_markdown(SOURCES)
    assert "| A2 Sauvestre drew it. | -13.2 | 0.86 | +2.61 \u00b1 0.20 (4) Today it has" in table
    assert "+0.43 \u00b1 0.30? (5)" in table and "34 passes" in table


def test_a_figure_has_a_row_for_each_unit() -> None:
    few, many = (Image.open(io.BytesIO(render_context_figure(d, "png", dpi=50))) for d in (SOURCES, LONG))
    assert few.width == many.width and many.height > 3 * few.height
    assert render_context_figure(ONE_SPAN, "pdf").startswith(b"%PDF")
    with pytest.raises(ValueError, match="width must be a positive number"):
        render_context_figure(SOURCES, "png", width=-1)
