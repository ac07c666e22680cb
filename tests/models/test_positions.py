# SPDX-License-Identifier: Apache-2.0
"""Labels read at positions: heads, attention flow and fitted scores of several places of a text in one pass."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    BertForTokenClassification,
)

from helpers.families import FAMILIES, batch, inputs_for, plain_model, train_heads
from helpers.tiny import random_texts, tiny_bert, tiny_tokenizer
from mhex_nlp import (
    AutoMhexModelForQuestionAnswering,
    AutoMhexModelForSequenceClassification,
    AutoMhexModelForTokenClassification,
    MhexConfig,
    deep_supervision_loss,
    fit_equivalent_matrices,
    get_mhex_model,
    save_explainer,
)
from mhex_nlp.models import attention_hook
from mhex_nlp.models.fit_reader import follows_attention
from mhex_nlp.models.heads import attention_flow as flows
from mhex_nlp.models.heads.readout import FeatureLayout
from mhex_nlp.models.heads.visible_tokens import VisibleTokens
from mhex_nlp.models.padding import TokenMask
from mhex_nlp.models.perturbed import PerturbedModel
from mhex_nlp.models.tasks import module_of
from mhex_nlp.models.tasks.names import task_of
from mhex_nlp.models.tasks.question_answering import best_span

AUTOS = {"token": AutoModelForTokenClassification, "answer": AutoModelForQuestionAnswering}
MAPPINGS = {"token": MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, "answer": MODEL_FOR_QUESTION_ANSWERING_MAPPING}
OURS = {"token": AutoMhexModelForTokenClassification, "answer": AutoMhexModelForQuestionAnswering}
UNFOLLOWED = {"bart", "big_bird", "convbert", "deberta", "deberta-v2", "fnet", "ibert", "longformer", "luke"}
UNFOLLOWED |= {"megatron-bert", "mpnet", "nystromformer", "rembert", "roformer", "t5"}
EACH = [(f, t) for f in FAMILIES for t in AUTOS if type(AutoConfig.for_model(f)) in MAPPINGS[t]]
EACH.remove(("longformer", "answer"))  # the plain model wants three separators in every text
FOLLOWED = [(family, task) for family, task in EACH if family not in UNFOLLOWED]
PLACES = torch.tensor([[0, 5, 11], [6, -1, -1], [1, 2, -1], [3, 0, -1]])


def heads_of(family, task="token", gate=False):
    changes = {"num_labels": 2} if task == "answer" else {}
    return get_mhex_model(plain_model(family, auto=AUTOS[task], **changes), MhexConfig(gate=gate)).eval()


def add_fit(model, scale=0.3):
    """Random matrices, as a fit might leave them: flow of all layers, states of the first and the last depth."""
    depths = model.config.num_hidden_layers + 2
    with torch.no_grad():
        output = model(input_ids=torch.tensor([[5, 6]]), output_states=True, positions=torch.tensor([[0]]))
    widths = tuple(state.shape[-1] for state in output.states)
    flow = (0, *(part.shape[-1] for part in output.attention_flow), 0)
    layout = FeatureLayout(tuple(range(depths)), widths, flow, "position").with_own_states(2)
    labels = module_of(model).label_count(model.config)
    weights = torch.randn(layout.features, labels, generator=torch.Generator().manual_seed(1)) * scale
    record = {"depths": list(layout.depths), "widths": list(layout.widths), "flow_widths": list(layout.flow_widths)}
    model.add_readout({**record, "at": "position", "task": model.task}, weights)
    return layout, weights


def said(output):
    return output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits], -1)


@pytest.mark.parametrize(("family", "task"), EACH)
def test_heads_change_nothing_and_speak_at_every_position(family, task, tmp_path):
    """I1 and I7, and deep supervision by position: each head's own cross-entropy where there is a label."""
    plain = plain_model(family, auto=AUTOS[task], **({"num_labels": 2} if task == "answer" else {}))
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=False))).eval()
    inputs = inputs_for(family)
    with torch.no_grad():
        expected, output = said(plain(**inputs)), model(**inputs)
        assert torch.equal(said(output), expected)
        assert torch.equal(said(model.without_heads()(**inputs)), expected)
    labels = expected.shape[-1]
    assert output.head_logits.shape == (4, 12, 3, labels) and output.head_logits.isfinite().all()
    if task == "answer":
        answers = {"start_positions": torch.tensor([1, 2, -100, 99]), "end_positions": torch.tensor([3, 2, -100, 99])}
        learnt = model(**inputs, **answers)
        real = batch()["attention_mask"].bool()
        parts = [
            torch.log_softmax(output.head_logits[row, real[row], :, label].T.double(), -1)[:, answers[name][row]].mean()
            for row in range(2)
            for label, name in enumerate(answers)
        ]
    else:
        answers = {"labels": torch.full((4, 12), -100)}
        answers["labels"][0, 3], answers["labels"][1, 5] = 2, 0
        learnt = model(**inputs, **answers)
        scores = torch.log_softmax(output.head_logits.double(), -1)
        parts = [scores[0, 3, :, 2].mean(), scores[1, 5, :, 0].mean()]
        torch.testing.assert_close(
            deep_supervision_loss(output.head_logits, answers["labels"], model.config), learnt.supervision_loss
        )
    torch.testing.assert_close(learnt.supervision_loss, -torch.stack(parts).mean().float(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(learnt.loss, learnt.task_loss + 0.3 * learnt.supervision_loss)
    learnt.loss.backward()
    assert all(head.w2.grad is not None and head.w1.grad.abs().max() > 0 for head in model.mhex)


@pytest.mark.parametrize(("family", "task"), FOLLOWED)
def test_each_place_is_rolled_out_as_by_hand(family, task, monkeypatch):
    """Rows of all places in one pass are those of a rollout by transformers' own attention probabilities."""
    outputs, attend = [], attention_hook._attend

    def keep(log, mask, *arguments, **options):
        before, given = len(log.layers), attend(log, mask, *arguments, **options)
        outputs.extend([given[0].flatten(2).nan_to_num()] if len(log.layers) > before else [])
        return given

    model, inputs = heads_of(family, task), inputs_for(family)
    mask = inputs["attention_mask"].bool()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = [probabilities.mean(1) for probabilities in model(**inputs, output_attentions=True).attentions]
        model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")
        monkeypatch.setattr(attention_hook, "_attend", keep)
        output = model(**inputs, output_states=True, positions=PLACES)
    rollout = module_of(model).start_rows(PLACES, 12, TokenMask(mask))
    wanted = PLACES >= 0
    for flow, attention, given in zip(reversed(output.attention_flow), reversed(maps), reversed(outputs), strict=True):
        expected = torch.einsum("bps,bsa->bpa", rollout, given)
        scale = float(given.abs().max())
        torch.testing.assert_close(flow.sum(2)[wanted], expected[wanted], atol=1e-5 * scale, rtol=1e-3)
        assert not flow.transpose(1, 2)[~mask].any()  # nothing is read from padding
        rollout = (rollout + torch.einsum("bps,bst->bpt", rollout, attention)) / 2


@pytest.mark.parametrize(("family", "task"), FOLLOWED)
def test_fitted_scores_of_places(family, task, tmp_path):
    """Read off features as the fit sees them; alike alone, padded, asked for by a function, saved and loaded."""
    model, inputs = train_heads(heads_of(family, task)), inputs_for(family)
    layout, weights = add_fit(model)
    mask = TokenMask(inputs["attention_mask"].bool(), 12)
    with torch.no_grad():
        full = model(**inputs, output_attributions=True, positions=lambda logits: PLACES)
        kept = model(**inputs, output_states=True, positions=PLACES)
        lean = model(**inputs, output_attributions=True, output_head_logits=False, positions=PLACES)
        scores = full.fitted_attributions
        assert torch.equal(lean.fitted_attributions, scores) and torch.equal(full.attribution_positions, PLACES)
        assert scores.shape == (4, 3, 12, len(layout.depths), weights.shape[1]) and scores.abs().max() > 1e-2
        assert not scores[PLACES < 0].any() and not scores.transpose(1, 2)[inputs["attention_mask"] == 0].any()
        starts = module_of(model).start_rows(PLACES, 12, mask)
        for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
            places = PLACES[row][PLACES[row] >= 0]
            parts = [s[row] for s in kept.states], [f[row] for f in kept.attention_flow], starts[row]
            expected = (layout.join_at(*parts) @ weights)[: len(places), :length]
            scale = float(expected.abs().max())
            phi = scores[row, : len(places), :length]
            torch.testing.assert_close(phi.sum(2), expected, atol=1e-5 * scale, rtol=1e-4)
            if not model.mhex_site.pads:
                continue  # padding changes the plain model itself
            alone = {name: value[row : row + 1, :length] for name, value in inputs.items()}
            single = model(**alone, output_attributions=True, positions=places[None]).fitted_attributions[0]
            torch.testing.assert_close(single, phi, atol=1e-5 * scale, rtol=1e-4)
        model.save_pretrained(tmp_path)
        loaded = OURS[task].from_pretrained(tmp_path).eval()
        again = loaded(**inputs, output_attributions=True, positions=PLACES)
    assert torch.equal(again.fitted_attributions, scores) and torch.equal(again.head_logits, full.head_logits)


@pytest.mark.parametrize(("family", "task"), [pair for pair in EACH if pair[0] in UNFOLLOWED and pair[1] == "token"])
def test_families_whose_attention_cannot_be_followed_are_refused(family, task):
    model = heads_of(family, task)
    assert not follows_attention(model, torch.tensor([5, 6, 7, 3]))
    if family in ("deberta", "t5", "fnet"):
        model.config.id2label = {0: "O", 1: "B-X", 2: "I-X"}
        with pytest.raises(ValueError, match=r"cannot be explained at positions: attention in its family"):
            fit_equivalent_matrices(model, tiny_tokenizer(), random_texts(25), removal="mask", progress=False)


@pytest.mark.parametrize("places", [1, 3])
def test_rows_from_several_places_are_those_of_each(places):
    """Of raw layers and weighed ones, with a layer nobody reads, and of signed start rows."""
    torch.manual_seed(3)
    layers = []
    for _ in range(3):
        query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
        seen = torch.where(torch.arange(5) < torch.tensor([[[[5]]], [[[3]]]]), 0.0, torch.finfo(torch.float32).min)
        layers.append(flows.AttentionInputs(query, key, value, VisibleTokens(seen), 0.5))
    matrices = [torch.randn(3, 12), None, torch.randn(3, 12)]
    position = torch.randint(3, (2, places))
    start = torch.nn.functional.one_hot(position, 5).float()
    weighed = [layer.read_by(matrix) for layer, matrix in zip(layers, matrices, strict=True)]
    for rows, single in ((start, position), (start, None), (start - 0.2, None)):
        for chosen in (layers, [*weighed[:2], layers[2]]):
            together = flows.attention_flow(chosen, rows, single, matrices.__getitem__)
            for place in range(places):
                one = flows.attention_flow(chosen, rows[:, place], None, matrices.__getitem__)
                for part, expected in zip(together, one, strict=True):
                    assert (part is None) is (expected is None)
                    if part is not None:
                        torch.testing.assert_close(part[:, place], expected, atol=1e-5, rtol=1e-4)
    raw = flows.attention_flow(layers, start, position)
    torch.testing.assert_close(
        raw[0] @ matrices[0].T, flows.attention_flow(layers, start, None, lambda i: matrices[i])[0]
    )


def test_positions_are_checked():
    model, inputs = heads_of("bert"), inputs_for("bert")
    for bad, error, sentence in (
        ([[1]], TypeError, "tensor of integers"),
        (torch.ones(4, 2), TypeError, "tensor of integers.*float32"),
        (torch.ones(4, dtype=torch.long), ValueError, r"\(4, places\)"),
        (torch.full((4, 1), 12), ValueError, "got 12"),
        (torch.full((4, 1), 5), ValueError, "got 5"),  # padding of the last text
    ):
        with pytest.raises(error, match=sentence):
            model(**inputs, output_states=True, positions=bad)
    add_fit(model)
    with pytest.raises(ValueError, match="positions must say at which tokens"):
        model(**inputs, output_attributions=True)
    packed = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]]).expand(4, -1)
    with pytest.raises(ValueError, match="packed into one row"):
        model(**inputs, position_ids=packed, output_attributions=True, positions=PLACES)
    nowhere = model(**inputs, output_attributions=True, positions=torch.zeros(4, 0, dtype=torch.long))
    assert nowhere.fitted_attributions.shape[:3] == (4, 0, 12)
    with pytest.raises(ValueError, match="positions are for models with a label at each position"):
        get_mhex_model(plain_model("bert"))(**inputs, positions=PLACES)
    with pytest.raises(ValueError, match=r"faithfulness_weight must be 0 for MhexBertForTokenClassification"):
        get_mhex_model(plain_model("bert", auto=AUTOS["token"]), MhexConfig(faithfulness_weight=1.0))


