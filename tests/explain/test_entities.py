# SPDX-License-Identifier: Apache-2.0
"""Texts to explanations of their entities: completeness, batches, windows, budgets and refusals, on tiny models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.explained import make_model
from helpers.placed import LABELS, TEXT, TOKENIZER, fitted, inputs_for, labels_of, placed_model, raw_logits
from helpers.tiny import tiny_bert
from mhex_nlp import MhexExplainer, get_mhex_model
from mhex_nlp.explain.answers import MhexAnswerExplainer
from mhex_nlp.explain.entities import MhexEntityExplainer
from mhex_nlp.explain.entity_finder import EntityFinder
from mhex_nlp.explain.explainers import explainer_for
from mhex_nlp.explain.places import Reading
from mhex_nlp.explain.positioned import PositionedExplanation
from mhex_nlp.models.perturbed import PerturbedModel

FAMILIES = ["bert", "roberta", "distilbert", "electra", "albert", "modernbert", "qwen2"]
# sub-words, a word that stands three times, scripts without spaces, emoji of several code points, white space
TEXTS = [
    TEXT,
    "zebra film , film the quokka was a film",
    "北京 was lovely 👍🏽 and 東京 very 👨‍👩‍👧 dull",
    "  the plot\twas\n lovely  ",
    "a",
]


@pytest.fixture(scope="module")
def model():
    return fitted(placed_model("token"))


@pytest.fixture(scope="module")
def explainer(model):
    return MhexEntityExplainer(model, TOKENIZER)


def own_logits(model, explanation, raw=None):
    """(C,) of a place, by the plain model's logits at the first sub-words, from the definition."""
    logits = raw_logits(model, explanation.text) if raw is None else raw
    first = {}
    for index in explanation.place.tokens:
        first.setdefault(explanation.tokens[index].word, index)
    rows = logits[list(first.values())].clone()
    predicted = [LABELS[int(row.argmax())] for row in rows]
    for row, label in zip(rows, predicted, strict=True):
        if label[0] != predicted[0][0]:  # B-X for I-X
            row[:] = row[[0, 2, 1, 4, 3]]
    return rows.mean(0)


def masked_value(model, explanation, kept):
    """The centred logit of a place of one token when of all content tokens only `kept` stay."""
    features = {name: tensor.clone() for name, tensor in inputs_for(model, explanation.text).items()}
    for index, token in enumerate(explanation.tokens):
        if not token.special and index not in kept:
            features["input_ids"][0, index] = TOKENIZER.mask_token_id
    with torch.no_grad():
        logits = model(**features).logits[0, explanation.place.tokens[0]]
    return float(logits[explanation.target.id] - logits.mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_completeness_offsets_and_batches(family):
    """I2, I3 and I5 at places: what is explained is the model's own mean logit, alone, in a list and in any batch."""
    model = fitted(placed_model("token", family=family))
    together = MhexEntityExplainer(model, TOKENIZER)(TEXTS)
    small = MhexEntityExplainer(model, TOKENIZER, batch_tokens=4)
    assert sum(map(len, together)) > 5
    for index, (text, whole) in enumerate(zip(TEXTS, together, strict=True)):
        alone, raw = small(text, ids=str(index)), raw_logits(model, text)
        assert [one.place for one in alone] == [one.place for one in whole]
        for one, other in zip(alone, whole, strict=True):
            scale = 1 + sum(abs(token.score) for token in one.tokens)
            np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5 * scale)
            logits = own_logits(model, one, raw)
            assert one.target.id == one.prediction.id == other.prediction.id == int(logits.argmax())
            expected = float(logits[one.target.id] - logits.mean())
            assert one.base_value + one.sum == pytest.approx(expected, abs=1e-5 * scale)
            assert one.probability == pytest.approx(logits.softmax(-1).max().item(), abs=1e-5)
            assert one.place.text == text[one.place.start : one.place.end] == one.place.text.strip()
            assert one.label.endswith(one.place.label) and one.place.label in ("PER", "LOC") and one.id == str(index)
            special = sum(token.score for token in one.tokens if token.special)
            assert one.place_score + one.rest_score + special == pytest.approx(one.sum, abs=1e-5 * scale)


