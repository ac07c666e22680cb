# SPDX-License-Identifier: Apache-2.0
"""Fits at positions find what a token's label hangs on elsewhere in the text; training and its figures by position."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from transformers import BertForQuestionAnswering, BertForTokenClassification, DataCollatorForTokenClassification

from helpers.tiny import BAD, GOOD, random_texts, tiny_bert, tiny_tokenizer, tiny_trainer
from mhex_nlp import MhexCallback, MhexConfig, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain import skill
from mhex_nlp.models.tasks import question_answering, token_classification
from mhex_nlp.training.fitting.places import PlaceSource
from mhex_nlp.training.head_metrics import head_losses, head_scores

TOKENIZER = tiny_tokenizer()
NOUNS, FILLERS = ["film", "plot", "music", "acting"], ["the", "a", "was", "and", "very", "it"]
TONES = {**dict.fromkeys(BAD, 1), **dict.fromkeys(GOOD, 2)}
LABELS = {0: "O", 1: "B-BAD", 2: "B-GOOD"}


def texts_of(count, seed):
    """One noun and one word of a tone among fillers: the label of the noun is the tone."""
    draw, texts = np.random.default_rng(seed), []
    for _ in range(count):
        words = list(draw.choice(FILLERS, draw.integers(4, 9)))
        noun, tone = draw.choice(len(words), 2, replace=False)
        words[noun], words[tone] = draw.choice(NOUNS), draw.choice(sorted(TONES))
        texts.append(" ".join(words))
    return texts


def labels_of(text):
    tone = next(TONES[word] for word in text.split() if word in TONES)
    return [tone if word in NOUNS else 0 for word in text.split()]


@pytest.fixture(scope="module")
def reader():
    """A token classifier that has learnt the rule, also with words masked."""
    torch.manual_seed(0)
    config = tiny_bert(dropout=0.0, initializer_range=0.2).config
    config.id2label, config.label2id = LABELS, {name: index for index, name in LABELS.items()}
    model, texts = BertForTokenClassification(config), texts_of(1000, 0)
    inputs = TOKENIZER(texts, padding=True, return_tensors="pt")
    labels = torch.full(inputs["input_ids"].shape, -100)
    for row, text in enumerate(texts):
        labels[row, 1 : 1 + len(text.split())] = torch.tensor(labels_of(text))
    optimizer, draw = torch.optim.AdamW(model.parameters(), 3e-3), torch.Generator().manual_seed(0)
    for _ in range(160):
        rows = torch.randint(len(texts), (32,), generator=draw)
        ids, share = inputs["input_ids"][rows], torch.rand(32, 1, generator=draw) * 0.6
        masked = (torch.rand(ids.shape, generator=draw) < share) & (labels[rows] != -100)
        ids = ids.masked_fill(masked, TOKENIZER.mask_token_id)
        model(input_ids=ids, attention_mask=inputs["attention_mask"][rows], labels=labels[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def fitted(reader):
    model = get_mhex_model(reader, MhexConfig(gate=False)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few texts to judge on
        report = fit_equivalent_matrices(model, TOKENIZER, texts_of(200, 1), attainable_texts=6, progress=False)
    return model, report


def test_a_fit_finds_the_word_that_a_label_hangs_on(fitted):
    model, _ = fitted
    for text in texts_of(20, 5):
        words = text.split()
        noun = 1 + next(index for index, word in enumerate(words) if word in NOUNS)
        with torch.no_grad():
            output = model(
                **TOKENIZER(text, return_tensors="pt"), positions=torch.tensor([[noun]]), output_attributions=True
            )
        label = int(output.logits[0, noun].argmax())
        assert label == max(labels_of(text))
        phi = output.fitted_attributions[0, 0].sum(1)
        scores = (phi[:, label] - phi.mean(-1))[1:-1]
        scores[noun - 1] = -torch.inf
        assert words[int(scores.argmax())] in TONES


def test_the_report_is_of_the_other_tokens_at_predicted_places(fitted):
    model, report = fitted
    assert report.skill > 0.5 and report.skill_interval[0] > 0.3 and report.attainable > 0.9
    assert (report.task, report.at, report.positions, report.per_text) == (
        *("token_classification", "position", "predicted", 5),
    )
    assert report.held_out == 20 and report.places >= 20 and report.chosen_on == 20 and report.empty is None
    assert report.refinement is not None and model.fit_record == report.to_dict()
    assert "removals of other tokens, at 20 predicted positions" in str(report)
    assert report.depths == (0, 1, 2, 3) and report.flow_widths == (0, 32, 32, 0)


def test_rows_are_what_the_model_says_of_parts(reader):
    """Values by passes of the plain model, sums by the features of the whole text; the place stays where it is kept."""
    model = get_mhex_model(reader, MhexConfig(gate=False)).eval()
    text = "the film was very good"
    for kept in (False, True):
        source = PlaceSource(model, TOKENIZER, "mask", 6, 256, per_text=2, kept=kept)
        with torch.inference_mode():
            source.layout = source.find_layout(text, None)
            rows = list(source.rows([text], None, [3], seed=0))
            again = list(source.rows(["a dull plot and music", text], None, [4, 3], seed=0))
        assert len(rows) == (1 if kept else 2) and rows[0].text == 3 and rows[0].target == 2
        torch.testing.assert_close(again[-len(rows)].sums, rows[0].sums, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(again[-len(rows)].values, rows[0].values, atol=1e-4, rtol=1e-4)
        ids = TOKENIZER(text, return_tensors="pt")["input_ids"]
        players = [1, 3, 4, 5] if kept else [1, 2, 3, 4, 5]

        def logits(present, ids=ids, players=players):
            gone = [token for token in players if token not in present]
            changed = ids.clone()
            changed[0, gone] = TOKENIZER.mask_token_id
            with torch.no_grad():
                said = reader(input_ids=changed).logits[0, 2]
            return said - said.mean()

        torch.testing.assert_close(rows[0].values[-1], logits(players) - logits([]), atol=1e-4, rtol=1e-4)
        whole = rows[0].sums[-1]
        assert whole[0] == len(players) and whole[1] == (0 if kept else 1), "constants: one a token, one for the place"


def test_places_of_a_text_count_together():
    torch.manual_seed(0)
    rows = [
        skill.Rows(torch.randn(5, 4), torch.randn(5, 2), torch.ones(5) * 3, 0, text=number, label=label)
        for number, label in ((1, None), (1, 0), (2, 1))
    ]
    weights = torch.randn(4, 2, dtype=torch.float64)
    single = [skill.errors(weights, [row])[0] for row in rows]
    together = skill.errors(weights, rows)
    assert together.shape == (2, 2)
    np.testing.assert_allclose(together, [single[0] + single[1], single[2]])
    ours, _ = skill.paired_residuals(weights, rows[2])
    assert single[2][0] == pytest.approx(float(ours[:, 1].square().sum()))


def test_bad_arguments(reader):
    model = get_mhex_model(reader, MhexConfig(gate=False)).eval()
    texts = texts_of(25, 2)
    for options, sentence in (
        ({"positions": "some"}, "positions must be one of"),
        ({"per_text": 0}, "per_text"),
        ({"removal": "deletion"}, "got 'deletion'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            fit_equivalent_matrices(model, TOKENIZER, texts, progress=False, **options)
    nothing = [" ".join(np.random.default_rng(i).choice(FILLERS, 6)) for i in range(60)]
    with pytest.raises(ValueError, match="in which the model predicts something"):
        fit_equivalent_matrices(model, TOKENIZER, nothing, masks=2, progress=False)
    answers = get_mhex_model(BertForQuestionAnswering(tiny_bert().config), MhexConfig(gate=False))
    with pytest.raises(ValueError, match="text_pairs must be the contexts"):
        fit_equivalent_matrices(answers, TOKENIZER, texts, progress=False)


@pytest.mark.filterwarnings("ignore:the fit is judged on")
def test_a_fit_of_answers_and_of_all_positions(reader):
    torch.manual_seed(0)
    plain = BertForQuestionAnswering(tiny_bert(dropout=0.0, initializer_range=0.3).config)
    model, contexts = get_mhex_model(plain, MhexConfig(gate=False)).eval(), random_texts(40, seed=3)
    report = fit_equivalent_matrices(model, TOKENIZER, random_texts(40), contexts, masks=4, progress=False)
    assert (report.task, report.contrast, report.places) == ("question_answering", "none", 2 * report.held_out)
    inputs = TOKENIZER("good film", "the plot was dull", return_tensors="pt")
    with torch.no_grad():
        scores = model(**inputs, output_attributions=True, positions=torch.tensor([[4, 6]])).fitted_attributions
    assert scores.shape == (1, 2, inputs["input_ids"].shape[1], 4, 2) and scores.isfinite().all()
    tokens = get_mhex_model(reader, MhexConfig(gate=False)).eval()
    everywhere = fit_equivalent_matrices(
        tokens, TOKENIZER, texts_of(40, 7), positions="all", per_text=3, masks=2, attainable_texts=0, progress=False
    )
    assert everywhere.positions == "all" and everywhere.rows == 3 * 2 * everywhere.texts


def test_heads_as_predictors():
    torch.manual_seed(0)
    config = BertForTokenClassification(tiny_bert(num_labels=3).config).config
    logits, labels = torch.randn(2, 5, 3, 3), torch.randint(3, (2, 5))
    labels[0, 3:] = -100
    scores, count = head_scores(logits, labels, config, token_classification)
    kept = labels != -100
    expected = torch.stack([(logits[:, :, depth].argmax(-1) == labels)[kept].float().mean() for depth in range(3)])
    torch.testing.assert_close(scores, expected)
    assert count == 8
    losses = head_losses(logits, labels, config, token_classification)
    torch.testing.assert_close(losses.mean(), token_classification.supervision(logits, labels, config))
    logits, labels = torch.randn(4, 6, 3, 2), torch.tensor([[1, 2], [0, 5], [-100, -100], [3, 3]])
    scores, count = head_scores(logits, labels, config, question_answering)
    right = [
        [logits[row, :, depth, end].argmax() == labels[row, end] for row in (0, 1, 3) for end in (0, 1)]
        for depth in range(3)
    ]
    torch.testing.assert_close(scores, torch.tensor(right).float().mean(1))
    assert count == 6


def test_training_by_trainer_with_the_callback(tmp_path):
    torch.manual_seed(0)
    config = tiny_bert(num_labels=3).config
    model = get_mhex_model(BertForTokenClassification(config), MhexConfig(loss_weight=1.0))
    texts = texts_of(32, 0)
    rows = [{**TOKENIZER(text), "labels": [-100, *labels_of(text), -100]} for text in texts]
    trainer = tiny_trainer(
        model,
        tmp_path,
        train_dataset=rows,
        eval_dataset=rows[:8],
        callbacks=[MhexCallback(masked_words=0.5)],
        max_steps=6,
        learning_rate=1e-2,
    )
    trainer.data_collator = DataCollatorForTokenClassification(TOKENIZER)
    before = trainer.evaluate()
    trainer.train()
    figures = trainer.evaluate()
    assert figures["eval_mhex/layer_1_loss"] < before["eval_mhex/layer_1_loss"]
    assert 0 < figures["eval_mhex/layer_0_accuracy"] <= 1 and figures["eval_mhex/task_loss"] > 0
    assert trainer.predict(rows[:8]).predictions.shape[-1] == 3
    with pytest.raises(ValueError, match="texts must be left out"):
        tiny_trainer(model, tmp_path, train_dataset=rows, callbacks=[MhexCallback(texts=["a film"])]).train()
