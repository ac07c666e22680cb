# SPDX-License-Identifier: Apache-2.0
"""Every weight that an explanation rests on was loaded or trained, and a record of a fit goes with its matrices."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForTokenClassification,
    BertModel,
    ModernBertConfig,
    ModernBertForTokenClassification,
)

from helpers.families import batch, train_heads
from helpers.tiny import WORDS, tiny_bert, tiny_mhex, tiny_texts, tiny_tokenizer
from mhex_nlp import AutoMhexModelForSequenceClassification, MhexConfig, MhexExplainer, get_mhex_model, save_explainer
from mhex_nlp.cli import main
from mhex_nlp.evaluation.benchmark.run import evaluate_explanations
from mhex_nlp.explain.refinement import Prior
from mhex_nlp.models.checkpoint import shown_name
from mhex_nlp.models.loading import readable
from mhex_nlp.training import FinetuneConfig
from mhex_nlp.training.fitting.fit import fit_equivalent_matrices

TEXT = "the film was very dull ."
load = AutoMhexModelForSequenceClassification.from_pretrained


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A checkpoint with trained heads and a fit."""
    folder = tmp_path_factory.mktemp("fitted")
    model = train_heads(tiny_mhex(gate=False)).eval()
    fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(40)[0], masks=2, progress=False)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def changed(source: Path, target: Path, weights: Any = None, **config: Any) -> Path:
    """A copy of a checkpoint with other weights, by a function of them, and with other entries in its config."""
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    tensors = load_file(source / "model.safetensors")
    save_file(weights(tensors) if weights else tensors, target / "model.safetensors", {"format": "pt"})
    settings = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**settings, **config}))
    return target


def without(*names: str) -> Any:
    return lambda tensors: {k: v for k, v in tensors.items() if not any(name in k for name in names)}


