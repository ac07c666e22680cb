# SPDX-License-Identifier: Apache-2.0
"""The numbers that a report answers with: shrunk effects, spurious words, error rates, mistakes, changes."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.planted import LEAK, TOPIC, planted
from helpers.report_examples import LABELS, example
from mhex_nlp import Explanation, write_report
from mhex_nlp.corpus.report.aligned import as_value, slice_columns
from mhex_nlp.corpus.report.answers import Answers
from mhex_nlp.corpus.report.compare import OtherRun
from mhex_nlp.corpus.report.counts import Gathering
from mhex_nlp.corpus.report.seen import Bounded, SeenText, is_folded, sum_by_word, wilson, words_beside
from mhex_nlp.corpus.report.slices import NONE, ErrorRates
from mhex_nlp.corpus.report.words import WordEffects, shrinkage
from mhex_nlp.render.numbers import plain


def answered(
    explanations: list[Explanation], labels: list[str | None], other: list[Explanation] | None = None
) -> dict[str, Any]:
    gathering = Gathering(LABELS)
    answers = Answers(LABELS, [], None if other is None else OtherRun(iter(other)))
    for number, (explanation, gold) in enumerate(zip(explanations, labels, strict=True)):
        answers.add(gathering.add(explanation, number, gold, 0), explanation)
    return answers.report(LABELS, gathering.report()["confusion"], gathering.strongest_texts)


def text(words: dict[str, float], *, gold: str | None = None, predicted: str = "positive", **more: Any) -> SeenText:
    parts: dict[str, Any] = {"number": 0, "page": 0, "target": predicted, "probability": 0.8, "length": len(words)}
    return SeenText(**{**parts, "predicted": predicted, "gold": gold, "words": words, **more})


@pytest.mark.parametrize("seed", range(2))
def test_planted_faults_are_found_first(seed: int) -> None:
    corpus = planted(600, seed=seed)
    report = answered(corpus.explanations, list(corpus.labels))
    first = report["spurious"][0]
    assert (first["word"], first["towards"]) == (LEAK, "positive")
    assert first["disagreement"] > 3 * max(report["spurious"][1]["disagreement"], 0.0)
    assert report["topics"][0]["word"] == TOPIC and report["topics"][0]["sure"] == report["topics"][0]["wrong"]
    kinds = {(one["kind"], one.get("word", one.get("label"))) for one in report["findings"][:3]}
    assert kinds == {("spurious", LEAK), ("topic", TOPIC), ("crossed", "negative")}
    [cell] = [cell for cell in report["confused"] if cell["predicted"] == "positive"]
    word = next(word for word in cell["words"] if word["word"] == LEAK)
    of_leak = [n for n, e in enumerate(corpus.explanations) if LEAK in e.text]
    assert word["texts"] == len(corpus.faults["leak"]) and word["of"] == len(of_leak)
    assert word["right"] == len(of_leak) - len(corpus.faults["leak"])


@pytest.mark.parametrize("seed", range(2))
def test_mistakes_that_lie_anywhere_give_no_finding_but_the_sure_ones(seed: int) -> None:
    draw = random.Random(seed)
    made = [e for e in planted(500, seed=seed).explanations if len(e.text.split()) < 50]  # long ones are all of a class
    labels: list[str | None] = [e.label if draw.random() < 0.9 else LABELS[e.label == "negative"] for e in made]
    assert [one["kind"] for one in answered(made, labels)["findings"]] == ["sure"]


def test_without_labels_nothing_is_said_of_errors() -> None:
    report = answered(planted(60).explanations, [None] * 60)
    assert not (report["findings"] or report["topics"] or report["spurious"] or report["confused"])
    assert report["effects"]["positive"]["for"]


def test_effects_are_shrunk_means_over_texts() -> None:
    """The variance of words' true means is found again, and a rare extreme does not lead."""
    generator = np.random.default_rng(0)
    means = generator.normal(0, 0.5, 400)
    counts = generator.integers(2, 40, 400)
    effects = WordEffects()
    for word, (mean, count) in enumerate(zip(means, counts, strict=True)):
        for score in generator.normal(mean, 1.0, count):
            effects.add("positive", {f"word{word}": score})
    rows = {name: row for (_, name), row in effects.table.items()}
    assert shrinkage(rows, 1.0) == pytest.approx(1 / 0.5**2, rel=0.25)
    plain = np.array([rows[f"word{word}"][1] / rows[f"word{word}"][0] for word in range(400)])
    shrunk = plain * counts / (counts + shrinkage(rows, 1.0))
    assert np.mean((shrunk - means) ** 2) < 0.75 * np.mean((plain - means) ** 2)
    few = WordEffects()
    for n in range(300):
        few.add("positive", {"superb": 0.8 + 0.8 * (-1) ** n, "the": (-1) ** n, **({"odd": 0.9} if n < 3 else {})})
    report = few.report(["positive"])["positive"]
    assert [word["word"] for word in report["for"]][:2] == ["superb", "odd"]
    superb = report["for"][0]
    assert superb["texts"] == 300 and superb["share"] == 1 and superb["low"] < superb["effect"] < superb["high"]
    assert superb["effect"] == pytest.approx(0.8 * 300 / (300 + report["k"]))


