# SPDX-License-Identifier: Apache-2.0
"""Do scores find the atoms whose bonds change? Objective truth, for a BERT classifier of chemical reactions.

    python -m studies.reactions --model path/to/bert_ft_10k_25s --data path/to/reactions --work path/to/work \\
        --output docs/results/reactions.json --page docs/reactions.md

`--model` is that folder of the package rxnfp 0.1.0, `--data` holds `uspto50k_canonicalized_test.csv`, reactions with
atom maps, and `rxnclass2id.json`, the classes of the model. It reads reactions as SMILES without the maps; RDKit (the
extra `bench`) writes these, and tells from the maps which atoms are the reaction centre. A block of reactions and a
method is a unit of work: what is in `--work` is not done again. After a change to the fit or to the budget remove
that folder, or its parts `fitted` and `mhex_*`.

Axes: B reactions, n tokens of a reaction.
"""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from mhex_nlp import (
    AutoMhexModelForSequenceClassification,
    MhexConfig,
    MhexExplainer,
    fit_equivalent_matrices,
    get_mhex_model,
)
from mhex_nlp.evaluation.benchmark.methods import available_methods
from mhex_nlp.evaluation.benchmark.peers import load_peer
from mhex_nlp.evaluation.metrics.arrays import Bools, Floats
from mhex_nlp.evaluation.metrics.plausibility import auprc
from mhex_nlp.evaluation.model_values import ModelValues, TextValues
from mhex_nlp.inputs.atomic_files import durable

from .budget.decomposition import alti, decompx
from .common import be_quiet, cell, grid, machine, make_parser, mean_interval, write_json, write_page

MOLECULES, CLASSES = "uspto50k_canonicalized_test.csv", "rxnclass2id.json"
ATOM = r"\[[^\]]+\]|Br|Cl|[BCNOSPFI]|[bcnosp]"
TOKEN = ATOM + r"|>>|%[0-9]{2}|[0-9]|[().=#\-+\\/:~@?>*$]"
BLOCK, BUDGET, STEPS, MASKS = 20, 32, 50, 8
SPECIAL = {
    name: f"[{name[:-6].upper()}]" for name in ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
}

Explain = Callable[[Sequence[TextValues], Sequence[int]], list[Floats]]
LABELS = {
    "mhex_fitted": "MHEX, fitted, one pass",
    "mhex_budget": f"MHEX, {BUDGET} further passes",
    "random": "random",
    "attention": "attention, last layer",
    "rollout": "attention rollout",
    "alti": "ALTI",
    "integrated_gradients": f"integrated gradients, {STEPS} steps",
    "leave_one_out": "leave one out",
    "decompx": "DecompX",
}
CHEAP = ("mhex_fitted", "random", "attention", "rollout")  # of all reactions; the others of `--dear`
OURS = ("mhex_fitted", "mhex_budget")
FIGURES = ("skill", "attainable")
FIT = (*FIGURES, *(f"{name}_interval" for name in FIGURES), "attainable_reliability", "texts", "masks", "held_out")
MEASURES = {"auprc": "AUPRC ↑", "magnitude": "AUPRC of magnitudes ↑"}


class Reaction(NamedTuple):
    """`smiles` without atom maps; (n,) bool over its tokens, which are `atoms` and which of these the `centre`."""

    smiles: str
    atoms: Bools
    centre: Bools
    superclass: str


def main() -> None:
    parser = make_parser(__doc__, "model", "data", "work", reactions=500, dear=100, fit=600, seed=0)
    parser.add_argument("--report-only", action="store_true", help="no more measuring: write what is there")
    args = parser.parse_args()
    be_quiet()
    study = Study(args.model, args.data, args.work, args.fit, args.seed)
    for _ in () if args.report_only else study.units(args.reactions, args.dear):
        write(args, study, args.reactions)
    write(args, study, args.reactions)


