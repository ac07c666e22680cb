# SPDX-License-Identifier: Apache-2.0
"""Devices and dtypes asked for by name, checked before any weight is loaded."""

from __future__ import annotations

import torch
from torch import nn

FLOAT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def resolve(
    device: str | torch.device | None, dtype: str | torch.dtype | None
) -> tuple[torch.device, torch.dtype | None]:
    """The device (the CPU by default) and the dtype (`None`: as the checkpoint says) that were asked for.

    Raises:
        ValueError: no such device or dtype, or a dtype that the device cannot compute in.
    """
    try:
        where = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise ValueError(f"device must name a torch device such as 'cpu' or 'cuda:0', got {device!r}.") from error
    if where.type == "meta":
        raise ValueError("device must hold data, got 'meta', which knows shapes alone.")
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and kind not in FLOAT_DTYPES:
        raise ValueError(f"dtype must be float32, bfloat16 or float16, got {dtype!r}.")
    try:
        ones = torch.ones(2, 2, dtype=kind or torch.float32, device=where)
        nn.functional.layer_norm(ones @ ones, (2,))
    except (RuntimeError, TypeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(where)!r} cannot compute in {kind or torch.float32}: {reason}") from error
    return where, kind
