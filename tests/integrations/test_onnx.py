# SPDX-License-Identifier: Apache-2.0
"""Exported graphs against the model: what they say, and what explains with them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from helpers.families import plain_model, train_heads
from helpers.tiny import random_texts, tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, highlight_dataset
from mhex_nlp.cli import main
from mhex_nlp.models.heads.readout import FeatureLayout

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} comes with the extra: pip install 'mhex_nlp[onnx]'")

from mhex_nlp.integrations.onnx import OnnxExplainer, export_onnx, export_pt2  # noqa: E402

TOKENIZER = tiny_tokenizer()
TEXTS = [
    "the film was superb and very lovely , the music poor",
    "bad",
    "a dull plot [SEP] and awful acting .",
    "it was fine and the plot was good and the music was lovely and the acting was awful and dull .",
]
FLOW = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert", "albert", "llama", "gpt2")


def random_fit(model: Any) -> Any:
    """The model with random fitted matrices that read all states, and the flow where attention shows itself."""
    inputs = {"input_ids": torch.arange(5, 14)[None], "attention_mask": torch.ones(1, 9, dtype=torch.long)}
    with torch.inference_mode():
        seen = model.eval()(**inputs, output_states=True)
    flows = [0] * len(seen.states)
    for layer, flow in enumerate(seen.attention_flow):
        flows[layer + 1] = flow.shape[-1]
    widths = [state.shape[-1] for state in seen.states]
    fit = {"depths": list(range(len(widths))), "widths": widths, "flow_widths": flows, "skill": 0.5, "removal": "mask"}
    features, draw = FeatureLayout.of(fit).features, torch.Generator().manual_seed(1)
    model.add_readout(fit, torch.randn(features, model.config.num_labels, generator=draw) * 0.3)
    return model


@pytest.fixture(scope="module")
def fitted() -> Any:
    names = {0: "bad", 1: "so-so", 2: "good"}
    plain = tiny_bert(id2label=names, label2id={name: index for index, name in names.items()})
    model = get_mhex_model(plain, MhexConfig(gate=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few texts
        fit_equivalent_matrices(model, TOKENIZER, random_texts(60), masks=4, attainable_texts=2, progress=False)
    return model.eval()


@pytest.fixture(scope="module")
def folder(fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported")
    export = export_onnx(MhexExplainer(fitted, TOKENIZER), path, triton=True)
    assert export.explains == "fitted matrices with attention flow" and export.difference < 1e-4 and export.opset == 20
    return path


def assert_same(ours: Explanation, theirs: Explanation, tolerance: float = 1e-4) -> None:
    """All but numbers is equal, and numbers within the tolerance."""
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=tolerance)
    for name in ("sum", "base_value", "misfit", "empty_value", "probability"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=tolerance), name
    if theirs.classes is not None:
        np.testing.assert_allclose(ours.class_scores, theirs.class_scores, atol=tolerance)
    without: dict[str, Any] = {"tokens": (), "sum": 0.0, "base_value": 0.0, "misfit": None, "empty_value": None}
    without |= {"prediction": theirs.prediction, "classes": None}
    assert replace(ours, **without) == replace(theirs, **without) and ours.label == theirs.label
    strip = [tuple(replace(token, score=0.0, scores=None) for token in one.tokens) for one in (ours, theirs)]
    assert strip[0] == strip[1] and ours.prediction.labels == theirs.prediction.labels


@pytest.mark.parametrize(
    "family",
    ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in (*FLOW[1:], "deberta-v2", "mpnet"))],
)
def test_graphs_of_families_say_what_the_model_says(family, tmp_path):
    """I8: fitted matrices, with attention flow where the family shows it, in batches of mixed lengths."""
    layers = {"distilbert": "n_layers", "gpt2": "n_layer"}.get(family, "num_hidden_layers")
    unpadded = {"pad_token_id": None} if family == "gpt2" else {}  # one text a batch
    plain = plain_model(family, **{layers: 2}, **unpadded)
    explainer = MhexExplainer(random_fit(get_mhex_model(plain, MhexConfig(gate=False))), TOKENIZER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export = export_onnx(explainer, tmp_path)
    assert ("attention flow" in export.explains) is (family in FLOW)
    ours = OnnxExplainer.from_pretrained(tmp_path)
    for one, other in zip(ours(TEXTS), explainer(TEXTS), strict=True):
        assert_same(one, other)
        assert np.abs(other.scores).max() > 0.05


def test_explanations_are_those_of_the_model(fitted, folder):
    torches, ours = MhexExplainer(fitted, TOKENIZER), OnnxExplainer.from_pretrained(folder, threads=1)
    for options in ({}, {"target": "so-so"}, {"target": "bad", "foil": 2}, {"classes": "all"}, {"target": "predicted"}):
        for one, other in zip(ours(TEXTS, **options), torches(TEXTS, **options), strict=True):
            assert_same(one, other)
    assert ours(TEXTS)[0].misfit is not None and ours(TEXTS)[0].method.skill is not None
    assert_same(ours("the film", text_pair="a plot"), torches("the film", text_pair="a plot"))
    streamed = list(ours.stream(iter(TEXTS), batch_size=2, ids=list("abcd")))
    assert [one.id for one in streamed] == list("abcd")
    assert_same(streamed[3], torches(TEXTS, ids=list("abcd"))[3])
    assert Explanation.from_json(streamed[0].to_json()) == streamed[0] and "superb" in streamed[0].to_html()
    with pytest.raises(ValueError, match="foil must be another class than the target"):
        ours(TEXTS, foil=ours(TEXTS[0]).label)


def test_further_passes_go_through_the_graph(fitted, folder):
    torches, ours = MhexExplainer(fitted, TOKENIZER), OnnxExplainer.from_pretrained(folder)
    refinement = fitted.fit_record.get("refinement")
    without = {**fitted.fit_record, "refinement": refinement and {**refinement, "mix": None}}
    torches.model.mhex_fit.record = without  # a graph has no gradients to mix in
    for options in ({"budget": 8}, {"budget": "auto", "max_budget": 16}, {"flip": True}):
        for one, other in zip(ours(TEXTS[:3], **options), torches(TEXTS[:3], **options), strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
            errors = [[token.error or 0 for token in tokens] for tokens in (one.tokens, other.tokens)]
            np.testing.assert_allclose(*errors, rtol=1e-2, atol=1e-4)
            assert one.passes == other.passes and one.settled == other.settled
            for flip, its in zip(one.flips or (), other.flips or (), strict=True):
                assert flip.words == its.words and flip.label_after == its.label_after
    torches.model.mhex_fit.record = fitted.fit_record


def test_long_texts(fitted, folder):
    text = " ".join(random_texts(30)[i] for i in range(20))
    for options in ({"max_length": 20, "stride": 5}, {"max_length": 20}):
        torches, ours = MhexExplainer(fitted, TOKENIZER, **options), OnnxExplainer.from_pretrained(folder, **options)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert_same(ours(text), torches(text))
        cuts = [one for one in seen if "Explained in part" in str(one.message)]
        assert len(cuts) == (0 if "stride" in options else 2)


def test_columns_of_a_dataset(fitted, folder):
    rows = Dataset.from_dict({"text": TEXTS + [" "]})
    options = {"errors": "record", "unit": "tokens"}
    ours = highlight_dataset(rows, OnnxExplainer.from_pretrained(folder), **options)
    theirs = highlight_dataset(rows, MhexExplainer(fitted, TOKENIZER), **options)
    assert ours.features == theirs.features and ours[4]["mhex_error"] == theirs[4]["mhex_error"] is not None
    for one, other in zip(ours.select(range(4)), theirs.select(range(4)), strict=True):
        assert one["mhex_spans"] == other["mhex_spans"] and one["mhex_notes"] == other["mhex_notes"]
        np.testing.assert_allclose(one["mhex_scores"], other["mhex_scores"], atol=1e-4)
    with pytest.raises(ValueError, match="judge must be left out of an OnnxExplainer"):
        highlight_dataset(rows.select(range(4)), OnnxExplainer.from_pretrained(folder), judge=2)


def test_torch_is_not_imported(folder):
    code = (
        "import sys; from mhex_nlp.integrations.onnx import OnnxExplainer;"
        f"explainer = OnnxExplainer.from_pretrained({str(folder)!r});"
        "list(explainer.stream(['a good film'])); explainer(['bad', 'a plot']).to_html();"
        "heavy = {'torch', 'transformers', 'datasets', 'onnx', 'spacy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_graph_alone(folder):
    """Inputs and outputs by name, batch and length free, template and padding zero in `scores`."""
    import onnx
    import onnxruntime

    graph = onnx.load(folder / "model.onnx").graph
    axes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    assert axes == dict.fromkeys(["input_ids", "attention_mask", "token_type_ids"], ["batch", "tokens"])
    axes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.output}
    assert axes == {"logits": ["batch", 3], "scores": ["batch", "tokens", 3], "token_scores": ["batch", "tokens", 3]}
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    encoded = TOKENIZER(TEXTS, padding=True)
    inputs = {name: np.asarray(encoded[name]) for name in session_inputs(session)}
    logits, scores, token_scores = session.run(None, inputs)
    special = np.isin(inputs["input_ids"], [TOKENIZER.cls_token_id, TOKENIZER.sep_token_id])
    real = inputs["attention_mask"] == 1
    assert logits.shape == (4, 3) and not scores[special | ~real].any() and not token_scores[~real].any()
    assert (scores[real & ~special] == token_scores[real & ~special]).all() and token_scores[real & special].any()


def session_inputs(session: Any) -> list[str]:
    return [one.name for one in session.get_inputs()]


def test_triton_folder(folder):
    model = folder / "triton" / "mhex"
    assert (model / "1" / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    config = (model / "config.pbtxt").read_text()
    assert 'name: "scores" data_type: TYPE_FP32 dims: [-1, 3]' in config and "dynamic_batching { }" in config
    assert config.count("TYPE_INT64 dims: [-1]") == 3 and 'backend: "onnxruntime"' in config


def test_supervised_heads_of_several_labels(tmp_path):
    """Without a fit the heads are exported; with gates, which take part in the prediction."""
    model = get_mhex_model(plain_model("bert", problem_type="multi_label_classification", num_hidden_layers=2))
    torches = MhexExplainer(train_heads(model), TOKENIZER)
    assert export_onnx(torches, tmp_path, opset=18).explains == "supervised heads"
    ours = OnnxExplainer.from_pretrained(tmp_path)
    for one, other in zip(ours(TEXTS, target=1), torches(TEXTS, target=1), strict=True):
        assert_same(one, other)
    several = ours(TEXTS[0], target="predicted"), torches(TEXTS[0], target="predicted")
    assert [one.target for one in several[0]] == [one.target for one in several[1]]


def test_int8(fitted, folder, tmp_path):
    export = export_onnx(MhexExplainer(fitted, TOKENIZER), tmp_path, int8=True)
    whole, small = OnnxExplainer.from_pretrained(folder), OnnxExplainer.from_pretrained(tmp_path)
    assert export.precision == small.dtype == "int8" and whole.dtype == "float32" and whole.weights != small.weights
    apart = [np.abs(one.scores - other.scores).max() for one, other in zip(whole(TEXTS), small(TEXTS), strict=True)]
    largest = max(np.abs(one.scores).max() for one in whole(TEXTS))
    assert 0 < max(apart) < 0.2 * largest


def test_pt2_is_loaded_back_by_the_command(fitted, tmp_path, capsys):
    fitted.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    output = tmp_path / "exported"
    assert main(["export", "--model", str(tmp_path / "model"), "--output", str(output), "--format", "pt2"]) == 0
    assert "scores: fitted matrices with attention flow" in capsys.readouterr().out
    program = torch.export.load(output / "model.pt2").module()
    encoded = TOKENIZER(TEXTS, padding=True, return_tensors="pt")
    inputs = [encoded[name] for name in json.loads((output / "mhex_graph.json").read_text())["inputs"]]
    logits, _, scores = program(*inputs)
    with torch.inference_mode():
        output_of_model = fitted(**encoded, output_attributions=True)
    torch.testing.assert_close(logits, output_of_model.logits, atol=1e-5, rtol=0)
    expected = output_of_model.fitted_attributions.sum(2) * encoded["attention_mask"][..., None]
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="must hold a graph in the format 'onnx', got 'pt2'"):
        OnnxExplainer.from_pretrained(output)
    refused = ["export", "--model", str(tmp_path / "model"), "--output", str(output), "--format", "pt2", "--triton"]
    assert main(refused) == 2 and "--triton is for --format onnx" in capsys.readouterr().err


def test_what_an_export_refuses(fitted, tmp_path):
    explainer = MhexExplainer(fitted, TOKENIZER)
    with pytest.raises(ValueError, match="opset must be from 18, the oldest that torch exports to, to .*, got 9"):
        export_onnx(explainer, tmp_path, opset=9)
    with pytest.raises(TypeError, match="explainer must be a MhexExplainer, got a str"):
        export_onnx("model", tmp_path)
    with pytest.raises(ValueError, match="never trained|neither"):
        export_onnx(MhexExplainer(get_mhex_model(tiny_bert()), TOKENIZER), tmp_path)
    half = random_fit(get_mhex_model(tiny_bert(), MhexConfig(gate=False))).to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"must be in float32 to be exported, got torch.bfloat16: model.float\(\)"):
        export_onnx(MhexExplainer(half, TOKENIZER), tmp_path)
    (tmp_path / "model.onnx").write_text("of somebody else")
    with pytest.raises(ValueError, match="folder must be a folder where nothing of others is replaced"):
        export_onnx(explainer, tmp_path)
    traced = random_fit(get_mhex_model(plain_model("longformer"), MhexConfig(gate=False)))
    with pytest.raises(ValueError, match="family 'longformer' cannot be exported, since torch cannot trace it"):
        export_pt2(MhexExplainer(traced, TOKENIZER), tmp_path / "longformer")
    assert not list(tmp_path.glob("longformer/*"))


def test_a_failed_trace_names_what_can_be_exported(fitted, tmp_path, monkeypatch):
    """A fit that reads attention flow where attention does not show itself, of heads that were never trained."""
    monkeypatch.setattr("mhex_nlp.models.plain_pass.watch_attention", lambda implementation: None)
    monkeypatch.setattr("mhex_nlp.models.attention_hook._attend", lambda log, mask, attend, *a, **k: attend(*a, **k))
    with pytest.raises(ValueError, match="reads? attention flow.*its heads, which could be exported instead"):
        export_pt2(MhexExplainer(fitted, TOKENIZER), tmp_path)


def test_what_an_explainer_refuses(folder, tmp_path):
    explainer = OnnxExplainer.from_pretrained(folder)
    with pytest.raises(ValueError, match="layers must be False for an OnnxExplainer"):
        explainer(TEXTS, layers=True)
    with pytest.raises(ValueError, match="budget must be even"):
        explainer(TEXTS, budget=3)
    with pytest.raises(FileNotFoundError, match="folder must be one that export_onnx wrote"):
        OnnxExplainer.from_pretrained(tmp_path)
    for name in ("model.onnx", "mhex_graph.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(FileNotFoundError, match="folder must hold tokenizer.json"):
        OnnxExplainer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes() + b" ")
    with pytest.raises(ValueError, match="tokenizer.json is not the file that was exported with mhex_graph.json"):
        OnnxExplainer.from_pretrained(tmp_path)
    (tmp_path / "mhex_graph.json").write_text('{"schema": "mhex-graph/1"}')
    with pytest.raises(ValueError, match="is not a record of export_onnx"):
        OnnxExplainer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="contrast='none' cannot be had of fitted matrices"):
        OnnxExplainer.from_pretrained(folder, contrast="none")
