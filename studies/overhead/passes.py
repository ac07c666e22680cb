# SPDX-License-Identifier: Apache-2.0
"""Forward passes and training steps: batches, long texts, one text, places of a tagger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import psutil
import torch

from mhex_nlp import MhexExplainer, mhex_param_groups

from ..common import MINILM, Run
from .measuring import GIGABYTE, PLAIN, Figure, Target, compare, is_out_of_memory, memory_ratio, peak_memory
from .models import BERT_BASE, MODERN_BERT, Models, Settings, batch_of, make_models, texts_of, tokenizer_of_minilm

BATCHES = ((32, 24, 1.05), (32, 64, 1.05), (8, 128, 1.05), (4, 512, 1.08))
LONG = {1024: 0, 2048: 5, 8192: 2}  # rounds of each length; the memory of the first two tells that of the third
ONE_TEXT, TEXTS = 24, 32
FITTED: dict[str, Any] = {"output_attributions": True, "output_head_logits": False}  # as an explainer asks


def call(model: Any, inputs: dict[str, Any], **options: Any) -> None:
    """One forward pass without gradients."""
    with torch.inference_mode():
        model(**inputs, **options)


def forward(settings: Settings) -> Iterator[Figure]:
    """Fitted attributions of batches."""
    for name in (MINILM, BERT_BASE):
        models = make_models(name, settings)
        for texts, tokens, target in BATCHES:
            inputs = batch_of(*settings.shape(texts, tokens), models.plain)
            runs = {PLAIN: partial(call, models.plain, inputs), "fitted": partial(call, models.heads, inputs, **FITTED)}
            shape = f"{texts} × {tokens} tokens"
            yield from compare(runs, {"fitted": Target(f"fitted attributions, {shape}", target)}, name, settings)


def memory(settings: Settings) -> Iterator[Figure]:
    """What fitted attributions of the longest batch take beyond the plain pass."""
    texts, tokens, _ = BATCHES[-1]
    row = Target(f"extra memory of fitted attributions, {texts} × {tokens} tokens", 1.10)
    for name in (MINILM, BERT_BASE):
        models = make_models(name, settings)
        inputs = batch_of(*settings.shape(texts, tokens), models.plain)
        plain = peak_memory(partial(call, models.plain, inputs), settings)
        fitted = peak_memory(partial(call, models.heads, inputs, **FITTED), settings)
        yield memory_ratio(plain, fitted, row, name, extra=True)


def reading(settings: Settings) -> Iterator[Figure]:
    """Gates and heads when nobody asks for attributions, and supervised attributions."""
    rows = {
        "heads": Target("gates and heads, no attributions, 32 × 64 tokens", 1.02),
        "supervised": Target("supervised attributions, 32 × 64 tokens"),
    }
    for name in (MINILM, BERT_BASE):
        models = make_models(name, settings)
        models.heads.drop_readout()
        inputs = batch_of(*settings.shape(32, 64), models.plain)
        runs = {
            PLAIN: partial(call, models.plain, inputs),
            "heads": partial(call, models.heads, inputs),
            "supervised": partial(call, models.heads, inputs, output_attributions=True),
        }
        yield from compare(runs, rows, name, settings)


def long_texts(settings: Settings) -> Iterator[Figure]:
    """Fitted attributions of one long text: time and memory; lengths that would not fit into memory are left out."""
    models = make_models(MODERN_BERT, settings)
    peaks: list[tuple[int, int, int]] = []  # tokens, and bytes of the plain pass and of ours
    for tokens, rounds in LONG.items():
        shape = f"1 × {tokens:,} tokens"
        rows = (
            Target(f"fitted attributions, {shape}", 1.10),
            Target(f"extra memory of fitted attributions, {shape}", 1.10),
        )
        if reason := _left_out(tokens, peaks, settings):
            yield from (Figure(row.what, models.name, None, target=row.target, note=reason) for row in rows)
            continue
        inputs = batch_of(*settings.shape(1, tokens), models.plain)
        runs = {PLAIN: partial(call, models.plain, inputs), "fitted": partial(call, models.heads, inputs, **FITTED)}
        try:
            peaks.append((tokens, *(peak_memory(run, settings) for run in runs.values())))
            if rounds:
                yield from compare(runs, {"fitted": rows[0]}, models.name, settings, rounds)
                yield memory_ratio(*peaks[-1][1:], rows[1], models.name, extra=True)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            yield from (Figure(row.what, models.name, None, target=row.target, note="memory ran out") for row in rows)


def _left_out(tokens: int, peaks: Sequence[tuple[int, int, int]], settings: Settings) -> str:
    """Why a length is not tried: by option, or since a T + b T² through two lengths says that memory would run out."""
    if tokens > settings.longest:
        return f"left out by --longest {settings.longest}"
    if len(peaks) < 2:
        return ""
    (before, _, less), (after, _, more) = peaks[-2:]
    square = max(0.0, (more / after - less / before) / (after - before))
    need = square * tokens**2 + max(0.0, less / before - square * before) * tokens
    free = _free_memory(settings.device)
    if need <= 0.9 * free:
        return ""
    return f"would take {need / GIGABYTE:.0f} GB beside the weights, of {free / GIGABYTE:.0f} GB that are free"


def _free_memory(device: str) -> int:
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def one_text(settings: Settings) -> Iterator[Figure]:
    """One text after another: the model alone, and from the text to the explanation."""
    of_model = {
        "fitted": Target(f"fitted attributions, one text of {ONE_TEXT} tokens", 1.10),
        "heads": Target(f"gates and heads, no attributions, one text of {ONE_TEXT} tokens", 1.05),
    }
    whole = {"explained": Target("explainer(text) / tokenise and classify, one text", 1.20)}
    for name in (MINILM, BERT_BASE):
        models, tokenizer = make_models(name, settings), tokenizer_of_minilm()
        texts, tokens = settings.shape(TEXTS, ONE_TEXT)
        inputs = batch_of(1, tokens, models.plain)
        passes = {
            PLAIN: partial(again, texts, partial(call, models.plain, inputs)),
            "fitted": partial(again, texts, partial(call, models.heads, inputs, **FITTED)),
            "heads": partial(again, texts, partial(call, models.heads, inputs)),
        }
        yield from compare(passes, of_model, name, settings)
        explainer, chosen = MhexExplainer(models.heads, tokenizer), texts_of(tokenizer, [tokens] * texts)
        runs = {
            PLAIN: partial(_classify, models, tokenizer, chosen),
            "explained": partial(_explain, explainer, chosen),
        }
        yield from compare(runs, whole, name, settings)


def again(times: int, run: Run) -> None:
    """So many calls, since one is too short for the clock of a busy machine."""
    for _ in range(times):
        run()


def _explain(explainer: MhexExplainer, texts: Sequence[str]) -> None:
    for text in texts:
        explainer(text)


def _classify(models: Models, tokenizer: Any, texts: Sequence[str]) -> list[tuple[str, float]]:
    """What a user gets without us: label and probability of each text."""
    predictions = []
    for text in texts:
        with torch.inference_mode():
            batch = tokenizer(text, truncation=True, max_length=512, return_tensors="pt").to(models.plain.device)
            probabilities = models.plain(**batch).logits.float().softmax(-1)[0]
        best = int(probabilities.argmax())
        predictions.append((models.plain.config.id2label[best], float(probabilities[best])))
    return predictions


def places(settings: Settings) -> Iterator[Figure]:
    """Places of one text that a tagger labels, explained in one pass."""
    models = make_models(MINILM, settings, words=True)
    for length in (32, 128):
        _, tokens = settings.shape(1, length)
        inputs, runs, rows = batch_of(1, tokens, models.plain), {}, {}
        runs[PLAIN] = partial(call, models.plain, inputs)
        for count, target in ((1, 1.10), (10, 1.10), (length, 1.35)):
            positions = torch.linspace(0, tokens - 1, min(count, tokens)).long()[None]
            said = "all" if count == length else str(count)
            runs[said] = partial(call, models.heads, inputs, positions=positions, **FITTED)
            rows[said] = Target(f"{said} place{'s' * (count > 1)} of one text of {length} tokens", target)
        yield from compare(runs, rows, f"{MINILM}, tagger", settings)


def training(settings: Settings) -> Iterator[Figure]:
    """A step with deep supervision (AdamW): time and memory."""
    for gate in (True, False):
        models = make_models(MINILM, settings, gate=gate)
        models.heads.drop_readout()
        texts, tokens = settings.shape(32, 64)
        inputs = batch_of(texts, tokens, models.plain)
        inputs["labels"] = torch.arange(texts, device=models.plain.device) % 2
        groups = {PLAIN: models.plain.parameters(), "heads": mhex_param_groups(models.heads, 1e-6)}
        runs = {
            key: partial(_step, model.train(), torch.optim.AdamW(groups[key], lr=1e-6), inputs)
            for key, model in ((PLAIN, models.plain), ("heads", models.heads))
        }
        kind = "with gates" if gate else "heads only read"
        row = Target(f"training step, {kind}, 32 × 64 tokens", 1.05)
        yield from compare(runs, {"heads": row}, MINILM, settings)
        peaks = []
        for run in runs.values():
            run()  # its gradients replace the other's, which would count as memory that the step gives back
            peaks.append(peak_memory(run, settings))
        yield memory_ratio(*peaks, Target(f"memory of a training step, {kind}"), MINILM)


def _step(model: Any, optimizer: torch.optim.Optimizer, inputs: dict[str, Any]) -> None:
    optimizer.zero_grad()
    model(**inputs).loss.backward()
    optimizer.step()