def test_repeated_words_are_places_of_their_own(explainer):
    whole = explainer("film film the film", at="all")
    assert [(one.place.start, one.place.end) for one in whole] == [(0, 4), (5, 9), (10, 13), (14, 18)]
    assert len({one.to_json() for one in whole}) == 4
    for one in whole:
        assert one.place == explainer(one.text, at=(one.place.start, one.place.end))[0].place


def test_round_trip(explainer):
    for one in explainer(TEXTS, classes="all", layers=True):
        assert PositionedExplanation.from_json(one.to_json()) == one


def finder(explainer, text, labels, *, at=None, target=None, foil=None, **options):
    """The places of a text whose words have these labels, with the logits that say so."""
    request = explainer.request(target, foil, at=at, **options)
    (item,) = explainer.tokenise([text])
    found = EntityFinder(item, request, explainer.tags)
    logits = torch.zeros(len(item), len(LABELS))
    for number, (word, label) in enumerate(zip(found._words, labels.split(), strict=True)):
        logits[word.position] = torch.arange(5) * 0.1 + number * torch.tensor([0.0, 1, 2, 4, 8]) * 0.01
        logits[word.position, LABELS.index(label)] = 3
    return found, logits, lambda: found.choose([Reading(logits, {}, None)])


def test_words_of_one_entity_are_one_place(explainer):
    text = "the zebra plot was film"
    found, logits, choose = finder(explainer, text, "B-PER I-PER I-PER O B-LOC")
    run, last = choose()
    assert (run.place.text, run.place.label, last.place.text) == ("the zebra plot", "PER", "film")
    (part,) = run.parts
    assert len(run.place.tokens) == 2 + len("zebra") and part.reads == tuple(w.position for w in found._words[:3])
    assert run.answer.target == run.answer.predicted == 1
    mixed = torch.einsum("pc,pck->k", logits[list(part.reads)], part.mix)
    swapped = torch.stack([logits[part.reads[0]], *(logits[at][[0, 2, 1, 4, 3]] for at in part.reads[1:])])
    torch.testing.assert_close(mixed, swapped.mean(0))
    assert found.wanted(0, logits) == [*part.reads, *last.parts[0].reads]


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        ("B-LOC I-LOC I-LOC I-LOC O", ["U.S."]),
        ("B-LOC B-LOC B-LOC B-LOC O", ["U.S."]),  # no space, and a sign: one word to whoever labelled it
        ("I-PER O I-PER O I-LOC", ["U", "S", "film"]),
        ("O O O O O", []),
    ],
)
def test_runs_of_words(explainer, labels, places):
    found, _, choose = finder(explainer, "U.S. film", labels)
    assert [choice.place.text for choice in choose()] == places
    assert found.notes == ([] if places else ["The model finds no entity in this text."])


def test_a_span_is_one_place(explainer):
    text = "the zebra plot was film"
    _, logits, choose = finder(explainer, text, "O O B-PER I-PER O", at=((2, 6),), target="B-LOC")
    (choice,) = choose()
    assert choice.place.text == "the zebra" and choice.place.label == "O" and choice.answer.predicted == 0
    assert LABELS[choice.answer.target] == "B-LOC"  # I-LOC at the second word, as in an entity there
    assert choice.parts[0].mix[1, 4, 3] == choice.parts[0].mix[0, 3, 3] == 0.5
    _, _, choose = finder(explainer, text, "O O B-PER I-PER O", at=((10, 18),))
    assert choose()[0].answer.predicted == 1 and choose()[0].place.label == "PER"  # which is an entity


def test_types_stand_for_the_label_of_the_run(explainer):
    text = "the plot was film music"
    _, _, choose = finder(explainer, text, "I-PER O O B-PER I-PER", target="LOC", foil="PER")
    assert [(LABELS[c.answer.target], LABELS[c.answer.foil]) for c in choose()] == [
        ("I-LOC", "I-PER"),
        ("B-LOC", "B-PER"),
    ]


