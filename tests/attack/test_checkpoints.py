# SPDX-License-Identifier: Apache-2.0
"""Broken checkpoints, side-cars and records: refused in a sentence, or explained as the whole ones are, and no other.

Weights that were exchanged for other good ones cannot be told by their file and are not drawn here.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from helpers.attack import record, rounds
from helpers.families import FAMILIES, train_heads
from helpers.tiny import tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexExplainer, get_mhex_model, save_explainer
from mhex_nlp.training.fitting.fit import fit_equivalent_matrices

FULL = 4000
TEXTS = ["the film was dull .", "a superb plot , and the acting was fine"]
ARCHITECTURES = [
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertModel",
    "",
    "GPT2LMHeadModel",
    "Nothing",
]
# A well-formed value of these makes another model, which no file can tell: they are only taken out or made nonsense of.
MEANINGFUL = {
    "layer_norm_eps",
    "hidden_act",
    "is_decoder",
    "num_attention_heads",
    "gate",
    "dtype",
    "chunk_size_feed_forward",
}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**40,
    10**30,
    1e308,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\ud800",
]
VALUES += [[], {}, [1, "x"], {"x": []}, nested(50)]
NONSENSE: list[Any] = ["", "x", [], {}, nested(50), {"x": []}]


class Whole:
    """The intact files, and what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model, self.beside, self.plain = folder, folder / "model", folder / "beside", folder / "plain"
        model = train_heads(tiny_mhex(gate=False)).eval()
        fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(40)[0], masks=2, progress=False)
        model.save_pretrained(self.model)
        save_explainer(model, self.beside)
        model.without_heads().save_pretrained(self.plain)
        tiny_tokenizer().save_pretrained(self.model)
        self.host = AutoModelForSequenceClassification.from_pretrained(self.plain).eval()
        self.scores = explained(MhexExplainer.from_pretrained(str(self.model)))


def explained(explainer: MhexExplainer) -> np.ndarray:
    return np.concatenate([explanation.scores for explanation in explainer(TEXTS)])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON document below its top."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        yield (*path, key)
        yield from places(entry, (*path, key))


def mutate_json(path: Path, draw: random.Random) -> None:
    document = json.loads(path.read_text("utf-8"))
    kind = draw.choice(["value", "value", "value", "delete", "rename", "extra", "text", "deep", "model_type", "task"])
    *parents, key = draw.choice(list(places(document)))
    holder = document
    for parent in parents:
        holder = holder[parent]
    if kind == "value":
        holder[key] = draw.choice(NONSENSE if MEANINGFUL & {key, *parents} else VALUES)
    elif kind == "delete":
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        holder[f"{key}_"] = holder.pop(key)
    elif kind == "extra":
        (holder if isinstance(holder, dict) else document)["surplus"] = draw.choice(VALUES)
    elif kind == "model_type":
        document["model_type"] = draw.choice([*FAMILIES, "xlnet", "vit", "", 5])
    elif kind == "task":
        document["architectures"] = draw.choice([[draw.choice(ARCHITECTURES)], draw.choice(VALUES)])
    text = json.dumps(document)
    if kind == "text":
        cut = draw.randrange(len(text))
        text = text[:cut] + draw.choice(["", "}", "\0", text[cut + 1 :]])
    elif kind == "deep":
        text = text[:-1] + ', "deep": ' + "[" * 3000 + "]" * 3000 + "}"
    path.write_text(text, "utf-8")


def mutate_weights(path: Path, draw: random.Random) -> None:
    tensors = load_file(path)
    key = draw.choice(sorted(tensors))
    value = tensors[key]

    def spoil(number: float) -> torch.Tensor:
        spoilt = value.clone().flatten()
        spoilt[draw.randrange(len(spoilt)) if draw.random() < 0.5 else slice(None)] = number
        return spoilt.view(value.shape)

    changes: dict[str, Callable[[], Any]] = {
        "drop": lambda: tensors.pop(key),
        "drop a part": lambda: [tensors.pop(k) for k in list(tensors) if k.startswith(key.rpartition(".")[0])],
        "rename": lambda: tensors.update({draw.choice([f"{key}_", f"x.{key}", key[:-1]]): tensors.pop(key)}),
        "prefix": lambda: [tensors.update({f"module.{k}": tensors.pop(k)}) for k in list(tensors)],
        "retype": lambda: tensors.update(
            {key: value.to(draw.choice([torch.float64, torch.int64, torch.int8, torch.bool, torch.uint8]))}
        ),
        "reshape": lambda: tensors.update(
            {
                key: draw.choice(
                    [
                        value.flatten()[1:],
                        value[None],
                        value.T if value.dim() > 1 and len(set(value.shape)) > 1 else value[:-1],
                    ]
                )
            }
        ),
        "not finite": lambda: tensors.update({key: spoil(draw.choice([float("nan"), float("inf")]))}),
        "extra": lambda: tensors.update({f"{key.rpartition('.')[0]}.surplus": value.clone()}),
        "empty": lambda: tensors.clear(),
    }
    changes[draw.choice(sorted(changes))]()
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path, {"format": "pt"})


