# SPDX-License-Identifier: Apache-2.0
"""The service over a real uvicorn: what it answers, what it batches, what it counts and what it logs."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from helpers.attack_strings import ATTACK_STRINGS
from helpers.html import Reader, assert_inert
from helpers.served import JSON_TYPE, Gate, make_explainer, running, wait_until
from helpers.tiny import tiny_texts
from mhex_nlp import Explanation
from mhex_nlp.explain.json_form import explanation_schema

httpx = pytest.importorskip("httpx", reason="httpx asks the service")
for module in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(module, reason=f'{module} comes with the extra: pip install "mhex_nlp[serve]"')

from mhex_nlp.integrations.service import ServiceSettings, create_app  # noqa: E402
from mhex_nlp.integrations.service.logs import json_logs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*Explained in part")
TEXTS = tiny_texts(24)[0]
LIMITS = ServiceSettings(max_texts=4, max_waiting=6, max_characters=200, max_bytes=4000, max_budget=8, timeout=10)


@pytest.fixture(scope="module")
def explainer():
    return make_explainer()


@pytest.fixture(scope="module")
def gate(explainer):
    return Gate(explainer)


@pytest.fixture(scope="module")
def client(gate):
    """Of a service with narrow limits, whose model can be held."""
    with running(create_app(gate, LIMITS)) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def ask(client: Any, document: Any, explain: bool = False, **headers: str) -> Any:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.post("/predict", params={"explain": explain}, content=content, headers={**JSON_TYPE, **headers})


def message(response: Any) -> str:
    """The one sentence of a refusal."""
    error = response.json()["error"]
    assert set(response.json()) == {"error"} and set(error) == {"code", "message"}
    assert error["message"].endswith(".") and "\n" not in error["message"]
    return error["message"]


def counted(client: Any) -> dict[str, float]:
    """The counters, by name and labels."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in families
        for sample in family.samples
    }


def test_predictions_are_those_of_direct_calls(client, explainer):
    answer = ask(client, {"text": TEXTS[:3]}).json()
    direct = [explanation.to_dict()["prediction"] for explanation in explainer(TEXTS[:3])]
    model = {"name": "MhexBertForSequenceClassification", "revision": None}
    assert answer == {"model": model, "predictions": direct}, "to the bit, since nothing else was in the batch"


def test_explanations_are_those_of_direct_calls(client, explainer):
    import jsonschema

    answer = ask(client, {"text": TEXTS[:3], "foil": 0, "target": "positive", "budget": 4}, explain=True).json()
    direct = explainer(TEXTS[:3], foil=0, target="positive", budget=4)
    assert answer["explanations"] == [explanation.to_dict() for explanation in direct]
    assert answer["predictions"] == [explanation["prediction"] for explanation in answer["explanations"]]
    for explanation in answer["explanations"]:
        jsonschema.validate(explanation, explanation_schema())
        assert Explanation.from_dict(explanation).passes == 5


def test_pairs_and_automatic_budgets(client, explainer):
    document = {"text": "the film was good", "text_pair": "a dull plot", "budget": "auto"}
    answer = ask(client, document, explain=True).json()
    direct = explainer("the film was good", "a dull plot", budget="auto", max_budget=8)
    assert answer["explanations"] == [direct.to_dict()] and direct.passes <= 9


def test_a_cut_text_is_told_of_in_both_forms(client):
    document = {"text": [" ".join("a" * 100), "good"]}
    for explain in (False, True):
        answer = ask(client, document, explain=explain).json()
        assert [one.get("truncated") for one in answer["predictions"]] == [True, None]
    assert answer["explanations"][0]["truncated"] and answer["explanations"][0]["notes"]


def test_without_explain_nothing_is_explained(client, gate, monkeypatch):
    monkeypatch.setattr(Gate, "__call__", lambda *args, **options: pytest.fail("it was explained"))
    assert "explanations" not in ask(client, {"text": "good"}).json()


