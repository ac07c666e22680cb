# SPDX-License-Identifier: Apache-2.0
"""`write_report`: explanations in, a folder of static pages out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...explain.explanation import Explanation
from ...explain.images.explanation import ImageExplanation
from ...explain.positioned import PositionedExplanation
from ...inputs.texts import iter_rows, warn
from ...render import check_unit, render_report_index, render_report_page
from ...render.highlight import highlight
from ...render.ink import shared_scale
from ..jsonl import TextExplanation
from ..judged import SampleJudgement, figures_of
from .aligned import Labels, Slices, slice_columns, with_labels, with_slices
from .answers import Answers
from .compare import OtherRun
from .counts import Gathering, shown_label
from .entities import write_entities
from .folder import INDEX, ReportFolder
from .grouped import GroupedPages
from .neighbours import Neighbourhoods, near_findings, shown_beside

if TYPE_CHECKING:
    from ...explain.judgement import Judgement
    from .training_texts import TrainingTexts

_SCALED_BY = 200  # texts whose colours settle the scale of all
_FAILED = 200  # rows without an explanation that are listed


def write_report(
    explanations: Iterable[TextExplanation],
    output_dir: str | os.PathLike[str],
    *,
    labels: Labels | None = None,
    title: str = "Highlighted texts",
    unit: str = "words",
    page_texts: int = 50,
    judgement: Judgement | SampleJudgement | None = None,
    slices: Slices | None = None,
    data: Any = None,
    against: Iterable[TextExplanation] | None = None,
    failed: Iterable[Mapping[str, Any]] | None = None,
    train: TrainingTexts | None = None,
    chosen: Iterable[str] = (),
) -> Path:
    """Writes static pages of many explanations; gives the path of the index.

    Where labels are known, the index says where the model is wrong (confusion; error rates by class, length, certainty,
    column and word), which words pushed to each mistake, and which push where labels do not follow. It ranks the words
    that drive each class, tells what changed against another run, and lists the texts, to be filtered and sorted. Every
    text stands once, on a page of those with its label and prediction. Nothing is loaded from elsewhere, and without
    scripts everything but filters and sorting is there. Words are counted in tables of bounded size.
    (Long because of its many arguments.)

    Args:
        explanations: those of one model, in any number; they are read once and not kept. Texts with
            entities get a page of their types, with the words that decide them and mistakes against gold tags.
        output_dir: a new folder, an empty one, or that of an earlier report, which is replaced.
        labels: the right classes by name or id (see `class_of`), None or NaN where one is not known: as many as
            explanations, or a mapping from the ids of explanations. Unless they are a stream, all are checked before
            anything is written. For entities the gold tags of each text (`mhex_nlp.corpus.gold_tags`).
        title: of all pages.
        unit: what is highlighted, "words" or "tokens".
        page_texts: texts on a page, at most 200.
        judgement: what `explainer.judge` says of texts like these; the head shows it in place of the fit's own figure.
        slices: columns to tell error rates by, by name: each one value a text, or a mapping from ids; or names of
            columns of `data` (a Dataset, a frame, a mapping of columns). Many numbers become five steps.
        against: explanations of another run over the same texts, by their ids in about the same order.
        failed: rows that could not be explained, as in a job's `errors.jsonl`: `row`, `id`, `reason`.
        train: what the model was trained on, to be shown beside each text whose prediction is wrong: the nearest
            training texts by the model's states, with their labels and the strong words that they share.
        chosen: ids of further texts that are shown with their nearest training texts.

    Raises:
        TypeError: explanations, labels, slices or a judgement that are none, a title that is no string.
        ValueError: none at all, more or fewer labels or values, a label that is no class of the model, classes of
            another model, a column that is not there, a run of other texts, a folder that holds something else, a bad
            `unit` or `page_texts`; of texts with entities, `slices`, `against` or `train`; `train` of another
            model, `chosen` without it.
        NotADirectoryError: `output_dir` is a file.
    """
    _check_arguments(unit, title, page_texts)
    neighbourhoods = _neighbourhoods(train, chosen, labels is not None)
    judged = None if judgement is None else figures_of(judgement)
    columns = slice_columns(slices, data)
    stream = _checked(explanations)
    example = next(stream, None)
    if example is None:
        raise ValueError("explanations must hold at least one, got none.")
    if isinstance(example, PositionedExplanation):
        if columns or against is not None or train is not None:
            raise ValueError("slices, against and train are for explanations of whole texts, got some of entities.")
        texts: Any = _of_kind(chain([example], stream), PositionedExplanation)
        folder = ReportFolder(output_dir)
        write_entities(texts, folder, labels=labels, title=title, unit=unit, page_texts=page_texts, judged=judged)
        folder.finish()
        return folder.path / INDEX
    classes = classes_of_model(example)
    other = None if against is None else OtherRun(_of_kind(_checked(against, "against"), Explanation))
    pairs = with_labels(chain([example], _of_kind(stream, Explanation)), labels, classes)
    rows = with_slices(pairs, columns)
    first = list(islice(rows, _SCALED_BY))
    scale = shared_scale(highlight(explanation.to_dict(), unit=unit).full for explanation, _, _ in first)
    neighbourhoods.check(classes)
    folder = ReportFolder(output_dir)
    pages = GroupedPages(folder, page_texts, partial(render_report_page, title=title, unit=unit, scale=scale))
    gathering, answers = Gathering(classes), Answers(classes, list(columns), other)
    for number, (explanation, gold, values, near) in enumerate(neighbourhoods.beside(chain(first, rows))):
        entry = {"explanation": explanation.to_dict(), "number": number, "gold": gold}
        entry["near"] = shown_beside(explanation, near)
        group = None if explanation.prediction.value is not None else gold  # values would have a page each
        page = pages.add(entry, group, shown_label(explanation))
        neighbourhoods.count(explanation, gold, near, (number, page))
        answers.add(gathering.add(explanation, number, gold, page, values), explanation)
    pages.finish()
    if labels is not None and not gathering.summary.confusion and example.label is not None:
        warn("labels know none of the explanations: their ids differ, or all labels are None.")
    about: dict[str, Any] = {"title": title, "judged": judged, "failed": failed, "near": neighbourhoods.report()}
    folder.write(INDEX, _index(gathering, answers, pages, example, **about))
    folder.finish()
    return folder.path / INDEX


def _check_arguments(unit: Any, title: Any, page_texts: Any) -> None:
    check_unit(unit)
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, got {type(title).__name__}.")
    if isinstance(page_texts, bool) or not isinstance(page_texts, int) or not 1 <= page_texts <= 200:
        raise ValueError(f"page_texts must be an integer from 1 to 200, got {page_texts!r}.")


def _neighbourhoods(train: Any, chosen: Any, labelled: bool) -> Neighbourhoods:
    if train is not None and not hasattr(train, "beside"):
        raise TypeError(f"train must be TrainingTexts, got {type(train).__name__}.")
    ids = list(iter_rows(chosen, "chosen", "an iterable of ids"))
    if ids and train is None:
        raise ValueError("chosen is for texts shown with their nearest training texts: it needs train, got none.")
    if train is not None and not ids and not labelled:
        raise ValueError("train is shown beside wrong texts, which labels tell, and chosen ones, got neither.")
    return Neighbourhoods(train, map(str, ids))


def _index(
    gathering: Gathering,
    answers: Answers,
    pages: GroupedPages,
    example: Explanation,
    *,
    failed: Any,
    near: dict[str, Any] | None,
    **about: Any,
) -> str:
    form, summary = example.to_dict(), gathering.report()
    labels = list(dict.fromkeys((*gathering.summary.labels, *summary["confusion"])))
    answered = answers.report(labels, summary["confusion"], gathering.strongest_texts)
    return render_report_index(
        summary,
        answered | {"near": near, "findings": [*answered["findings"], *near_findings(near)]},
        failed=_failed(failed),
        method=form["method"],
        model=form["model"],
        passes=example.passes,
        groups=[vars(group) for group in pages.groups.values()],
        pages=pages.names,
        rows=gathering.rows,
        words=list(gathering.words),
        **about,
    )


def _failed(failed: Iterable[Mapping[str, Any]] | None) -> tuple[int, list[tuple[str, str]]]:
    """How many rows could not be explained, and the first of them: id and reason."""
    count, shown = 0, list[tuple[str, str]]()
    for row in failed or ():
        count += 1
        if len(shown) < _FAILED:
            shown.append((str(row.get("id", row.get("row", ""))), str(row.get("reason", ""))))
    return count, shown


def classes_of_model(explanation: Explanation) -> list[str]:
    """The classes of the model that an explanation is of, in id order; none for regression, and for places in texts."""
    return (
        [] if explanation.place is not None else list(explanation.prediction.probabilities or explanation.classes or ())
    )


def _checked(explanations: Iterable[Any], name: str = "explanations") -> Iterator[TextExplanation]:
    for index, explanation in enumerate(iter_rows(explanations, name, "an iterable of explanations")):
        if isinstance(explanation, ImageExplanation):
            raise TypeError(f"{name} must be of texts, got some of images: write_image_report takes them.")
        if not isinstance(explanation, Explanation | PositionedExplanation):
            raise TypeError(f"{name} must hold Explanation objects, got {type(explanation).__name__} at {index}.")
        yield explanation


def _of_kind(explanations: Iterable[Any], kind: type) -> Iterator[Any]:
    for one in explanations:
        if not isinstance(one, kind):
            raise ValueError(
                f"explanations must be of texts, or all of their entities, got a {type(one).__name__} after others."
            )
        yield one
