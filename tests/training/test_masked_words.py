# SPDX-License-Identifier: Apache-2.0
"""Training with masked words: which tokens, of how many texts, in which passes, and that all else stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from helpers.families import plain_model
from helpers.tiny import tiny_bert, tiny_dataset, tiny_mhex, tiny_texts, tiny_tokenizer, tiny_trainer
from mhex_nlp import MhexCallback, MhexConfig, get_mhex_model
from mhex_nlp.cli import main
from mhex_nlp.training import FinetuneConfig, finetune
from mhex_nlp.training.masked_words import MaskedWords

MASK = tiny_tokenizer().mask_token_id
Settings = Callable[..., FinetuneConfig]


def encode(*texts: str | tuple[str, str]) -> dict[str, torch.Tensor]:
    return dict(tiny_tokenizer()(list(texts), padding=True, return_tensors="pt"))


def draws(masking: MaskedWords, batch: dict[str, torch.Tensor], count: int) -> torch.Tensor:
    """(count, B, T) bool, where ids were masked; all others must be as they were."""
    torch.manual_seed(0)
    ids = torch.stack([masking.mask(batch) for _ in range(count)])
    changed = ids != batch["input_ids"]
    assert (ids[changed] == MASK).all() and not (batch["input_ids"] == MASK).any()
    return changed


@contextmanager
def seen_ids(model: Any) -> Iterator[list[tuple[bool, torch.Tensor]]]:
    """Whether each forward pass was one of training, and the ids that reached the embeddings."""
    passes: list[tuple[bool, torch.Tensor]] = []
    handle = model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: passes.append((module.training, args[0].clone()))
    )
    yield passes
    handle.remove()


@pytest.mark.parametrize(("share", "counts"), [(0.0, {0}), (0.3, {3}), (0.25, {2, 3}), (0.04, {0, 1}), (1.0, {10})])
def test_the_share_is_what_was_given(share: float, counts: set[int]) -> None:
    batch = encode(*tiny_texts(10)[0])
    texts = draws(MaskedWords(tiny_mhex(), tiny_tokenizer(), share), batch, 400).any(2)
    assert set(texts.sum(1).tolist()) == counts
    assert texts.float().mean().item() == pytest.approx(share, abs=0.02)
    if share:
        torch.testing.assert_close(texts.float().mean(0), torch.full((10,), share), rtol=0, atol=0.1)  # no favourites


def test_each_number_of_tokens_is_as_likely_and_each_token() -> None:
    """1 to all but one of five, as `random_subsets` removes them."""
    masked = draws(MaskedWords(tiny_mhex(), tiny_tokenizer(), 1.0), encode("the plot was very dull"), 2000)[:, 0]
    sizes = masked.sum(1).bincount(minlength=6) / 2000
    torch.testing.assert_close(sizes, torch.tensor([0, 0.25, 0.25, 0.25, 0.25, 0]), rtol=0, atol=0.04)
    torch.testing.assert_close(masked[:, 1:-1].float().mean(0), torch.full((5,), 0.5), rtol=0, atol=0.05)


def test_template_and_padding_stay_and_unknown_words_do_not() -> None:
    """Pairs too, without an attention mask too, and of a single token nothing is taken."""
    batch = encode(("the plot was %", "a dull film"), ("dull", "good"), ("very", ""))
    unknown = batch["input_ids"] == tiny_tokenizer().unk_token_id
    content = (batch["input_ids"] >= 5) | unknown
    for given in (batch, {"input_ids": batch["input_ids"]}):
        masked = draws(MaskedWords(tiny_mhex(), tiny_tokenizer(), 1.0), given, 300)
        assert unknown.sum() == 1 and torch.equal(masked[:, :2].any(0), content[:2]) and not masked[:, 2].any()
        assert (masked[:, :2].sum(2) < content[:2].sum(1)).all() and masked[:, :2].any(2).all()


def test_a_decoder_keeps_the_token_it_reads() -> None:
    model = get_mhex_model(plain_model("gpt2", pad_token_id=0))
    batch = encode("the plot was very dull", "a film")
    batch["input_ids"] = (
        batch["input_ids"].masked_fill(batch["input_ids"] == 3, 0).masked_fill_(batch["input_ids"] == 2, 6)
    )
    batch["attention_mask"] = (batch["input_ids"] != 0).long()
    masked = draws(MaskedWords(model, tiny_tokenizer(), 1.0), batch, 300)
    last = batch["attention_mask"].sum(1) - 1
    everything_else = batch["attention_mask"].bool().scatter(1, last[:, None], False)
    assert torch.equal(masked.any(0), everything_else)


def test_only_passes_of_training_with_labels() -> None:
    model, batch = tiny_mhex(), encode(*tiny_texts(8)[0])
    labels = torch.zeros(8, dtype=torch.long)
    masking = MaskedWords(model, tiny_tokenizer(), 1.0)
    with seen_ids(model) as passes:
        model.train()(**batch, labels=labels)
        model.train()(batch["input_ids"], batch["attention_mask"], labels=labels)
        model.train()(**batch)
        model.eval()(**batch, labels=labels)
        masking.remove()
        model.train()(**batch, labels=labels)
    changed = [not torch.equal(ids, batch["input_ids"]) for _, ids in passes]
    assert changed == [True, True, False, False, False] and not model._forward_pre_hooks


def test_it_goes_with_its_owner() -> None:
    model = tiny_mhex()
    masking = MaskedWords(model, tiny_tokenizer(), 1.0)
    assert len(model._forward_pre_hooks) == 1 and masking.share == 1
    del masking
    assert not model._forward_pre_hooks


def test_the_callback_masks_training_alone(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tiny_mhex(),
        tmp_path,
        callbacks=[MhexCallback(masked_words=0.5)],
        eval_strategy="steps",
        eval_steps=2,
        remove_unused_columns=True,
        activation_checkpointing=True,
    )
    hooks = set(trainer.model._forward_pre_hooks)
    with seen_ids(trainer.model) as passes:
        trainer.train()
        trainer.evaluate()
        trainer.predict(trainer.eval_dataset)
    masked = {
        training: [int((ids == MASK).any(1).sum()) for mode, ids in passes if mode is training]
        for training in (True, False)
    }
    assert masked[True] == [4] * 4 and len(masked[False]) == 12 and not any(masked[False])
    assert set(trainer.model._forward_pre_hooks) == hooks


class Interruption(TrainerCallback):
    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt


def test_training_that_was_interrupted_leaves_one_hook_at_most(tmp_path: Path) -> None:
    callback, interruption = MhexCallback(masked_words=1.0), Interruption()
    trainer = tiny_trainer(tiny_mhex(), tmp_path, callbacks=[callback, interruption], max_steps=1)
    hooks = set(trainer.model._forward_pre_hooks)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        assert len(set(trainer.model._forward_pre_hooks) - hooks) == 1
    trainer.remove_callback(interruption)
    trainer.train()
    assert set(trainer.model._forward_pre_hooks) == hooks


def test_trainer_resumes_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    weights = []
    for checkpoint in (None, str(tmp_path / "checkpoint-2")):
        trainer = tiny_trainer(
            tiny_mhex(), tmp_path, callbacks=[MhexCallback(masked_words=0.5)], save_strategy="steps", save_steps=2
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        weights.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.usefixtures("fresh_accelerate")
def test_finetune_masks_by_seed_and_not_by_default(
    plain: Path, tmp_path: Path, settings: Settings, fresh_accelerate: Callable[[], None]
) -> None:
    def trained(name: str, **options: Any) -> dict[str, torch.Tensor]:
        fresh_accelerate()
        report = finetune(settings(plain, tmp_path / name, max_steps=1, **options))
        assert report["settings"]["masked_words"] == options.get("masked_words", 0.0)
        return load_file(tmp_path / name / "model.safetensors")

    def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(value, other[name]) for name, value in one.items())

    default, masked = trained("default"), trained("masked", masked_words=0.5)
    assert equal(default, trained("off", masked_words=0.0)) and not equal(default, masked)
    assert equal(masked, trained("again", masked_words=0.5))
    assert not equal(masked, trained("faithful", masked_words=0.5, faithfulness_weight=0.5))


@pytest.mark.usefixtures("fresh_accelerate")
def test_what_cannot_be_masked_is_refused(plain: Path, tmp_path: Path, settings: Settings) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    message = r"masked_words=0\.5 needs a tokenizer with a mask token, got \w+, which has none"
    with pytest.raises(ValueError, match=message):
        MaskedWords(tiny_mhex(), tokenizer, 0.5)
    trainer = tiny_trainer(tiny_mhex(), tmp_path, callbacks=[MhexCallback(tokenizer=tokenizer, masked_words=0.5)])
    with pytest.raises(ValueError, match=message):
        trainer.train()
    tiny_bert().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        finetune(settings(tmp_path / "model", tmp_path / "out", masked_words=0.5))
    with pytest.raises(ValueError, match="model must have MHEX heads"):
        MaskedWords(tiny_bert(), tiny_tokenizer(), 0.5)
    model = get_mhex_model(tiny_bert(), MhexConfig(gate=False)).train()
    masking = MaskedWords(model, tiny_tokenizer(), 0.5)
    with pytest.raises(ValueError, match="masked_words needs input_ids"):
        model(inputs_embeds=torch.zeros(1, 4, 32), labels=torch.zeros(1, dtype=torch.long))
    assert masking.share == 0.5


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-0.1, ValueError, "masked_words must be a share from 0 to 1, got -0.1"),
        (1.5, ValueError, "masked_words must be a share from 0 to 1, got 1.5"),
        (float("nan"), ValueError, "masked_words must be a share from 0 to 1, got nan"),
        ("0.5", TypeError, "masked_words must be a number, got '0.5'"),
        (True, TypeError, "masked_words must be a number, got True"),
    ],
)
def test_shares_are_checked(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FinetuneConfig(model="m", data="d.csv", output_dir="o", masked_words=value)
    with pytest.raises(error, match=message):
        MhexCallback(masked_words=value)


@pytest.mark.usefixtures("fresh_accelerate")
def test_command_line(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    tiny_dataset(16).to_csv(tmp_path / "rows.csv")
    command = ["finetune", "--model", str(plain), "--data", str(tmp_path / "rows.csv"), "--output-dir"]
    for value in ("-0.1", "1.5"):
        assert main([*command, str(tmp_path / "refused"), "--masked-words", value]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said == f"mhex finetune: masked_words must be a share from 0 to 1, got {value}."
    assert main([*command, str(tmp_path / "out"), "--masked-words", "0.5", "--max-steps", "1"]) == 0
    assert '"masked_words": 0.5' in (tmp_path / "out" / "metrics.json").read_text()
