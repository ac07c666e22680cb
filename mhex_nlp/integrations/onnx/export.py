# SPDX-License-Identifier: Apache-2.0
"""`export_onnx` and `export_pt2`: an explainer's model as one graph, from token ids to logits and scores.

Exporting sets torch's own flags for the whole process, so that no other thread should explain meanwhile.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..._version import __version__
from ...explain.explainer import MhexExplainer
from ...inputs.checks import as_integer
from ...inputs.folders import check_replaced, read_object
from ...inputs.tokenizer import private_copy
from ...models.checkpoint import shown_name
from ...models.heads.head import trained
from ...models.plain_pass import PlainPass
from . import graph_files, parity, record, tokenizer
from .parity import LENGTHS, random_inputs
from .record import GraphExport

INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("logits", "scores", "token_scores")
GRAPH = {"onnx": "model.onnx", "pt2": "model.pt2"}
OLDEST_OPSET, OPSET = 18, 20


def export_onnx(
    explainer: MhexExplainer,
    folder: str | PathLike[str],
    *,
    opset: int = OPSET,
    int8: bool = False,
    triton: bool = False,
) -> GraphExport:
    """Writes a folder with `model.onnx`, its tokenizer and its record, which `OnnxExplainer.from_pretrained` reads.

    The graph takes `input_ids`, `attention_mask` and what else the family reads, (B, T) int64 with B and T free, and
    gives `logits` (B, C); `scores` (B, T, C), zero for padding and for ids that the template adds; and `token_scores`,
    the same with those. They are the scores of every class before any contrast. It is what the explainer uses: fitted
    matrices, with the attention flow that they read, or the supervised heads. In texts of more than 128 tokens it looks
    at all rows of the attention, where the explainer merges neighbours. (Long because of its many arguments.)

    Args:
        explainer: its model in float32.
        folder: a new folder, or one that was written here before.
        opset: of the ONNX standard, 18 or later.
        int8: quantise the model's matrices to 8 bits (onnxruntime's dynamic quantisation), not those that read scores.
        triton: write a model repository of Triton Inference Server, `triton/`, as well.

    Returns:
        what was written, with the largest difference of the graph from the model.

    Raises:
        ImportError: the extra `onnx` is not installed.
        TypeError: not a `MhexExplainer`.
        ValueError: a model that is neither fitted nor trained, or not in float32; a fit of other weights; an opset that
            is too old or not known; a family that torch cannot trace; a folder with other files of these names.
        RuntimeError: the graph says something else than the model.
    """
    _check_packages()
    import onnx

    number, newest = as_integer(opset, "opset"), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= number <= newest:
        raise ValueError(
            f"opset must be from {OLDEST_OPSET}, the oldest that torch exports to, to {newest}, the newest that the "
            f"installed onnx knows, got {number}."
        )

    def write(program: Any, path: Path, names: list[str]) -> Callable[..., Any]:
        named: dict[str, Any] = {"input_names": names, "output_names": list(OUTPUTS)}
        with graph_files.quiet():
            graph_of = torch.onnx.export(program, dynamo=True, opset_version=number, verbose=False, **named)
        assert graph_of is not None
        graph_of.save(str(path))
        graph_files.name_axes(path)
        onnx.checker.check_model(str(path), full_check=True)
        session = graph_files.open_session(path)
        return lambda inputs: session.run(list(OUTPUTS), {name: value.numpy() for name, value in inputs.items()})

    finish = graph_files.quantise if int8 else None
    export = _export(explainer, Path(folder), "onnx", write, finish)
    if triton:
        from .triton import write_triton

        write_triton(Path(folder), export, list(export.files))
    return export


def export_pt2(explainer: MhexExplainer, folder: str | PathLike[str]) -> GraphExport:
    """The same as a program of torch.export: `model.pt2` with its tokenizer and its record.

    >>> program = torch.export.load("folder/model.pt2").module()
    >>> logits, scores, token_scores = program(input_ids, attention_mask)

    Raises:
        TypeError, ValueError, RuntimeError: as `export_onnx`.
    """

    def write(program: Any, path: Path, names: list[str]) -> Callable[..., Any]:
        torch.export.save(program, path)
        module = torch.export.load(path).module()
        return lambda inputs: module(*(inputs[name] for name in names))

    return _export(explainer, Path(folder), "pt2", write)


def _export(
    explainer: Any,
    folder: Path,
    kind: str,
    write: Callable[[Any, Path, list[str]], Callable[..., Any]],
    finish: Callable[[Path], None] | None = None,
) -> GraphExport:
    aggregation, fit_holds = _check_explainer(explainer)
    graph, ours = GRAPH[kind], read_object(folder / record.NAME).get("schema") == record.SCHEMA
    check_replaced(folder, [graph, f"{graph}.data", tokenizer.NAME, record.NAME], ours, "folder")
    features = explainer.tokenise(["a"])[0].features
    names = [*INPUTS, *(name for name in features if name not in INPUTS)]
    template = _template(explainer.tokenizer)
    plain = PlainPass(explainer.model, aggregation, template, names[len(INPUTS) :])
    with torch.no_grad():
        program = _traced(explainer, plain, names)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished") as unfinished:
        path = Path(unfinished, graph)
        with _named(explainer, plain):
            run = write(program, path, names)
        difference = parity.difference(explainer, aggregation, run, names)
        if finish is not None:
            finish(path)
        private_copy(explainer.tokenizer).backend_tokenizer.save(str(Path(unfinished, tokenizer.NAME)))
        files = [file.name for file in sorted(Path(unfinished).iterdir(), key=lambda file: file.name != graph)]
        (folder / record.NAME).unlink(missing_ok=True)
        for name in files:
            os.replace(Path(unfinished, name), folder / name)
    export = _record(explainer, aggregation, fit_holds, names, template)
    export = replace(
        export,
        format=kind,
        opset=graph_files.opset_of(folder / graph) if kind == "onnx" else None,
        precision="float32" if finish is None else "int8",
        files={name: record.file_hash(folder / name) for name in files},
        difference=difference,
        folder=str(folder),
    )
    export.write(folder)
    return export


def _check_packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(f"export_onnx needs {name}: {record.INSTALL}.") from error


def _check_explainer(explainer: Any) -> tuple[str, bool | None]:
    """What explains, and whether a fit is of the model's weights."""
    if not isinstance(explainer, MhexExplainer):
        raise TypeError(f"explainer must be a MhexExplainer, got a {type(explainer).__name__}.")
    model = explainer.model
    request = explainer.request()
    if explainer.aggregation != "fitted" and not trained(model.mhex):
        raise ValueError(
            "the model is neither fitted nor are its heads trained, so there is no explanation to export: "
            "fit_equivalent_matrices(model, tokenizer, texts) fits it."
        )
    if odd := sorted({str(value.dtype) for value in model.parameters() if value.dtype != torch.float32}):
        raise ValueError(f"model must be in float32 to be exported, got {odd[0]}: model.float() makes it so.")
    return explainer.aggregation, request.check_weights(model)