BROKEN = {
    "no backbone": (without("bert."), {}, "bert.* and .* more are not there"),
    "one weight of a layer lost": (without("layer.1.output.dense.bias"), {}, "layer.1.output.dense.bias is not there"),
    "no embeddings": (without("word_embeddings"), {}, "word_embeddings.weight is not there"),
    "no classifier": (without("classifier"), {}, "classifier.bias and 1 more are not there"),
    "a prefix": (lambda t: {f"module.{k}": v for k, v in t.items()}, {}, "holds none|not fit its config"),
    "a prefix on the plain part": (
        lambda t: {k if k.startswith("mhex") else f"module.{k}": v for k, v in t.items()},
        {},
        "more are not there",
    ),
    "another model_type": (None, {"model_type": "electra"}, "more are not there"),
    "a fit lost": (without("mhex_fit.depth_1"), {}, "do not fit its config: missing .'mhex_fit.depth_1"),
    "a record lost": (None, {"mhex_fit": None}, "unexpected .'mhex_fit"),
    "integers": (lambda t: {k: v.long() if "depth_1" in k else v for k, v in t.items()}, {}, "depth_1 in I64"),
    "not finite": (lambda t: {k: v * torch.nan if "depth_1" in k else v for k, v in t.items()}, {}, "must be finite"),
    "another layer": (lambda t: {**t, "bert.encoder.layer.0.extra": torch.ones(2)}, {}, "has no bert.*extra"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_checkpoint_with_heads_is_whole(fitted, tmp_path, name):
    weights, config, sentence = BROKEN[name]
    folder = changed(fitted, tmp_path / "broken", weights, **config)
    with pytest.raises(ValueError, match=sentence):
        load(folder)
    assert load(changed(fitted, tmp_path / "same")).fit_record["skill"] == load(fitted).fit_record["skill"]


PRIOR = {"ratio": 4.0, "noise": 0.1, "freedom": 2.0}  # of earlier fits
MIX = {"steps": 2, "scores": 0.5, "gradients": 0.5, "least": 8, "prior": {**PRIOR, "bend": 1.0, "mix": None}}
RECORDS = {
    "refinement": [
        {},
        {**PRIOR, "noise": 0},
        {**PRIOR, "bend": -1},
        {**PRIOR, "more": 1},
        {**PRIOR, "mix": {}},
        *({**PRIOR, "mix": {**MIX, key: value}} for key, value in [("steps", 0), ("least", 1), ("gradients", "much")]),
        {**PRIOR, "mix": {**MIX, "prior": {**PRIOR, "mix": MIX}}},
    ],
    "skill": [float("nan"), 1.5, "0.9", None, True, -(10**400)],
    "r2": [float("inf"), []],
    "skill_interval": [[0.5], [0.1, 2.0], "ab"],
    "depth_share": [[2.0], [-1, 1, 1, 0], "none"],
    "base_error": [[-1, 0], 3],
    "rows": [-5, 1.5, "many"],
    "texts": [-1],
    "depths": [[0, 99], [1, 0], [], 4, None, ["0"]],
    "widths": [[0], [10**30] * 4, {"a": 1}, None],
    "flow_widths": [[-1, 0, 0, 0], 3],
    "removal": ["deletion", 3, []],
    "seconds": [-1, float("inf")],
}


@pytest.mark.parametrize("entry", RECORDS)
def test_an_absurd_record_is_refused(fitted, tmp_path, entry):
    record = json.loads((fitted / "config.json").read_text())["mhex_fit"]
    for value in RECORDS[entry]:
        folder = changed(fitted, tmp_path / "forged", mhex_fit={**record, entry: value})
        with pytest.raises(ValueError, match=f"mhex_fit in the config of .*forged: {entry} must be"):
            load(folder)
    for value in ([], "fit", 3, False):
        with pytest.raises(ValueError, match="must be the record of a fit"):
            load(changed(fitted, tmp_path / "forged", mhex_fit=value))


def test_priors_of_earlier_fits_and_of_these_are_read(fitted, tmp_path):
    record = json.loads((fitted / "config.json").read_text())["mhex_fit"]
    for number, prior in enumerate((None, PRIOR, {**PRIOR, "bend": 0.0, "mix": None}, {**PRIOR, "mix": MIX})):
        model = load(changed(fitted, tmp_path / str(number), mhex_fit={**record, "refinement": prior}))
        assert Prior.of(model.fit_record) == (Prior(**PRIOR) if number in (1, 2) else Prior.of({"refinement": prior}))


@pytest.mark.parametrize("settings", [[], 5, {}, {"gate": 1, "aggregation": "mean", "beta": 0.5}, {"beta": {}}])
def test_absurd_settings_are_refused(fitted, tmp_path, settings):
    with pytest.raises(ValueError, match="mhex in the config of .*forged is not as it was saved"):
        load(changed(fitted, tmp_path / "forged", mhex=settings))


def test_a_changed_head_drops_the_fit(fitted, recwarn):
    """The matrices were read from memory that nobody had written, under the old fit's skill."""
    tokenizer = AutoTokenizer.from_pretrained(fitted)
    model = load(fitted, num_labels=3, ignore_mismatched_sizes=True)
    assert model.config.mhex_fit is None and model.fit_record is None
    with pytest.raises(ValueError, match="holds no classifier.bias, so that its answers are random"):
        MhexExplainer(model, tokenizer)(TEXT)
    with pytest.raises(ValueError, match=r"is \(2,.*\) in the file and \(3,"):
        load(fitted, num_labels=3)


def test_drawn_weights_have_no_fit(fitted, tmp_path):
    config = AutoConfig.from_pretrained(fitted)
    for model in (AutoMhexModelForSequenceClassification.from_config(config), type(load(fitted))(config)):
        assert model.fit_record is None
        with pytest.raises(ValueError, match="were never trained"):
            MhexExplainer(model, tiny_tokenizer())(TEXT)
        model.save_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text()).get("mhex_fit") is None
        assert not any(key.startswith("mhex_fit") for key in load_file(tmp_path / "model.safetensors"))
    plain = AutoModelForSequenceClassification.from_pretrained(fitted)
    assert get_mhex_model(plain, MhexConfig(gate=False)).fit_record is None
    assert load(fitted, mhex=MhexConfig(gate=False)).fit_record is not None  # the heads are the stored ones


@pytest.fixture
def base(tmp_path) -> Path:
    """An encoder as pretraining leaves it: neither pooler nor classifier."""
    BertForMaskedLM(tiny_bert().config).save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_base_model_explains_nothing_before_it_is_trained(base):
    model, tokenizer = load(base), tiny_tokenizer()
    for ask in (
        lambda m: MhexExplainer(m, tokenizer)(TEXT),
        lambda m: fit_equivalent_matrices(m, tokenizer, tiny_texts(40)[0], progress=False),
        lambda m: evaluate_explanations(m, tokenizer, tiny_texts(4)[0]),
    ):
        for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(model).bfloat16()):
            with pytest.raises(ValueError, match=r"must be a fine-tuned classifier, got one whose checkpoint holds no"):
                ask(same)


