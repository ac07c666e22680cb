# SPDX-License-Identifier: Apache-2.0
"""The forward passes of an explanation: the one with attributions, and those of a budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..inputs.encoding import TokenisedText
from ..models.batches import InputBatcher
from ..models.eval_mode import run_in_eval_mode
from ..models.heads.attribution import aggregate, depth_weights
from ..models.perturbed import PerturbedModel, check_finite_logits
from .budget import refine_evidence
from .request import Request
from .rounds import refine_in_rounds
from .scores import Evidence, checked_logits, fitted_evidence
from .window_merger import WindowMerger


class EvidenceReader:
    """Runs a model with heads over inputs and reads what heads and model say of them.

    Args:
        model, tokenizer: as for `MhexExplainer`.
        batcher: of the two.
        batch_tokens: texts times longest text of one batch.
    """

    def __init__(self, model: Any, tokenizer: Any, batcher: InputBatcher, batch_tokens: int) -> None:
        self.model, self.tokenizer, self.batcher, self.batch_tokens = model, tokenizer, batcher, batch_tokens

    def texts(self, items: Sequence[TokenisedText], request: Request) -> Iterator[tuple[list[int], Evidence]]:
        """The evidence of texts by batch, with their indices: that of windows joined, and rounds asked.

        Raises:
            ValueError: as `read`; with a tolerance, a foil that the model predicts.
        """
        refine = None
        if request.tolerance is not None:
            refine = partial(refine_in_rounds, request=request, perturbed=self.perturbed(request))
        merger = WindowMerger(items, refine)
        for batch, evidence in self.read(merger.inputs, request):
            yield from merger.add(batch, evidence)

    def read(self, inputs: Sequence[TokenisedText], request: Request) -> Iterator[tuple[list[int], Evidence]]:
        """The evidence of inputs by batch of like length, with their indices; a tolerance is left to `texts`.

        Raises:
            ValueError: logits that are not finite; names the text.
        """
        ids = [item.features["input_ids"] for item in inputs]
        options = {"output_attributions": True, "output_head_logits": request.readout is None, "return_dict": True}
        pinned = {} if request.readout is None else {"mhex_fit": request.readout}
        perturbed = self.perturbed(request) if request.budget and request.tolerance is None else None
        for batch in self.batcher.indices(ids, self.batch_tokens):
            items, fit_holds = [inputs[number] for number in batch], request.check_weights(self.model)
            with torch.inference_mode():
                features = self.batcher.collate([item.features for item in items])
                output = run_in_eval_mode(self.model, {**features, **options}, **pinned)
                evidence = replace(read_evidence(items, output, request), fit_holds=fit_holds)
                if not fit_holds:  # what the fit knows of empty texts is of other weights
                    evidence = replace(evidence, empty=None)
            yield batch, evidence if perturbed is None else refine_evidence(items, evidence, request, perturbed)

    def logits(self, items: Sequence[TokenisedText]) -> NDArray[np.float32]:
        """What the model says of texts, without explaining them: (B, C) float32, those of windows their mean.

        The batches are those of `texts`, so that the bits are, too.

        Raises:
            ValueError: logits that are not finite.
        """
        inputs = [part for item in items for part in item.inputs]
        rows: list[Any] = [None] * len(inputs)
        for batch in self.batcher.indices([item.features["input_ids"] for item in inputs], self.batch_tokens):
            with torch.inference_mode():
                features = self.batcher.collate([inputs[number].features for number in batch])
                options = {"output_head_logits": False, "return_dict": True}
                output = run_in_eval_mode(self.model, {**features, **options})
                logits = check_finite_logits(output.logits.float().cpu())
            for number, row in zip(batch, logits, strict=True):
                rows[number] = row
        of_items = iter(rows)
        return torch.stack([torch.stack([next(of_items) for _ in item.inputs]).mean(0) for item in items]).numpy()

    def perturbed(self, request: Request) -> PerturbedModel:
        """The model asked about texts with parts removed, in the way in which its fit removed them."""
        removal = "auto" if request.fit is None else str(request.fit["removal"])
        return PerturbedModel(self.model, self.tokenizer, removal, self.batch_tokens)


def read_evidence(items: Sequence[TokenisedText], output: Any, request: Request) -> Evidence:
    """What the output of a forward pass with attributions says of its texts.

    Raises:
        ValueError: logits that are not one a class, or not finite; names the text.
    """
    logits = checked_logits(items, output.logits.float().cpu().numpy(), request)
    if request.fit is not None:
        return fitted_evidence(items, output.fitted_attributions.cpu().numpy(), logits, request, request.fit)
    per_depth = output.layer_attributions.cpu()
    weights = depth_weights(request.aggregation, per_depth.shape[2], request.beta)
    explained = aggregate(output.head_logits.cpu(), weights)
    return Evidence((per_depth * weights.to(per_depth)[:, None]).numpy(), logits, explained.numpy())