def test_an_entity_that_is_the_foil_is_left_out(explainer):
    text = "the plot was film music"
    found, _, choose = finder(explainer, text, "B-PER O O B-LOC I-LOC", foil="B-PER")
    assert [choice.place.text for choice in choose()] == ["film music"]
    assert found.notes == ["Left out: 'the' at 0 of text[0], whose label is the foil B-PER."]
    _, _, choose = finder(explainer, text, "B-PER O O B-LOC I-LOC", foil="B-PER", at=((0, 3),))
    with pytest.raises(ValueError, match="foil must be another class than the target, got 'B-PER' for both at 'the'"):
        choose()


def test_target_and_foil(model, explainer):
    for one in explainer(TEXT, target="B-LOC", foil="O", at=[(4, 8), (13, 19)]):
        logits = own_logits(model, one)
        assert (one.target.label, one.foil.label, one.method.contrast) == ("B-LOC", "O", "foil")
        assert one.base_value + one.sum == pytest.approx(float(logits[3] - logits[0]), abs=1e-4)


def test_classes_and_layers(explainer):
    for one in explainer(TEXT, classes="all", layers=True):
        np.testing.assert_allclose(one.class_scores[:, one.target.id], one.scores, atol=1e-5)
        np.testing.assert_allclose(one.class_scores.sum(1), 0, atol=1e-4)
        np.testing.assert_allclose(one.layer_scores.sum(1), one.scores, atol=1e-4)


@pytest.mark.parametrize("stride", [0, 3])
def test_windows(model, stride):
    """Each word is read in one window, in the middle of it if there is one, and explained by that window's tokens."""
    text = " ".join([*TEXT.split(), "zebra", *TEXT.split()])
    explainer = MhexEntityExplainer(model, TOKENIZER, max_length=12, stride=stride)
    whole = explainer(text, at="all")
    (item,) = explainer.tokenise([text])
    assert [one.place.text for one in whole] == text.split()
    for one in whole:
        windows = [w for w in item.windows if one.place.tokens[0] in w.positions.tolist()[1:-1]]
        inside = []
        for window in windows:
            with torch.no_grad():
                features = {k: v[None] for k, v in window.features.items() if k in inputs_for(model, text)}
                logits = model(**features).logits[0]
            position = window.positions.tolist().index(one.place.tokens[0], 1)
            inside.append(float(logits[position].max() - logits[position].mean()))
        assert min(abs(one.base_value + one.sum - value) for value in inside) < 1e-4
        assert one.windows == len(item.windows) and "Read in" in one.notes[0]
        scored = {index for index, token in enumerate(one.tokens) if token.score}
        assert any(scored <= set(w.positions.tolist()) for w in windows)
    refined = explainer(text, at=(0, len(text)), budget=8)[0]  # a place in several windows
    assert refined.place.text == text and refined.misfit == pytest.approx(0, abs=1e-4)


def test_a_budget_keeps_the_place_it_is_spent_on(model, explainer, monkeypatch):
    calls, run = [], PerturbedModel.run
    monkeypatch.setattr(
        PerturbedModel, "run", lambda self, batch, **k: calls.append(len(batch)) or run(self, batch, **k)
    )
    whole = explainer(TEXT, budget=16)
    assert len(whole) > 2 and sum(calls) == 17 * len(whole) + 1  # with each place alone, and the empty text
    for one in whole:
        logits = own_logits(model, one)
        assert one.base_value + one.sum == pytest.approx(float(logits.max() - logits.mean()), abs=1e-4)
        assert (
            one.passes == 17
            and one.misfit == pytest.approx(0, abs=1e-4)
            and all(t.error is not None for t in one.tokens)
        )
    one = next(one for one in whole if len(one.place.tokens) == 1)
    alone, empty = (masked_value(model, one, kept) for kept in (one.place.tokens, ()))
    assert one.base_value == pytest.approx(empty, abs=1e-4)
    assert one.place_score == pytest.approx(alone - empty, abs=1e-4)
    short = explainer("film was dull", budget=6)  # all pairs there are: the values are exact
    assert short and all(token.error == 0 for token in short[0].tokens)