REFUSED = {
    "broken JSON": (b'{"text": "good"', 400, "not valid JSON"),
    "no UTF-8": (b'{"text": "\xff\xfe"}', 400, "not valid JSON"),
    "NaN": (b'{"text": "good", "budget": NaN}', 400, "NaN is not a JSON number"),
    "a key twice": (b'{"text": "good", "text": "bad"}', 400, "stands twice"),
    "empty": (b"", 400, "not valid JSON"),
    "no object": ([1], 422, "got a list"),
    "null": (None, 422, "got null"),
    "no text": ({}, 422, 'the key "text"'),
    "an unknown key": ({"text": "good", "inputs": 1}, 422, "got 'inputs'"),
    "a number": ({"text": 5}, 422, "text must be a string or a list of strings, got a number"),
    "a number in the list": ({"text": ["good", 5]}, 422, "text[1] must be a string, got a number"),
    "an object in the list": ({"text": [{}]}, 422, "text[0] must be a string"),
    "no texts": ({"text": []}, 422, "an empty list"),
    "a blank text": ({"text": ["good", " "]}, 422, "text[1] must hold at least one character"),
    "half a pair": ({"text": ["good", "bad"], "text_pair": ["a"]}, 422, "one entry for each of the 2 texts, got 1"),
    "pairs and a text": ({"text": ["good"], "text_pair": "a"}, 422, "text_pair must be a list"),
    "a pair of numbers": ({"text": "good", "text_pair": 7}, 422, "text_pair must be a string or a list"),
    "too many texts": ({"text": ["a"] * 10_000}, 413, "at most 4,000 bytes"),
    "some too many": ({"text": ["a"] * 5}, 413, "at most 4 texts, got 5"),
    "a long text": ({"text": ["a", "b" * 201]}, 413, "text[1] must have at most 200 characters, got 201"),
    "a long half": ({"text": "a", "text_pair": "b" * 201}, 413, "text_pair must have at most 200"),
    "a megabyte": ({"text": "b" * 1_000_000}, 413, "at most 4,000 bytes"),
    "an unknown class": ({"text": "good", "target": "postive"}, 422, "known ones are 0 'negative', 1 'positive'"),
    "a class of no type": ({"text": "good", "target": True}, 422, "target must be a class by name or number, got true"),
    "one class twice": ({"text": "good", "target": 0, "foil": 0}, 422, "foil must be another class"),
    "an odd budget": ({"text": "good", "budget": 3}, 422, "even number from 0 to 8"),
    "a large budget": ({"text": "good", "budget": 10}, 422, "even number from 0 to 8"),
    "a budget in words": ({"text": "good", "budget": "much"}, 422, "or auto, got 'much'"),
    "a negative budget": ({"text": "good", "budget": -2}, 422, "even number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_get_one_sentence(client, name):
    document, status, part = REFUSED[name]
    response = ask(client, document, explain=True)
    assert response.status_code == status and part in message(response)


def test_nesting_of_any_depth_is_refused(explainer):
    """Too deep to be read, or read and of the wrong type, which no sentence may quote in full."""
    with running(create_app(explainer)) as address, httpx.Client(base_url=address, timeout=30) as client:
        for body in (b"[" * 400_000, b'{"text":' * 50_000, b'[{"":' * 90_000):
            response = ask(client, body)
            assert response.status_code == 400 and "nested too deeply" in message(response)
        for depth in range(800, 1000, 9):
            response = ask(client, b'{"text":' + b"[" * depth + b"]" * depth + b"}")
            assert response.status_code in (400, 422) and message(response)


def test_bad_addresses_headers_and_methods(client):
    assert "explain must be true or false, got 'yes'" in message(client.post("/predict?explain=yes", headers=JSON_TYPE))
    assert "got 'explian'" in message(client.post("/predict?explian=1", headers=JSON_TYPE))
    assert "ask with ?explain=true" in message(ask(client, {"text": "good", "target": 1}))
    for response, status in (
        (client.post("/predict", data={"text": "good"}), 415),
        (client.get("/predict"), 405),
        (client.get("/predict/good"), 404),
        (ask(client, {"text": "good"}, Accept="text/html"), 406),
        (ask(client, {"text": "good"}, True, Accept="image/png"), 406),
    ):
        assert response.status_code == status and message(response)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/*;q=0.9, application/*;q=0.1", "text/html"),
        ("*/*", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("text/html;q=nonsense, application/json;q=0.1", "application/json"),
    ],
)
def test_accept_chooses_the_form(client, accept, kind):
    assert ask(client, {"text": "good"}, True, Accept=accept).headers["content-type"].partition(";")[0] == kind


