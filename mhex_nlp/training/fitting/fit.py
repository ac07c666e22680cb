# SPDX-License-Identifier: Apache-2.0
"""`fit_equivalent_matrices`: closed-form equivalent matrices that explain the model's own behaviour under removal.

Ours, beyond the paper. For a text with content tokens N and a subset S, v(S) is the model's (contrasted) logits when
only S is kept, and S' is the rest of N. Token scores phi[t] = W f[t], read off states and attention flow of one forward
pass over the whole text, are to satisfy sum over S of phi - sum over S' of phi = v(S) - v(S') for random S, and sum
over N of phi = v(N) - v(empty): a ridge regression, since f is fixed.

Axes: T tokens, N content tokens, S subsets, F features, C labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ...explain.skill import Rows
from ...inputs.batching import usual_batch_tokens
from ...inputs.checks import as_integer
from ...inputs.scripts import common_scripts
from ...inputs.texts import SurrogateWarnings, check_pairs, check_texts
from ...models.eval_mode import eval_view
from ...models.fit_weights import fit_hashes
from ...models.image_states import image_classifier_in
from ...models.tasks import module_of
from ...models.unwrap import inner_model
from ...render.display import followed
from .attainable import attainable
from .empty_texts import measure_empty_texts
from .equations import EquationSource
from .images import fit_images
from .learning import check_min_gain, learn
from .places import PositionKind, find_sources
from .report import FitReport
from .reporting import report_fit, warn_few
from .ridge import RidgeStream
from .splits import Splits, check_drawing, split

MIN_TEXTS = 20
MIN_LEARNT = 5
_CHUNK = 640  # rows that are made together, of whole texts


def fit_equivalent_matrices(
    model: Any,
    tokenizer: Any,
    texts: Any,
    text_pairs: Sequence[str] | None = None,
    *,
    positions: PositionKind = "predicted",
    per_text: int = 5,
    masks: int = 8,
    held_out: float = 0.1,
    max_features: int = 20_000,
    removal: str = "auto",
    seed: int = 0,
    batch_tokens: int | None = None,
    attainable_texts: int = 30,
    min_gain: float | None = None,
    progress: bool = True,
    **image_options: Any,
) -> FitReport:
    """Fits the model's equivalent matrices to its behaviour on `texts`; no labels are needed, no weight changes.

    Afterwards `MhexExplainer` uses them by default, `save_pretrained` keeps them, and the supervised ones stay.
    Of an image classifier, with or without heads, the second and third argument are its image processor and images;
    see `mhex_nlp.training.fitting.images.fit_images`. (Long because of its many arguments.)

    Args:
        model: a model with heads, trained or not, gates on or off, also inside PEFT or torch.compile.
        tokenizer: its fast tokenizer.
        texts: some thousand texts of the kind to be explained.
        text_pairs: second halves, one for each text; of question answering, the contexts of the questions.
        positions: of token classification, the places that are learnt from: "predicted", those in predicted entities
            (of other labels than "O"), or "all". Skill, attainable and strength are of predicted places either way, and
            of the scores of the other tokens there. Of question answering, start and end of the answer.
        per_text: places of a text, at the most.
        masks: random subsets per text, in complementary pairs.
        held_out: share of the texts on which the fit is judged, and of those by which the ridge strength is chosen;
            5 to 300 each, and near-duplicates of one text are kept on one side.
        max_features: depths are thinned evenly until the features are no more than this; BERT-base has 19,969.
        removal: "mask", "attention", or "auto": by mask token where the tokenizer has one.
        seed: of the split and of the subsets.
        batch_tokens: texts times longest text of one batch; by default 1024 on a CPU, else 4096.
        attainable_texts: held-out texts on which the attainable skill is measured, four passes for each of a text's
            tokens, altogether no more than a quarter of what the fit takes (at least 4,096); 0 leaves it out.
        min_gain: learn in stages, of 250 texts and then of as many as all before, and stop when a stage has raised the
            skill by less, on the texts that the ridge strength is chosen by; by default all texts are learnt from.
        progress: show a bar on a terminal or in a notebook.
        image_options: `batch_size`, `attainable_images`, `window` and `colour`, of an image classifier.

    Raises:
        TypeError: an option of images for a model that reads texts, or the reverse.
        ValueError: a model without heads, a slow tokenizer, too few texts that differ, or in which something is
            predicted, an option out of range, a family whose attention cannot be followed to a position.
        RuntimeError: somebody trained the model meanwhile.
        MemoryError: the features would not fit into half of the free memory.
    """
    classifier = image_classifier_in(model)
    if classifier is not None:
        usual = (text_pairs, positions, per_text, batch_tokens, attainable_texts)
        if usual != (None, "predicted", 5, None, 30):
            raise TypeError(
                "text_pairs, positions, per_text, batch_tokens and attainable_texts are for models that read texts, "
                "got an image classifier."
            )
        shared: dict[str, Any] = {"masks": masks, "held_out": held_out, "max_features": max_features, "seed": seed}
        shared["min_gain"] = min_gain
        return fit_images(classifier, tokenizer, texts, removal=removal, progress=progress, **shared, **image_options)
    if image_options:
        raise TypeError(f"{min(image_options)} is no option for a model that reads texts.")
    model = inner_model(model)
    start = time.perf_counter()
    masks = as_integer(masks, "masks", at_least=2)
    attainable_texts = as_integer(attainable_texts, "attainable_texts", at_least=0)
    min_gain = check_min_gain(min_gain)
    seed = check_drawing(held_out, seed)
    checked, pairs = _check(texts, text_pairs)
    batch_tokens = usual_batch_tokens(model.device) if batch_tokens is None else batch_tokens
    # a view, so that nobody who trains the model meanwhile switches the mode of the fit
    settings = (eval_view(model), tokenizer, removal, masks, batch_tokens)
    sources = find_sources(*settings, positions=positions, per_text=per_text, paired=pairs is not None)
    source = sources.learn
    splits, weights_hashes = _split(checked, pairs, held_out, seed), fit_hashes(model)

    def chosen_texts(indices: Sequence[int]) -> tuple[list[str], list[str] | None]:
        return [checked[i] for i in indices], None if pairs is None else [pairs[i] for i in indices]

    def rows(indices: Sequence[int], say: str, source: EquationSource = source) -> Iterator[Rows]:
        size = max(_CHUNK // source.rows_per_text, 1)
        starts = range(0, len(indices), size)
        for begin in followed(starts, say, progress):
            chosen = indices[begin : begin + size]
            yield from source.rows(*chosen_texts(chosen), chosen, seed)

    with torch.inference_mode():
        layout = source.find_layout(checked[0], None if pairs is None else pairs[0]).thinned(max_features)
        for part in filter(None, sources):
            part.layout = layout
        # places have fewer rows than they could
        most_rows = len(splits.learn) * source.rows_per_text if layout.at == "text" else None
        stream = RidgeStream(layout.parts, module_of(model).label_count(model.config), most_rows)
        longest, with_rows = 0, set[int]()

        def learnt_rows(indices: Sequence[int]) -> Iterator[Rows]:
            nonlocal longest
            for text_rows in rows(indices, "Fitting"):
                longest = max(longest, int(text_rows.sizes[-1]))
                with_rows.add(len(with_rows) if text_rows.text is None else text_rows.text)
                yield text_rows
            if indices[-1] == splits.learn[-1]:
                _check_enough(splits._replace(learn=sorted(with_rows)), len(checked))

        chosen_on = list(rows(splits.choose, "Choosing", sources.judge))
        splits = splits._replace(choose=_texts_of(splits.choose, chosen_on))
        learnt = learn(stream, splits.learn, learnt_rows, chosen_on, min_gain)
        weights, row_count = learnt.weights, stream.rows
        del stream, chosen_on  # before there are other rows
        held = list(rows(splits.judge, "Judging", sources.judge))
        used = Splits(sorted(with_rows), splits.choose, _texts_of(splits.judge, held))
        _check_enough(used, len(checked))
        warn_few(len(used.judge), "texts", stacklevel=3)
        measured = used.judge[:attainable_texts]
        passes = max(4096, masks * len(checked) // 4)
        asked = (weights, *chosen_texts(measured), measured)
        best = attainable(sources.measure, *asked, passes=passes, seed=seed)
        empty = measure_empty_texts(source, checked, pairs) if layout.at == "text" else None
    report = report_fit(
        model,
        source,
        learnt,
        held,
        best,
        seed=seed,
        masks=masks,
        rows=row_count,
        hashes=weights_hashes,
        start=start,
        empty=empty,
        texts=len(used.learn),
        chosen_on=len(used.choose),
        held_out=len(used.judge),
        pairs=pairs is not None,
        longest=longest,
        scripts=common_scripts([*checked, *(pairs or [])]),
        task=model.task,
        at=layout.at,
        **sources.learn.described(len(held)),
    )
    model.add_readout(report.to_dict(), weights)
    return report


def _check(texts: Any, text_pairs: Any) -> tuple[list[str], list[str] | None]:
    surrogates = SurrogateWarnings()
    checked = check_texts(texts, "texts", surrogates=surrogates)
    pairs = check_pairs(checked, text_pairs, surrogates=surrogates)
    surrogates.emit()
    if len(checked) < MIN_TEXTS:
        raise ValueError(f"texts must be at least {MIN_TEXTS} to fit, got {len(checked)}; some thousand are better.")
    return checked, pairs


def _split(texts: Sequence[str], pairs: Sequence[str] | None, held_out: float, seed: int) -> Splits:
    """The three parts; ValueError where too few texts differ, UserWarning where too few are left to judge on."""
    splits = split(texts if pairs is None else [f"{a}\n{b}" for a, b in zip(texts, pairs, strict=True)], held_out, seed)
    if min(map(len, splits)) < 2:
        raise ValueError(
            f"texts must be at least {MIN_TEXTS} that differ, got {len(texts)} that are mostly near-duplicates of each "
            "other."
        )
    return splits


def _texts_of(numbers: list[int], rows: Sequence[Rows]) -> list[int]:
    """Those of the texts with these numbers that have rows."""
    placed = {text_rows.text for text_rows in rows}
    return [number for number in numbers if placed == {None} or number in placed]


def _check_enough(used: Splits, given: int) -> None:
    """ValueError where too few texts have a place that can be explained."""
    if len(used.learn) < MIN_LEARNT or min(len(used.choose), len(used.judge)) < 2:
        raise ValueError(
            f"texts must be at least {MIN_TEXTS} of more than one token, in which the model predicts something (other "
            f"than 'O' where it has that label), got {sum(map(len, used))} of {given}."
        )
