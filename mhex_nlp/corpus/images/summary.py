# SPDX-License-Identifier: Apache-2.0
"""What a corpus of images says as a whole: answers, errors against labels, evidence on the border."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...render.image_report import border_share
from ..summary import CorpusSummary


class ImageSummary(CorpusSummary):
    """Counts and sums over images, for a part or added up over parts; there are no words in them."""

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        super().__init__(labels)
        self.border = [0.0, 0.0]  # summed shares of evidence, and of cells, on the border
        self.as_empty = 0  # images that the model answers as it does one with nothing in it

    def add(self, row: Any, gold: Any) -> None:
        """Counts one image that was just explained; `gold` is its right class."""
        form: dict[str, Any] = row.form()
        predicted, empty = form["prediction"]["label"], form.get("empty") or {}
        self.labels = tuple(form["prediction"].get("probabilities") or self.labels)
        self.count_text(
            target=form["target"]["label"],
            predicted=predicted,
            gold=gold,
            words=(),
            covariance=None,
            special=0.0,
            truncated=False,
            windowed=False,
        )
        self.border = [sum(pair) for pair in zip(self.border, border_share(form["scores"]), strict=True)]
        self.as_empty += empty.get("label") == predicted

    def to_record(self) -> dict[str, Any]:
        """The counts as JSON."""
        images = {"border": self.border, "as_empty": self.as_empty, "labels": list(self.labels)}
        return {**super().to_record(), "images": images}

    def merge(self, record: Mapping[str, Any]) -> None:
        """Adds what `to_record` gave of other images."""
        super().merge(record)
        images = record["images"]
        self.border = [sum(pair) for pair in zip(self.border, images["border"], strict=True)]
        self.as_empty += images["as_empty"]
        self.labels = self.labels or tuple(images["labels"])

    def report(self, top: int = 30) -> dict[str, Any]:
        """The summary as JSON."""
        texts = super().report(top)
        count = max(self.texts, 1)
        return {
            "kind": "image",
            "images": self.texts,
            "as_empty": self.as_empty,
            "border_share": self.border[0] / count,
            "border_cells": self.border[1] / count,
            **{name: texts[name] for name in ("labelled", "accuracy", "confusion")},
            "classes": {
                label: {"images": of_class["texts"], "predicted": of_class["predicted"]}
                for label, of_class in texts["classes"].items()
            },
        }
