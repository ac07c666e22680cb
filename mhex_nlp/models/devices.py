# SPDX-License-Identifier: Apache-2.0
"""Devices and dtypes asked for by name, checked before any weight is loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

FLOAT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def resolve(
    device: str | torch.device | None, dtype: str | torch.dtype | None
) -> tuple[torch.device, torch.dtype | None]:
    """Check device and dtype; without a device it is the CPU, and `None` keeps the checkpoint's dtype.

    Raises:
        ValueError: no such device or dtype, or a dtype that the device cannot compute in.
    """
    try:
        chosen = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise ValueError(f"device must name a torch device such as 'cpu' or 'cuda:0', got {device!r}.") from error
    if chosen.type == "meta":
        raise ValueError("device must hold data, got 'meta', which knows shapes alone.")
    torch_dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and torch_dtype not in FLOAT_DTYPES:
        raise ValueError(f"dtype must be float32, bfloat16 or float16, got {dtype!r}.")
    try:
        ones = torch.ones(2, 2, dtype=torch_dtype or torch.float32, device=chosen)
        nn.functional.layer_norm(ones @ ones, (2,))
    except (RuntimeError, TypeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {str(chosen)!r} cannot compute in {torch_dtype or torch.float32}: {reason}"
        ) from error
    return chosen, torch_dtype


def load_model(
    auto_class: Any,
    name: str,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """The model of a folder or the hub by `auto_class.from_pretrained`, on its device and in eval mode.

    Raises:
        ValueError: as `resolve`, before any weight is loaded.
    """
    torch_device, torch_dtype = resolve(device, dtype)
    loading = {} if torch_dtype is None else {"dtype": torch_dtype}
    return auto_class.from_pretrained(name, revision=revision, **loading).to(torch_device).eval()
