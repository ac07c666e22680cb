# SPDX-License-Identifier: Apache-2.0
"""`evaluate_explanations`: explanation methods on one model and the same texts, with intervals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress

from ...explain.explainer import MhexExplainer
from ...inputs.checks import as_integer
from ...inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ...models.modeling import MhexMixin
from ..metrics.arrays import Bools
from ..metrics.plausibility import RationaleSpan
from ..model_values import ModelValues, TextValues
from .kept import KeptFigures, made_of
from .measures import own_measures, unit_marks
from .methods import DEFAULT_METHODS, METHODS, AttributionMethod, available_methods
from .results import EvaluationReport
from .study import Study


def evaluate_explanations(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str],
    text_pairs: Iterable[str] | None = None,
    *,
    methods: Sequence[str | AttributionMethod] | Literal["all"] | None = None,
    metrics: Mapping[str, Any] | None = None,
    rationales: Sequence[Sequence[RationaleSpan]] | None = None,
    removal: str = "mask",
    unit: Literal["tokens", "words"] = "tokens",
    reference_permutations: int = 64,
    random_seeds: int = 5,
    seed: int = 0,
    batch_tokens: int = 4096,
    max_length: int | None = None,
    language: str | None = None,
    keep: str | PathLike[str] | None = None,
    on_progress: Callable[[str, EvaluationReport | None], None] | None = None,
    **budgets: int,
) -> EvaluationReport:
    """Compares explanations of the classes that `model` predicts: faithfulness, agreement, plausibility and cost.

    Long because each of its options stands in the signature and is explained.

    Args:
        model: a classifier of transformers, with heads (then MHEX takes part) or plain.
        tokenizer: its fast tokenizer.
        texts, text_pairs: at least two texts of more than one unit; others are left out and counted.
        methods: keys of `METHODS`; by default the package's own that this model can do; "all" adds Shapley values and
            the peers that are installed. What is left out stands in the report's notes. An `AttributionMethod` is a
            method of yours.
        metrics: figures of yours by name: functions of texts, scores and targets as `measures.OwnMeasure` takes them.
        rationales: for each text the [start, end) code points that people marked; texts without a mark take no part in
            plausibility. For single texts only.
        removal: how units are removed, as in `ModelValues`.
        unit: "tokens" or "words".
        reference_permutations: orders of the reference Shapley values, a multiple of 4; 0 for none.
        random_seeds: seeds that the row "random" is the mean of.
        seed: of everything drawn; equal seeds give equal figures.
        batch_tokens, max_length, language: as in `ModelValues`.
        keep: a file that keeps what is measured, so that the same call goes on there when it was stopped; it is taken
            away at the end. What is of other weights, texts or options is not used; methods and figures of yours are
            measured anew.
        on_progress: gets what was done, and the report so far: after the references `None`, then after each method.
        budgets: fields of `methods.Budgets`, such as `steps=100`.

    Raises:
        TypeError, ValueError: bad texts, fewer than two texts to compare on, a regression model, an unknown method or
            one that was named and cannot be had, rationales that do not align, scores or logits that are not finite.
        ImportError: a peer that was named and is not installed.
    """
    checked, pairs = _check_texts(texts, text_pairs)
    random_seeds = as_integer(random_seeds, "random_seeds", at_least=1)
    permutations = as_integer(reference_permutations, "reference_permutations", at_least=0)
    if permutations % 4:
        raise ValueError(f"reference_permutations must be 0 or a multiple of 4, got {permutations}.")
    seed = as_integer(seed, "seed", at_least=0)
    options: dict[str, Any] = {"batch_tokens": batch_tokens, "max_length": max_length, "language": language}
    values, explainer = _model_values(model, tokenizer, removal, options)
    notes: list[str] = []
    names = DEFAULT_METHODS if methods is None else METHODS if methods == "all" else methods
    left_out = notes if methods in (None, "all") else None
    compared = _methods(values, explainer, names, seed, left_out, budgets)
    measures = own_measures(metrics)
    everything = [values.of(text, pairs[index] if pairs else None, unit) for index, text in enumerate(checked)]
    kept, marks = _comparable(everything, _marks(everything, rationales, pairs), unit, rationales is not None)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("references", total=len(compared) + 1)
        drawn = {"permutations": permutations, "random_seeds": random_seeds, "seed": seed}
        of_before = KeptFigures(keep, made_of(values, kept, marks, **drawn) if keep is not None else {})
        study = Study(values, kept, marks, **drawn, kept=of_before, own_measures=measures)
        said = on_progress or (lambda what, report: None)
        said("references", None)
        for method in compared:
            bar.update(task, advance=1, description=method.label)
            study.compare(method)
            said(method.label, study.report(len(checked) - len(kept), tuple(notes)))
    of_before.remove()
    return study.report(len(checked) - len(kept), tuple(notes))


def _methods(
    values: ModelValues,
    explainer: MhexExplainer | None,
    names: Sequence[str | AttributionMethod],
    seed: int,
    notes: list[str] | None,
    budgets: Mapping[str, int],
) -> list[AttributionMethod]:
    """Those named, then the caller's own; ValueError where two have one name."""
    made_by_caller = [name for name in names if isinstance(name, AttributionMethod)]
    taken = [method.name for method in made_by_caller]
    if twice := [name for name in taken if name in METHODS or taken.count(name) > 1]:
        raise ValueError(f"methods must have names of their own, got {twice[0]!r} for one of yours.")
    if made_by_caller and len(made_by_caller) == len(names):
        return made_by_caller
    rest = names if isinstance(names, str) else [name for name in names if isinstance(name, str)]
    return [*available_methods(values, explainer, rest, seed, notes=notes, **budgets), *made_by_caller]


