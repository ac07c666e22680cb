# SPDX-License-Identifier: Apache-2.0
"""Flip sets: how often one is found, in how many passes and of how many words, beside searches by leave one out.

    python -m studies.flips --data DATA --work WORK --output docs/results/flips.json --page docs/flips.md

`--data` holds sst2/ and ag_news/, `--work` the models of the studies `faithfulness` or `budget` (`sst2-0/fitted`); what
was found of each text is kept beside them, so that the study can be stopped at any time, or after `--minutes`, with the
tables of what is done. All methods remove whole words behind the mask token, and every text with words removed counts
as a pass.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mhex_nlp.evaluation.model_values import TextValues
from mhex_nlp.explain.flip_search import Answer, search_flip
from mhex_nlp.inputs.atomic_files import durable
from mhex_nlp.models.weights_hash import model_hash

from . import common
from .faithfulness import data as corpus
from .faithfulness.models import Case
from .faithfulness.settings import NAMES

Row = dict[str, Any]  # found, size, passes, words; of insertions also needless
OURS, RANDOM, GREEDY = "MHEX scores", "random order", "leave one out, again for each word"
ONCE, ONCE_SEARCH = "leave one out, then word by word", "leave one out, then the same search"
BUDGETS = (2, 4, 6, 12)
PASSES = 6
INSERTION = "insertion"
MOST_STEPS = 12  # words that the greedy search takes out before it gives up
PER_FILE = 10  # texts between two writes


class Words:
    """One text whose words are taken out, for searches that know no scores; counts what it asks."""

    def __init__(self, text: TextValues) -> None:
        self.text, self.passes = text, 0
        self.whole = text.logits(np.ones((1, text.n), dtype=bool))[0]
        self.label = int(self.whole.argmax())

    def gaps(self, removed: np.ndarray) -> np.ndarray:
        """(S,) how far each removal (S, n) is from another prediction; below 0 where it turned."""
        self.passes += len(removed)
        return np.array([self.judge(logits).gap for logits in self.text.logits(~removed)])

    def judge(self, logits: np.ndarray) -> Answer:
        others = np.delete(logits, self.label)
        return Answer(int(logits.argmax()) != self.label, float(logits[self.label] - others.max()))

    def left_out(self, removed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(K,) the words that stay, and the gap without each of them as well."""
        left = np.flatnonzero(~removed)
        several = np.repeat(removed[None], len(left), 0)
        several[np.arange(len(left)), left] = True
        return left, self.gaps(several)

    def row(self, size: int | None) -> Row:
        return {"found": size is not None, "size": size or 0, "passes": self.passes, "words": self.text.n}

    def search(self, worth: np.ndarray, passes: int) -> Row:
        """`search_flip` by what words are worth."""
        searching = search_flip(worth, self.judge(self.whole).gap, passes, self.judge)
        logits = None
        while True:
            try:
                chosen = next(searching) if logits is None else searching.send(logits)
            except StopIteration as end:
                return self.row(None if end.value.words is None else int(end.value.words.sum()))
            self.passes += 1
            logits = self.text.logits(~chosen[None])[0]


def greedy(text: TextValues, draw: np.random.Generator) -> Row:
    """Takes out the word whose removal lowers the gap most, again and again."""
    words, removed = Words(text), np.zeros(text.n, dtype=bool)
    for size in range(1, min(text.n, MOST_STEPS) + 1):
        left, gaps = words.left_out(removed)
        if gaps.min() < 0:
            return words.row(size)
        removed[left[gaps.argmin()]] = True
    return words.row(None)


def left_out_once(text: TextValues, draw: np.random.Generator) -> Row:
    """Takes out words in the order of one round of leave one out."""
    words, removed = Words(text), np.zeros(text.n, dtype=bool)
    left, gaps = words.left_out(removed)
    if gaps.min() < 0:
        return words.row(1)
    order = left[np.argsort(gaps, kind="stable")]
    removed[order[0]] = True
    for size, word in enumerate(order[1:], 2):
        removed[word] = True
        if words.gaps(removed[None])[0] < 0:
            return words.row(size)
    return words.row(None)


def left_out_search(text: TextValues, draw: np.random.Generator) -> Row:
    """The same search along what one round of leave one out says."""
    words = Words(text)
    _, gaps = words.left_out(np.zeros(text.n, dtype=bool))
    if gaps.min() < 0:
        return words.row(1)
    return words.search(words.judge(words.whole).gap - gaps, PASSES)


def random_search(text: TextValues, draw: np.random.Generator) -> Row:
    """The same search along a random order, as if half of the words were enough."""
    words = Words(text)
    order = draw.permutation(text.n) / text.n
    return words.search(2 * words.judge(words.whole).gap / text.n * (1 + 1e-6 * order), PASSES)


def ours(texts: Sequence[str], case: Case, kind: Any, passes: int) -> list[Row]:
    """What `MhexExplainer.flip` finds."""
    flips = case.explainer.flip(list(texts), kind=kind, passes=passes)
    return [{"found": f.flipped, "size": len(f.words), "passes": f.passes, "needless": f.needless} for f in flips]