@pytest.mark.parametrize("step", ["train", "load_state_dict", "save"])
def test_a_trained_base_model_explains(base, tmp_path, step):
    model = load(base)
    if step == "load_state_dict":
        model.load_state_dict(train_heads(tiny_mhex()).state_dict())
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        inputs = {key: value % len(WORDS) for key, value in batch().items()}
        model(**inputs, labels=torch.tensor([0, 1, 1, 1])).loss.backward()
        optimizer.step()
    if step == "save":
        model.save_pretrained(tmp_path / "trained")
        model = load(tmp_path / "trained")
    assert MhexExplainer(model.eval(), tiny_tokenizer())(TEXT).label in ("negative", "positive")
    fit_equivalent_matrices(model, tiny_tokenizer(), tiny_texts(40)[0], masks=2, progress=False)


def other_tasks(folder: Path) -> list[Path]:
    modern = ModernBertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        num_labels=2,
    )
    models = [
        BertForTokenClassification(tiny_bert().config),
        BertForQuestionAnswering(tiny_bert().config),
        ModernBertForTokenClassification(modern),
    ]
    for model in models:
        model.save_pretrained(folder / type(model).__name__)
        tiny_tokenizer().save_pretrained(folder / type(model).__name__)
    return [folder / type(model).__name__ for model in models]


def test_a_model_for_another_task_is_no_classifier(tmp_path, capsys):
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in zip(*tiny_texts(30), strict=True)))
    for folder in other_tasks(tmp_path):
        sentence = f"must be a text classifier .*which its config calls a {folder.name}"
        with pytest.raises(ValueError, match=sentence):
            load(folder)
        with pytest.raises(ValueError, match=sentence):
            MhexExplainer.from_pretrained(str(folder))
        plain = AutoModelForSequenceClassification.from_pretrained(folder)
        with pytest.raises(ValueError, match=sentence):
            get_mhex_model(plain)
        with pytest.raises(ValueError, match=sentence):
            evaluate_explanations(plain, tiny_tokenizer(), tiny_texts(4)[0])
        plain.config.architectures = None
        get_mhex_model(plain)
    choices = tmp_path / "BertForMultipleChoice"
    BertForMultipleChoice(tiny_bert().config).save_pretrained(choices)
    tiny_tokenizer().save_pretrained(choices)
    for folder in (*other_tasks(tmp_path), choices):
        verbs = [["finetune", "--data", str(data), "--output-dir"]]
        if folder == choices:  # the others are explained as what they are
            verbs.append(["fit", "--data", str(data), "--output"])
            verbs.append(["evaluate", "--data", str(data), "--output"])
            verbs.append(["highlight", "--text", "a film", "--output"])
        for verb in verbs:
            assert main([verb[0], "--model", str(folder), *verb[1:], str(tmp_path / "out")]) == 2
            error = capsys.readouterr().err.strip()
            assert "must be a text classifier" in error.splitlines()[-1] and "Traceback" not in error, error


def test_a_base_model_at_the_command(base, tmp_path, capsys):
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in zip(*tiny_texts(40), strict=True)))
    BertModel(tiny_bert().config).save_pretrained(tmp_path / "bare")
    tiny_tokenizer().save_pretrained(tmp_path / "bare")
    for folder in (base, tmp_path / "bare"):
        for verb in (
            ["fit", "--data", str(data)],
            ["evaluate", "--data", str(data)],
            ["highlight", "--text", "a film"],
        ):
            assert main([verb[0], "--model", str(folder), *verb[1:], "--output", str(tmp_path / "out")]) == 2
            assert "must be a fine-tuned classifier" in capsys.readouterr().err


def test_a_base_model_without_its_layers_is_no_start(base, tmp_path):
    folder = changed(base, tmp_path / "broken", lambda t: {f"model.{k}": v for k, v in t.items()})
    with pytest.raises(ValueError, match=r"not those of the model in its config: bert\.encoder\.layer"):
        load(folder)
    with pytest.raises(ValueError, match=r"not those of the model in its config: bert\.encoder\.layer"):
        load(changed(base, tmp_path / "larger"), num_hidden_layers=3)


