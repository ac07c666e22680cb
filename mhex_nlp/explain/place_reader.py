# SPDX-License-Identifier: Apache-2.0
"""The forward passes of explanations at places: one with attributions for all places of a text, and a budget's.

Axes: B inputs of a batch, T tokens, P places of an input, L depths, C labels of the model, K labels explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..inputs.alignment import AlignedToken
from ..inputs.encoding import TokenisedText
from ..models.eval_mode import run_in_eval_mode
from ..models.padding import TokenMask
from ..models.tasks import module_of
from .budget import refine_evidence
from .evidence import EvidenceReader
from .parts import Place
from .places import Choice, Part, PlacedModel, PlaceFinder, Reading, mixed, rows_of
from .request import Request
from .rounds import refine_in_rounds
from .scores import Evidence, Scores, attribute, stack
from .window_merger import join_windows

Find = Callable[[TokenisedText, Request], PlaceFinder]


@dataclass(frozen=True, slots=True)
class TextPlaces:
    """The places of one text with the numbers that explain them, a row each; no numbers where there is none."""

    index: int
    item: TokenisedText
    aligned: Sequence[AlignedToken]
    places: list[Place]
    rows: list[TokenisedText]
    numbers: Scores | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacedBatch:
    """Texts whose last input was in one batch, each with a list of places and rows.

    `evidence` has a row for each input of each row, and is None where no text has a place.
    """

    texts: list[int]
    places: list[list[Place]]
    rows: list[list[TokenisedText]]
    evidence: Evidence | None


class PlaceReader:
    """Runs a model over texts and reads what it says at the places that a finder chooses.

    Args:
        reader: of the model, for its batches.
        find: makes the finder of a text.
    """

    def __init__(self, reader: EvidenceReader, find: Find) -> None:
        self._reader, self._find = reader, find

    def texts(self, items: Sequence[TokenisedText], request: Request) -> Iterator[TextPlaces]:
        """The places of each text, as texts come out of the model.

        Raises:
            ValueError: logits or scores that are not finite, a place that cannot be explained as asked; names the text.
        """
        finders = self.finders(items, request)
        for batch in self.batches(finders, request):
            evidence = batch.evidence
            if evidence is not None and request.budget:
                evidence = self._refined([row for rows in batch.rows for row in rows], evidence, request)
            start = 0
            for text, places, rows in zip(batch.texts, batch.places, batch.rows, strict=True):
                finder, joined = finders[text], list[Evidence]()
                for row in rows:
                    assert evidence is not None
                    of_row = evidence.select(range(start, start + len(row.inputs)))
                    joined.append(join_windows(of_row, row) if row.windows else of_row)
                    start += len(row.inputs)
                numbers = attribute(stack(joined), [row.name for row in rows], request) if rows else None
                yield TextPlaces(text, finder.item, finder.aligned, places, rows, numbers, tuple(finder.notes))

    def finders(self, items: Sequence[TokenisedText], request: Request) -> list[PlaceFinder]:
        """That of each text."""
        return [self._find(item, request) for item in items]

    def placed_model(self, request: Request) -> PlacedModel:
        """The model asked about places of texts with parts removed."""
        return PlacedModel(self._reader.perturbed(request))

    def batches(self, finders: Sequence[PlaceFinder], request: Request) -> Iterator[PlacedBatch]:
        """What one pass says of the places of texts, before any budget.

        Raises:
            ValueError: as `texts`.
        """
        inputs = [part for finder in finders for part in finder.item.inputs]
        owners = [(text, n) for text, finder in enumerate(finders) for n in range(len(finder.item.inputs))]
        ids = [part.features["input_ids"] for part in inputs]
        waiting: dict[int, dict[int, Reading]] = {}
        for batch in self._reader.batcher.indices(ids, self._reader.batch_tokens):
            fit_holds = request.check_weights(self._reader.model)
            of_batch = [(finders[owners[number][0]], owners[number][1]) for number in batch]
            complete, choices, evidence = list[int](), list[list[Choice]](), list[Evidence]()
            for number, reading in zip(batch, self._read(of_batch, request), strict=True):
                text, part = owners[number]
                waiting.setdefault(text, {})[part] = reading
                if len(waiting[text]) == len(finders[text].item.inputs):
                    of_text = waiting.pop(text)
                    readings = [of_text[n] for n in range(len(of_text))]
                    complete.append(text)
                    choices.append(finders[text].choose(readings))
                    evidence += [_evidence(choice, readings, finders[text].item) for choice in choices[-1]]
            rows = [
                [rows_of(choice, finders[text].item) for choice in of_text]
                for text, of_text in zip(complete, choices, strict=True)
            ]
            whole = replace(stack(evidence), fit_holds=fit_holds) if evidence else None
            yield PlacedBatch(complete, [[choice.place for choice in of_text] for of_text in choices], rows, whole)

    def _read(self, inputs: Sequence[tuple[PlaceFinder, int]], request: Request) -> list[Reading]:
        """One pass over a batch."""
        model, batcher = self._reader.model, self._reader.batcher
        items = [finder.item.inputs[number] for finder, number in inputs]
        lengths, wanted = [len(item) for item in items], list[list[int]]()

        def positions(logits: Tensor) -> Tensor:
            rows = [row[:length] for row, length in zip(logits.float().cpu(), lengths, strict=True)]
            wanted[:] = [
                sorted(set(finder.wanted(number, row))) for (finder, number), row in zip(inputs, rows, strict=True)
            ]
            width = max(1, *map(len, wanted))
            padded = [row + [-1] * (width - len(row)) for row in wanted]
            return torch.tensor(padded, dtype=torch.long, device=logits.device)

        options: dict[str, Any] = {"output_head_logits": False, "return_dict": True}
        pinned = {}
        if request.readout is not None:
            options |= {"output_attributions": True, "positions": positions}
            pinned = {"mhex_fit": request.readout}
        with torch.inference_mode():
            features = batcher.collate([item.features for item in items])
            output = run_in_eval_mode(model, {**features, **options}, **pinned)
            mask = TokenMask.of_lengths(lengths, features["input_ids"])
            logits = module_of(model).position_logits(output, mask, centred=True).float().cpu()
            scores = None if request.readout is None else output.fitted_attributions.float().cpu()
        readings = []
        for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
            if not logits[row, :length].isfinite().all():
                raise ValueError(f"the model's logits are not finite, so nothing can be explained: {item.name}.")
            rows = {position: index for index, position in enumerate(wanted[row] if wanted else ())}
            of_row = None if scores is None else scores[row, : len(rows), :length]
            readings.append(Reading(logits[row, :length], rows, of_row))
        return readings

    def _refined(self, rows: Sequence[TokenisedText], evidence: Evidence, request: Request) -> Evidence:
        model: Any = self.placed_model(request)
        if request.tolerance is None:
            return refine_evidence([part for row in rows for part in row.inputs], evidence, request, model)
        return refine_in_rounds(rows, evidence, request, model)


def _evidence(choice: Choice, readings: Sequence[Reading], item: TokenisedText) -> Evidence:
    """That of one place, a row for each of its parts."""
    return stack([_of_part(choice, part, readings[part.number], item.inputs[part.number]) for part in choice.parts])


def _of_part(choice: Choice, part: Part, reading: Reading, source: TokenisedText) -> Evidence:
    logits = mixed(reading.logits[list(part.reads)], part.mix)[None]  # (1, K)
    per_depth = logits.new_zeros(1, len(source), 1, logits.shape[1])
    if reading.scores is not None:
        scores = reading.scores[[reading.rows[position] for position in part.reads]]
        content = source.content_positions(False)  # what the fit never removed has no score
        per_depth = per_depth.repeat(1, 1, scores.shape[2], 1)
        per_depth[0, content] = mixed(scores[:, content], part.mix)
    said = logits.numpy()
    return Evidence(per_depth.numpy(), said, said, answers=(choice.answer,))
