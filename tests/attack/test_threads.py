# SPDX-License-Identifier: Apache-2.0
"""Threads that explain one model while others predict with it, train it and fit it anew, and are interrupted.

The trainer learns at rate 0, so that the right scores are known: those of the model alone, in eval mode.
"""

from __future__ import annotations

import ctypes
import gc
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from helpers.attack import record, rounds
from helpers.tiny import tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexExplainer
from mhex_nlp.models import attention_hook, hooks
from mhex_nlp.models.fit_weights import fit_hashes

pytestmark = pytest.mark.slow
THREADS = 8
TEXTS, LABELS = tiny_texts(64, seed=3)


def fit_of(model: Any, seed: int) -> tuple[dict[str, Any], torch.Tensor]:
    """The record and the matrices of a fit that reads states and attention flow."""
    size = model.config.hidden_size
    fit = {"depths": [0, 1, 2, 3], "widths": [size] * 4, "flow_widths": [0, size, size, 0], "skill": seed / 4}
    fit |= {"absolute_skill": 0.0, "weights": fit_hashes(model)}
    return fit, torch.randn(1 + 6 * size, 2, generator=torch.Generator().manual_seed(seed))


def make_explainer(implementation: str) -> MhexExplainer:
    model = tiny_mhex(dropout=0.3, num_hidden_layers=2)
    with torch.no_grad():
        for head in model.mhex:
            head.w1.normal_(std=0.3)
    model.set_attn_implementation(implementation)
    model.add_readout(*fit_of(model, 1))
    return MhexExplainer(model.eval(), tiny_tokenizer())


def scores_of(explainer: MhexExplainer) -> list[np.ndarray]:
    return [explainer(text).scores for text in TEXTS]


def modes(model: torch.nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


class Trainer:
    """Steps of training, with the dropout modules that ran in each; between steps it may leave training mode."""

    def __init__(self, explainer: MhexExplainer, alternating: bool = False) -> None:
        self.model, self.tokenizer, self.alternating = explainer.model, explainer.tokenizer, alternating
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, weight_decay=0.0)
        self.steps = self.without_dropout = 0
        dropouts = [module for module in self.model.modules() if isinstance(module, torch.nn.Dropout)]
        self.ran: list[bool] = []
        for dropout in dropouts:
            dropout.register_forward_hook(self._watch)
        self.expected = 0
        self.step()  # alone
        self.expected, self.without_dropout = len(self.ran), 0
        assert self.expected > 2 * self.model.config.num_hidden_layers and all(self.ran)

    def _watch(self, module: Any, args: Any, output: Any) -> None:
        if torch.is_grad_enabled():  # of this trainer's pass
            self.ran.append(module.training and bool((output == 0).any()))

    def step(self) -> None:
        self.model.train()
        self.ran.clear()
        start = self.steps % (len(TEXTS) - 8)
        # the shared tokenizer is made to pad and to cut, as a collator does
        inputs = self.tokenizer(
            TEXTS[start : start + 8], padding="max_length", truncation=True, max_length=8, return_tensors="pt"
        )
        self.model(**inputs, labels=torch.tensor(LABELS[start : start + 8])).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        self.without_dropout += len(self.ran) < self.expected or not all(self.ran)
        if self.alternating:
            self.model.eval()


class Predictor:
    """A service's own passes over the same model."""

    def __init__(self, explainer: MhexExplainer) -> None:
        self.model, self.steps, self.wrong = explainer.model, 0, 0
        self.inputs = explainer.tokenizer(TEXTS[:8], padding=True, return_tensors="pt")
        with torch.no_grad():
            self.logits = self.model(**self.inputs).logits

    def step(self) -> None:
        with torch.no_grad():
            self.wrong += not torch.allclose(self.model(**self.inputs).logits, self.logits, atol=1e-5)
        self.steps += 1


def run_beside(step: Callable[[], None], stop: threading.Event, errors: list[BaseException]) -> threading.Thread:
    def loop() -> None:
        try:
            while not stop.wait(0.002):
                step()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    return thread


