# SPDX-License-Identifier: Apache-2.0
"""Fitted matrices of an image classifier, plain or with heads: put into it, read, and what they say of cells.

Axes: B images, N cells, L depths read, C labels, K maps asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .fit_record import IMAGES, check_fit
from .heads.readout import FeatureLayout, FittedReadout
from .image_states import SpatialStates


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

    Only the rows that are asked for are made of the matrices first, so that thousands of labels cost nothing.

    Args:
        contrasts: (B, K, C) float32: the weights of the labels in each map.
    """
    device = states.states[0].device
    contrasts = contrasts.to(device)
    by_depth = []
    for depth, flow_width in zip(readout.layout.depths, readout.layout.flow_widths, strict=True):
        score = _said(getattr(readout, f"depth_{depth}"), states.states[depth], contrasts)
        if flow_width:
            if not states.flows:
                raise RuntimeError(
                    "the fitted matrices read what reaches the label through attention, which this attention "
                    "implementation does not show: call model.set_attn_implementation('sdpa'), or fit again."
                )
            score = score + _said(getattr(readout, f"write_{depth}"), states.flows[depth - 1], contrasts)
        by_depth.append(score)
    by_depth[0] = by_depth[0] + (contrasts @ readout.constant.to(device).float())[..., None]
    return torch.stack(by_depth, dim=2)


def _said(matrix: Tensor, features: Tensor, contrasts: Tensor) -> Tensor:
    """(C, D) on (B, N, D), for (B, K, C) contrasts of the labels: (B, K, N)."""
    if matrix.shape[-1] != features.shape[-1]:
        raise ValueError(f"fitted matrices for states of {matrix.shape[-1]} units got states of {features.shape[-1]}.")
    rows = contrasts @ matrix.to(features.device).float()  # (B, K, D)
    return rows @ features.transpose(1, 2)
