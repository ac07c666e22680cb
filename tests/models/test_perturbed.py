# SPDX-License-Identifier: Apache-2.0
"""One runner for texts with parts removed: equal inputs run once, and only what is kept is remembered."""

from __future__ import annotations

import pytest
import torch

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import MhexConfig, get_mhex_model
from mhex_nlp.models.perturbed import PerturbedModel

TOKENIZER = tiny_tokenizer()
TEXTS = ["the film was good", "a dull plot", "lovely music and a poor plot"]


def variants_of(perturbed: PerturbedModel, texts: list[str]) -> list[dict[str, torch.Tensor]]:
    """Each text whole, and with all of its tokens removed."""
    variants = []
    for item in perturbed.tokenise(texts, None):
        special = torch.ones(len(item), dtype=torch.bool)
        special[1:-1] = False
        variants += perturbed.variants(item, torch.stack([torch.zeros_like(special), ~special]), special)
    return variants


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("removal", ["mask", "attention", "deletion"])
def test_answers_are_the_models_own_in_order(removal, heads):
    model = tiny_bert(dropout=0.5)  # in training mode, which must be put back and not be heard
    model = train_heads(get_mhex_model(model, MhexConfig(gate=True))) if heads else model
    perturbed = PerturbedModel(model, TOKENIZER, removal, batch_tokens=16)
    variants = variants_of(perturbed, TEXTS)
    logits = perturbed.logits(variants)
    assert model.training and logits.shape == (6, 2) and logits.dtype == torch.float32 and not logits.requires_grad
    model.eval()
    for variant, row in zip(variants, logits, strict=True):
        with torch.no_grad():
            expected = model(**{name: value[None] for name, value in variant.items()}).logits[0]
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


def test_equal_inputs_run_once_and_what_is_kept_never_again():
    perturbed = PerturbedModel(tiny_bert().eval(), TOKENIZER, "mask", batch_tokens=64)
    variants = variants_of(perturbed, [TEXTS[0], TEXTS[0], TEXTS[2]])
    first = perturbed.logits(variants, keep=[1])
    assert perturbed.rows == 4, "the first two texts are the same"
    assert torch.equal(first[:2], first[2:4])
    again = perturbed.logits(variants)
    assert perturbed.rows == 4 + 3, "the empty text is remembered, the others are not"
    assert torch.equal(first[1], again[1])
    torch.testing.assert_close(first, again)


def test_logits_that_are_not_finite_are_refused():
    model = tiny_bert().eval()
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    perturbed = PerturbedModel(model, TOKENIZER, "mask", batch_tokens=64)
    with pytest.raises(ValueError, match="the model's logits are not finite"):
        perturbed.logits(variants_of(perturbed, TEXTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"removal": "blur", "batch_tokens": 64}, "removal must be one of"),
        ({"removal": "mask", "batch_tokens": 0}, "batch_tokens must be a positive integer, got 0"),
        (
            {"removal": "mask", "batch_tokens": 64, "max_length": 65},
            "between 1 and the 64 tokens the model takes, got 65",
        ),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        PerturbedModel(tiny_bert(), TOKENIZER, **options)
