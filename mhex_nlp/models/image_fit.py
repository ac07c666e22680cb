# SPDX-License-Identifier: Apache-2.0
"""Fitted matrices of an image classifier, plain or with heads: put into it, read, and what they say of cells.

Axes: B images, N cells, L depths read, C labels, K maps asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .fit_record import IMAGES, check_fit
from .heads.readout import FeatureLayout, FittedReadout
from .image_states import SpatialStates

_MANY_LABELS = 32  # with fewer, looking for those that count would cost more than it spares
_FEW = 4  # a quarter of the labels are too many to pick their rows one by one


def layout_of(states: SpatialStates) -> FeatureLayout:
    """All that can be read of a model, from one pass over an image."""
    widths = tuple(state.shape[-1] for state in states.states)
    flows = [flow.shape[-1] for flow in states.flows]
    after = len(widths) - len(flows) - 1  # depths after the last layer
    if not flows or after < 0:
        return FeatureLayout(tuple(range(len(widths))), widths, (0,) * len(widths))
    return FeatureLayout(tuple(range(len(widths))), widths, (0, *flows, *[0] * after))


def add_image_fit(model: Any, record: dict[str, Any], weights: Tensor | None = None) -> FittedReadout:
    """Puts fitted matrices into `model.mhex_fit` and their record into `config.mhex_fit`; NaN without `weights` (F, C).

    Raises:
        ValueError: what no fit of images could have said.
    """
    depths = record.get("depths") or [0] if isinstance(record, Mapping) else [0]
    last = max((depth for depth in depths if isinstance(depth, int)), default=0)
    check_fit(record, last + 1, f"the config of {model.config._name_or_path or model.config.model_type}", IMAGES)
    readout = FittedReadout(FeatureLayout.of(record), model.config.num_labels).to(model.device, model.dtype)
    readout.train(model.training).record = record
    if weights is not None:
        with torch.no_grad():
            readout.fill(weights.float())
    model.config.mhex_fit = record
    model.mhex_fit = readout
    return readout


def image_fit_of(model: Any) -> FittedReadout | None:
    """The fitted matrices that a model holds; `None` where it holds none."""
    readout = getattr(model, "mhex_fit", None)
    if not isinstance(readout, FittedReadout) or not readout.filled:
        return None
    if not readout.record and getattr(model.config, "mhex_fit", None):
        readout.record = model.config.mhex_fit
    return readout


def cell_scores(readout: FittedReadout, states: SpatialStates, contrasts: Tensor) -> Tensor:
    """What the matrices say of each cell, by depth: (B, K, L, N) float32; the constant is in the first depth.

    Only the rows that are asked for are made of the matrices first, and of matrices with many labels only the rows of
    those that a map is of are read: thousands of labels cost nothing.

    Args:
        contrasts: (B, K, C) float32: the weights of the labels in each map.
    """
    device = states.states[0].device
    rows = _Rows.of(readout, contrasts, device)
    contrasts, by_depth = contrasts.to(device), []
    for depth, flow_width in zip(readout.layout.depths, readout.layout.flow_widths, strict=True):
        score = rows.said(f"depth_{depth}", states.states[depth])
        if flow_width:
            if not states.flows:
                raise RuntimeError(
                    "the fitted matrices read what reaches the label through attention, which this attention "
                    "implementation does not show: call model.set_attn_implementation('sdpa'), or fit again."
                )
            score = score + rows.said(f"write_{depth}", states.flows[depth - 1])
        by_depth.append(score)
    by_depth[0] = by_depth[0] + (contrasts @ readout.constant.to(device).float())[..., None]
    return torch.stack(by_depth, dim=2)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The weighted rows of matrices (C, D) that maps are made of, (B, K, D): sum over labels of a weight times a row.

    Where all labels but a few have one common weight, as in a contrast with the mean of the labels, these are the rows
    of the few, and the common weight times the sum of all rows, which the read-out keeps.

    Args:
        contrasts: (B, K, labels) float32, the weights, less the common one where there are labels.
        labels: (labels,) int64, those of another weight; `None`: all labels are weighed one by one.
        common: the weight of all others.
    """

    readout: FittedReadout
    contrasts: Tensor
    labels: Tensor | None = None
    common: float = 0.0

    @classmethod
    def of(cls, readout: FittedReadout, contrasts: Tensor, device: torch.device) -> _Rows:
        if contrasts.device.type == "cpu" and contrasts.shape[-1] >= _MANY_LABELS:  # elsewhere one may not look
            common = contrasts.median()
            rest = contrasts - common
            labels = rest.flatten(0, 1).any(0).nonzero()[:, 0]
            if len(labels) * _FEW < contrasts.shape[-1]:
                return cls(readout, rest[..., labels].to(device), labels.to(device), float(common))
        return cls(readout, contrasts.to(device))

    def said(self, name: str, features: Tensor) -> Tensor:
        """(C, D) of this name on (B, N, D): (B, K, N)."""
        matrix: Tensor = getattr(self.readout, name)
        if matrix.shape[-1] != features.shape[-1]:
            raise ValueError(
                f"fitted matrices for states of {matrix.shape[-1]} units got states of {features.shape[-1]}."
            )
        chosen = matrix if self.labels is None else matrix[self.labels]
        rows = self.contrasts @ chosen.to(features.device).float()  # (B, K, D)
        if self.common:
            rows = rows + self.common * self.readout.label_sum(name).to(features.device)
        return rows @ features.transpose(1, 2)
