# SPDX-License-Identifier: Apache-2.0
"""`write_image_report`: image explanations in, a folder of static pages out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...explain.gold_labels import class_of
from ...inputs.texts import iter_rows, warn, zip_rows
from ...render import image_report, image_report_page
from ...render.image_map import image_map
from ...render.image_report import border_share
from .counts import LISTED
from .folder import INDEX, ReportFolder
from .grouped import GroupedPages

MISTAKES = 12  # that the index shows
_PLACES = 4  # regions of an image that the list can be filtered by


def write_image_report(
    explanations: Iterable[Any],
    output_dir: str | os.PathLike[str],
    *,
    pixels: Iterable[Any] | None = None,
    labels: Mapping[str, Any] | Iterable[Any] | None = None,
    title: str = "Highlighted images",
    page_images: int = 60,
) -> Path:
    """Writes static pages of many image explanations; gives the path of the index. Experimental.

    The index has counts, accuracy and confusion where labels are known, the mean map of each class, how much of the
    evidence lies on the border, the wrong predictions with most evidence, and a list that can be filtered and sorted.
    Every image stands once, on a page of those with its label and prediction. Memory does not grow with the pictures.
    (Long because of its many arguments.)

    Args:
        explanations: those of one model, as explanations or in JSON form; they are read once and not kept.
        output_dir: a new folder, an empty one, or that of an earlier report, which is replaced.
        pixels: PIL images, data URLs or None, as many as explanations: the pages keep JPEGs of at most 320 pixels a
            side. Without them, and without pixels in the explanations, maps lie on grey.
        labels: the right classes by name or id, None or NaN where one is not known: as many as explanations, or a
            mapping from their ids.
        title: of all pages.
        page_images: images on a page, at most 200.

    Raises:
        TypeError: explanations, pixels or labels that are none; a title that is no string.
        ValueError: none at all, more or fewer pixels or labels, a label that is no class of the model, classes of
            another model, pixels of another image, a folder that holds something else, a bad `page_images`.
        NotADirectoryError: `output_dir` is a file.
    """
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, got {type(title).__name__}.")
    if isinstance(page_images, bool) or not isinstance(page_images, int) or not 1 <= page_images <= 200:
        raise ValueError(f"page_images must be an integer from 1 to 200, got {page_images!r}.")
    entries = _entries(explanations, pixels, labels)
    first = next(entries, None)
    if first is None:
        raise ValueError("explanations must hold at least one, got none.")
    folder = ReportFolder(output_dir, "images")
    pages = GroupedPages(folder, page_images, partial(image_report_page, title=title), "images")
    gathering = ImageGathering(first["form"])
    for entry in chain([first], entries):
        gathering.check(entry)
        gathering.add(entry, pages.add(entry, entry["gold"], entry["form"]["prediction"]["label"]))
    pages.finish()
    if labels is not None and not gathering.confusion:
        warn("labels know none of the explanations: their ids differ, or all labels are None.")
    groups = [vars(group) for group in pages.groups.values()]
    shown: dict[str, Any] = {
        "groups": groups,
        "pages": pages.names,
        "rows": gathering.rows,
        "places": list(gathering.places),
    }
    folder.write(INDEX, image_report(gathering.report(), title=title, **shown))
    folder.finish()
    return folder.path / INDEX


def _entries(explanations: Iterable[Any], pixels: Any, labels: Any) -> Iterator[dict[str, Any]]:
    """Each explanation in JSON form with its number, pixels and right class."""
    if isinstance(labels, str):
        raise ValueError(f"labels must be one an image, or a mapping from ids, got the string {labels!r}.")
    by_id = labels if isinstance(labels, Mapping) else None
    columns = {"pixels": pixels, "labels": None if by_id is not None else labels}
    rows = zip_rows(iter_rows(explanations, "explanations", "an iterable of explanations"), **columns)
    for number, row in enumerate(rows):
        form = row["texts"] if isinstance(row["texts"], Mapping) else getattr(row["texts"], "to_dict", dict)()
        if form.get("kind") != "image":
            raise TypeError(f"explanations must be of images, got {type(row['texts']).__name__} at {number}.")
        classes = list(form["prediction"].get("probabilities") or ())
        label = row.get("labels") if by_id is None else by_id.get(form.get("id"))
        gold = class_of(label, classes, f"labels[{number if by_id is None else form.get('id')!r}]")
        yield {"form": form, "number": number, "pixels": row.get("pixels"), "gold": gold}


class ImageGathering:
    """Collects what the index shows, image by image: memory grows by a short row for each, up to `LISTED`.

    Args:
        example: the first explanation in JSON form, which names classes, method and model.
    """

    def __init__(self, example: Mapping[str, Any]) -> None:
        without = {key: value for key, value in example["image"].items() if key != "data"}
        self.example = {**example, "image": without, "notes": []}
        self.labels = list(example["prediction"].get("probabilities") or ())
        self.counts = Counter[str]()  # images, labelled, right, with_empty, as_empty
        self.border = np.zeros(2)  # summed shares of evidence and of cells
        self.confusion: dict[str, Counter[str]] = {}
        self.classes: dict[str, dict[str, Any]] = {}
        self.mistakes: list[tuple[float, int, dict[str, Any]]] = []
        self.rows: list[list[Any]] = []
        self.places: dict[str, int] = {}

    def check(self, entry: Mapping[str, Any]) -> None:
        """ValueError for an explanation of another model than the first."""
        labels = list(entry["form"]["prediction"].get("probabilities") or ())
        if labels != self.labels:
            raise ValueError(
                f"explanations must all be of one model, got the classes {labels[:5]} at {entry['number']}, where the "
                f"first has {self.labels[:5]}."
            )

    def add(self, entry: Mapping[str, Any], page: int) -> None:
        """Counts an image that stands on the page of that number."""
        form, gold = entry["form"], entry["gold"]
        predicted, target = form["prediction"]["label"], form["target"]["label"]
        shares = border_share(form["scores"])
        self.border += shares
        self.counts.update(images=1)
        if form.get("empty"):
            self.counts.update(with_empty=1, as_empty=form["empty"]["label"] == predicted)
        if gold is not None:
            self.counts.update(labelled=1, right=gold == predicted)
            self.confusion.setdefault(gold, Counter())[predicted] += 1
            if gold != predicted and gold != target:
                self._keep_mistake({**entry, "page": page})
        self._average(target, form, shares[0])
        if len(self.rows) < LISTED:
            self.rows.append(self._row(entry, page))

    def _keep_mistake(self, entry: dict[str, Any]) -> None:
        """Those with the largest sums for a class that the image is not of."""
        self.mistakes.append((-entry["form"]["sum"], entry["number"], entry))
        self.mistakes.sort(key=lambda mistake: mistake[:2])
        del self.mistakes[MISTAKES:]

    def _average(self, label: str, form: Mapping[str, Any], border: float) -> None:
        scores, grid = np.asarray(form["scores"], float), form["grid"]
        known = self.classes.setdefault(
            label,
            {"images": 0, "averaged": 0, "sum": np.zeros_like(scores), "border": 0.0}
            | {"cell_width": grid["dx"], "cell_height": grid["dy"]},
        )
        known["images"] += 1
        known["border"] += border
        if known["sum"].shape == scores.shape:
            known["sum"] += scores
            known["averaged"] += 1

    def _row(self, entry: Mapping[str, Any], page: int) -> list[Any]:
        """[number, id, predicted, probability, gold, name, page, places with their signs]."""
        form = entry["form"]
        regions = image_map(form).regions[:_PLACES]
        signs = dict.fromkeys(
            (self.places.setdefault(one.where, len(self.places)) + 1) * (1 if one.score > 0 else -1) for one in regions
        )
        id_ = form.get("id") or str(entry["number"])
        answer = form["prediction"]
        name = form["image"].get("name") or f"image {id_}"
        return [entry["number"], id_, answer["label"], answer["probability"], entry["gold"], name, page, list(signs)]

    def report(self) -> dict[str, Any]:
        """What `image_report` shows."""
        images, labelled = self.counts["images"], self.counts["labelled"]
        on_border, of_cells = self.border / images
        return {
            **{name: self.counts[name] for name in ("images", "labelled", "with_empty", "as_empty")},
            "accuracy": self.counts["right"] / labelled if labelled else None,
            "border_share": float(on_border),
            "border_cells": float(of_cells),
            "confusion": {label: dict(row) for label, row in self.confusion.items()},
            "classes": {label: self._of_class(label) for label in self._shown()},
            "mistakes": [entry for _, _, entry in self.mistakes],
            "example": self.example,
        }

    def _shown(self) -> Sequence[str]:
        """Classes in id order: those predicted, labelled or explained, where a model has very many."""
        met = {*self.confusion, *(one for row in self.confusion.values() for one in row), *self.classes}
        others = [label for label in self.classes if label not in self.labels]
        return [label for label in self.labels if label in met] + others

    def _of_class(self, label: str) -> dict[str, Any]:
        known = self.classes.get(label)
        if known is None:
            return {"images": 0, "averaged": 0, "mean": None, "border_share": 0.0, "cell_width": 1, "cell_height": 1}
        return {
            **{name: known[name] for name in ("images", "averaged", "cell_width", "cell_height")},
            "mean": (known["sum"] / known["averaged"]).tolist(),
            "border_share": known["border"] / known["images"],
        }