@pytest.mark.parametrize(
    ("labels", "error", "sentence"),
    [
        (torch.zeros(4), ValueError, "one class id a token"),
        (torch.zeros(4, 12), TypeError, "integer class ids"),
        (torch.full((4, 12), 3), ValueError, "from 0 to 2"),
    ],
)
def test_labels_of_tokens_are_checked(labels, error, sentence):
    with pytest.raises(error, match=sentence):
        heads_of("bert")(**inputs_for("bert"), labels=labels.long() if error is ValueError else labels)


def test_labels_of_answers_are_checked():
    model, inputs, zeros = heads_of("bert", "answer"), inputs_for("bert"), torch.zeros(4, dtype=torch.long)
    for start, end, error, sentence in (
        (zeros, None, ValueError, "given together, got no end_positions"),
        (zeros, zeros - 1, ValueError, "end_positions must be positions from 0"),
        (zeros.float(), zeros, TypeError, "start_positions must be integer"),
        (zeros[:2], zeros, ValueError, r"start_positions must be \(4,\)"),
    ):
        with pytest.raises(error, match=sentence):
            model(**inputs, start_positions=start, end_positions=end)
    nothing = model(**inputs, start_positions=zeros - 100, end_positions=zeros - 100)
    assert nothing.supervision_loss == 0