def test_refine_is_a_call_with_the_budget(explainer):
    one, several = explainer(TEXT), explainer(TEXTS[:2], at="all", target="B-LOC", foil="O", classes="all")
    for before, after in [
        (one, explainer.refine(one, budget=8)),
        *zip(several, explainer.refine(several, budget=8), strict=True),
    ]:
        assert [x.place for x in before] == [x.place for x in after] and [x.target for x in before] == [
            x.target for x in after
        ]
    again = explainer(TEXT, budget=8)
    for x, y in zip(explainer.refine(one, budget=8), again, strict=True):
        np.testing.assert_allclose(x.scores, y.scores, atol=1e-5)
    auto = explainer(TEXT, budget="auto", max_budget=16)
    assert {x.passes for x in auto} <= {9, 17} and all(x.settled is not None for x in auto)
    with pytest.raises(TypeError, match="explanation must be one of MhexEntityExplainer"):
        explainer.refine(one[0], budget=8)
    with pytest.raises(ValueError, match="budget must be at least 2 to refine"):
        explainer.refine(one, budget=0)


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_without_a_fit_a_budget_explains(family):
    """Also where attention cannot be followed, so that there can be no fit."""
    model = placed_model("token", family=family)
    explainer = MhexEntityExplainer(model, TOKENIZER)
    with pytest.raises(ValueError, match="the model is not fitted: fit_equivalent_matrices.* or give a budget"):
        explainer(TEXT, budget=0)
    one = explainer("film was dull", at=(0, 4), budget=6)[0]
    logits = own_logits(model, one)
    assert one.base_value + one.sum == pytest.approx(float(logits.max() - logits.mean()), abs=1e-4)
    assert not one.method.fitted and one.method.explains == "model" and one.heads is None


def test_the_usual_budget_of_places(explainer):
    """16 passes where nothing is said, none for layers, which passes cannot tell apart; a text has no such default."""
    usual, named = explainer(TEXT, seed=3), explainer(TEXT, seed=3, budget=16)
    assert [one.passes for one in usual] == [17] * len(usual) and usual.to_dict() == named.to_dict()
    assert [one.passes for one in explainer(TEXT, layers=True)] == [1] * len(usual)
    assert all(one.passes == 17 for entities in explainer.stream([TEXT]) for one in entities)
    assert explainer.request().budget == 16 and MhexExplainer.usual_budget == 0


def test_judge_is_of_the_tokens_beside_the_places(model, explainer):
    """By hand: with every subset of the other tokens the skill is that of the scores in all pairs."""
    text = "film was dull"
    judgement = explainer.judge([text], masks=24)
    errors = np.zeros(2)
    (item,) = explainer.tokenise([text])
    perturbed = PerturbedModel(model, TOKENIZER, "mask", 1024)
    for one in explainer(text, classes="all", budget=0):
        place = list(one.place.tokens)
        others = [index for index in (1, 2, 3) if index not in place]
        kept = torch.tensor([[index in place or index == other for index in (1, 2, 3)] for other in others])
        said = perturbed.kept_place_logits([item], [kept], [place])[0][:, 0]
        said = said - said.mean(-1, keepdim=True)
        answers = said[0] - said[1]
        phi = one.class_scores[others]
        errors += [((answers.numpy() - (phi[0] - phi[1])) ** 2).sum(), (answers.numpy() ** 2).sum()]
    assert judgement.skill == pytest.approx(1 - errors[0] / errors[1], abs=1e-4) and judgement.texts == 1
    several = explainer.judge(TEXTS, masks=8)
    assert several.texts == 4 and several.skill_interval[0] <= several.skill <= several.skill_interval[1]  # not "a"
    with pytest.raises(ValueError, match="texts must hold at least one"):
        explainer.judge([])


