# SPDX-License-Identifier: Apache-2.0
"""`write_report`: explanations in, a folder of static pages out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...explain.explanation import Explanation
from ...explain.gold_labels import class_of
from ...explain.images.explanation import ImageExplanation
from ...explain.positioned import PositionedExplanation
from ...inputs.texts import iter_rows, warn, zip_rows
from ...render import check_unit, render_report_index, render_report_page
from ...render.highlight import highlight
from ...render.ink import shared_scale
from ..jsonl import TextExplanation
from ..judged import SampleJudgement, figures_of
from .counts import Gathering, shown_label
from .entities import write_entities
from .folder import INDEX, ReportFolder
from .grouped import GroupedPages

if TYPE_CHECKING:
    from ...explain.judgement import Judgement

_SCALED_BY = 200  # texts whose colours settle the scale of all
Labels = Mapping[str, str | float | None] | Iterable[str | float | None]


def write_report(
    explanations: Iterable[TextExplanation],
    output_dir: str | os.PathLike[str],
    *,
    labels: Labels | None = None,
    title: str = "Highlighted texts",
    unit: str = "words",
    page_texts: int = 50,
    judgement: Judgement | SampleJudgement | None = None,
) -> Path:
    """Writes static pages of many explanations; gives the path of the index.

    The index has counts, accuracy and confusion where labels are known, the words that decide with examples, and a
    list of all texts that can be filtered and sorted. Every text stands once, on a page of those with its label and
    prediction. Nothing is loaded from elsewhere, and without scripts everything but filters and sorting is there.
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
        page_texts: texts on a page.
        judgement: what `explainer.judge` says of texts like these; the head shows it in place of the fit's own figure.

    Raises:
        TypeError: explanations, labels or a judgement that are none, a title that is no string.
        ValueError: none at all, more or fewer labels, a label that is no class of the model, classes of another model,
            a folder that holds something else, a bad `unit` or `page_texts`.
        NotADirectoryError: `output_dir` is a file.
    """
    _check_arguments(unit, title, page_texts)
    judged = None if judgement is None else figures_of(judgement)
    stream = _checked(explanations)
    example = next(stream, None)
    if example is None:
        raise ValueError("explanations must hold at least one, got none.")
    if isinstance(example, PositionedExplanation):
        texts: Any = _of_kind(chain([example], stream), PositionedExplanation)
        folder = ReportFolder(output_dir)
        write_entities(texts, folder, labels=labels, title=title, unit=unit, page_texts=page_texts, judged=judged)
        folder.finish()
        return folder.path / INDEX
    classes = classes_of_model(example)
    pairs = _with_labels(chain([example], _of_kind(stream, Explanation)), labels, classes)
    first = list(islice(pairs, _SCALED_BY))
    scale = shared_scale(highlight(explanation.to_dict(), unit=unit).full for explanation, _ in first)
    folder = ReportFolder(output_dir)
    pages = GroupedPages(folder, page_texts, partial(render_report_page, title=title, unit=unit, scale=scale))
    gathering = Gathering(classes)
    for number, (explanation, gold) in enumerate(chain(first, pairs)):
        entry = {"explanation": explanation.to_dict(), "number": number, "gold": gold}
        gathering.add(explanation, number, gold, pages.add(entry, gold, shown_label(explanation)))
    pages.finish()
    if labels is not None and not gathering.summary.confusion and example.label is not None:
        warn("labels know none of the explanations: their ids differ, or all labels are None.")
    folder.write(INDEX, _index(gathering, pages, example, title, judged))
    folder.finish()
    return folder.path / INDEX


def _check_arguments(unit: Any, title: Any, page_texts: Any) -> None:
    check_unit(unit)
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, got {type(title).__name__}.")
    if isinstance(page_texts, bool) or not isinstance(page_texts, int) or page_texts < 1:
        raise ValueError(f"page_texts must be an integer of at least 1, got {page_texts!r}.")


def _index(
    gathering: Gathering, pages: GroupedPages, example: Explanation, title: str, judged: Mapping[str, Any] | None
) -> str:
    form = example.to_dict()
    return render_report_index(
        gathering.report(),
        title=title,
        method=form["method"],
        model=form["model"],
        passes=example.passes,
        judged=judged,
        groups=[vars(group) for group in pages.groups.values()],
        pages=pages.names,
        rows=gathering.rows,
        words=list(gathering.words),
    )


def classes_of_model(explanation: Explanation) -> list[str]:
    """The classes of the model that an explanation is of, in id order; none for regression, and for places in texts."""
    return (
        [] if explanation.place is not None else list(explanation.prediction.probabilities or explanation.classes or ())
    )


def _checked(explanations: Iterable[Any]) -> Iterator[TextExplanation]:
    for index, explanation in enumerate(iter_rows(explanations, "explanations", "an iterable of explanations")):
        if isinstance(explanation, ImageExplanation):
            raise TypeError("explanations must be of texts, got some of images: write_image_report takes them.")
        if not isinstance(explanation, Explanation | PositionedExplanation):
            raise TypeError(f"explanations must hold Explanation objects, got {type(explanation).__name__} at {index}.")
        yield explanation


def _of_kind(explanations: Iterable[Any], kind: type) -> Iterator[Any]:
    for one in explanations:
        if not isinstance(one, kind):
            raise ValueError(
                f"explanations must be of texts, or all of their entities, got a {type(one).__name__} after others."
            )
        yield one


def _with_labels(
    explanations: Iterable[Explanation], labels: Labels | None, classes: Sequence[str]
) -> Iterator[tuple[Explanation, str | None]]:
    """Explanations with the classes that their labels name, in step; labels at hand are all checked at once."""
    if isinstance(labels, str):
        raise ValueError(f"labels must be one a text, or a mapping from ids, got the string {labels!r}.")
    if labels is None or isinstance(labels, Mapping):
        golds = {id_: class_of(label, classes, f"labels[{id_!r:.80}]") for id_, label in (labels or {}).items()}
        return ((explanation, golds.get(explanation.id)) for explanation in explanations)
    rows = enumerate(iter_rows(labels, "labels"))
    named: Iterable[str | None] = (class_of(label, classes, f"labels[{index}]") for index, label in rows)
    if isinstance(labels, Sized):
        named = list(named)
    return ((row["texts"], row["labels"]) for row in zip_rows(explanations, labels=named))
