# SPDX-License-Identifier: Apache-2.0
"""How far scores can be trusted on the rows of a job: measured once, on rows drawn by seed, tied to what it is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from helpers.tiny import random_texts, tiny_bert, tiny_tokenizer
from mhex_nlp import (
    Explanation,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
    highlight_dataset,
    write_report,
)
from mhex_nlp.cli import main
from mhex_nlp.corpus.judged import judgement_of_job
from mhex_nlp.corpus.judging import Sample, draw, judge_rows
from mhex_nlp.corpus.readers.rows import Row
from mhex_nlp.explain.judgement import Judgement
from mhex_nlp.render.judged import describe_fit, describe_judgement

TOKENIZER = tiny_tokenizer()
TEXTS = random_texts(60, seed=11)


@pytest.fixture(scope="module")
def explainer() -> MhexExplainer:
    model = get_mhex_model(tiny_bert(num_labels=2, dropout=0.0).eval(), MhexConfig(gate=False))
    fit_equivalent_matrices(model, TOKENIZER, random_texts(300))
    return MhexExplainer(model, TOKENIZER)


@pytest.fixture(scope="module")
def model(explainer: MhexExplainer, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fitted")
    explainer.model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return str(folder)


def rows_of(texts: list[str]) -> list[Row]:
    return [Row(number, str(number), text, None, None) for number, text in enumerate(texts)]


def write_rows(folder: Path, texts: list[str]) -> str:
    (folder / "rows.txt").write_text("\n".join(texts) + "\n")
    return str(folder / "rows.txt")


def command(model: str, data: str, output: Path | None, *options: str) -> list[str]:
    where = [] if output is None else ["--output", str(output), "--format", "jsonl"]
    return ["highlight", "--model", model, "--data", data, *where, *options]


def count_measurements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    measure = MhexExplainer.judge

    def judge(self: Any, texts: Any, *arguments: Any, **options: Any) -> Any:
        counted.append(len(texts))
        return measure(self, texts, *arguments, **options)

    monkeypatch.setattr(MhexExplainer, "judge", judge)
    return counted


def test_rows_are_drawn_alike_however_they_come() -> None:
    rows = rows_of([f"text {n}" for n in range(500)])
    expected = draw(range(500), 20, 3)
    assert len(set(expected)) == 20 == len(expected) and expected == sorted(expected)
    for size in (1, 7, 500):
        sample = Sample(20, 3)
        for start in range(0, 500, size):
            sample.add(rows[start : start + size])
        assert [row.number for row in sample.rows] == expected
    assert draw(range(500), 20, 4) != expected and draw(range(5), 20, 3) == [0, 1, 2, 3, 4]
    thirds = [
        sum(number // 167 == third for seed in range(60) for number in draw(range(500), 20, seed)) for third in range(3)
    ]
    assert min(thirds) > 330, "everywhere alike"


def test_it_is_what_the_explainer_says_of_these_rows(explainer: MhexExplainer) -> None:
    rows = [
        *rows_of(TEXTS[:12]),
        Row(12, "12", "good", None, None),
        Row(13, "13", "", None, None, "the text is missing"),
    ]
    found = judge_rows(explainer, rows, 20, 5)
    direct = explainer.judge(TEXTS[:12], seed=5)
    assert found is not None and (found.skill, found.skill_interval) == (direct.skill, direct.skill_interval)
    assert (found.asked, found.drawn, found.passed_over, found.texts) == (20, 14, 2, 12)
    with pytest.warns(
        UserWarning, match="none of the 1 rows that were drawn can be judged, such as row 12: the text has a single"
    ):
        assert judge_rows(explainer, rows[12:13], 5, 0) is None


def test_a_job_measures_once_and_its_report_shows_it(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = count_measurements(monkeypatch)
    data, output = write_rows(tmp_path, [*TEXTS[:30], "", "good"]), tmp_path / "out"
    arguments = command(model, data, output, "--judge", "12", "--allow-errors", "--part-rows", "10")
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "One pass explains " in shown and " of these texts with 24 passes over each." in shown
    kept = (output / "judgement.json").read_bytes()
    assert main(arguments) == 0 and len(counted) == 1, "a finished job"
    part = output / "part-0-00001.jsonl"
    part.unlink()
    assert main(arguments) == 0 and len(counted) == 1 and part.exists(), "one that was taken up"
    assert main(arguments[:-5] + arguments[-3:]) == 0 and len(counted) == 1
    assert (output / "judgement.json").read_bytes() == kept
    judged = judgement_of_job(output)
    assert judged is not None and judged.asked == 12 == judged.texts + judged.passed_over
    summary = json.loads((output / "summary.json").read_text())
    assert summary["judgement"]["skill"] == judged.skill
    expected = describe_judgement(summary["judgement"])[0].replace("-", "\u2212")
    assert expected in (output / "summary.html").read_text("utf-8")
    assert main(["report", str(output), "--output", str(tmp_path / "pages")]) == 0
    index = (tmp_path / "pages" / "index.html").read_text("utf-8")
    assert expected in index and "held out" not in index and "held-out" not in index


def test_another_number_or_seed_is_measured_anew(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = count_measurements(monkeypatch)
    data, output = write_rows(tmp_path, TEXTS[:20]), tmp_path / "out"
    for options in (
        ["--judge", "4"],
        ["--judge", "5"],
        ["--judge", "5", "--seed", "1"],
        ["--judge", "5", "--seed", "1"],
    ):
        assert main(command(model, data, output, *options)) == 0
    assert counted == [4, 5, 5]
    before = json.loads((output / "judgement.json").read_text())
    (output / "judgement.json").write_text(json.dumps({**before, "skill": "high"}))
    assert main(command(model, data, output, "--judge", "5", "--seed", "1")) == 0 and len(counted) == 4
    assert json.loads((output / "judgement.json").read_text()) == before, "what is damaged is measured anew"


def test_a_judgement_of_other_rows_or_weights_is_not_shown(model: str, tmp_path: Path) -> None:
    for name, texts in (("one", TEXTS[:8]), ("other", TEXTS[8:16])):
        (tmp_path / name).mkdir()
        data = write_rows(tmp_path / name, texts)
        assert main(command(model, data, tmp_path / name / "out", "--judge", "8")) == 0
    moved = tmp_path / "one" / "out" / "judgement.json"
    moved.write_bytes((tmp_path / "other" / "out" / "judgement.json").read_bytes())
    with pytest.warns(UserWarning, match="judgement.json is not of the rows, weights and settings of this job"):
        assert judgement_of_job(tmp_path / "one" / "out") is None
    own = json.loads((tmp_path / "other" / "out" / "judgement.json").read_text())
    (tmp_path / "other" / "out" / "judgement.json").write_text(json.dumps({**own, "weights": "f" * 32}))
    with pytest.warns(UserWarning, match="is not of the rows, weights"):
        assert judgement_of_job(tmp_path / "other" / "out") is None


def test_all_rows_are_taken_where_there_are_no_more(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path, TEXTS[:6])
    assert main(command(model, data, tmp_path / "out", "--judge", "50")) == 0
    assert "All 6 rows were taken, since there are no 50." in capsys.readouterr().out
    assert main(command(model, data, None, "--judge", "50")) == 0, "on the terminal"
    assert "measured on 6 of these texts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "0"], "judge must be an integer of at least 1, got 0"),
        (["--judge", "-3"], "judge must be an integer of at least 1, got -3"),
    ],
)
def test_bad_input_gets_one_sentence(
    model: str, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(model, write_rows(tmp_path, TEXTS[:3]), tmp_path / "out", *options)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_given_texts_are_not_drawn_from(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["highlight", "--model", model, "--text", "good film", "--judge", "1"]) == 2
    assert "judge draws from the rows of --data" in capsys.readouterr().err


def test_a_job_of_nothing_to_judge_ends_all_the_same(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path, ["good", "bad"])
    assert main(command(model, data, tmp_path / "out", "--judge", "2")) == 0
    assert "none of the 2 rows that were drawn can be judged" in capsys.readouterr().err
    assert not (tmp_path / "out" / "judgement.json").exists()


def test_two_processes_and_one_draw_and_measure_the_same(explainer: MhexExplainer, tmp_path: Path) -> None:
    from mhex_nlp.corpus.columns import ColumnOptions
    from mhex_nlp.corpus.job.job import SingleProcess, run_job
    from mhex_nlp.corpus.readers.opening import open_rows

    class Other(SingleProcess):
        num_processes = 2

        def __init__(self, index: int) -> None:
            self.process_index, self.is_main_process = index, index == 0

    data = write_rows(tmp_path, TEXTS[:30])

    def run(output: Path, state: Any) -> Any:
        return run_job(
            explainer, open_rows(data), output, request=explainer.request(), formats=["jsonl"], columns=ColumnOptions(),
            settings={}, state=state, part_rows=7, judge=9, progress=False,
        )  # fmt: skip

    one = run(tmp_path / "one", SingleProcess()).judgement
    with pytest.raises(ValueError, match="without part 1"):  # the first process ends before the second has begun
        run(tmp_path / "two", Other(0))
    assert run(tmp_path / "two", Other(1)) is None
    assert run(tmp_path / "two", Other(0)).judgement == one


@pytest.mark.usefixtures("own_cache")
def test_a_dataset_has_it_in_all_rows(
    explainer: MhexExplainer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counted = count_measurements(monkeypatch)
    Dataset.from_dict({"text": TEXTS[:20], "n": list(range(20))}).save_to_disk(str(tmp_path / "rows"))
    dataset = Dataset.load_from_disk(str(tmp_path / "rows"))
    explained = highlight_dataset(dataset, explainer, judge=8, seed=2, batch_size=7)
    direct = explainer.judge([TEXTS[n] for n in draw(range(20), 8, 2)], seed=2)
    assert explained["mhex_skill"][:] == pytest.approx([direct.skill] * 20)
    assert explained[19]["mhex_skill_interval"] == pytest.approx(list(direct.skill_interval))
    assert counted == [8, 8]
    again = highlight_dataset(dataset, explainer, judge=8, seed=2, batch_size=7)
    assert len(counted) == 2 and again["mhex_skill"][:] == explained["mhex_skill"][:], "from the cache"
    assert "mhex_skill" not in highlight_dataset(dataset, explainer).column_names
    with pytest.warns(UserWarning, match="All 20 rows were taken, since there are no 21"):
        highlight_dataset(dataset, explainer, judge=21)
    for judge in (0, -3, True):
        with pytest.raises(ValueError, match="judge must be an integer of at least 1"):
            highlight_dataset(dataset, explainer, judge=judge)
    with pytest.raises(ValueError, match="judge needs a Dataset"):
        highlight_dataset(dataset.to_iterable_dataset(), explainer, judge=5)


def test_a_dataset_has_the_errors_of_a_budget(explainer: MhexExplainer) -> None:
    dataset = Dataset.from_dict({"text": TEXTS[:6]})
    rows = highlight_dataset(dataset, explainer, budget=8, unit="words")
    for row, e in zip(rows, explainer(TEXTS[:6], budget=8), strict=True):
        errors = [word.error for word in e.words()]
        assert row["mhex_score_errors"] == pytest.approx(errors, rel=0.02, abs=1e-4)
    assert "mhex_score_errors" not in highlight_dataset(dataset, explainer).column_names


FIGURES: dict[str, Any] = {"skill": 0.62, "skill_interval": (0.5, 0.7), "absolute_skill": 0.3, "texts": 50}
FIGURES |= {"masks": 24, "removal": "mask", "seed": 0}


def test_sentences() -> None:
    def said(**changes: Any) -> str:
        return " ".join(describe_judgement({**FIGURES, "foreign": False, **changes}))

    assert said(drawn=50, asked=50, passed_over=0) == (
        "One pass explains 0.62 [0.50, 0.70] of what the model answers when words are masked, measured on 50 of these "
        "texts with 24 passes over each."
    )
    assert "measured on 50 texts like these" in said() and "hidden from its attention" in said(removal="attention")
    assert "2 of the 50 rows that were drawn could not be judged." in said(drawn=50, asked=50, passed_over=2, texts=48)
    foreign = said(foreign=True, fit_skill=0.8, fit_interval=(0.75, 0.85))
    assert "That is less than on texts of the fit's own kind, 0.80 [0.75, 0.85]: these are of another kind" in foreign
    assert "do not trust single words" in said(skill_interval=(-0.1, 0.2)) and "do not" not in said()
    method = {"skill": 0.7, "attainable": 0.9}
    assert describe_fit(method)[0].startswith("One pass explains 0.70 of the model's answers to removals")
    assert "; 0.90 is attainable" in describe_fit(method)[0] and not describe_fit({"skill": None})


def test_foreign_texts_are_those_whose_interval_lies_below_the_fits() -> None:
    assert Judgement(**FIGURES, fit_skill=0.8, fit_interval=(0.71, 0.9)).foreign
    assert (
        not Judgement(**FIGURES, fit_skill=0.8, fit_interval=(0.69, 0.9)).foreign and not Judgement(**FIGURES).foreign
    )


def test_the_fit_is_named_where_it_is_of_the_weights(explainer: MhexExplainer) -> None:
    judged = explainer.judge(TEXTS[:10])
    record = explainer.model.config.mhex_fit
    assert judged.fit_skill == record["skill"] and judged.fit_interval == tuple(record["skill_interval"])
    supervised = MhexExplainer(explainer.model, TOKENIZER, aggregation="fitted", changed_weights="note")
    assert supervised.judge(TEXTS[:10]) == judged


def test_reports_take_a_judgement(explainer: MhexExplainer, tmp_path: Path) -> None:
    explanations: list[Explanation] = explainer(TEXTS[:5])
    judged = Judgement(**FIGURES, fit_skill=0.8, fit_interval=(0.75, 0.85))
    index = write_report(explanations, tmp_path / "judged", judgement=judged).read_text("utf-8")
    assert "One pass explains 0.62 [0.50, 0.70]" in index and "of another kind" in index
    plain = write_report(explanations, tmp_path / "plain").read_text("utf-8")
    method = explanations[0].method
    assert f"One pass explains {method.skill:.2f} of the model&#39;s answers to removals" in plain
    assert f"{method.attainable:.2f} is attainable" in plain
    with pytest.raises(TypeError, match="judgement must be what explainer.judge gives, got dict"):
        write_report(explanations, tmp_path / "bad", judgement={"skill": 1})  # type: ignore[arg-type]
    assert not (tmp_path / "bad").exists()


def test_words_of_a_corpus_have_the_errors_of_their_sums(explainer: MhexExplainer, model: str, tmp_path: Path) -> None:
    texts = ["the film was good", "good , very good and dull film", *TEXTS[:6]]
    explanations = explainer(texts, budget=8)
    variance: dict[tuple[str, str], float] = {}
    for e in explanations:
        whole = [[*row] for row in e.covariance or ()]
        for name in {word.text for word in e.words()}:
            tokens = [index for word in e.words() if word.text == name for index in word.tokens]
            size = sum(whole[max(a, b)][min(a, b)] for a in tokens for b in tokens)
            variance[e.target.label, name] = variance.get((e.target.label, name), 0.0) + max(size, 0.0)
    data = write_rows(tmp_path, texts)
    assert main(command(model, data, tmp_path / "out", "--budget", "8", "--part-rows", "3")) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    counted = 0
    for label, sides in summary["classes"].items():
        for word in (*sides["for"], *sides["against"]):
            assert word["error"] == pytest.approx(variance[label, word["word"]] ** 0.5, rel=0.02, abs=1e-4)
            counted += 1
    assert counted > 5
    page = (tmp_path / "out" / "summary.html").read_text("utf-8")
    assert " \u00b1 0." in page and "\u00b1 is one standard deviation, of what the passes" in page