def mutate_bytes(path: Path, draw: random.Random, whole: bool = False) -> None:
    """Cuts, lengthens, replaces, or changes a byte: of the header alone, unless a hash watches over the `whole`."""
    content = bytearray(path.read_bytes())
    kind = draw.choice(["cut", "flip", "flip", "flip", "longer", "foreign"])
    if kind == "cut":
        content = content[: draw.randrange(len(content))]
    elif kind == "flip":
        end = len(content) if whole else min(len(content), 8 + int.from_bytes(content[:8], "little"))
        place = draw.randrange(end)
        content[place] ^= draw.randrange(1, 256)
    elif kind == "longer":
        content += draw.randbytes(7)
    else:
        content = bytearray(
            draw.choice([b"", b"{}", pickle.dumps({"a": print}), b"\x80\x02}q\x00.", draw.randbytes(99)])
        )
    path.write_bytes(content)


def break_checkpoint(whole: Whole, target: Path, draw: random.Random) -> MhexExplainer:
    shutil.copytree(whole.model, target)
    kind = draw.choice(["config", "config", "weights", "weights", "header", "tokenizer", "pickle"])
    weights = target / "model.safetensors"
    if kind == "config":
        mutate_json(target / "config.json", draw)
    elif kind == "weights":
        mutate_weights(weights, draw)
    elif kind == "header":
        mutate_bytes(weights, draw)
    elif kind == "tokenizer":
        path = target / draw.choice(["tokenizer.json", "tokenizer_config.json"])
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    else:
        torch.save(load_file(weights), target / "pytorch_model.bin")
        weights.unlink()
        content = (target / "pytorch_model.bin").read_bytes()
        cut = draw.choice([content[: draw.randrange(len(content))], pickle.dumps({"a": print}), draw.randbytes(99)])
        (target / "pytorch_model.bin").write_bytes(cut)
    return MhexExplainer.from_pretrained(str(target))


def break_side_car(whole: Whole, target: Path, draw: random.Random) -> MhexExplainer:
    shutil.copytree(whole.beside, target)
    kind = draw.choice(["record", "record", "weights", "bytes"])
    if kind == "record":
        mutate_json(target / "explainer.json", draw)
    elif kind == "weights":
        mutate_weights(target / "explainer.safetensors", draw)
        content = json.loads((target / "explainer.json").read_text("utf-8"))
        del content["sha256"]  # as in the folders of an earlier version
        (target / "explainer.json").write_text(json.dumps(content), "utf-8")
    else:
        mutate_bytes(target / "explainer.safetensors", draw, whole=True)
    return MhexExplainer(get_mhex_model(whole.host, target), tiny_tokenizer())


@pytest.mark.slow
@pytest.mark.parametrize("breaking", [break_checkpoint, break_side_car])
def test_broken_files(breaking, tmp_path, monkeypatch):
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    whole, start, refused, wrong = Whole(tmp_path), time.perf_counter(), 0, []
    tried = rounds(FULL // 2)
    for number in range(tried):
        draw, target = random.Random(number), tmp_path / f"broken-{number}"
        try:
            scores = explained(breaking(whole, target, draw))
        except (ValueError, TypeError, OSError) as error:
            refused += 1
            if not str(error).strip() or isinstance(error, UnicodeDecodeError):
                wrong.append(f"{number}: {error!r:.200}")
        except Exception as error:
            wrong.append(f"{number}: {type(error).__name__}: {error!s:.200}")
        else:
            if not np.allclose(scores, whole.scores, rtol=1e-5, atol=1e-6):
                wrong.append(f"{number}: other scores, by up to {abs(scores - whole.scores).max():.3g}")
        shutil.rmtree(target, ignore_errors=True)
    assert not wrong, "\n".join(wrong)
    assert refused > tried // 3
    name = breaking.__name__.replace("_", " ")
    record(f"{name}s", tried=tried, refused=refused, wrong=0, seconds=round(time.perf_counter() - start, 1))
