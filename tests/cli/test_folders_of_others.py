# SPDX-License-Identifier: Apache-2.0
"""Whatever writes into a folder that a user names looks first whose it is: files of others stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.command_files import make_command_files
from helpers.families import train_heads
from helpers.tiny import tiny_mhex, tiny_tokenizer
from mhex_nlp import MhexExplainer, save_explainer
from mhex_nlp.cli import main
from mhex_nlp.integrations.spacy_folder import save_folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_command_files(tmp_path_factory.mktemp("verbs"))
    assert main(COMMANDS["text"].format(root=root, out=root / "made").split()) == 0
    return root


COMMANDS = {
    "text": "highlight --model {root}/model --text good --output {out}",
    "job": "highlight --model {root}/model --data {root}/rows.jsonl --output {out}",
    "job, overwrite": "highlight --model {root}/model --data {root}/rows.jsonl --output {out} --overwrite",
    "report": "report {root}/made/explanations.jsonl --output {out}",
    "evaluate": "evaluate --model {root}/model --data {root}/rows.jsonl --limit 4 --permutations 0 --methods "
    "random,gradient_norm --output {out}",
    "fit": "fit --model {root}/plain --data {root}/rows.jsonl --output {out}",
    "finetune": "finetune --model {root}/plain --data {root}/rows.jsonl --output-dir {out} --epochs 1",
    "demo": "demo --output {out} --epochs 1",
}
NAMES = {
    "text": ["explanations.jsonl", "report.html"],
    "job": ["manifest.json", "progress-0.jsonl", ".summary.json.77.unfinished", "part-0-00000.jsonl", "thesis.tex"],
    "report": ["index.html", "mhex-report.txt", "texts/g000-0001.html", "thesis.tex"],
    "evaluate": ["evaluation.json", "evaluation.md", "evaluation.png"],
    "fit": ["config.json", "model.safetensors", "README.md"],
    "finetune": ["config.json", "README.md"],
    "demo": ["mhex-demo.json", "report.html"],
}
NAMES["job, overwrite"] = NAMES["job"]
CASES = [(verb, name) for verb, names in NAMES.items() for name in names]


def state(folder: Path) -> dict[str, Any]:
    return {str(p): (p.lstat().st_mtime_ns, p.is_symlink(), p.is_file() and p.read_bytes()) for p in folder.rglob("*")}


@pytest.mark.parametrize("linked", [False, True], ids=["file", "link"])
@pytest.mark.parametrize(("verb", "name"), CASES)
def test_nothing_of_others_changes(
    root: Path, tmp_path: Path, verb: str, name: str, linked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    if linked:
        (tmp_path / "elsewhere").write_text("precious")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("precious")
    before = state(tmp_path)
    assert main(COMMANDS[verb].format(root=root, out=tmp_path / "out").split()) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith(f"mhex {verb.split(',')[0].replace('text', 'highlight').replace('job', 'highlight')}: ")
    assert path.name in told[-1] or path.parent.name in told[-1]
    assert state(tmp_path) == before


@pytest.mark.parametrize("verb", ["text", "job", "report", "fit", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_what_was_written_here_is_written_again(root: Path, tmp_path: Path, verb: str) -> None:
    for _ in range(2):
        assert main(COMMANDS[verb].format(root=root, out=tmp_path / "out").split()) == 0


@pytest.mark.parametrize("name", ["explainer.json", "explainer.safetensors"])
def test_an_explainer_goes_beside_a_model_but_over_nothing_of_others(tmp_path: Path, name: str) -> None:
    model = train_heads(tiny_mhex(gate=False).eval())
    (tmp_path / "config.json").write_text("{}")
    save_explainer(model, tmp_path)
    save_explainer(model, tmp_path)
    for path in tmp_path.glob("explainer.*"):
        path.unlink()
    (tmp_path / name).write_text('{"schema": "another/1"}')
    before = state(tmp_path)
    with pytest.raises(ValueError, match=f"directory must be a folder where nothing of others .* holds {name}"):
        save_explainer(model, tmp_path)
    assert state(tmp_path) == before


def test_a_pipeline_is_saved_over_no_file_of_others(tmp_path: Path) -> None:
    explainer = MhexExplainer(train_heads(tiny_mhex(gate=False).eval()), tiny_tokenizer())
    save_folder(explainer, tmp_path / "a", None, with_settings=True)
    save_folder(explainer, tmp_path / "a", None, with_settings=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").symlink_to(tmp_path / "a" / "config.json")
    with pytest.raises(ValueError, match="path must hold plain files, got .* where config.json is a link"):
        save_folder(explainer, tmp_path / "b", None, with_settings=True)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["config.json"]
