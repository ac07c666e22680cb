# SPDX-License-Identifier: Apache-2.0
"""The parts of the service that need no server: settings, models that are refused, the handler of endpoints."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.command_files import make_command_files
from helpers.explained import TOKENIZER, make_model
from helpers.served import make_explainer
from helpers.tiny import tiny_tokenizer
from mhex_nlp import Explanation, MhexExplainer, get_mhex_model
from mhex_nlp.cli import _parser, main
from mhex_nlp.integrations.service.handler import EndpointHandler
from mhex_nlp.integrations.service.requests import Options
from mhex_nlp.integrations.service.served import ServedModel, load_served
from mhex_nlp.integrations.service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_command_files(tmp_path_factory.mktemp("served"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_texts": 0}, "max_texts must be an integer of at least 1, got 0"),
        ({"max_bytes": 1.5}, "max_bytes must be an integer of at least 1, got 1.5"),
        ({"max_budget": -1}, "max_budget must be an integer of at least 0, got -1"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"timeout": "30"}, "timeout must be a number of seconds"),
        ({"max_texts": 20, "max_waiting": 10}, "max_waiting must be at least max_texts"),
    ],
)
def test_settings_are_checked(options, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        ServiceSettings(**options)


def test_models_that_cannot_be_explained_are_refused_at_the_start(root):
    with pytest.raises(ValueError, match="never trained"):
        ServedModel(load_served(str(root / "plain")))
    (root / "onnx").mkdir()
    (root / "onnx" / "model.onnx").touch()
    with pytest.raises(ValueError, match="stride is for models of torch"):
        load_served(str(root / "onnx"), stride=8, dtype=None)


def test_a_model_for_tokens_is_refused(tmp_path):
    from transformers import BertConfig, BertForTokenClassification

    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=64)
    get_mhex_model(BertForTokenClassification(config)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model must be a classifier of texts, got"):
        load_served(str(tmp_path))


def test_predictions_alone_are_those_of_explanations_to_the_bit():
    """Of texts in windows too: the plain forward pass runs in the same batches."""
    explainer = make_explainer(stride=4, max_length=12)
    texts = ["the film was good", "a dull plot . " * 10, "very very lovely", "bad music and a bad plot"]
    items = explainer.tokenise(texts)
    assert any(item.windows for item in items)
    assert explainer.predict(items) == [explanation.prediction for explanation in explainer(texts)]
    assert explainer.predict([]) == []


def test_every_predicted_label_is_a_list():
    explainer = MhexExplainer(make_model(problem_type="multi_label_classification"), TOKENIZER)
    served = ServedModel(explainer)
    for texts in (["good"], ["good film", "bad"]):
        answers = served.answers(texts, None, ["0", "1"][: len(texts)], Options(True, target="predicted"))
        document = served.document(answers)
        for text, prediction, explanations in zip(
            texts, document["predictions"], document["explanations"], strict=True
        ):
            assert [one["target"]["label"] for one in explanations] == (
                list(prediction["labels"]) or [prediction["label"]]
            )
            assert {one["text"] for one in explanations} == {text}


def test_the_handler_answers_as_the_service_does(root):
    handler = EndpointHandler(str(root / "model"))
    plain = handler({"inputs": ["the film was good", "bad"]})
    assert set(plain) == {"model", "predictions"} and len(plain["predictions"]) == 2
    pair = handler({"inputs": {"text": "good", "text_pair": "bad"}, "parameters": {"explain": True, "target": 0}})
    assert pair["explanations"][0]["text_pair"] == "bad" and pair["explanations"][0]["target"]["id"] == 0
    for data, sentence in (
        ({}, "got no inputs"),
        ({"inputs": 5}, "text must be a string or a list of strings, got a number"),
        ({"inputs": "good", "parameters": 5}, "parameters must be an object"),
        ({"inputs": "good", "parameters": {"explain": "yes"}}, "explain must be true or false"),
        ({"inputs": "good", "parameters": {"explain": True, "target": "no"}}, "target must be a class"),
        ({"inputs": "good", "parameters": {"top_k": 1}}, "got 'top_k'"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            handler(data)


def test_the_handler_needs_no_server(root):
    """An endpoint has a server of its own."""
    code = (
        "import sys; from mhex_nlp.integrations.service.handler import EndpointHandler;"
        "assert not {'fastapi', 'uvicorn', 'prometheus_client', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_library_is_named(root, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "mhex_nlp.integrations.service.extra.find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    assert main(["serve", "--model", str(root / "model")]) == 2
    assert 'needs uvicorn: pip install "mhex_nlp[serve]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "70000"], "port must be between 0 and 65,535, got 70000"),
        (["--host", "no.such.host.invalid"], "host must be an address of this machine"),
        (["--max-texts", "0"], "max_texts must be an integer of at least 1"),
        (["--port", "0", "--model", "missing"], "missing"),
    ],
)
def test_bad_options_end_with_one_sentence(root, options, sentence, capsys):
    pytest.importorskip("uvicorn", reason='uvicorn comes with the extra: pip install "mhex_nlp[serve]"')
    assert main(["serve", "--model", str(root / "model"), *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mhex serve: ") and sentence in error


def test_a_port_in_use_ends_with_one_sentence(root, capsys):
    pytest.importorskip("uvicorn", reason='uvicorn comes with the extra: pip install "mhex_nlp[serve]"')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", str(root / "model"), "--port", str(port)]) == 2
    assert f"mhex serve: port {port} of 127.0.0.1 is in use" in capsys.readouterr().err


def test_the_dockerfile_builds_from_what_is_there():
    """Its sources exist, its options are those of the command, it asks no index, and the command gets the signals."""
    text = (ROOT / "scripts" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    copied = [word for kind, rest in steps if kind == "COPY" for word in rest.split()[:-1] if not word.startswith("--")]
    assert set(copied) - {"wheels"} and all((ROOT / path).exists() for path in set(copied) - {"wheels"})
    (install,) = [rest for kind, rest in steps if kind == "RUN" and "pip install" in rest]
    assert "--no-index" in install and "--find-links" in install and "mhex_nlp[serve]" in install
    (entry,) = [rest for kind, rest in steps if kind == "ENTRYPOINT"]
    words = [word.strip(' "') for word in entry.strip("[]").split(",")]
    assert entry.startswith("[") and words[0] == "mhex", "no shell in between, so that SIGTERM reaches the service"
    assert _parser().parse_args([*words[1:]]).verb == "serve"
    (check,) = [rest for kind, rest in steps if kind == "HEALTHCHECK"]
    assert "/healthz" in check and f":{_parser().parse_args(words[1:]).port}/" in check
    assert {"USER", "EXPOSE"} <= {kind for kind, _ in steps}


def test_the_page_tells_the_limits_that_hold():
    """The table of docs/service.md has the command's defaults, which are those of the settings."""
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    rows = re.findall(r"^\| .* \| `--([a-z-]+)` \| ([\d,]+) \| ", page, re.MULTILINE)
    args, usual = _parser().parse_args(["serve", "--model", "a"]), ServiceSettings()
    assert len(rows) == 6
    for option, value in rows:
        name = option.replace("-", "_")
        assert getattr(args, name) == getattr(usual, name) == int(value.replace(",", ""))