def test_folded_words() -> None:
    for word in ("the", "and", "s", ",", "--", "...", "$", "\u201c"):
        assert is_folded(word), word
    for word in ("not", "never", "no", "superb", "42", "\U0001f600", "\u597d", "c3po"):
        assert not is_folded(word), word


@pytest.mark.parametrize("count, of", [(0, 5), (5, 5), (3, 40), (50, 100)])
def test_intervals_of_shares_are_wilsons(count: int, of: int) -> None:
    known = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert wilson(count, of) == pytest.approx((known.low, known.high), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_tables_keep_what_comes_often() -> None:
    table: Bounded[str] = Bounded(lambda: [0], most=100)
    draw = random.Random(0)
    for n in range(20_000):
        table.row("often" if n % 10 == 0 else f"rare{draw.randrange(10**6)}")[0] += 1
    assert len(table) <= 100 and 2000 - table.lost <= table["often"][0] <= 2000


def test_two_classes_push_both_ways_and_more_only_for() -> None:
    one = text({"superb": 1.0, "dull": -0.6, "film": 0.1})
    assert [(word, towards) for word, towards, _ in one.pushes(LABELS)] == [
        ("superb", "positive"),
        ("dull", "negative"),
    ]
    assert [word for word, _, _ in one.pushes(("a", "positive", "c"))] == ["superb"]
    assert not list(text({"so": 0.0}).pushes(LABELS)) and not list(text({}).pushes(LABELS))


def test_columns_of_numbers_become_steps_and_of_strings_do_not() -> None:
    rates = ErrorRates(["year", "source"])
    for n in range(1000):
        values = (str(1990 + n % 40), NONE if n % 50 == 0 else f"site {n % 3}")
        gold = "negative" if 1990 + n % 40 >= 2022 else "positive"
        rates.add(text({"film": 0.1}, gold=gold, slices=values))
    year, source = rates.report(LABELS)["slices"]
    assert [row["value"] for row in year["rows"]] == [f"{y} to {y + 7}" for y in range(1990, 2030, 8)]
    assert [row["rate"] for row in year["rows"]] == [0, 0, 0, 0, 1] and year["value_of"]["2003"] == "1998 to 2005"
    assert {row["value"] for row in source["rows"]} == {NONE, "site 0", "site 1", "site 2"}
    assert sum(row["labelled"] for row in source["rows"]) == 1000


def test_errors_of_a_regression_are_told_by_slice(tmp_path: Path) -> None:
    """Mean absolute errors by length and column with their intervals, those furthest off, and where they are larger."""
    generator = np.random.default_rng(0)
    made, golds, sources = [], [], []
    for n in range(300):
        value, source = float(generator.normal(3, 1)), "shop" if n % 5 == 0 else "web"
        words = " ".join(["film"] * (8 if n % 2 else 30))
        made.append(example(f"{words} {n}", id=str(n), label=None, value=value))
        golds.append(value + float(generator.normal(0, 1.5 if source == "shop" else 0.2)))
        sources.append(source)
    off = np.array([abs(e.prediction.value - gold) for e, gold in zip(made, golds, strict=True)])
    html = write_report(made, tmp_path, labels=golds, slices={"source": sources}).read_text("utf-8")
    assert f"<dd>{plain(off.mean())} of 300 with a label</dd>" in html
    table = html.partition("<bdi>By source</bdi></h3>")[2].partition("</table>")[0]
    row = r"<bdi>(shop|web)</bdi>.*?<td>(.*?)</td><td>(.*?)</td><td>(\d+)</td>.*?#t(\d+)"
    shown = {name: cells for name, *cells in re.findall(row, table)}
    for source, cells in shown.items():
        chosen = off[[one == source for one in sources]]
        half = 1.96 * chosen.std() / math.sqrt(len(chosen) - 1)
        assert cells[:3] == [
            plain(chosen.mean()),
            f"{plain(chosen.mean() - half)} to {plain(chosen.mean() + half)}",
            str(len(chosen)),
        ]
        assert off[int(cells[3])] == chosen.max()
    first = html.partition('id="first"')[2].partition("</section>")[0]
    assert list(shown) == ["shop", "web"] and first.count("<li>") == 1 and "<b><bdi>shop</bdi></b>" in first
    assert len(list((tmp_path / "texts").iterdir())) == 6, "by 50, and not by their values"
    assert "By length" in html and "Error rates" not in html
    with pytest.raises(ValueError, match="labels must be finite numbers where the model predicts values, got 'good'"):
        write_report(made[:1], tmp_path / "bad", labels=["good"])


def test_values_of_columns() -> None:
    values = [None, math.nan, "", " a\nb ", 3.0, 3, True, np.bool_(True), np.int64(3), "x" * 99]
    shown = [NONE, NONE, NONE, "a b", "3", "3", "True", "True", "3", "x" * 79 + "\u2026"]
    assert [as_value(value, "v") for value in values] == shown
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert list(slice_columns(["b"], frame)["b"]) == ["x", "y"]


def test_two_runs_are_compared_text_by_text() -> None:
    now = [example(f"text {n} superb", id=str(n), label=LABELS[n % 2], scores={"superb": 1.0}) for n in range(40)]
    before = [
        example(f"text {n} superb", id=str(n), label=LABELS[n % 4 != 0], scores={"superb": 0.4}) for n in range(40)
    ]
    other = [before[n] for n in (1, 0, *range(2, 37))] + [example("new", id="x")]
    golds: list[str | None] = [LABELS[n % 2] for n in range(40)]
    changes = answered(now, golds, other)["changes"]
    common = range(37)
    moved = [n for n in common if before[n].label != now[n].label]
    assert (changes["texts"], changes["only_here"], changes["only_there"]) == (37, 3, 1)
    assert (changes["changed"], changes["fixed"], changes["broken"]) == (len(moved), len(moved), 0)
    assert changes["right"] == 37 and changes["right_before"] == 37 - len(moved)
    assert changes["moves"] == [{"before": "positive", "now": "negative", "texts": len(moved)}]
    word = next(word for word in changes["words"]["positive"]["for"] if word["word"] == "superb")
    assert word["mean"] == pytest.approx(0.6)


def test_runs_that_lack_texts_are_matched_in_bounded_memory() -> None:
    made = [example(f"text {n}", id=str(n)) for n in range(400)]
    other = OtherRun(iter([e for n, e in enumerate(made) if n % 3 or n > 390]), ahead=20)
    found = [other.find(e) is not None for n, e in enumerate(made) if n % 5]
    assert found == [bool(n % 3) or n > 390 for n in range(400) if n % 5]
    assert sum_by_word(words_beside(example("so So", scores={"so": 1.0, "So": 0.5}))) == {"so": 1.5}