def test_stream_and_ids(explainer):
    streamed = list(explainer.stream(iter(TEXTS), batch_size=2, ids=list("abcde")))
    assert [one.id for one in streamed] == list("abcde") and explainer([]) == []
    assert [x.to_json() for one in streamed for x in one][:1] == [
        replace(x, id="a").to_json() for x in explainer(TEXTS[:2])[0]
    ][:1]
    assert all(x.id == "a" for x in streamed[0])


def test_no_entity_is_a_note(model, explainer):
    labels = labels_of(model)
    before = labels.bias.data.clone()
    try:
        labels.bias.data[0] += 100
        none = MhexEntityExplainer(model, TOKENIZER)(TEXT)
    finally:
        labels.bias.data.copy_(before)
    assert len(none) == 0 and none.notes == ("The model finds no entity in this text.",)
    assert PositionedExplanation.from_json(none.to_json()) == none


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"at": (90, 95)},
            ValueError,
            r"at must be a span of text that holds a word, which has 53 characters, got \(90",
        ),
        ({"at": (3, 4)}, ValueError, "that holds a word"),  # a space
        ({"at": (4, 4)}, ValueError, "0 <= start < end"),
        ({"at": (-1, 4)}, ValueError, "0 <= start < end"),
        ({"at": "word"}, TypeError, "at must be None, 'all', a span"),
        ({"at": [(0, 3), 4]}, TypeError, "at must be None, 'all', a span"),
        ({"at": []}, ValueError, "got none"),
        ({"target": "B-ORG"}, ValueError, "target must be a class of the model, got 'B-ORG'"),
        ({"foil": "B-PER", "target": "B-PER"}, ValueError, "foil must be another class"),
        ({"foil": "PER", "target": "PER"}, ValueError, "foil must be another class"),
        ({"layers": True, "budget": 4}, ValueError, "layers=True cannot be had with a budget"),
    ],
)
def test_what_makes_no_sense_is_refused(explainer, options, error, message):
    with pytest.raises(error, match=message):
        explainer(TEXT, **options)


def test_spans_are_for_one_text(explainer):
    with pytest.raises(ValueError, match="at must be None or 'all' for many texts"):
        explainer([TEXT, TEXT], at=(0, 3))
    assert len(explainer([TEXT], at=(0, 3))[0]) == 1


def test_labels_without_o(model):
    kinds = fitted(placed_model("token", ["NOUN", "VERB", "ADJ"]))
    explainer = MhexEntityExplainer(kinds, TOKENIZER)
    with pytest.raises(ValueError, match="labels must have an O for words outside of entities"):
        explainer(TEXT)
    assert [one.place.label for one in explainer("film was", at="all")] == [
        one.label for one in explainer("film was", at="all")
    ]


def test_each_task_has_its_explainer(model):
    assert isinstance(explainer_for(model, TOKENIZER, stride=4), MhexEntityExplainer)
    answers = fitted(placed_model("answer"))
    assert isinstance(explainer_for(answers, TOKENIZER), MhexAnswerExplainer)
    assert isinstance(explainer_for(make_model(), TOKENIZER), MhexExplainer)
    with pytest.raises(
        ValueError, match=r"got a MhexBertForTokenClassification: MhexEntityExplainer\(model, tokenizer\)"
    ):
        MhexExplainer(model, TOKENIZER)
    with pytest.raises(ValueError, match=r"MhexAnswerExplainer\(model, tokenizer\) explains it"):
        MhexEntityExplainer(answers, TOKENIZER)
    with pytest.raises(ValueError, match=r"MhexExplainer\(model, tokenizer\) explains it"):
        MhexEntityExplainer(get_mhex_model(tiny_bert()), TOKENIZER)
    with pytest.raises(ValueError, match="aggregation must be 'auto' or 'fitted' at places"):
        MhexEntityExplainer(model, TOKENIZER, aggregation="mean")(TEXT)