def _template(tokens: Any) -> tuple[int, ...]:
    """The ids that a tokenizer's template adds to a text, and to a pair."""
    backend = private_copy(tokens).backend_tokenizer
    encodings = backend.encode(""), backend.encode("", "")
    found = {
        token_id
        for encoding in encodings
        for token_id, sequence in zip(encoding.ids, encoding.sequence_ids, strict=True)
        if sequence is None
    }
    return tuple(sorted(found))


def _traced(explainer: Any, plain: PlainPass, names: list[str]) -> Any:
    """The program of a pass.

    Raises:
        ValueError: torch cannot trace it, or the attention whose flow its fit reads.
    """
    free = torch.export.Dim.DYNAMIC
    axes = {1: free} if explainer._batcher.pad is None else {0: free, 1: free}
    inputs = random_inputs(explainer, names, LENGTHS[0][:1] if explainer._batcher.pad is None else LENGTHS[0])
    others = (axes,) * (len(names) - len(INPUTS))
    shapes = (axes, axes, *([others] if others else []))
    with _named(explainer, plain), graph_files.quiet():
        return torch.export.export(plain, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)


@contextmanager
def _named(explainer: Any, plain: PlainPass) -> Iterator[None]:
    """ValueError for what torch cannot trace or write, with the family, and what can be exported instead."""
    try:
        yield
    except Exception as error:  # of torch's exporters, of any kind
        family = explainer.model.config.model_type
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        also = ""
        if plain.reads_flow:
            also = (
                "; what its heads learnt can be exported instead, with MhexExplainer(..., aggregation='mean')"
                if trained(explainer.model.mhex)
                else ", and its heads, which could be exported instead, were never trained"
            )
        problem = f"the family {family!r} cannot be exported, since torch cannot trace it: {reason}{also}."
        raise ValueError(problem) from error


def _record(
    explainer: MhexExplainer, aggregation: str, fit_holds: bool | None, names: list[str], template: tuple[int, ...]
) -> GraphExport:
    """What is known before there is a file."""
    model, fit, batcher = explainer.model, None, explainer._batcher
    if aggregation == "fitted":
        fit = dict(model.fit_record)
        if fit.get("refinement"):  # a graph gives no gradients
            fit["refinement"] = {name: value for name, value in fit["refinement"].items() if name != "mix"}
    config, table = model.config, explainer.classes
    of_heads = "supervised heads" if fit is None else "fitted matrices"
    flow = " with attention flow" if fit is not None and model.mhex_fit.reads_flow else ""
    settings = {name: getattr(explainer, name) for name in ("non_negative", "max_length", "stride", "language")}
    revision = getattr(config, "_commit_hash", None)
    return GraphExport(
        library=f"mhex_nlp {__version__}",
        format="",
        files={},
        opset=None,
        precision="float32",
        explains=of_heads + flow,
        aggregation=aggregation,
        inputs=tuple(names),
        labels=table.labels,
        problem_type=table.task,
        model=shown_name(config._name_or_path) or type(model).__name__,
        revision=revision and str(revision),
        model_type=config.model_type,
        weights=explainer.weights,
        causal=batcher.site.causal,
        pads=batcher.site.pads,
        pad_token_id=batcher.pad,
        template=template,
        longest=batcher.longest,
        tokenizer={name: getattr(explainer.tokenizer, name) for name in tokenizer.SETTINGS},
        fit=fit,
        fit_holds=fit_holds,
        bias=None if fit is not None else parity.bias_of_heads(explainer, aggregation),
        settings={**settings, "contrast": explainer.contrast},
    )
