# SPDX-License-Identifier: Apache-2.0
"""`OnnxExplainer`: the explanations of an exported graph, by onnxruntime, tokenizers and numpy. Without torch.

Axes: B texts, T tokens, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from ...explain.budget import refine_evidence
from ...explain.classifier import ClassifierExplainer, Flipper
from ...explain.flips import check_flips, flip_sets
from ...explain.parts import ModelRef
from ...explain.request import Budget, Request, check_call, choose_contrast
from ...explain.rounds import refine_in_rounds
from ...explain.scores import Evidence, checked_logits, fitted_evidence
from ...explain.targets import ClassName, ClassTable
from ...explain.window_merger import WindowMerger
from ...inputs.batching import token_batches
from ...inputs.encoding import TokenisedText, check_max_length
from ...inputs.segmentation import check_language
from ...inputs.windows import check_stride
from .asked_graph import AskedGraph
from .graph_files import open_session
from .record import INSTALL, GraphExport, read_export
from .tokenizer import GraphTokenizer

Ids = NDArray[np.int64]


class OnnxExplainer(ClassifierExplainer):
    """Explains a classifier that `export_onnx` wrote, as `MhexExplainer` does: same calls, streams and explanations.

    >>> explainer = OnnxExplainer.from_pretrained("exported")
    >>> explainer("The plot was thin but the acting was superb.").to_json()

    Texts may come from several threads at once. Further passes go through the same graph, without the gradients that a
    fit may mix in. Scores by depth, `refine`, `flip` alone and `judge` are for `MhexExplainer`.

    Args:
        export: the record of the graph.
        session: onnxruntime's, of the graph.
        tokenizer: of the model.
        contrast, non_negative, batch_tokens, max_length, stride, language: as for `MhexExplainer`; by default those of
            the explainer that was exported, and 1024 tokens a batch.

    Raises:
        ValueError: an option out of range.
    """

    def __init__(
        self,
        export: GraphExport,
        session: Any,
        tokenizer: GraphTokenizer,
        *,
        contrast: str | None = None,
        non_negative: bool | None = None,
        batch_tokens: int = 1024,
        max_length: int | None = None,
        stride: int | None = None,
        language: str | None = None,
    ) -> None:
        usual = export.settings
        self.export, self.session, self.tokenizer = export, session, tokenizer
        self.language = usual.get("language") if language is None else language
        check_language(self.language)
        self.non_negative = bool(usual.get("non_negative") if non_negative is None else non_negative)
        token_batches([], batch_tokens)
        self.batch_tokens = batch_tokens
        self._table = ClassTable(
            SimpleNamespace(
                id2label=dict(enumerate(export.labels)),
                problem_type=export.problem_type,
                num_labels=len(export.labels),
            )
        )
        self.aggregation = export.aggregation
        chosen = usual.get("contrast", "auto") if contrast is None else contrast
        self.contrast = choose_contrast(chosen, self._table, self.aggregation)
        length = usual.get("max_length") if max_length is None else max_length
        self.max_length = check_max_length(length, tokenizer, export.longest)
        self.stride = check_stride(usual.get("stride") if stride is None else stride, tokenizer, self.max_length)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | PathLike[str],
        *,
        threads: int | None = None,
        providers: Sequence[Any] | None = None,
        **options: Any,
    ) -> Self:
        """The explainer of a folder of `export_onnx`, whose files are checked against the hashes in its record.

        Args:
            folder: the folder.
            threads: of one pass; by default one for each core.
            providers: where onnxruntime runs the graph, such as `["CUDAExecutionProvider"]`; by default on the CPU.
            options: of the class.

        Raises:
            ImportError: onnxruntime is not installed.
            FileNotFoundError: no such folder, or one without the graph, its record or its tokenizer.
            ValueError: files that were changed, or that onnxruntime cannot run; an option out of range.
        """
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise ImportError(f"OnnxExplainer needs onnxruntime: {INSTALL}.") from error
        path = Path(folder)
        export = read_export(path)
        tokenizer = GraphTokenizer.load(path, export.tokenizer)
        return cls(export, open_session(path / next(iter(export.files)), threads, providers), tokenizer, **options)

    @property
    def classes(self) -> ClassTable:
        """The model's classes."""
        return self._table

    @property
    def weights(self) -> str:
        """A hash of the graph's file, which holds all that its answers rest on."""
        return next(iter(self.export.files.values()))

    @property
    def dtype(self) -> str:
        """ "float32", or "int8" of a graph that was quantised."""
        return self.export.precision

    def request(
        self,
        target: ClassName | None = None,
        foil: ClassName | None = None,
        classes: str = "target",
        layers: bool = False,
        budget: Budget | None = None,
        tolerance: float | None = None,
        max_budget: int | None = None,
        seed: int = 0,
        flip: bool = False,
    ) -> Request:
        """The options of a call, checked.

        Raises:
            ValueError: as for `MhexExplainer`; and layers, which a graph does not tell apart.
        """
        passes, tolerance, seed = check_call(classes, layers, budget or 0, tolerance, max_budget, seed)
        export, fit = self.export, self.export.fit
        if layers:
            raise ValueError(
                "layers must be False for an OnnxExplainer, whose graph sums scores over depths, got True: "
                "MhexExplainer tells depths apart."
            )
        if flip:
            check_flips(self._table)
        target_id, foil_id = self._table.resolve(target, foil)
        return Request(
            table=self._table,
            target=target_id,
            foil=foil_id,
            all_classes=classes == "all",
            layers=False,
            contrast=self.contrast if foil_id is None else "foil",
            aggregation=self.aggregation,
            budget=passes,
            flip=bool(flip),
            causal=export.causal,
            readout=None if fit is None else export,
            beta=0.5,  # of the depths, which are summed
            non_negative=self.non_negative,
            language=self.language,
            tolerance=tolerance,
            seed=seed,
            model=ModelRef(export.model, export.revision),
        )

    def _array(self, values: Sequence[int]) -> Ids:
        return np.asarray(values, dtype=np.int64)

    @property
    def _accepts(self) -> Sequence[str]:
        return self.export.inputs

    def evidence(self, items: Sequence[TokenisedText], request: Request) -> Iterator[tuple[list[int], Evidence]]:
        """What the graph says of texts, by batch with their indices; that of windows joined.

        Raises:
            ValueError: logits that are not finite; names the text.
        """
        refine, perturbed = None, self._asked(request) if request.budget else None
        if perturbed is not None and request.tolerance is not None:
            refine, perturbed = partial(refine_in_rounds, request=request, perturbed=perturbed), None
        merger = WindowMerger(items, refine)
        for numbers in self._batches([len(item) for item in merger.inputs]):
            inputs = [merger.inputs[number] for number in numbers]
            evidence = self._read(inputs, request)
            if perturbed is not None:
                evidence = refine_evidence(inputs, evidence, request, perturbed)
            yield from merger.add(numbers, evidence)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Which inputs go through the graph together: one at a time where there is nothing to pad with."""
        for batch in token_batches(lengths, self.batch_tokens, equal_lengths=not self.export.pads):
            yield from [batch] if self.export.pad_token_id is not None else ([number] for number in batch)

    def _asked(self, request: Request) -> AskedGraph:
        """The graph asked about texts with parts removed, in the way in which its fit removed them."""
        removal = "auto" if request.fit is None else str(request.fit["removal"])
        return AskedGraph(self._logits, removal, self.tokenizer.mask_token_id, request.causal)

    def _logits(self, rows: Sequence[Mapping[str, Ids]]) -> NDArray[np.float32]:
        """(S, C) float32 of inputs, in order."""
        logits = np.empty((len(rows), len(self._table)), dtype=np.float32)
        for batch in self._batches([len(row["input_ids"]) for row in rows]):
            logits[batch] = self.session.run(["logits"], self._collated([rows[number] for number in batch]))[0]
        return logits

    def _read(self, items: Sequence[TokenisedText], request: Request) -> Evidence:
        """One pass over a batch."""
        outputs = self.session.run(["logits", "token_scores"], self._collated([item.features for item in items]))
        logits, scores = checked_logits(items, outputs[0], request), outputs[1]
        if request.fit is None:
            bias = np.asarray(self.export.bias, dtype=np.float32)
            return Evidence(scores[:, :, None], logits, scores.sum(1) + bias)
        evidence = fitted_evidence(items, scores[:, :, None], logits, request, request.fit)
        holds = self.export.fit_holds
        return replace(evidence, fit_holds=holds, empty=evidence.empty if holds else None)

    def _collated(self, rows: Sequence[Mapping[str, Ids]]) -> dict[str, Ids]:
        """(B, T) of each input, padded on the right."""
        size = max(len(row["input_ids"]) for row in rows)
        batch = {name: np.zeros((len(rows), size), dtype=np.int64) for name in self.export.inputs}
        batch["input_ids"][:] = self.export.pad_token_id or 0
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            batch["attention_mask"][number, :length] = 1  # unless the row has its own
            for name, values in row.items():
                batch[name][number, :length] = values
        return batch

    def _flipper(self, request: Request) -> Flipper:
        return partial(flip_sets, request=request, perturbed=self._asked(request))

    def judge(self, *args: Any, **options: Any) -> NoReturn:
        """ValueError: the skill is measured with many passes, by `MhexExplainer.judge`."""
        raise ValueError("judge must be left out of an OnnxExplainer: MhexExplainer measures the skill of its model.")
