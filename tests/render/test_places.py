# SPDX-License-Identifier: Apache-2.0
"""Places of a text, entities and answers: the scale beside their own words, and every display of them."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from helpers.html import Reader, assert_inert, explanations, shown
from helpers.positioned_examples import (
    ANSWER,
    ENTITIES,
    MANY,
    NO_ENTITY,
    ONE_ENTITY,
    OVERLAPPING,
    POSITIONED,
    REFINED,
    entity_report,
    hostile,
)
from helpers.render_examples import ATTACKS, POSITIVE
from mhex_nlp.render import (
    render_entity_report,
    render_figure,
    render_latex,
    render_page,
    render_positioned_figure,
    render_positioned_fragment,
    render_positioned_latex,
    render_positioned_markdown,
    render_positioned_page,
    render_positioned_terminal,
    render_terminal,
)
from mhex_nlp.render.errors import span_error
from mhex_nlp.render.highlight import highlight, texts_of, to_levels
from mhex_nlp.render.picks import pick_rules
from mhex_nlp.render.summary import place_facts

JORDAN = REFINED["explanations"][0]


def printed(document: dict[str, Any], **options: Any) -> str:
    stream = io.StringIO()
    options = {"width": 400, "force_terminal": False, "color_system": None, "legacy_windows": False, **options}
    console = Console(file=stream, _environ={}, **options)
    draw = render_terminal if document["schema"].startswith("mhex-expl") else render_positioned_terminal
    draw(document, console)
    return stream.getvalue()


# ---- one place


def test_the_words_of_a_place_are_one_unit_beside_the_scale() -> None:
    drawn = highlight(JORDAN)
    [place] = [segment for segment in drawn.lines[0] if segment.place is not None]
    assert (place.text, place.place, place.level, place.score) == ("Michael Jordan", "PER", 0, 5.0)
    others = [segment for segment in drawn.lines[0] if segment.score is not None and segment is not place]
    assert [segment.level for segment in others] == to_levels([segment.score or 0.0 for segment in others])
    assert max(abs(segment.level) for segment in others) == 10, "context stays visible beside a score of 5"
    assert place not in drawn.segments and place not in drawn.strongest(99) and 5.0 not in drawn.scores
    assert [s.level for s in highlight({**JORDAN, "place": None}).segments if s.text == "Nike"] == [4]


def test_own_words_and_the_rest_add_up_with_their_errors() -> None:
    tokens, own = JORDAN["tokens"], JORDAN["place"]["tokens"]
    rest = [index for index, token in enumerate(tokens) if not token["special"] and index not in own]
    sums = [sum(tokens[index]["score"] for index in indices) for indices in (own, rest)]
    special = sum(token["score"] for token in tokens if token["special"])
    assert sum(sums) + special == pytest.approx(JORDAN["sum"])
    numbers = [tuple(map(float, value.split(" \u00b1 "))) for _, value in place_facts(JORDAN)]
    for (score, error), expected, indices in zip(numbers, sums, (own, rest), strict=True):
        assert score == pytest.approx(expected, abs=0.06)
        assert error == pytest.approx(span_error(JORDAN["covariance"], indices), rel=0.05)
    assert place_facts(POSITIVE) == []


@given(explanations(), st.data())
@settings(max_examples=25, deadline=None)
def test_a_place_anywhere_keeps_the_text(document: dict[str, Any], data: st.DataObject) -> None:
    texts = texts_of(document)
    sequence = data.draw(st.integers(0, len(texts) - 1))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(texts[sequence]))] * 2)))
    count = len(document["tokens"])
    tokens = sorted(data.draw(st.sets(st.integers(0, count - 1), max_size=3))) if count else []
    place = {"text": "x", "start": start, "end": end, "sequence": sequence, "label": "PER", "tokens": tokens}
    other = {**place, "start": 0, "end": len(texts[0]), "sequence": 0, "tokens": []}
    forms = [{**document, "place": place}, {**document, "place": other}]
    whole = {"schema": "mhex-positioned/1.0", "task": "token_classification", "notes": [], "explanations": forms}
    whole |= {"text": document["text"], "text_pair": document["text_pair"]}
    try:
        pages = [render_page(forms[:1]), render_positioned_page([whole]), render_positioned_fragment(whole)]
    except ValueError as error:
        assert "sum" in str(error)
        return
    for page in pages:
        page.encode()
        assert Reader(page).texts == [shown(text) for text in texts]


def test_one_explanation_of_a_place_shows_it_everywhere() -> None:
    page = render_page([JORDAN])
    assert 'class="w z0 e" data-label="PER"' in page and ".mhex .e" in page
    assert "data-label" not in render_page([POSITIVE]) and ".mhex .e" not in render_page([POSITIVE])
    assert "[Michael Jordan|PER] moved[-0.71" in printed(JORDAN)
    latex = render_latex(JORDAN)
    assert r"\mhexplace{Michael\ Jordan}" in latex and latex.count(r"\def\mhexplace") == 1
    assert r"\mhexplace" not in render_latex(POSITIVE)
    [one] = ONE_ENTITY["explanations"]
    assert render_figure(one, "svg") != render_figure({**one, "place": None}, "svg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 3, "end": 999}, "place spans"),
        ({"sequence": 1}, "place spans"),
        ({"tokens": [0, 999]}, "tokens that are not among"),
    ],
)
def test_a_place_outside_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_page([{**JORDAN, "place": {**JORDAN["place"], **change}}])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"schema": "mhex-explanation/1.1"}, "expected 'mhex-positioned/1.0'"),
        ({"schema": "mhex-positioned/1.0", "text": "x"}, "lacks text_pair, task, explanations"),
        ({**ENTITIES, "text": "another"}, "explanation 0 is of another text"),
        ({**ENTITIES, "explanations": [{**JORDAN, "place": None}]}, "explanation 0 has no place"),
    ],
)
def test_malformed_documents_are_refused(document: dict[str, Any], message: str) -> None:
    for draw in (render_positioned_fragment, render_positioned_markdown, render_positioned_terminal):
        with pytest.raises(ValueError, match=message):
            draw(document)


# ---- pages


@pytest.mark.parametrize("name", POSITIONED)
def test_a_text_stands_on_its_page_once_with_all_its_places(name: str) -> None:
    document = POSITIONED[name]
    for page in (render_positioned_page([document]), render_positioned_fragment(document)):
        reader = Reader(page)
        assert_inert(reader)
        assert "<script" not in page and reader.texts == texts_of(document)
        radios = [attributes for tag, attributes in reader.tags if tag == "input"]
        places = document["explanations"]
        assert len(radios) == (len(places) if len(places) > 1 else 0)
        assert [attributes for attributes in radios if "checked" in attributes] == radios[:1]
        labels = [attributes.get("data-label") for _, attributes in reader.tags if "data-label" in attributes]
        assert sorted(map(str, labels)) == sorted(
            example["place"]["label"] for example in places if example["place"]["label"] != "O"
        )


def test_a_page_says_what_is_picked_and_of_whom() -> None:
    text = Reader(render_positioned_page([REFINED, ANSWER, NO_ENTITY])).everything
    for expected in (
        "2 entities",
        "Scores for B-LOC rather than B-ORG",
        "The fit knows few texts like this.",
        "own words+5.00 \u00b1 0.46",
        "the company of Gustave Eiffel answer 98.1%",
        "Question",
        "Context",
        "No entity",
        "The model predicts no entity in this text.",
        "after 1 + 32 passes",
    ):
        assert expected in text, expected
    assert 'id="t7"' in render_positioned_page([ENTITIES], first=7)


def test_groups_of_one_page_and_of_one_notebook_are_apart() -> None:
    names = [set(re.findall(r'name="(\w+)"', render_positioned_fragment(d))) for d in (ENTITIES, OVERLAPPING, MANY)]
    assert all(len(group) == 1 for group in names) and len(set.union(*names)) == 3
    assert set(re.findall(r'name="(g\d+)"', render_positioned_page([ENTITIES, OVERLAPPING]))) == {"g0", "g1"}


def test_forty_entities_stay_small() -> None:
    page = render_positioned_page([MANY])
    assert len(page.encode()) < 160_000 and page.count('type="radio"') == 40


def test_rules_colour_what_has_a_level() -> None:
    rules = pick_rules("g0", [{1: (10, False), 2: (-3, True), 5: (0, True), 7: (10, False)}])
    assert "& .a1,& .a7{background:var(--p10)}" in rules and "& .a2{background:var(--n3)}" in rules
    assert "underline solid 1.5px var(--for)" in rules and "underline wavy 1px var(--n10)" in rules
    assert "& .a2{background:none;outline:1px dotted" in rules and ".a5" not in rules
    assert rules.startswith(".mhex .g0:is(:has(.e0:hover),") and rules.count("{") == rules.count("}")


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_strings_stay_text(attack: str) -> None:
    for draw in (lambda d: render_positioned_page([d], title=attack), render_positioned_fragment):
        reader, harmless = Reader(draw(hostile(attack))), Reader(draw(hostile("harmless words, ")))
        kinds = [sorted({(tag, *sorted(a)) for tag, a in each.tags if tag != "span"}) for each in (reader, harmless)]
        assert set(kinds[0]) <= set(kinds[1])
        assert_inert(reader)
        assert reader.texts == [shown(attack * 3)]
    title = attack
    report = Reader(
        render_entity_report(entity_report((attack, attack + "2", "x"), attack), [attack, "x"], title=title)
    )
    plain = Reader(render_entity_report(entity_report(("a", "b", "c"), "d"), ["x", "y"]))
    assert {(tag, *a) for tag, a in report.tags} <= {(tag, *a) for tag, a in plain.tags}
    assert report.texts == [shown(f"Acme {attack} nothing.")] * 2


# ---- elsewhere


def test_a_terminal_shows_each_place_with_its_scale() -> None:
    out = printed(REFINED)
    assert out.startswith("2 entities\n\nMichael Jordan  PER 98.1% \u00b7 own words +5.00 \u00b1 0.46 \u00b7 rest of")
    assert "[Michael Jordan|PER] moved[-0.71" in out and "[Nike|ORG] built" in out
    assert "scores for B-LOC rather than B-ORG" in out and "note: The fit knows few" in out
    assert "No entity\nnothing to see here\nnote: The model predicts no entity" in printed(NO_ENTITY)
    assert "Context: The[+0.57" in printed(ANSWER)
    coloured = printed(ENTITIES, force_terminal=True, color_system="truecolor")
    assert "\x1b[1m[Michael Jordan|PER]\x1b[0m" in coloured and "moved[" not in coloured


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_text_commands_the_terminal_or_markdown(attack: str) -> None:
    controls = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    for out in (printed(hostile(attack)), render_positioned_markdown(hostile(attack))):
        assert not re.search(controls, out)
        out.encode()
    cells = [re.split(r"(?<!\\)\|", line) for line in out.splitlines() if line.startswith("|")]
    assert len(cells) == 5 and {len(row) for row in cells} == {8}, "a row a place, whatever is in it"


def test_a_markdown_table_has_a_row_for_each_place() -> None:
    table = render_positioned_markdown(REFINED)
    assert "> Michael Jordan moved from" in table
    assert (
        "| Michael Jordan | PER | 98.1% | +5.00 \u00b1 0.46 | -0.8 \u00b1 1.2 | Nike +0.90 \u00b1 0.15, title" in table
    )
    assert table.rstrip().endswith("The fit knows few texts like this.")
    assert "|" not in render_positioned_markdown(NO_ENTITY)


def test_figures_and_latex_have_each_place() -> None:
    heights = [
        Image.open(io.BytesIO(render_positioned_figure(d, "png", dpi=50))).height
        for d in (NO_ENTITY, ONE_ENTITY, ENTITIES)
    ]
    assert heights == sorted(heights) and heights[-1] > 4 * heights[-2]
    figures = [render_positioned_figure(ONE_ENTITY, "pdf") for _ in range(2)]
    assert figures[0] == figures[1] and figures[0].startswith(b"%PDF")
    with pytest.raises(ValueError, match="format must be one of svg, png, pdf"):
        render_positioned_figure(REFINED, "gif")
    latex = render_positioned_latex(ENTITIES)
    assert latex.count(r"\par\begingroup") == 6 and r"\mhexplace{Wilmington}" in latex


# ---- a data set


def test_a_report_counts_types_words_and_mistakes() -> None:
    page = render_entity_report(entity_report(), ["p-0.html", "p-1.html"])
    reader = Reader(page)
    assert "<script" not in page
    for expected in (
        "1,204",
        "precision81%",
        "79.5% of 1,250 tagged in 900 texts",
        "missed: 31",
        "words of such entities",
    ):
        assert expected in re.sub(r"\n", "", reader.everything), expected
    rows = re.findall(r"<tr><th scope=\"row\"><bdi>([^<]*)</bdi></th>((?:<td.*?</td>)+)</tr>", page)
    counts = {name: re.findall(r">([\d,]+)<", cells) for name, cells in rows[:2]}
    assert counts == {"PER": ["400", "12", "0", "31"], "no entity": ["0", "0", "9", "0"]}
    assert 'href="p-1.html#t7"' in page and 'href="p-0.html#t0"' in page
    assert "The first 2 are listed." in page
    assert reader.texts == ["Acme said nothing."] * 2
    assert "Mistakes" not in render_entity_report(
        entity_report(gold=None, confusion={}, mistakes=[], mistakes_counted={})
    )


def test_a_place_may_outweigh_the_rest_beyond_all_bounds() -> None:
    """Scores of the place over a largest that is of other words: 1e66 / 1e-250 is no float."""
    assert to_levels([1e66, -1e66, 5e-251], 1e-250) == [10, -10, 5]