@pytest.mark.parametrize("task", list(AUTOS))
@pytest.mark.parametrize("removal", ["mask", "attention"])
def test_one_masked_pass_serves_all_places(task, removal):
    """As separate passes of the plain model say; start and end logits less their mean over the text's positions."""
    tokenizer = tiny_tokenizer()
    plain = plain_model("bert", auto=AUTOS[task], num_labels=2, pad_token_id=0, vocab_size=60)
    texts = ["good film", "a very dull plot and music", "the acting"]
    for model in (plain, get_mhex_model(plain, MhexConfig(gate=False))):
        perturbed = PerturbedModel(model, tokenizer, removal, batch_tokens=24)
        items = perturbed.tokenise(texts, None)
        subsets = [torch.rand(4, len(item) - 2, generator=torch.Generator().manual_seed(2)) < 0.5 for item in items]
        places = [[1, 2], [3], [2, 0, 1]]
        answers = perturbed.kept_place_logits(items, subsets, places)
        for item, kept, chosen, answer in zip(items, subsets, places, answers, strict=True):
            assert answer.shape == (4, len(chosen), 2)
            for subset, row in zip(kept, answer, strict=True):
                there = torch.cat([torch.tensor([True]), subset, torch.tensor([True])])
                ids = item.features["input_ids"]
                inputs = {"input_ids": torch.where(there, ids, tokenizer.mask_token_id)[None]}
                if removal == "attention":
                    inputs = {"input_ids": ids[None], "attention_mask": there[None].long()}
                with torch.no_grad():
                    logits = said(plain(**inputs, token_type_ids=item.features["token_type_ids"][None]))[0]
                expected = logits - logits.mean(0) if task == "answer" else logits
                torch.testing.assert_close(row, expected[chosen], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="got 'deletion'"):
        PerturbedModel(plain, tokenizer, "deletion", 64).kept_place_logits(items, subsets, places)


