# SPDX-License-Identifier: Apache-2.0
"""Explanations side by side: foreign scores, words aligned over tokenizers, agreement, the page."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from helpers.html import Reader, assert_inert, shown
from helpers.render_examples import ATTACKS, CHINESE, NEGATIVE, PAIR, POSITIVE, REGRESSION
from helpers.scored import hostile
from helpers.tiny import tiny_tokenizer
from mhex_nlp import Explanation, ScoredText, compare_explanations
from mhex_nlp.evaluation.word_agreement import WordAgreement, agreements, compare_words
from mhex_nlp.inputs.segmentation import word_spans
from mhex_nlp.render import render_comparison_terminal
from mhex_nlp.render.summary import percent

TEXT = "The plot was thin, but the acting was superb."
POSITIVES = Explanation.from_dict(POSITIVE)


def by_words(text: str, scores: list[float], name: str = "other", **about: object) -> ScoredText:
    spans = [(start, end, score) for (start, end), score in zip(word_spans(text), scores, strict=True)]
    return ScoredText(text, spans, name, **about)  # type: ignore[arg-type]


# ---- scores from anywhere


def test_offsets_of_a_tokenizer_become_spans() -> None:
    encoding = tiny_tokenizer()(TEXT, return_offsets_mapping=True)
    count = len(encoding["input_ids"])
    scores = torch.linspace(-1, 1, count, dtype=torch.float64)
    lists = ScoredText.from_offsets(TEXT, encoding["offset_mapping"], scores.tolist(), "ours")
    tensors = ScoredText.from_offsets(TEXT, torch.tensor(encoding["offset_mapping"]), scores, "ours")
    arrays = ScoredText.from_offsets(TEXT, np.array(encoding["offset_mapping"]), scores.numpy(), "ours")
    assert lists == tensors == arrays and len({hash(made) for made in (lists, tensors, arrays)}) == 1
    assert [span.special for span in lists.spans] == [True, *[False] * (count - 2), True]
    assert lists.sum == pytest.approx(float(scores.sum()), abs=1e-12)
    page = compare_explanations([lists, arrays]).to_html()
    assert page.count("on special tokens") == 2
    assert page.count(f"<bdi>{percent(2 / float(scores.abs().sum()))}</bdi>") == 2  # the first and last: |-1| + |1|


def test_offsets_of_a_pair_become_spans() -> None:
    encoding = tiny_tokenizer()("a good film", "it was bad", return_offsets_mapping=True)
    made = ScoredText.from_offsets(
        "a good film",
        encoding["offset_mapping"],
        range(len(encoding["input_ids"])),
        "ours",
        sequence_ids=encoding.sequence_ids(),
        text_pair="it was bad",
    )
    assert [(s.start, s.end, s.sequence) for s in made.spans if s.sequence] == [(0, 2, 1), (3, 6, 1), (7, 10, 1)]
    words = compare_explanations([made, made]).words
    assert [(w.text, w.sequence) for w in words] == [
        *((word, 0) for word in ("a", "good", "film")),
        *((word, 1) for word in ("it", "was", "bad")),
    ]


@pytest.mark.parametrize(
    ("spans", "sentence"),
    [
        ([(0, 3, 0.1), (4, 8, math.nan)], r"the score of spans\[1\] must be a finite number, got nan"),
        ([(0, 3, -math.inf)], r"the score of spans\[0\] must be a finite number, got -inf"),
        ([(0, 3, "0.5")], r"the score of spans\[0\] must be a number, got '0.5'"),
        ([(0, 3, None)], r"the score of spans\[0\] must be a number, got None"),
        ([(0, 3, 0.1), (3, 2, 0.1)], r"spans\[1\] must have 0 <= start <= end <= 45, the text's length, got 3 to 2"),
        ([(40, 46, 0.1)], r"spans\[0\] must have .* got 40 to 46"),
        ([(-1, 3, 0.1)], r"spans\[0\] must have .* got -1 to 3"),
        ([(0.0, 3, 0.1)], r"spans\[0\] must have whole numbers for its place, got \(0.0, 3, 0.1\)"),
        ([(0, 3)], r"spans\[0\] must be \(start, end, score\), or .* got \(0, 3\)"),
        (["The"], r"spans\[0\] must be \(start, end, score\), or .* got 'The'"),
        ([(0, 3, 0.1, 1)], r"spans\[0\] must have sequence 0, since there is no text_pair, got 1"),
        ([], r"spans must hold at least one \(start, end, score\), got none"),
        ("The", r"spans must be a list of \(start, end, score\), got str"),
        (None, r"spans must be a list of \(start, end, score\), got NoneType"),
        ([(0, 3, 1.7e308), (4, 8, 1.7e308)], r"their sum is not"),
        (torch.zeros(1, 5, 3), r"spans\[0\] must be .* got Tensor of shape \(5, 3\)"),
    ],
)
def test_bad_spans_are_refused_in_a_sentence(spans: object, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        ScoredText(TEXT, spans, "other")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scores": [0.1]}, "scores must be one for each of the 2 offsets, got 1"),
        ({"offsets": [(0, 3), 4]}, r"offsets\[1\] must be \(start, end\), got 4"),
        ({"sequence_ids": [None]}, "sequence_ids must be one for each of the 2 offsets, got 1"),
        ({"text_pair": "x"}, "sequence_ids must say which offsets are of text and which of text_pair"),
        ({"probability": 1.5}, "probability must be in 0 to 1, got 1.5"),
        ({"label": 3}, "label must be a string or None, got int"),
        ({"name": None}, "name must be a string, got NoneType"),
    ],
)
def test_what_else_is_refused_of_a_scored_text(change: dict, sentence: str) -> None:
    arguments = {"text": TEXT, "offsets": [(0, 3), (4, 8)], "scores": [0.1, 0.2], "name": "other", **change}
    with pytest.raises((ValueError, TypeError), match=sentence):
        ScoredText.from_offsets(**arguments)


def test_a_pair_needs_a_sequence_for_each_span() -> None:
    with pytest.raises(ValueError, match=r"spans\[0\] must be \(start, end, score, sequence\), since"):
        ScoredText(TEXT, [(0, 3, 0.1)], "other", text_pair="x")


# ---- words over tokenizers


def test_words_align_over_tokenizers() -> None:
    text = "Unforgettable, isn't it?"
    pieces = [(0, 2, 0.5), (2, 13, 0.25), (13, 14, -0.5), (15, 18, 1.0), (18, 20, 0.5), (21, 23, 0.0), (23, 24, 0.125)]
    spaced = [(0, 13, 2.0), (13, 14, 1.0), (14, 20, -4.0), (20, 23, 0.5), (23, 24, 0.0)]  # BPE: space before
    words = compare_explanations([ScoredText(text, pieces, "a"), ScoredText(text, spaced, "b")]).words
    assert [word.text for word in words] == ["Unforgettable", ",", "isn't", "it", "?"]
    assert [word.scores for word in words] == [(0.75, 2.0), (-0.5, 1.0), (1.5, -4.0), (0.0, 0.5), (0.125, 0.0)]
    assert [word.normalised for word in words][2] == (1.0, -1.0)
    assert [word.difference for word in words] == pytest.approx([0.0, 1 / 3 + 0.25, 2.0, 0.125, 1 / 12])


def test_words_that_one_token_covers_are_one_unit_for_all() -> None:
    whole = ScoredText("well ... of course", [(0, 4, 1.0), (5, 8, 0.5), (9, 18, -0.25)], "phrases")
    words = compare_explanations([by_words(whole.text, [0.1, 0.2, 0.3, 0.4, 0.5, 0.25]), whole]).words
    assert [word.text for word in words] == ["well", "...", "of course"]
    assert [word.scores[0] for word in words] == pytest.approx([0.1, 0.9, 0.75])
    assert [word.scores[1] for word in words] == [1.0, 0.5, -0.25]


def test_words_without_a_token_are_not_compared() -> None:
    short = ScoredText("good film of old", [(0, 4, 0.5), (5, 9, 0.25)], "short")  # cut
    made = compare_explanations([short, by_words(short.text, [0.5, 0.25, 0.75, 0.0])])
    assert [word.scores[0] for word in made.words] == [0.5, 0.25, None, None]
    assert [word.difference for word in made.words] == [pytest.approx(1 / 3), pytest.approx(1 / 6), None, None]
    assert made.agreements[0].words == 2
    page = Reader(made.to_html()).everything
    assert page.count("no token") == 3 and "left out of what is compared (2 here)" in page


@given(st.text("ab ,.é好😡\n", max_size=20), st.data())
@settings(max_examples=80, deadline=None)
def test_words_and_special_tokens_add_up(text: str, data: st.DataObject) -> None:
    numbers = st.floats(-8, 8).map(lambda value: round(value, 3))
    columns = []
    for name in "ab":
        places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)), numbers)
        spans = data.draw(st.lists(places, min_size=1, max_size=6))
        columns.append(ScoredText(text, [(min(a, b), max(a, b), score) for a, b, score in spans], name))
    made = compare_explanations(columns)
    starts = [word.start for word in made.words]
    assert starts == sorted(set(starts))
    assert all(one.end <= other.start for one, other in zip(made.words, made.words[1:], strict=False))
    for index, column in enumerate(columns):
        placed = [span.score for span in column.spans if not span.special]
        scores = [word.scores[index] for word in made.words]
        assert math.fsum(score for score in scores if score is not None) == pytest.approx(math.fsum(placed), abs=1e-9)
        largest = max((abs(word.normalised[index] or 0.0) for word in made.words), default=1.0)
        assert largest == pytest.approx(1.0) or not any(scores)
    assert "<script" not in made.to_html()


def test_explanations_are_compared_by_the_words_of_the_source() -> None:
    made = compare_explanations([POSITIVES, by_words(POSITIVES.text, [word.score for word in POSITIVES.words()])])
    assert [word.text for word in made.words] == [word.text for word in POSITIVES.words()]
    assert all(word.difference == pytest.approx(0, abs=1e-12) for word in made.words)
    assert made.agreements == (WordAgreement(0, 1, len(made.words), pytest.approx(1.0), 5, 5),)


# ---- agreement


def test_agreement_is_what_scipy_says() -> None:
    draw = np.random.default_rng(0)
    text = " ".join(f"w{index}" for index in range(40))
    one, other = np.round(draw.normal(size=40), 1), np.round(draw.normal(size=40), 1)  # with ties
    [agreement] = compare_explanations([by_words(text, list(one)), by_words(text, list(one + other))]).agreements
    assert agreement.rank_correlation == pytest.approx(stats.spearmanr(one, one + other).statistic, abs=1e-12)
    assert agreement.words == 40 and agreement.top == 5


def test_agreement_on_known_values() -> None:
    text = "a b c d e f g"
    one = by_words(text, [7.0, -6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    other = by_words(text, [-7.0, -6.0, 1.0, 0.5, 0.25, 5.0, 4.0])
    [agreement] = compare_explanations([one, other]).agreements
    # ranks 7 1 6 5 4 3 2 and 1 2 5 4 3 7 6; strongest in both: a, b, c
    assert agreement == WordAgreement(0, 1, 7, pytest.approx(1 - 6 * (36 + 4 + 32) / (7 * 48)), 5, 3)
    mirrored = replace(one, spans=tuple((s.start, s.end, -s.score) for s in one.spans))
    [agreement] = compare_explanations([one, mirrored]).agreements
    assert agreement.rank_correlation == pytest.approx(-1) and agreement.shared_top == 5
    flat = by_words(text, [0.0] * 7)
    made = compare_explanations([one, flat, other])
    assert [(pair.first, pair.second) for pair in made.agreements] == [(0, 1), (0, 2), (1, 2)]
    assert [pair.rank_correlation is None for pair in made.agreements] == [True, False, True]
    assert made.agreements[0].shared_top == 0  # nothing of a flat column is strong
    assert "not defined" in Reader(made.to_html()).everything
    assert agreements(()) == () and agreements(compare_words([flat.to_dict()] * 2))[0].words == 7


# ---- what is compared


OTHER = by_words(TEXT, [0.1] * len(word_spans(TEXT)))


@pytest.mark.parametrize(
    ("explanations", "sentence"),
    [
        (OTHER, "explanations must be a list of Explanation or ScoredText, got ScoredText"),
        ([OTHER, POSITIVE], r"explanations\[1\] must be an Explanation or a ScoredText, got dict: ScoredText\("),
        ([OTHER], "explanations must be 2 to 4, got 1"),
        ([OTHER] * 5, "explanations must be 2 to 4, got 5"),
    ],
)
def test_what_cannot_be_compared_is_refused(explanations: object, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        compare_explanations(explanations)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["one"], "names must be one for each of the 2 explanations, got 1"),
        ("ab", "names must be a list of strings, got str"),
        (["one", 2], r"names\[1\] must be a string, got int"),
        (["one", " "], r"names\[1\] must not be blank"),
    ],
)
def test_names_that_do_not_fit_are_refused(names: object, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        compare_explanations([OTHER, OTHER], names=names)  # type: ignore[arg-type]


def test_other_units_are_refused() -> None:
    with pytest.raises(ValueError, match="unit must be 'words' or 'tokens', not 'letters'"):
        compare_explanations([OTHER, OTHER]).to_html(unit="letters")


def test_different_texts_stand_side_by_side_without_a_table() -> None:
    made = compare_explanations([POSITIVES, Explanation.from_dict(NEGATIVE)])
    assert (made.words, made.agreements, made.same_text) == ((), (), False)
    reader = Reader(made.to_html())
    assert reader.texts == [POSITIVE["text"], NEGATIVE["text"]]
    assert "The texts differ" in reader.everything and "table" not in [tag for tag, _ in reader.tags]
    assert "different texts" in repr(made)
    # a pair and its first half alone are different texts too
    pair = Explanation.from_dict(PAIR)
    assert not compare_explanations([pair, by_words(pair.text, [0.5] * len(word_spans(pair.text)))]).same_text


def test_names_tell_what_differs() -> None:
    other = by_words(POSITIVES.text, [0.1] * len(word_spans(POSITIVES.text)), "captum")
    against = replace(POSITIVES, target=POSITIVES.target.__class__("negative", 0), foil=POSITIVES.target)
    elsewhere = replace(POSITIVES, model=POSITIVES.model.__class__("bert", None))
    last = replace(POSITIVES, method=replace(POSITIVES.method, aggregation="last"))
    assert compare_explanations([POSITIVES, other]).names == ("MHEX", "captum")
    assert compare_explanations([POSITIVES, against]).names == (
        "MHEX for positive",
        "MHEX for negative rather than positive",
    )
    assert compare_explanations([POSITIVES, elsewhere]).names == ("reviews-minilm", "bert")
    assert compare_explanations([POSITIVES, last]).names == ("MHEX, fitted", "MHEX, last")
    assert compare_explanations([POSITIVES, last], names=["a", "b"]).names == ("a", "b")


# ---- the page


def test_a_page_tells_what_each_column_is() -> None:
    other = by_words(POSITIVES.text, [0.1, -0.2] + [0.0] * (len(word_spans(POSITIVES.text)) - 2), "captum", foil="b")
    other = replace(other, label="negative", probability=0.75, target="positive")
    reader = Reader(compare_explanations([POSITIVES, other], title="Both").to_html())
    everything = " ".join(reader.everything.split())
    for expected in (
        "Predicts positive 98.7%, negative 1.3%",
        "Predicts negative 75%",
        "Scores for positive rather than b",
        "each column has its own scale",
        "divided by the largest of its column",
        "The columns explain different classes",
        "held-out skill 0.71 (0.93 attainable)",
        "sum of scores+1.31",
        "sum of scores\u22120.100",
        "words compared",
    ):
        assert expected in everything, expected
    assert reader.texts == [POSITIVE["text"]] * 2
    assert [tag for tag, _ in reader.tags].count("article") == 2
    assert "base value" in everything and everything.count("base value") == 1  # only where it is known
    assert "script" not in [tag for tag, _ in reader.tags]


def test_bars_are_as_long_as_the_normalised_scores() -> None:
    made = compare_explanations([by_words("a b c", [4.0, -2.0, 0.0]), by_words("a b c", [0.01, 0.02, -0.005])])
    bars = [(a["class"], a["d"]) for tag, a in Reader(made.to_html()).tags if tag == "path" and a["class"] != "a"]
    assert bars == [
        ("u", "M100 1h100v6h-100z"),
        ("u", "M100 1h50v6h-50z"),
        ("d", "M50 1h50v6h-50z"),
        ("u", "M100 1h100v6h-100z"),
        ("u", "M100 1h0v6h-0z"),
        ("d", "M75 1h25v6h-25z"),
    ]


def test_long_texts_show_the_words_that_differ_most_and_then_all() -> None:
    text = " ".join(f"w{index}" for index in range(30))
    made = compare_explanations([by_words(text, [1.0] * 30), by_words(text, [-index / 29 for index in range(30)])])
    page = made.to_html()
    words = re.findall(r'<th scope="row"><bdi>(w\d+)</bdi>', page)
    assert words == [f"w{index}" for index in range(29, 17, -1)] + [f"w{index}" for index in range(30)]
    assert "All 30 words in reading order" in page and "Words that differ most" in page
    repeated = compare_explanations([by_words("a b a", [1.0, 2.0, 3.0]), by_words("a b a", [1.0, 2.0, 3.0])])
    assert re.findall(r"\d of \d</span>", repeated.to_html()) == ["1 of 2</span>", "2 of 2</span>"]


@pytest.mark.parametrize("document", [PAIR, CHINESE, REGRESSION], ids=["pair", "chinese", "regression"])
def test_four_columns_of_every_kind_of_explanation_render(tmp_path, document) -> None:
    made = Explanation.from_dict(document)
    comparison = compare_explanations([made] * 4)
    comparison.to_html(tmp_path / "page.html", unit="tokens")
    reader = Reader((tmp_path / "page.html").read_text("utf-8"))
    assert reader.texts == [text for text in (made.text, made.text_pair) if text is not None] * 4
    assert len(comparison.agreements) == 6
    assert_inert(reader)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_strings_stay_text(attack: str) -> None:
    made = compare_explanations([hostile(attack)] * 2, names=[attack + "1", attack + "2"], title=attack)
    plain = compare_explanations([hostile("harmless")] * 2, names=["a", "b"], title="harmless")
    for page, reference in ((made.to_html(), plain.to_html()), (made._repr_html_(), plain._repr_html_())):
        reader = Reader(page)
        assert_inert(reader)
        assert reader.texts == [shown(attack)] * 2
        assert {tag for tag, _ in reader.tags} <= {tag for tag, _ in Reader(reference).tags} | {"details", "summary"}
        page.encode()
        rest = re.sub(r'<p class="t".*?</p>', lambda p: "".join(re.findall("<[^>]*>", p[0])), page, flags=re.S)
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", rest)


def test_the_policy_allows_the_style_and_nothing_else() -> None:
    page = compare_explanations([POSITIVES, POSITIVES]).to_html()
    [style] = re.findall("<style>(.*?)</style>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page and not re.search(r"url\(|@import", style)
    assert " style=" not in page and "<script" not in page


def test_a_notebook_shows_the_fragment_and_a_terminal_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare_explanations([POSITIVES, by_words(POSITIVES.text, [0.1, *[-0.5] * 22], "captum\x1b[31m")])
    fragment = comparison._repr_html_()
    assert fragment.lstrip().startswith('<div class="mhex">') and not re.search(r"<h\d|<script|<html", fragment)
    comparison.show()
    out = capsys.readouterr().out
    assert "A and B: rank correlation" in out and "superb" in out and "\x1b" not in out
    buffer = io.StringIO()
    different = compare_explanations([POSITIVES, Explanation.from_dict(NEGATIVE)])
    render_comparison_terminal(different._columns(), different._table(), Console(file=buffer, width=60))
    assert "The texts differ" in buffer.getvalue() and "note: The heads choose" in " ".join(buffer.getvalue().split())
    assert repr(comparison).startswith("<Comparison of 'MHEX', 'captum")
