# SPDX-License-Identifier: Apache-2.0
"""Classifiers with their explanations as one graph, for ONNX Runtime, Triton and torch.export; handed on lazily.

`export_onnx` and `export_pt2` need torch; `OnnxExplainer` neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

_HOMES = {"export_onnx": "export", "export_pt2": "export", "GraphExport": "record", "OnnxExplainer": "explainer"}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from .explainer import OnnxExplainer as OnnxExplainer
    from .export import export_onnx as export_onnx
    from .export import export_pt2 as export_pt2
    from .record import GraphExport as GraphExport

__getattr__ = lazy_names(__name__, _HOMES)
