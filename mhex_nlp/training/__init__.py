# SPDX-License-Identifier: Apache-2.0
"""Training with heads: what a plain Trainer needs beside the model, and a short accelerate loop.

Names only, handed on lazily (PEP 562): the callback needs no datasets, and the loop needs no Trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

_HOMES = {
    "FinetuneConfig": "finetuning.config",
    "MhexCallback": "callback",
    "finetune": "finetuning.run",
    "load_splits": "finetuning.data",
    "mhex_param_groups": "optimizer",
}
__all__ = [*sorted(_HOMES)]

if TYPE_CHECKING:
    from .callback import MhexCallback as MhexCallback
    from .finetuning.config import FinetuneConfig as FinetuneConfig
    from .finetuning.data import load_splits as load_splits
    from .finetuning.run import finetune as finetune
    from .optimizer import mhex_param_groups as mhex_param_groups

__getattr__ = lazy_names(__name__, _HOMES)
