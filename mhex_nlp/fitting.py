# SPDX-License-Identifier: Apache-2.0
"""`fit_equivalent_matrices`: closed-form equivalent matrices that explain the model's own behaviour under removal.

Ours, beyond the paper. For a text with content tokens N and a subset S, v(S) is the model's (contrasted) logits when
only S is kept. Token scores phi[t] = W f[t], read off the states of one forward pass over the whole text, are to
satisfy sum over S of phi = v(S) - v(empty) for random S: a ridge regression, since f is fixed.

Axes: T tokens, N content tokens, S subsets, F features, C labels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from . import judging
from .batching import token_batches
from .classes import ClassTable
from .inputs import (
    TokenisedText,
    check_pairs,
    check_texts,
    collate_features,
    end_count,
    forward_batches,
    longest_input,
    pad_id,
    tokenise,
)
from .judging import Rows
from .modeling import MhexMixin, forward_arguments
from .modes import evaluating
from .removal import Removal, choose_removal, remove
from .ridge import RidgeStream
from .sites import find_site

STRENGTHS = tuple(10.0**power for power in range(-7, 0))
MIN_TEXTS = 20
MAX_HELD_OUT = 300  # more would only make the choice slower, and memory grow
_CHUNK = 32  # texts whose rows are made together


@dataclass(frozen=True, slots=True)
class FitReport:
    """How far the fitted scores can be trusted, on held-out texts; kept in `config.mhex_fit`.

    `skill` = 1 - SSE / SSE of spreading the text's total evenly over its tokens: 0 says nothing about single tokens, 1
    predicts every masked output. `r2` is the plain share of variance. Both on random subsets only, after adding to each
    content token the same share of what the scores miss of the whole. `base_error`: mean and 95th percentile of
    |base value - v(empty)|.
    """

    skill: float
    skill_interval: tuple[float, float]  # 95 %, bootstrap over held-out texts
    r2: float
    base_error: tuple[float, float]
    depth_share: tuple[float, ...]  # of the mean absolute score, one value a depth read
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    strength: float
    texts: int
    held_out: int
    masks: int
    rows: int
    removal: str
    contrast: str
    seed: int
    seconds: float

    @property
    def trusted(self) -> bool:
        """Whether the lower end of the skill's interval is above 0."""
        return self.skill_interval[0] > 0

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def fit_equivalent_matrices(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    masks: int = 8,
    held_out: float = 0.1,
    max_features: int = 8192,
    removal: str = "auto",
    seed: int = 0,
    batch_tokens: int = 4096,
    progress: bool = True,
) -> FitReport:
    """Fits the model's equivalent matrices to its behaviour on `texts`; no labels are needed, no weight changes.

    Afterwards `MhexExplainer` uses them by default, `save_pretrained` keeps them, and the supervised ones stay.

    Args:
        model: a model with heads, trained or not, gates on or off.
        tokenizer: its fast tokenizer.
        texts: some thousand texts of the kind to be explained.
        text_pairs: second halves, one for each text.
        masks: random subsets per text, in complementary pairs.
        held_out: share of the texts on which the fit is judged and the ridge strength chosen.
        max_features: depths are thinned evenly until the features are no more than this.
        removal: "mask", "attention", or "auto": by mask token where the tokenizer has one.
        seed: of the split and of the subsets.
        batch_tokens: texts times longest text of one batch.
        progress: show a bar on a terminal.

    Raises:
        ValueError: a model without heads, a slow tokenizer, too few texts, an option out of range.
        MemoryError: the features would not fit into half of the free memory.
    """
    start = time.perf_counter()
    if not isinstance(model, MhexMixin):
        raise ValueError(
            f"model must have MHEX heads, got {type(model).__name__}; get_mhex_model(model) gives it some."
        )
    if isinstance(masks, bool) or not isinstance(masks, int) or masks < 2:
        raise ValueError(f"masks must be an integer of at least 2, got {masks!r}.")
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be between 0 and 1, got {held_out!r}.")
    checked = check_texts(texts, "texts")
    pairs = check_pairs(checked, text_pairs)
    if len(checked) < MIN_TEXTS:
        raise ValueError(f"texts must be at least {MIN_TEXTS} to fit, got {len(checked)}; some thousand are better.")
    source = _RowSource(model, tokenizer, removal, masks, batch_tokens)
    order = np.random.default_rng(seed).permutation(len(checked)).tolist()
    judged = min(max(round(held_out * len(checked)), 5), MAX_HELD_OUT)
    judges, learners = order[:judged], order[judged:]

    def rows(indices: Sequence[int], say: str) -> Iterator[Rows]:
        starts = range(0, len(indices), _CHUNK)
        bar = track(starts, say, console=Console(stderr=True), disable=not (progress and sys.stderr.isatty()))
        for begin in bar:
            chosen = indices[begin : begin + _CHUNK]
            yield from source.rows(
                [checked[i] for i in chosen], None if pairs is None else [pairs[i] for i in chosen], chosen, seed
            )

    with evaluating(model), torch.inference_mode():
        widths = source.widths(checked[0], None if pairs is None else pairs[0])
        depths = _thin(widths, max_features)
        source.depths = depths
        features = 1 + sum(widths[depth] for depth in depths)
        stream = RidgeStream(features, model.config.num_labels)
        for each in rows(learners, "Fitting"):
            stream.add(each.sums, each.values)
        held = list(rows(judges, "Judging"))
        weights, strength = max(
            ((stream.solve(strength), strength) for strength in STRENGTHS),
            key=lambda found: judging.skill(found[0], held),
        )
    errors = judging.errors(weights, held)
    low, high = judging.interval(errors, seed)
    base = np.array([float((each.values[-1] - each.sums[-1].double() @ weights)[each.target].abs()) for each in held])
    report = FitReport(
        skill=judging.ratio(errors),
        skill_interval=(low, high),
        r2=judging.r2(weights, held),
        base_error=(float(base.mean()), float(np.quantile(base, 0.95))),
        depth_share=judging.depth_share(weights, held, [widths[depth] for depth in depths]),
        depths=tuple(depths),
        widths=tuple(widths[depth] for depth in depths),
        strength=strength,
        texts=len(learners),
        held_out=len(held),
        masks=masks,
        rows=stream.rows,
        removal=source.removal,
        contrast=source.contrast,
        seed=seed,
        seconds=round(time.perf_counter() - start, 1),
    )
    readout = model.add_readout(report.to_dict())
    with torch.no_grad():
        readout.fill(weights.float())
    readout.to(device=model.device, dtype=model.dtype)
    return report