def test_the_handler_of_the_page_is_one(tmp_path):
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "__all__" in block]
    (tmp_path / "handler.py").write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location("handler", tmp_path / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.EndpointHandler is EndpointHandler


@pytest.mark.slow
def test_a_graph_is_served_without_torch(tmp_path):
    """An ONNX export behind the same paths: predictions and explanations as the torch explainer's, within I8."""
    onnx = pytest.importorskip("mhex_nlp.integrations.onnx", reason="exports are not there", exc_type=ImportError)
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason=f'{module} comes with the extra: pip install "mhex_nlp[onnx]"')
    pytest.importorskip("httpx", reason="httpx asks the service")
    explainer, texts = make_explainer(), ["the film was good", "a very bad plot , and dull acting ."]
    onnx.export_onnx(explainer, tmp_path / "graph")
    code = (
        "import json, sys\n"
        "from starlette.testclient import TestClient\n"
        "from mhex_nlp.integrations.service import create_app\n"
        "from mhex_nlp.integrations.service.served import load_served\n"
        "with TestClient(create_app(load_served(sys.argv[1]))) as client:\n"
        "    for explain in ('false', 'true'):\n"
        "        answer = client.post(f'/predict?explain={explain}', json={'text': sys.argv[2:]})\n"
        "        print(json.dumps(answer.json()))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "graph"), *texts]
    plain, explained = map(json.loads, subprocess.run(command, check=True, capture_output=True).stdout.splitlines())
    assert plain["predictions"] == explained["predictions"]
    for document, expected in zip(explained["explanations"], explainer(texts), strict=True):
        explanation = Explanation.from_dict(document)
        assert explanation.label == expected.label
        np.testing.assert_allclose(explanation.scores, expected.scores, atol=1e-4)