def explain_in_threads(
    explainer: MhexExplainer, right: list[list[np.ndarray]], count: int, errors: list[BaseException]
) -> int:
    """`count` explanations in each thread; how many have other scores than those right for the fit that they name."""
    wrong = [0] * THREADS
    barrier = threading.Barrier(THREADS)

    def explain(thread: int) -> None:
        try:
            barrier.wait()
            for number in range(count):
                index = (thread * 7 + number) % len(TEXTS)
                explanation = explainer(TEXTS[index])
                scores = right[round(explanation.method.skill * 4) - 1][index]
                wrong[thread] += explanation.scores.shape != scores.shape or not np.allclose(
                    explanation.scores, scores, atol=1e-5
                )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=explain, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(wrong)


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """Threads take turns after 0.1 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("beside", ["predicting", "training", "training and evaluating", "fitting"])
def test_threads_that_explain(beside: str, implementation: str) -> None:
    explainer = make_explainer(implementation)
    model, errors, stop = explainer.model, [], threading.Event()
    right = [scores_of(explainer)]
    if beside == "fitting":
        model.add_readout(*fit_of(model, 2))
        right.append(scores_of(explainer))
    worker: Any = Predictor(explainer)
    step = worker.step
    if "training" in beside:
        worker = Trainer(explainer, alternating="evaluating" in beside)
        step = worker.step
        model.train()
    elif beside == "fitting":
        fits = [fit_of(model, 1), fit_of(model, 2)]

        def step() -> None:
            worker.steps += 1
            model.add_readout(*fits[worker.steps % 2])

    begin = time.perf_counter()
    thread = run_beside(step, stop, errors)
    count = rounds(500 if beside in ("predicting", "training") else 75)
    wrong = explain_in_threads(explainer, right, count, errors)
    stop.set()
    thread.join()
    assert not errors, errors
    assert wrong == 0 and worker.steps > 0
    figures = {"steps_beside": worker.steps}
    if isinstance(worker, Trainer):
        assert worker.without_dropout == 0
        assert all(modes(model)) if beside == "training" else not any(modes(model))
        figures["steps_without_dropout"] = worker.without_dropout
    else:
        assert worker.wrong == 0 and not any(modes(model))
    record(
        f"8 threads explain, {implementation}, {beside} beside",
        tried=count * THREADS,
        wrong=wrong,
        **figures,
        seconds=round(time.perf_counter() - begin, 1),
    )


def interrupt(thread: threading.Thread) -> None:
    identifier = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identifier, ctypes.py_object(KeyboardInterrupt))


def test_interrupts_at_random_moments() -> None:
    """After each: modes, lookup of attention, gradient mode and record as before, and the next scores right."""
    draw, begin, tried = random.Random(0), time.perf_counter(), rounds(500)
    explainers = [make_explainer(implementation) for implementation in ("sdpa", "eager")]
    right = [scores_of(explainer) for explainer in explainers]
    sys.setswitchinterval(1e-5)
    attention_hook.unwatch_attention()
    plain = AttentionInterface.get_interface
    problems: list[str] = []
    # Models of earlier tests would else be collected in a victim, and Python drops an exception that comes while their
    # weak references call back.
    gc.collect()

    def check(problem: str, holds: bool) -> None:
        if not holds:
            problems.append(problem)

    for number in range(tried):
        explainer, scores = explainers[number % 2], right[number % 2]
        model = explainer.model.train(number % 3 == 0)
        if number % 5 == 0:
            list(model.modules())[draw.randrange(20)].train(number % 3 != 0)
        if number % 4 == 0:
            attention_hook.unwatch_attention()
        before, ready = modes(model), threading.Event()

        def victim(explainer: MhexExplainer = explainer, scores: Any = scores, ready: Any = ready) -> None:
            try:
                ready.set()
                while True:
                    explainer(TEXTS[0])
            except KeyboardInterrupt:
                pass
            check("record", hooks._record.get() is None)
            check("gradients", torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
            index = random.randrange(len(TEXTS))
            check("scores", np.allclose(explainer(TEXTS[index]).scores, scores[index], atol=1e-5))

        thread = threading.Thread(target=victim)
        thread.start()
        ready.wait()
        time.sleep(draw.random() * 0.02)
        interrupt(thread)
        thread.join(20)
        check("ended", not thread.is_alive())
        check("modes", modes(model) == before)
        check("lock", attention_hook._lock.acquire(blocking=False))
        attention_hook._lock.release()
        lookup = AttentionInterface.get_interface
        check("lookup", lookup is plain or getattr(lookup, "__wrapped__", None) is plain)
        assert not problems, f"{problems} after interrupt {number}"
    record("interrupts", tried=tried, wrong=len(problems), seconds=round(time.perf_counter() - begin, 1))


FIRST_USE = """
import sys, threading
import torch
from transformers import AttentionInterface
from helpers.tiny import tiny_bert
from mhex_nlp import MhexConfig, get_mhex_model

plain = AttentionInterface.get_interface
model = get_mhex_model(tiny_bert().eval(), MhexConfig(gate=False))
sys.setswitchinterval(1e-6)
barrier, depths = threading.Barrier(8), []

def first():
    barrier.wait()
    with torch.no_grad():
        output = model(input_ids=torch.tensor([[2, 5, 6, 7, 3]]), output_states=True)
    depths.append(len(output.attention_flow))

threads = [threading.Thread(target=first) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert depths == [2] * 8, depths
assert AttentionInterface.get_interface.__wrapped__ is plain
"""


def test_first_use_from_eight_threads_in_a_fresh_interpreter() -> None:
    begin, tried = time.perf_counter(), rounds(2)
    for _ in range(tried):
        tests = Path(__file__).parents[1]
        code = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(tests.parent)!r}]\n{FIRST_USE}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    record("first use of attention from 8 threads", tried=tried, wrong=0, seconds=round(time.perf_counter() - begin, 1))