class Study:
    """The texts of one data set, and what each method made of them."""

    def __init__(self, data: str, args: Any) -> None:
        self.data = data
        self.case = Case(data, args.seed, args.data, args.work)
        rows = corpus.shuffled(self.case.parts[1], len(self.case.parts[1]), args.seed)["text"]
        of_words = ((text, self.case.values["mask"].of(text, unit="words")) for text in rows)
        chosen = list(islice((pair for pair in of_words if pair[1].n > 1), args.texts))
        self.texts = [text for text, _ in chosen]
        self.values = [values for _, values in chosen]
        self.folder = self.case.folder / "flips"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.seed = args.seed

    @property
    def methods(self) -> dict[str, Callable[[int, int], list[Row]]]:
        """Each gives the rows of the texts from the first to the second number; what takes longest is last."""
        alone: dict[str, Callable[[TextValues, np.random.Generator], Row]] = {
            RANDOM: random_search,
            ONCE_SEARCH: left_out_search,
            ONCE: left_out_once,
            GREEDY: greedy,
        }
        of_scores = {f"{OURS}, {passes}": partial(self._ours, "removal", passes) for passes in BUDGETS}
        of_scores[INSERTION] = partial(self._ours, "insertion", PASSES)
        return of_scores | {name: partial(self._alone, method) for name, method in alone.items()}

    def _ours(self, kind: str, passes: int, start: int, end: int) -> list[Row]:
        return ours(self.texts[start:end], self.case, kind, passes)

    def _alone(self, method: Callable[..., Row], start: int, end: int) -> list[Row]:
        return [method(self.values[n], np.random.default_rng([self.seed, n])) for n in range(start, end)]

    def rows(self, name: str) -> list[Row]:
        """What is kept of a method."""
        path = self._path(name)
        return [] if not path.is_file() else json.loads(path.read_text("utf-8"))[: len(self.texts)]

    def _path(self, name: str) -> Path:
        made_of = name, MOST_STEPS, self.seed, model_hash(self.case.model)
        return self.folder / f"{zlib.crc32(repr(made_of).encode()):08x}.json"

    def add(self, name: str) -> bool:
        """Explains some further texts by a method; False where all are done."""
        rows = self.rows(name)
        start, end = len(rows), min(len(rows) + PER_FILE, len(self.texts))
        if start == end:
            return False
        rows += self.methods[name](start, end)
        with durable(self._path(name)) as file:
            file.write(json.dumps(rows).encode())
        return True


def figures(rows: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Shares, passes and sizes of each method, and differences to the scores, paired over texts."""
    own = rows[f"{OURS}, {PASSES}"]
    result = {}
    for name, of_method in rows.items():
        if not of_method:
            continue
        found = np.array([row["found"] for row in of_method])
        both = [(a, b) for a, b in zip(own, of_method, strict=False) if a["found"] and b["found"]]
        sizes = [row["size"] for row in of_method if row["found"]]
        result[name] = {
            "texts": len(of_method),
            "found": common.mean_interval(found),
            "passes": common.mean_interval([row["passes"] for row in of_method]),
            "size": common.mean_interval(sizes) if sizes else None,
            "median_size": float(np.median(sizes)) if sizes else None,
            "one_word": common.mean_interval([size == 1 for size in sizes]) if sizes else None,
        }
        if name == INSERTION:
            result[name]["needless"] = common.mean_interval([row["needless"] for row in of_method])
        elif name != f"{OURS}, {PASSES}":
            shared = own[: len(of_method)]
            gains = [a["found"] - float(b["found"]) for a, b in zip(shared, of_method, strict=True)]
            larger = [a["size"] - b["size"] for a, b in both]
            result[name]["found_gain"] = common.mean_interval(gains)
            result[name]["size_gain"] = common.mean_interval(larger) if larger else None
    return result


def table(report: Mapping[str, Any]) -> list[str]:
    """A table for each data set."""
    lines: list[str] = []
    head = ("search", "texts", "passes", "found", "words", "one word", "MHEX less it: found", "words, where both found")
    for data, part in report["data"].items():
        rows = []
        for name, one in part["methods"].items():
            if name != INSERTION:
                cells = [common.cell(one[key]) for key in ("passes", "found", "size", "one_word")]
                gains = [common.cell(one.get(key), signed=True) for key in ("found_gain", "size_gain")]
                label = f"{name} passes at the most" if name.startswith(OURS) else name
                rows.append([label, str(one["texts"]), *cells, *gains])
        lines += [
            f"**{NAMES[data]}**: {part['texts']} test texts of {part['words']:.1f} words in the mean, fit with a skill "
            f"of {part['skill']:.2f}; {report['machine']}; 95 % bootstrap intervals over texts.",
            "",
            *common.grid(head, rows),
            "",
        ]
        if (alone := part["methods"].get(INSERTION)) is not None:
            needless, found, size, passes = (common.cell(alone[key]) for key in ("needless", "found", "size", "passes"))
            lines += [
                f"Insertion, {PASSES} passes at the most: none of the words is needed in a share of {needless}; words "
                f"that are enough alone were found in {found}, {size} words, in {passes} passes.",
                "",
            ]
    return lines


def main(arguments: Sequence[str] | None = None, names: Sequence[str] = tuple(NAMES)) -> None:
    args = common.make_parser(__doc__, "data", "work", texts=300, seed=0, minutes=0).parse_args(arguments)
    end = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")  # 0: until all is done
    common.be_quiet()
    studies = [Study(data, args) for data in names]
    report: dict[str, Any] = {
        "model": common.MINILM,
        "settings": {"texts": args.texts, "seed": args.seed, "passes": PASSES, "greedy_words": MOST_STEPS},
        "machine": common.machine(),
        "data": {},
    }

    def write() -> None:
        for study in studies:
            report["data"][study.data] = {
                "texts": len(study.texts),
                "words": float(np.mean([values.n for values in study.values])),
                "skill": study.case.model.fit_record["skill"],
                "methods": figures({name: study.rows(name) for name in study.methods}),
            }
        common.write_json(args.output, report)
        common.write_page(args.page, table(report))

    for name in studies[0].methods:
        for study in studies:
            while time.monotonic() < end and study.add(name):
                pass
            print(f"{study.data} {name}: {len(study.rows(name))} texts", flush=True)
        if studies[0].rows(f"{OURS}, {PASSES}"):
            write()
    write()


if __name__ == "__main__":
    main()