def test_pages_are_safe(explainer):
    """Attack strings as texts, pairs and class names: the page holds them as text, and nothing acts."""
    texts = [text for text in ATTACK_STRINGS[::6] if text.strip()]
    with running(create_app(explainer)) as address, httpx.Client(base_url=address, timeout=60) as client:
        pages = 0
        for text in texts:
            response = ask(client, {"text": text, "text_pair": "good"}, True, Accept="text/html")
            if response.status_code == 200:
                reader, pages = Reader(response.text), pages + 1
                assert_inert(reader)
                assert ("meta", "Content-Security-Policy") in [(tag, a.get("http-equiv")) for tag, a in reader.tags]
                assert response.headers["x-content-type-options"] == "nosniff"
            else:
                assert response.status_code == 422 and "no token" in message(response)
        assert pages > 0.8 * len(texts)


def test_requests_share_batches_and_predict_alike(gate, explainer, pool):
    """Batched with others a text gets the same label, probabilities and scores within I3's tolerance."""
    direct = [explainer(text) for text in TEXTS]
    gate.calls.clear()
    with running(create_app(gate)) as address, httpx.Client(base_url=address, timeout=30) as client:
        answers = list(pool.map(lambda text: ask(client, {"text": text}, True).json(), TEXTS))
        assert max(map(len, gate.calls)) > 1, "nothing was batched"
    for answer, expected in zip(answers, direct, strict=True):
        explanation = Explanation.from_dict(answer["explanations"][0])
        assert explanation.id == "0" and explanation.text == expected.text and explanation.label == expected.label
        assert explanation.prediction.probabilities == pytest.approx(expected.prediction.probabilities, abs=1e-5)
        tolerance = 1e-5 * max(1, np.abs(expected.scores).max())
        np.testing.assert_allclose(explanation.scores, expected.scores, atol=tolerance, rtol=0)


def test_separate_requests_are_bit_equal_to_direct_calls(gate, explainer, pool):
    gate.calls.clear()
    documents = [{"text": TEXTS[index : index + 1 + index % 3]} for index in range(12)]
    with (
        running(create_app(gate, ServiceSettings(mix_requests=False))) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        answers = list(pool.map(lambda document: ask(client, document, True).json(), documents))
    for document, answer in zip(documents, answers, strict=True):
        assert answer["explanations"] == [explanation.to_dict() for explanation in explainer(document["text"])]


def test_a_mistake_fails_its_own_request_alone(client, gate, pool):
    """A text without any token is no fault of the others in its batch."""
    for explain in (False, True):
        gate.calls.clear()
        with gate.held():
            first = pool.submit(ask, client, {"text": "good"})
            wait_until(lambda: gate.calls)
            others = [pool.submit(ask, client, {"text": text}, explain) for text in ("\u200b", "bad")]
            wait_until(lambda: counted(client)["mhex_waiting_texts"] == 2)
        assert first.result().status_code == 200
        refused, served = (other.result() for other in others)
        assert served.status_code == 200 and refused.status_code == 422
        assert message(refused) == "text has no token the tokenizer knows: '\\u200b'."


def test_a_full_queue_refuses_and_goes_on(client, gate, pool):
    gate.calls.clear()
    with gate.held():
        taken = [pool.submit(ask, client, {"text": "good"})]
        wait_until(lambda: gate.calls)
        taken += [pool.submit(ask, client, {"text": ["good", "bad", "dull"]}) for _ in range(2)]
        wait_until(lambda: counted(client)["mhex_waiting_texts"] == 6)
        refused = ask(client, {"text": "good"})
        assert refused.status_code == 429 and refused.headers["retry-after"] and "too many" in message(refused)
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200, "while the model works"
    assert [one.result().status_code for one in taken] == [200, 200, 200]


def test_slow_answers_and_bodies_end_with_a_sentence(gate):
    """Who waits too long is told, and what he asked for leaves the queue."""
    settings = ServiceSettings(timeout=0.5)
    with running(create_app(gate, settings)) as address, httpx.Client(base_url=address, timeout=30) as client:
        gate.calls.clear()
        with gate.held(), ThreadPoolExecutor(2) as pool:
            late = list(pool.map(lambda text: ask(client, {"text": text}), ["good", "bad"]))
            assert [one.status_code for one in late] == [504, 504] and "within 0.5 seconds" in message(late[0])
            assert counted(client)["mhex_waiting_texts"] == 0
        assert len(gate.calls) == 1, "the one that waited was not asked about"
        assert ask(client, {"text": "good"}).status_code == 200

        def slowly():
            yield b'{"text":'
            threading.Event().wait(1.0)
            yield b'"good"}'

        slow = client.post("/predict", content=slowly(), headers=JSON_TYPE)
        assert slow.status_code == 408 and "within 0.5 seconds" in message(slow)


def test_who_goes_away_leaves_the_queue(client, gate, pool):
    gate.calls.clear()
    with gate.held():
        first = pool.submit(ask, client, {"text": "good"})
        wait_until(lambda: gate.calls)
        with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=client.base_url, timeout=0.3) as other:
            ask(other, {"text": "bad"})
        wait_until(lambda: counted(client)["mhex_waiting_texts"] == 0)
    assert first.result().status_code == 200 and gate.calls == [["good"]]