def test_tasks_and_signposts(tmp_path):
    """Each class leads to its Auto class, and a checkpoint of another task is never taken for one of this."""
    models = {task: plain_model("bert", auto=auto, num_labels=2) for task, auto in AUTOS.items()}
    for task, plain in models.items():
        plain.save_pretrained(tmp_path / task)
        model = get_mhex_model(plain, MhexConfig(gate=False))
        assert task_of(model) == task_of(type(plain)) == task_of(torch.nn.DataParallel(plain)) == model.task
        model.save_pretrained(tmp_path / f"{task}-heads")
        for folder in (tmp_path / task, tmp_path / f"{task}-heads"):
            assert type(OURS[task].from_pretrained(folder, mhex=MhexConfig(gate=False))) is type(model)
            for other in {AutoMhexModelForSequenceClassification, *OURS.values()} - {OURS[task]}:
                with pytest.raises(ValueError, match=f"load it with {OURS[task].__name__}"):
                    other.from_pretrained(folder)
    sequence = plain_model("bert")
    sequence.save_pretrained(tmp_path / "sequence")
    with pytest.raises(ValueError, match="load it with AutoMhexModelForSequenceClassification"):
        AutoMhexModelForTokenClassification.from_pretrained(tmp_path / "sequence")
    kinds = r"text classifier .*, a token classifier .*, a model for question answering .* or an image classifier"
    with pytest.raises(TypeError, match=kinds):
        task_of(sequence.bert)
    shim = AutoModelForTokenClassification.from_pretrained(tmp_path / "token-heads", trust_remote_code=True)
    assert type(shim).__name__ == "MhexBertForTokenClassification"
    card = (tmp_path / "answer-heads" / "README.md").read_text()
    assert "AutoMhexModelForQuestionAnswering" in card and "MhexAnswerExplainer" in card


