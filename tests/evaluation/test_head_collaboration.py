# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from helpers.families import batch, inputs_for, plain_model, train_heads
from mhex_nlp import deep_supervision_loss, get_mhex_model, head_collaboration

LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("family", ["bert", "albert", "deberta-v2", "distilbert", "t5", "llama"])
def test_matrix_is_a_matrix_of_cosines(family):
    model, hooks = train_heads(get_mhex_model(plain_model(family))).train(), []
    encoder = model.base_model.get_encoder() if family == "t5" else model
    embeddings = encoder.get_input_embeddings()
    embeddings.register_forward_hook(lambda module, args, output: hooks.append(len(embeddings._forward_hooks)))
    matrix = head_collaboration(model, inputs_for(family), LABELS)
    assert matrix.shape == (4, 4) and all(module.training for module in model.modules())
    assert set(hooks) == {1}, "another pass over the model would have met the hook"
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix.diag(), torch.ones(4), rtol=0, atol=1e-4)
    assert (matrix.abs() <= 1).all() and matrix[0, 1] != matrix[0, 2]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_batched_is_the_mean_over_single_texts():
    """Per-text cosines, padding left out: a batch gives the mean of what its texts give alone."""
    model = train_heads(get_mhex_model(plain_model("bert")))
    inputs = batch()
    together = head_collaboration(model, {**inputs, "labels": LABELS})
    alone = []
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        single = {name: value[row : row + 1, :length] for name, value in inputs.items()}
        alone.append(head_collaboration(model, single, LABELS[row : row + 1]))
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=0, atol=1e-5)


def test_against_gradients_by_hand():
    model = train_heads(get_mhex_model(plain_model("bert"))).eval()
    ids = batch(rows=(6,))["input_ids"]
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    output = model(inputs_embeds=embedded)
    losses = [deep_supervision_loss(output.head_logits[:, [d]], LABELS[:1], model.config) for d in range(3)]
    losses.append(torch.nn.functional.cross_entropy(output.logits, LABELS[:1]))
    gradients = [torch.autograd.grad(loss, embedded, retain_graph=True)[0].flatten() for loss in losses]
    expected = torch.nn.functional.cosine_similarity(gradients[1], gradients[3], dim=0)
    matrix = head_collaboration(model, {"input_ids": ids}, LABELS[:1])
    torch.testing.assert_close(matrix[1, 3], expected)


def test_heads_set_against_each_other_fight():
    model = train_heads(get_mhex_model(plain_model("albert")))  # one head, three depths
    bert = train_heads(get_mhex_model(plain_model("bert")))
    with torch.no_grad():
        bert.mhex[1].w1.copy_(bert.mhex[0].w1)
        bert.mhex[1].w2.copy_(-bert.mhex[0].w2)
    assert head_collaboration(bert, batch(), LABELS)[0, 1] < head_collaboration(model, batch(), LABELS)[0, 1]


def test_untrained_heads_count_as_zero_and_the_task_as_one():
    matrix = head_collaboration(get_mhex_model(plain_model("bert")), batch(), LABELS)
    assert not matrix[:3, :3].any() and matrix[3, 3] == pytest.approx(1)


def test_errors():
    with pytest.raises(ValueError, match="get_mhex_model"):
        head_collaboration(plain_model("bert"), batch(), LABELS)
    with pytest.raises(ValueError, match="labels must be given"):
        head_collaboration(get_mhex_model(plain_model("bert")), batch())
