# SPDX-License-Identifier: Apache-2.0
"""What is done to a graph as a file: its axes named, its opset read, its matrices quantised, a session opened."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NARROW = 64  # columns of a matrix that int8 leaves as it is: it reads scores or classes
_TALKATIVE = (
    "",
    "torch.__trace",
    "torch.onnx",
    "torch.onnx._internal.exporter._registration",
    "torch.export",
    "onnxscript",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the remarks of torch's exporter; errors come through."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def open_session(path: Path, threads: int | None = None, providers: Sequence[Any] | None = None) -> Any:
    """ONNX Runtime's session of a graph, on the CPU where no providers are named.

    Raises:
        ValueError: onnxruntime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers or ["CPUExecutionProvider"]))
    except Exception as error:  # of onnxruntime, which has no common kind
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not a graph that onnxruntime can run: {reason}") from error


def name_axes(path: Path) -> None:
    """Calls the free axes "batch" and "tokens", whatever torch called them."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    first = model.graph.input[0].type.tensor_type.shape.dim
    names = {dim.dim_param: name for dim, name in zip(first, ("batch", "tokens"), strict=True) if dim.dim_param}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]
    onnx.save(model, str(path))


def opset_of(path: Path) -> int:
    """Of the ONNX standard, that a graph was written in."""
    import onnx

    opsets = onnx.load(str(path), load_external_data=False).opset_import
    return int(next(one.version for one in opsets if one.domain in ("", "ai.onnx")))


def quantise(path: Path) -> None:
    """Makes 8-bit integers of the constant matrices of a graph, in place, but for narrow ones.

    onnxruntime's dynamic quantisation: weights by column and beforehand, what they are multiplied with at run time.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    result = path.with_name("int8.onnx")
    with quiet():
        quantize_dynamic(
            str(path), str(result), weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=_narrow_nodes(path)
        )
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    os.replace(result, path)


def _narrow_nodes(path: Path) -> list[str]:
    """Names of the products with constant matrices of few columns."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    shapes = {constant.name: list(constant.dims) for constant in graph.initializer}
    names = []
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            turned = any(one.name == "transB" and one.i for one in node.attribute)
            shape = shapes.get(node.input[1], [])
            if shape and shape[0 if turned else -1] < _NARROW:
                names.append(node.name)
    return names