def test_a_broken_side_car_names_its_file(fitted, tmp_path):
    plain = AutoModelForSequenceClassification.from_pretrained(fitted)
    save_explainer(load(fitted), tmp_path)
    record = json.loads((tmp_path / "explainer.json").read_text())
    weights = load_file(tmp_path / "explainer.safetensors")
    assert get_mhex_model(plain, tmp_path).fit_record == record["mhex_fit"]

    def refused(sentence: str, tensors: Any = None, **entries: Any) -> None:
        text = json.dumps({**record, **entries, **({} if tensors is None else {"sha256": None})})
        (tmp_path / "explainer.json").write_text(text)
        save_file(weights if tensors is None else tensors, tmp_path / "explainer.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=sentence):
            get_mhex_model(plain, tmp_path)

    where = "explainer.json"
    refused(f"mhex_fit in .*{where}: skill must be", mhex_fit={**record["mhex_fit"], "skill": 7})
    refused(f"mhex_fit in .*{where} must be the record", mhex_fit=[])
    refused(f"mhex in .*{where} is not as it was saved", mhex={"gate": False})
    refused(f"{where} must be of heads that only read", mhex={**record["mhex"], "gate": True})
    refused(f"{where} is not a record", base=[])
    refused(f"{where} is not a record", base=None)
    refused(f"{where} has schema", schema=[])
    refused("made for other weights", base={"sha256": "x"})
    refused("depth_1 in int64", {k: v.long() if "depth_1" in k else v for k, v in weights.items()})
    refused("must be finite", {k: v * torch.inf if "w1" in k else v + 1 for k, v in weights.items()})
    refused(
        r"depth_1 is \(32, 2\) and must be \(2, 32\)",
        {k: v.T.contiguous() if "depth_1" in k else v for k, v in weights.items()},
    )
    refused("is not the file that was saved", sha256="0" * 64)
    (tmp_path / "explainer.json").write_text('{"a":' * 5000 + "1" + "}" * 5000)
    with pytest.raises(ValueError, match="is not a record of save_explainer"):
        get_mhex_model(plain, tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("distilbert/distilbert-base-uncased", "distilbert/distilbert-base-uncased"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("/home/somebody/secret/model-1.0/", "model-1.0"),
        ("C:\\Users\\somebody\\model", "model"),
        ("~/work/model", "model"),
        ("../models/mood", "mood"),
        ("runs/2024/mood", "mood"),
        ("./", None),
        ("/", None),
        ("", ""),
        (None, None),
    ],
)
def test_names_are_shown_without_places(name, shown):
    assert shown_name(name) == shown


def test_no_place_is_passed_on(fitted, tmp_path):
    """The folder is gone by the time when the model explains, or is saved beside."""
    home = tmp_path / "home-of-somebody"
    home.mkdir()
    explainer = MhexExplainer.from_pretrained(str(changed(fitted, home / "mood")))
    shutil.rmtree(home)
    explanation = explainer(TEXT)
    assert explanation.model.name == "mood"
    save_explainer(explainer.model, tmp_path / "beside")
    report = evaluate_explanations(explainer.model, explainer.tokenizer, tiny_texts(3)[0], reference_permutations=0)
    settings = FinetuneConfig(model=str(home / "mood"), data=str(home / "a.csv"), output_dir=home / "run").to_dict()
    beside = (tmp_path / "beside" / "explainer.json").read_text()
    assert json.loads(beside)["base"]["name"] == report.model == settings["model"] == "mood"
    for written in (explanation.to_json(), explanation.to_html(), beside, json.dumps(settings)):
        assert home.name not in written


def test_a_model_that_is_nowhere_is_named(tmp_path):
    """transformers speaks of the network alone."""
    says = r"^org/none is no folder here, and could not be had from the hub: no network\.$"
    with pytest.raises(OSError, match=says), readable("org/none"):
        raise OSError("no network.\nSee a page.")
    for said, name in (("org/none has no config", "org/none"), ("no config in the folder", str(tmp_path))):
        with pytest.raises(OSError, match=said), readable(name):
            raise OSError(said)