class Study:
    """The fitted model, the reactions that it classifies rightly, and what is known of them."""

    def __init__(self, folder: str, data: Path, work: Path, fit: int, seed: int) -> None:
        self.work, self.seed = work, seed
        self.classes = json.loads((data / CLASSES).read_text("utf-8"))
        with (data / MOLECULES).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        np.random.default_rng(seed).shuffle(rows)
        self.rows, fitted = rows[:-fit], work / "fitted"
        self.tokenizer = smiles_tokenizer((Path(folder) / "vocab.txt").read_text("utf-8").split("\n"))
        if not fitted.is_dir():
            self._fit(load_classifier(folder, self.classes), [reaction(row).smiles for row in rows[-fit:]], fitted)
        self.model = AutoMhexModelForSequenceClassification.from_pretrained(fitted).eval()
        self.fit = json.loads((fitted / "fit.json").read_text("utf-8"))
        self.values = ModelValues(self.model, self.tokenizer, "mask")
        self.explainer = MhexExplainer(self.model, self.tokenizer, batch_tokens=4096)
        self.seen: list[tuple[bool, bool]] = []  # of each reaction drawn: superclass right, has a centre

    def _fit(self, classifier: Any, smiles: Sequence[str], fitted: Path) -> None:
        model = get_mhex_model(classifier, MhexConfig(gate=False)).eval()
        report = fit_equivalent_matrices(model, self.tokenizer, smiles, masks=MASKS, seed=self.seed, progress=False)
        partial_folder = fitted.with_name(".fitted")  # takes its name when it is whole
        model.save_pretrained(partial_folder)
        write_json(partial_folder / "fit.json", report.to_dict())
        partial_folder.rename(fitted)
        print(f"fitted: skill {report.skill:.3f}, attainable {report.attainable}, {report.seconds} s", flush=True)

    def draw(self) -> Iterator[tuple[Reaction, TextValues]]:
        """The reactions whose superclass the model predicts, in random order."""
        self.seen.clear()
        for row in self.rows:
            known, text = (drawn := reaction(row)), self.values.of(drawn.smiles)
            label = self.model.config.id2label[text.predicted()]
            right, centred = label.partition(".")[0] == known.superclass, bool(known.centre.any())
            self.seen.append((right, centred))
            if right and centred:
                yield known, text

    def units(self, count: int, dear: int) -> Iterator[None]:
        """A unit of work each: the cheap methods on all reactions, then the dear ones one by one."""
        blocks, drawn = [], self.draw()
        while len(blocks) * BLOCK < count and (block := list(islice(drawn, BLOCK))):
            blocks.append(block)
            for name in CHEAP:
                self._unit(name, len(blocks) - 1, block)
            yield
        for name in LABELS:
            for number, block in enumerate(blocks[: -(-dear // BLOCK)]):
                self._unit(name, number, block)
                yield

    def _unit(self, name: str, number: int, block: Sequence[tuple[Reaction, TextValues]]) -> None:
        path = self.work / f"{name}-{number}.npz"
        if path.is_file():
            return
        start, texts = time.perf_counter(), [text.anew() for _, text in block]
        targets = [text.predicted() for _, text in block]
        scores = self._explain(name)(texts, targets)
        atoms = [known.atoms for known, _ in block]
        figures = {
            "scores": np.concatenate([row[mask] for row, mask in zip(scores, atoms, strict=True)]),
            "centre": np.concatenate([known.centre[known.atoms] for known, _ in block]),
            "lengths": np.array([mask.sum() for mask in atoms]),
            "seen": np.array(self.seen),
        }
        with durable(path) as file:
            np.savez_compressed(file, **figures)
        print(f"{name} {number}: {time.perf_counter() - start:.1f} s", flush=True)

    def _explain(self, name: str) -> Explain:
        own: dict[str, Explain] = {
            "mhex_budget": self._refined,
            "alti": lambda texts, targets: [alti(text) for text in texts],
            "decompx": lambda texts, targets: [decompx(*pair) for pair in zip(texts, targets, strict=True)],
        }
        if name in own:
            return own[name]
        (chosen,) = available_methods(self.values, self.explainer, [name], seed=self.seed, steps=STEPS)
        return chosen.explain

    def _refined(self, texts: Sequence[TextValues], targets: Sequence[int]) -> list[Floats]:
        explanations = self.explainer([text.item.text for text in texts], budget=BUDGET)  # of the predicted classes
        return [text.unit_scores(e.scores) for text, e in zip(texts, explanations, strict=True)]


def load(work: Path, name: str, count: int) -> dict[str, Any]:
    """(B,) AUPRC of the scores and of their magnitudes, and the share of atoms in the centre; {} without any."""
    rows: list[tuple[Floats, Bools]] = []
    seen = np.zeros((0, 2))
    for number in range(-(-count // BLOCK)):
        path = work / f"{name}-{number}.npz"
        if not path.is_file():
            break
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            rows += zip(np.split(file["scores"], ends), np.split(file["centre"], ends), strict=True)
            seen = file["seen"] if len(file["seen"]) > len(seen) else seen
    if not rows:
        return {}
    scores, centres = zip(*rows, strict=True)
    return {
        "auprc": auprc(scores, centres),
        "magnitude": auprc([np.abs(row) for row in scores], centres),
        "share": np.array([centre.mean() for centre in centres]),
        "seen": seen,
    }


def smiles_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """A fast tokenizer, so that tokens have offsets: atoms, bonds, brackets and rings, as the model was trained on."""
    ids = {token: index for index, token in enumerate(vocabulary) if token}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN), "isolated")
    ends = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **SPECIAL)


def load_classifier(folder: str, classes: dict[str, int]) -> Any:
    """The model, whose config names two labels of its 50."""
    names = {index: name for name, index in classes.items()}
    config = BertConfig.from_pretrained(folder, id2label=names, label2id=classes)
    return BertForSequenceClassification.from_pretrained(folder, config=config).eval()


def reaction(row: dict[str, str]) -> Reaction:
    """A row of the file, "reactants>>product" with atom maps.

    A bond changes where it is broken, formed or of another order, and one of its atoms at least is on both sides: what
    leaves is not listed as a product, so that its inner bonds are no news. The centre are all atoms of such bonds.
    """
    chem = load_peer("rdkit.Chem")
    reactants, _, product = row["reactants>reagents>production"].split(">")
    sides = [chem.MolFromSmiles(side) for side in (reactants, product)]
    before, after = (_bonds(side) for side in sides)
    numbers = [_numbers(side) for side in sides]
    shared = {number for number in numbers[0] if number > 0} & set(numbers[1])
    changed = [pair for pair in before.keys() | after.keys() if before.get(pair) != after.get(pair) and pair & shared]
    centre = frozenset().union(*changed)
    smiles, orders = zip(*(_without_maps(chem, side) for side in sides), strict=True)
    marks = iter([numbers[side][atom] in centre for side in (0, 1) for atom in orders[side]])
    text = ">>".join(smiles)
    atoms = np.array([re.fullmatch(ATOM, token) is not None for token in re.findall(TOKEN, text)])
    marked = np.array([is_atom and next(marks) for is_atom in atoms])
    if next(marks, None) is not None:
        raise ValueError(f"{text} has more atoms than tokens of atoms.")
    return Reaction(text, atoms, marked, row["class"])


def _numbers(molecule: Any) -> list[int]:
    """The number of each atom's map; of one without, a negative number of its own."""
    return [atom.GetAtomMapNum() or -1 - atom.GetIdx() for atom in molecule.GetAtoms()]


def _bonds(molecule: Any) -> dict[frozenset[int], float]:
    """The order of each bond, by the numbers of its atoms."""
    numbers = _numbers(molecule)
    return {
        frozenset((numbers[bond.GetBeginAtomIdx()], numbers[bond.GetEndAtomIdx()])): bond.GetBondTypeAsDouble()
        for bond in molecule.GetBonds()
    }


def _without_maps(chem: Any, molecule: Any) -> tuple[str, list[int]]:
    """Canonical SMILES, and which atom each of its atoms is."""
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    smiles = chem.MolToSmiles(molecule)
    return smiles, list(molecule.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])


def write(args: Any, study: Study, count: int) -> None:
    """The figures as JSON and as the tables of the page."""
    columns = {name: figures for name in LABELS if (figures := load(study.work, name, count))}
    if not columns:
        return
    longest = max(columns.values(), key=lambda figures: len(figures["share"]))
    seen = max((figures["seen"] for figures in columns.values()), key=len)
    report = {
        "model": "rxnfp 0.1.0, bert_ft_10k_25s: BERT, 12 layers of 256 units, 50 classes",
        "machine": machine(),
        "seed": args.seed,
        "reactions_seen": len(seen),
        "superclass_accuracy": round(float(seen[:, 0].mean()), 4),
        "without_centre": int((seen[:, 1] == 0).sum()),
        "share_in_centre": mean_interval(longest["share"]),
        "fit": {name: study.fit[name] for name in FIT},
        "methods": {
            name: {measure: mean_interval(figures[measure]) for measure in MEASURES}
            for name, figures in columns.items()
        },
        "differences": {
            f"{ours} - {name}": {measure: _difference(columns[ours][measure], figures[measure]) for measure in MEASURES}
            for ours in OURS
            for name, figures in columns.items()
            if ours in columns and name != ours and not (ours == "mhex_fitted" and name == "mhex_budget")
        },
    }
    write_json(args.output, report)
    write_page(args.page, _page(report), "tables")


def _difference(ours: Floats, theirs: Floats) -> dict[str, Any]:
    """Of the reactions that both were measured on."""
    shared = min(len(ours), len(theirs))
    return mean_interval(ours[:shared] - theirs[:shared])


def _page(report: dict[str, Any]) -> list[str]:
    fit = report["fit"]
    skill, attainable = (
        cell(None if fit[name] is None else {"mean": fit[name], "interval95": fit[f"{name}_interval"]})
        for name in FIGURES
    )
    rows = [
        [LABELS[name], str(row["auprc"]["n"]), *(cell(row[measure]) for measure in MEASURES)]
        for name, row in report["methods"].items()
    ]
    differences = [
        [
            *(LABELS[name] for name in key.split(" - ")),
            str(row["auprc"]["n"]),
            *(cell(row[measure], signed=True) for measure in MEASURES),
        ]
        for key, row in report["differences"].items()
    ]
    return [
        f"{report['model']}. Of the first {report['reactions_seen']} reactions in random order it gets the superclass "
        f"of {report['superclass_accuracy']:.1%} right; these are explained, for the predicted class, except where no "
        f"bond changes ({report['without_centre']}). Share of a reaction's atoms that are in the centre: "
        f"{cell(report['share_in_centre'])}. The fit: {fit['texts']} other reactions, {fit['masks']} masks each, "
        f"paired skill {skill} on {fit['held_out']} held-out ones; attainable {attainable}. {report['machine']}; 95 % "
        f"bootstrap intervals over reactions.",
        "",
        *grid(["method", "reactions", *MEASURES.values()], rows),
        "",
        *grid(["AUPRC of", "less that of", "reactions", *MEASURES.values()], differences),
    ]


if __name__ == "__main__":
    main()
