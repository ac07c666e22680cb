# SPDX-License-Identifier: Apache-2.0
"""The rows of a fit at positions: what a model says at places of a text when parts of it are removed.

One masked pass serves all places of its text, so that places cost rows and no passes. The fit learns from the game in
which the place's own token is a player like others. It is judged where the place is always kept: its own token decides
most of what is said there, and says nothing of the other tokens' scores (both ours, beyond the paper).

Axes: P places, T tokens, N content tokens, S subsets, F features, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...explain.skill import Rows
from ...inputs.checks import as_integer
from ...inputs.encoding import TokenisedText, positions_of
from ...inputs.removal import random_subsets
from ...models.fit_reader import refuse_unfollowed
from ...models.heads.readout import FeatureLayout
from ...models.padding import TokenMask
from ...models.path_gradients import integrated_gradients
from ...models.perturbed import check_finite_logits
from ...models.tasks import module_of, question_answering, sequence_classification
from ...models.tasks.question_answering import best_span
from ...models.tasks.token_classification import outside_label
from .equations import EquationSource

PositionKind = Literal["predicted", "all"]
_OWN_DEPTHS = 4  # states of a place that are read: more say nearly the same


class _Places(NamedTuple):
    """The places of one text, and which label each is judged by: `None` for all."""

    positions: list[int]
    labels: Sequence[int | None]


class _Read(NamedTuple):
    """What one pass says at the places of a text: (S, F) sums of features and (C,) contrasted logits of each."""

    places: list[int]
    labels: Sequence[int | None]
    sums: list[Tensor]
    logits: Tensor


class PlaceSource(EquationSource):
    """Makes the rows of a fit at positions, one `Rows` for each place of a text.

    Args:
        model, tokenizer, removal, masks, batch_tokens: as for `EquationSource`.
        positions: "predicted": the positions that are in an entity as predicted, first tokens of words alone, filled up
            to `per_text` with others of the same text; "all": any. Of question answering, start and end of the answer.
        per_text: places of a text, at the most.
        kept: keep the place in every subset, and take predicted positions alone: rows to judge by.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        removal: str,
        masks: int,
        batch_tokens: int,
        *,
        positions: str = "predicted",
        per_text: int = 5,
        kept: bool = False,
    ) -> None:
        super().__init__(model, tokenizer, removal, masks, batch_tokens)
        self.positions, self.per_text, self.kept = positions, per_text, kept
        self.answers = self.perturbed.task == "question_answering"
        if self.answers:
            self.contrast = "none"  # start and end logits are centred over positions instead
        self._task = module_of(model)
        self._feature_tokens = max(batch_tokens // per_text, 1)  # of one batch with flow into each place

    def find_layout(self, text: str, pair: str | None) -> FeatureLayout:
        """All that can be read of this model at a place, seen in one forward pass.

        Raises:
            ValueError: a family whose attention cannot be followed.
        """
        (item,) = self.perturbed.tokenise([text], None if pair is None else [pair])
        output = self._pass([item], torch.zeros(1, 1, dtype=torch.long))
        if not output.attention_flow:
            refuse_unfollowed(self.model)
        widths = tuple(state.shape[-1] for state in output.states)
        flows = (0, *(flow.shape[-1] for flow in output.attention_flow), 0)
        return FeatureLayout(tuple(range(len(widths))), widths, flows, "position").with_own_states(_OWN_DEPTHS)

    @property
    def rows_per_text(self) -> int:
        """How many equations a text has, at the most: some for each place."""
        return super().rows_per_text * self.per_text

    def described(self, judged: int) -> dict[str, Any]:
        """What the report says of places."""
        return {"positions": self.positions, "per_text": self.per_text, "places": judged}

    def content_sizes(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[int]:
        """How many tokens of each text can be removed, 0 where it has no place."""
        items = self.perturbed.tokenise(texts, pairs)
        nothing = [torch.zeros(0, len(item.content_positions(False)) - self.kept) for item in items]
        whole = self._read(items, nothing, [0] * len(items), 0)
        return [
            len(item.content_positions(False)) - self.kept if read.places else 0
            for item, read in zip(items, whole, strict=True)
        ]

    def rows(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        numbers: Sequence[int],
        seed: int,
        masks: int | None = None,
    ) -> Iterator[Rows]:
        """The rows of each place of each text; texts without any have none."""
        items = self.perturbed.tokenise(texts, pairs)
        subsets = [
            random_subsets(max(len(item.content_positions(False)) - self.kept, 1), masks or self.masks, [seed, number])
            for item, number in zip(items, numbers, strict=True)
        ]
        whole_texts = self._read(items, subsets, numbers, seed)
        for kept, number, read, answers in zip(
            subsets, numbers, whole_texts, self._answers(items, subsets, whole_texts), strict=True
        ):
            for index, label in enumerate(read.labels):
                answer, whole = answers[index], read.logits[index]
                values = torch.cat([answer[:-1], whole[None]]) - answer[-1]
                target = int(whole.argmax()) if label is None else label
                yield Rows(read.sums[index], values, kept.sum(1), target, number, label)

    def gradients(
        self, texts: Sequence[str], pairs: Sequence[str] | None, contrast: Tensor, steps: int, seed: Sequence[int]
    ) -> NDArray[np.float64] | None:
        """Of the text's first place, which stays; (N,) of the other tokens."""
        (item,) = self.perturbed.tokenise(texts, pairs)
        nothing = torch.zeros(0, len(item.content_positions(False)) - self.kept)
        (read,) = self._read([item], [nothing], [seed[-1]], seed[0])
        place, weights = read.places[0], torch.zeros(1, len(item), len(contrast), dtype=torch.float64)
        weights[0, place] = contrast
        scores = integrated_gradients(self.perturbed, [replace(item, own=frozenset([place]))], weights, steps)
        return None if scores is None else scores[0].numpy()

    def _answers(
        self, items: Sequence[TokenisedText], subsets: Sequence[Tensor], read: Sequence[_Read]
    ) -> list[list[Tensor]]:
        """(S, C) for each place of each text: answers to its subsets, the last, the whole, being the empty one here."""
        runs: list[tuple[TokenisedText, Tensor, list[int]]] = []  # some places of a text, which share their subsets
        for item, kept, places in zip(items, subsets, (text.places for text in read), strict=True):
            answered = torch.cat([kept[:-1], torch.zeros_like(kept[-1:])])
            if not self.kept:
                runs += [(item, answered, places)] if places else []
                continue
            content, always = item.content_positions(False), torch.ones(len(kept), 1, dtype=torch.bool)
            for place in places:
                at = content.index(place)
                runs.append((item, torch.cat([answered[:, :at], always, answered[:, at:]], dim=1), [place]))
        if not runs:
            return [[] for _ in read]
        said = self.perturbed.kept_place_logits(*zip(*runs, strict=True))  # (S, P, C) of each run
        by_place = iter(self.contrasted(part) for answers in said for part in answers.unbind(1))
        return [[next(by_place) for _ in text.places] for text in read]

    def _read(
        self, items: Sequence[TokenisedText], subsets: Sequence[Tensor], numbers: Sequence[int], seed: int
    ) -> list[_Read]:
        """What one pass over each whole text says at its places, with features summed over the subsets (S, N)."""
        read: dict[int, _Read] = {}
        ids = [item.features["input_ids"] for item in items]
        for batch in self.perturbed.batcher.indices(ids, self._feature_tokens):
            chosen: list[_Places] = []
            lengths = [len(items[index]) for index in batch]
            real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
            mask = TokenMask(real.to(self.model.device), max(lengths))

            def choose(logits: Tensor, batch: list[int] = batch, chosen: list[_Places] = chosen) -> Tensor:
                for row, index in zip(check_finite_logits(logits.float().cpu()), batch, strict=True):
                    chosen.append(self._places(items[index], row, [seed, numbers[index]]))
                rows = [torch.tensor(places.positions, dtype=torch.long) for places in chosen]
                return pad_sequence(rows, batch_first=True, padding_value=-1).to(logits.device)

            output = self._pass([items[index] for index in batch], choose)
            said = self.contrasted(self._task.position_logits(output, mask, centred=True).float().cpu())
            starts = self._task.start_rows(output.attribution_positions, max(lengths), mask)
            for row, index in enumerate(batch):
                tokens, places = slice(lengths[row]), chosen[row].positions
                content, kept = items[index].content_positions(False), subsets[index]
                states = [state[row, tokens] for state in output.states]
                flows = [flow[row, : len(places), tokens] for flow in output.attention_flow]
                features = self.layout.join_at(states, flows, starts[row, : len(places), tokens])  # (P, T, F)
                players = [[p for p in content if not (self.kept and p == place)] for place in places]
                sums = [kept.float() @ part[tokens] for part, tokens in zip(features, players, strict=True)]
                read[index] = _Read(*chosen[row], sums, said[row, places])
        return [read[index] for index in range(len(items))]

    def _pass(self, items: Sequence[TokenisedText], positions: Any) -> Any:
        """One batch with the states of every depth, and the flow into each place."""
        batch = self.perturbed.batcher.collate([item.features for item in items])
        options = {"output_states": True, "output_head_logits": False, "return_dict": True}
        return self.model(**batch, positions=positions, **options)

    def _places(self, item: TokenisedText, logits: Tensor, seed: Sequence[int]) -> _Places:
        """The places of a text, by the (T, C) logits at its tokens; none where there is nothing beside a place."""
        if len(item.content_positions(False)) <= self.kept:
            return _Places([], [])
        if self.answers:
            context = positions_of(item.encoding, 1)
            span = best_span(logits[context]) if context else None
            ends = [] if span is None else [context[index] for index in span[: self.per_text]]
            return _Places(ends, list(range(len(ends))))
        starts, outside = item.word_starts(), outside_label(self.model.config)
        predicted = [p for p in starts if outside is None or int(logits[p].argmax()) != outside]
        draw = np.random.default_rng([*seed, 1])
        if self.kept or self.positions == "predicted":
            places = draw.permutation(predicted).tolist()
            others = [] if self.kept or not places else draw.permutation(sorted({*starts} - {*places})).tolist()
            places = [*places, *others]
        else:
            places = draw.permutation(starts).tolist()
        places = [int(place) for place in places[: self.per_text]]
        return _Places(places, [None] * len(places))


class Sources(NamedTuple):
    """Where rows come from: those learnt from, those judged by, and for `attainable` those of one place a text."""

    learn: EquationSource
    judge: EquationSource
    measure: EquationSource


def find_sources(
    model: Any,
    tokenizer: Any,
    removal: str,
    masks: int,
    batch_tokens: int,
    *,
    positions: str,
    per_text: int,
    paired: bool,
) -> Sources:
    """The sources for a model of any task; `paired` texts have second halves.

    Raises:
        ValueError: bad `positions` or `per_text`, or question answering without contexts.
    """
    if positions not in get_args(PositionKind):
        raise ValueError(f"positions must be one of {list(get_args(PositionKind))}, got {positions!r}.")
    per_text = as_integer(per_text, "per_text", at_least=1)
    settings = (model, tokenizer, removal, masks, batch_tokens)
    if module_of(model) is sequence_classification:
        source = EquationSource(*settings)
        return Sources(source, source, source)
    if module_of(model) is question_answering:
        if not paired:
            raise ValueError("text_pairs must be the contexts of the questions in texts, got None.")
        per_text = 2
    return Sources(
        PlaceSource(*settings, positions=positions, per_text=per_text),
        PlaceSource(*settings, per_text=per_text, kept=True),
        PlaceSource(*settings, per_text=1, kept=True),
    )