def test_a_side_car_of_places(tmp_path):
    plain, inputs = plain_model("bert", auto=AUTOS["token"]), inputs_for("bert")
    model = get_mhex_model(plain, MhexConfig(gate=False)).eval()
    add_fit(model)
    save_explainer(model, tmp_path)
    again = get_mhex_model(plain, tmp_path).eval()
    with torch.no_grad():
        first, second = (m(**inputs, output_attributions=True, positions=PLACES) for m in (model, again))
    assert torch.equal(first.fitted_attributions, second.fitted_attributions)
    record = {**model.config.mhex_fit, "at": "text"}
    with pytest.raises(ValueError, match="must be of a fit for token_classification"):
        model.add_readout(record)


def test_the_best_span_starts_before_it_ends():
    logits = torch.tensor([[0.0, 9.0], [1.0, 0.0], [8.0, 1.0], [0.0, 2.0]])
    assert best_span(logits) == (2, 3) and best_span(logits, longest=1) == (0, 0)


def test_checkpointing_and_gates_at_positions():
    model = train_heads(get_mhex_model(plain_model("bert", auto=AUTOS["token"], dropout=False))).train()
    labels = torch.randint(3, (4, 12), generator=torch.Generator().manual_seed(0))
    gradients = []
    for enable in (False, True):
        if enable:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(**inputs_for("bert"), labels=labels).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.mhex.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_word_starts():
    perturbed = PerturbedModel(BertForTokenClassification(tiny_bert().config), tiny_tokenizer(), "mask", 64)
    (item,) = perturbed.tokenise(["film xyz good"], ["plot ab"])
    assert item.encoding.tokens[2:5] == ["x", "##y", "##z"] and item.word_starts() == [1, 2, 5, 7, 8]