def _check_texts(texts: Iterable[str], text_pairs: Iterable[str] | None) -> tuple[list[str], list[str] | None]:
    if isinstance(texts, str):
        raise TypeError("texts must be a list of strings, got one string.")
    surrogates = SurrogateWarnings()
    checked = check_texts(texts, "texts", surrogates=surrogates)
    pairs = check_pairs(checked, text_pairs, "text_pairs", surrogates=surrogates)
    surrogates.emit()
    return checked, pairs


def _model_values(
    model: Any, tokenizer: Any, removal: str, options: dict[str, Any]
) -> tuple[ModelValues, MhexExplainer | None]:
    """The model to ask, and the explainer where it has heads."""
    explainer = None
    if any(isinstance(module, MhexMixin) for module in model.modules()):
        explainer = MhexExplainer(model, tokenizer, **options)
        model = explainer.model
    values = ModelValues(model, tokenizer, removal, **options)
    if values.classes.task == "regression":
        raise ValueError("model must be a classifier, got a regression model: it has no probabilities to measure by.")
    return values, explainer


def _marks(
    texts: Sequence[TextValues], rationales: Sequence[Sequence[RationaleSpan]] | None, pairs: Sequence[str] | None
) -> list[Bools | None]:
    """The marked units of each text, `None` where there is no rationale or nothing in it."""
    if rationales is None:
        return [None] * len(texts)
    if pairs is not None:
        raise ValueError("rationales must be left out for pairs of texts: it would not be known which half they mark.")
    if len(rationales) != len(texts):
        raise ValueError(f"rationales must have one entry for each of the {len(texts)} texts, got {len(rationales)}.")
    marks = [unit_marks(text, rationales[index], f"rationales[{index}]") for index, text in enumerate(texts)]
    return [mark if mark.any() else None for mark in marks]


def _comparable(
    texts: Sequence[TextValues], marks: Sequence[Bools | None], unit: str, rationales: bool
) -> tuple[list[TextValues], list[Bools | None]]:
    """The texts of more than one unit, and their marks."""
    kept = [index for index, text in enumerate(texts) if text.n > 1]
    if len(kept) < 2:
        raise ValueError(
            f"texts must hold at least two of more than one of the {unit}, got {len(kept)} such among {len(texts)}."
        )
    marked = sum(marks[index] is not None for index in kept)
    if rationales and marked < 2:
        raise ValueError(f"rationales must mark something in at least two of the texts compared, got {marked}.")
    return [texts[index] for index in kept], [marks[index] for index in kept]