class _RowSource:
    """Makes the regression's rows: one forward pass over a text, and one over each of its subsets."""

    def __init__(self, model: Any, tokenizer: Any, removal: str, masks: int, batch_tokens: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"tokenizer must be a fast tokenizer, got a slow {type(tokenizer).__name__}.")
        token_batches([], batch_tokens)
        self.model, self.tokenizer, self.masks, self.batch_tokens = model, tokenizer, masks, batch_tokens
        self.removal: Removal = choose_removal(removal, tokenizer.mask_token_id)
        self.contrast = "centred" if ClassTable(model.config).exclusive else "none"
        self.site = find_site(model.config.model_type)
        self.pad = pad_id(model.config, tokenizer, self.site)
        self.accepts = forward_arguments(model)
        if self.removal == "deletion":
            raise ValueError(
                "removal must be 'mask', 'attention' or 'auto' to fit, got 'deletion', which moves tokens."
            )
        if self.removal == "attention" and ("attention_mask" not in self.accepts or model.config.is_encoder_decoder):
            raise ValueError(
                "removal='attention' needs a model that takes an attention mask and has no decoder beside its encoder, "
                f"got {type(model).__name__}: use removal='mask'."
            )
        self.depths: Sequence[int] = ()
        self._longest = longest_input(tokenizer, model.config, self.site)

    def widths(self, text: str, pair: str | None) -> list[int]:
        """The width of every depth's states."""
        (item,) = tokenise(self.tokenizer, [text], None if pair is None else [pair], self._longest, self.accepts)
        return [state.shape[-1] for state in self._forward([dict(item.features)], states=True).states]

    def rows(
        self, texts: Sequence[str], pairs: Sequence[str] | None, names: Sequence[int], seed: int
    ) -> Iterator[Rows]:
        """The rows of each text; the subsets depend on the text's own number and the seed alone."""
        items = tokenise(self.tokenizer, texts, pairs, self._longest, self.accepts)
        subsets = [
            _subsets(len(item.content_positions(self.site.causal)), self.masks, np.random.default_rng([seed, name]))
            for item, name in zip(items, names, strict=True)
        ]
        variants: list[dict[str, Tensor]] = []
        for item, kept in zip(items, subsets, strict=True):
            content = item.content_positions(self.site.causal)
            removed = torch.zeros(len(kept) + 1, len(item), dtype=torch.bool)  # the last one keeps nothing
            removed[:-1, content] = ~kept
            removed[-1, content] = True
            special = torch.ones(len(item), dtype=torch.bool)
            special[content] = False
            variants += remove(
                dict(item.features), removed, self.removal, self.tokenizer.mask_token_id, special=special
            )
        logits = self._logits(variants)
        states = self._states(items)
        position = 0
        for item, kept, own in zip(items, subsets, states, strict=True):
            found = logits[position : position + len(kept) + 1]
            position += len(kept) + 1
            content = item.content_positions(self.site.causal)
            sums = kept.to(own.dtype) @ own[content]
            yield Rows(sums, found[:-1] - found[-1], kept.sum(1), int(found[-2].argmax()))

    def _forward(self, features: Sequence[dict[str, Tensor]], states: bool) -> Any:
        batch = collate_features(features, self.pad or 0, self.accepts)
        device = self.model.device
        return self.model(**{k: v.to(device) for k, v in batch.items()}, output_states=states, return_dict=True)

    def _batches(self, rows: Sequence[Tensor]) -> Iterator[list[int]]:
        """Indices of the (T,) input ids that go through the model together."""
        config = self.model.config
        ends = [end_count(ids, config) for ids in rows]
        return forward_batches([len(ids) for ids in rows], self.batch_tokens, config, self.site, self.pad, ends)

    def _logits(self, variants: Sequence[dict[str, Tensor]]) -> Tensor:
        """(S, C) float32 on the CPU, contrasted."""
        found = torch.empty(len(variants), self.model.config.num_labels)
        for batch in self._batches([each["input_ids"] for each in variants]):
            output = self._forward([variants[index] for index in batch], states=False)
            found[batch] = output.logits.float().cpu()
        if not torch.isfinite(found).all():
            raise ValueError("the model's logits are not finite, so nothing can be fitted.")
        return found - found.mean(-1, keepdim=True) if self.contrast == "centred" else found

    def _states(self, items: Sequence[TokenisedText]) -> list[Tensor]:
        """(T, F) float32 for each text: a one for the constant, then its states at every depth read."""
        found: dict[int, Tensor] = {}
        for batch in self._batches([item.features["input_ids"] for item in items]):
            output = self._forward([dict(items[index].features) for index in batch], states=True)
            joined = torch.cat([output.states[depth].float().cpu() for depth in self.depths], dim=-1)
            for row, index in enumerate(batch):
                own = joined[row, : len(items[index])]
                found[index] = torch.cat([own.new_ones(len(own), 1), own], dim=1)
        return [found[index] for index in range(len(items))]


def _subsets(content: int, masks: int, generator: np.random.Generator) -> Tensor:
    """(S, N) bool: random subsets with sizes drawn uniformly, each with its complement, and the whole set last."""
    whole = np.ones((1, content), dtype=bool)
    if content < 2:
        return torch.from_numpy(whole)
    kept = np.zeros((masks // 2, content), dtype=bool)
    for row in kept:
        row[generator.permutation(content)[: generator.integers(1, content)]] = True
    return torch.from_numpy(np.concatenate([kept, ~kept, whole]))


def _thin(widths: Sequence[int], max_features: int) -> list[int]:
    """Depths, evenly thinned until their features fit; the first and the last are kept."""
    if 1 + widths[0] + widths[-1] > max_features:
        raise ValueError(
            f"max_features must be at least {1 + widths[0] + widths[-1]}, the first and last depth, got {max_features}."
        )
    for count in range(len(widths), 1, -1):
        depths = sorted({round(i) for i in np.linspace(0, len(widths) - 1, count)})
        if 1 + sum(widths[depth] for depth in depths) <= max_features:
            return depths
    raise AssertionError("two depths fit, as checked above")