def test_counters(gate):
    with running(create_app(gate, LIMITS)) as address, httpx.Client(base_url=address, timeout=30) as client:
        for document, explain in (({"text": ["good", "bad"]}, True), ({"text": "good"}, False), ({"text": 5}, False)):
            ask(client, document, explain)
        client.get("/secret-path")
        page = counted(client)
    assert page["mhex_texts_total[('explain', 'true')]"] == 2 and page["mhex_texts_total[('explain', 'false')]"] == 1
    assert page["mhex_requests_total[('path', '/predict'), ('status', '200')]"] == 2
    assert page["mhex_requests_total[('path', '/predict'), ('status', '422')]"] == 1
    assert page["mhex_requests_total[('path', 'other'), ('status', '404')]"] == 1
    assert page["mhex_refused_total[('code', 'value')]"] == 1 and page["mhex_batch_texts_sum"] == 3
    assert page["process_resident_memory_bytes"] > 1e7
    assert not any("secret" in name for name in page)


def test_logs_hold_no_text(explainer, monkeypatch):
    """Neither of requests that are served, nor of those that are refused or fail."""
    stream, marker = io.StringIO(), "zebra"
    bad = [b'{"zebra', b'{"text": "zebra', b'{"zebra": 1}', b'["zebra"]', b'{"text": "zebra", "target": "zebra"}']
    failing = Gate(explainer)
    with (
        json_logs(stream),
        running(create_app(failing, LIMITS)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        served = ask(client, {"text": "zebra good", "text_pair": "zebra"}, True)
        for document in [*bad, {"text": "zebra" * 50}, {"text": ["zebra"] * 5}, {"text": "zebra", "budget": "zebra"}]:
            assert 400 <= ask(client, document, True).status_code < 500
        client.get("/zebra?zebra=zebra", headers={"X-Request-ID": "zebra"})
        monkeypatch.setattr(failing, "tokenise", lambda texts, *rest, **options: {}[texts[0]])
        failed = ask(client, {"text": "zebra"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert marker not in stream.getvalue().replace("test_logs", "") and failed.status_code == 500
    assert message(failed) and marker not in failed.text
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == 11 and {line["path"] for line in requests} == {"/predict", "other"}
    assert requests[0] | {"id": "", "ms": 0, "time": ""} == {
        "time": "",
        "level": "info",
        "event": "request",
        "id": "",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "ms": 0,
        "explain": True,
        "texts": 1,
        "characters": 10,
    }
    assert requests[0]["id"] == served.headers["x-request-id"]
    (failure,) = [line for line in lines if line["event"] == "failed"]
    assert failure["error"] == "KeyError" and failure["id"] == failed.headers["x-request-id"] and failure["at"]


def test_the_description_is_valid_and_its_examples_are_served(client):
    import jsonschema

    description = client.get("/openapi.json").json()
    assert description["openapi"].startswith("3.1") and set(description["paths"]) == {
        "/predict",
        "/healthz",
        "/readyz",
        "/metrics",
    }

    def check(document: Any, name: str) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": description["components"]}
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(document, schema, jsonschema.Draft202012Validator)

    operation = description["paths"]["/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) == 5 and {"200", "413", "422", "429"} <= set(operation["responses"])
    for name, example in examples.items():
        document = example["value"] if name != "refined" else {**example["value"], "budget": 8}
        check(document, "Request")
        answer = ask(client, document, explain=True)
        if answer.status_code == 422:
            assert "is what the model predicts" in message(answer)
        check(answer.json(), "Answer" if answer.status_code == 200 else "Error")
    with pytest.raises(jsonschema.ValidationError):
        check({"text": "good", "input": "bad"}, "Request")
    for page in ("/docs", "/redoc"):
        assert client.get(page).status_code == 404, "their pages would load scripts from elsewhere"
