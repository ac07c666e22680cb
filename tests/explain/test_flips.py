# SPDX-License-Identifier: Apache-2.0
"""Flip sets: searched in few passes, and true of the model when it is asked about them by hand."""

from __future__ import annotations

import pickle

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.explained import make_model
from helpers.families import train_heads
from helpers.tiny import random_texts, tiny_bert, tiny_tokenizer
from mhex_nlp import Explanation, MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.explain.flip_search import Answer, search_flip
from mhex_nlp.explain.json_form import explanation_schema
from mhex_nlp.explain.parts import FlipSet, FlipWord

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module", params=["mask", "attention"])
def explainer(request):
    plain = tiny_bert(
        num_labels=3, dropout=0.0, initializer_range=0.3, id2label={0: "bad", 1: "fair", 2: "good"}
    ).eval()
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=False)))
    fit_equivalent_matrices(model, TOKENIZER, random_texts(120), removal=request.param, attainable_texts=0)
    return MhexExplainer(model, TOKENIZER)


def said_by_hand(explainer, removed, text, text_pair=None):
    """Label and probability where the words [start, end) of each sequence in `removed` are taken out."""
    inputs = TOKENIZER(text, text_pair, return_tensors="pt", return_offsets_mapping=True)
    offsets, sequences = inputs.pop("offset_mapping")[0].tolist(), inputs.sequence_ids(0)
    gone = torch.tensor(
        [
            sequence is not None and any(s == sequence and a <= start and end <= b for a, b, s in removed)
            for (start, end), sequence in zip(offsets, sequences, strict=True)
        ]
    )
    if explainer.model.fit_record["removal"] == "mask":
        inputs["input_ids"][0, gone] = TOKENIZER.mask_token_id
    else:
        inputs["attention_mask"][0, gone] = 0
    with torch.no_grad():
        chances = explainer.model(**inputs).logits[0].softmax(-1)
    label = int(chances.argmax())
    return explainer.model.config.id2label[label], float(chances[label])


def spans(words):
    return [(word.start, word.end, word.sequence) for word in words]


def texts():
    return [f"{text} goodness and badly" for text in random_texts(25, seed=9)]  # the last words are of several tokens


def test_removals_are_true_of_the_model(explainer):
    flips = explainer.flip(texts())
    assert sum(flip.flipped for flip in flips) >= 5
    for text, flip in zip(texts(), flips, strict=True):
        assert flip.kind == "removal" and flip.passes <= 6 and flip.removal == explainer.model.fit_record["removal"]
        assert (flip.label, pytest.approx(flip.probability, abs=1e-4)) == said_by_hand(explainer, [], text)
        if not flip.flipped:
            assert flip.words == () and flip.label_after is None and flip.probability_after is None
            continue
        assert all(word.text == text[word.start : word.end] for word in flip.words)
        assert list(flip.words) == sorted(flip.words, key=lambda word: word.start)
        after = said_by_hand(explainer, spans(flip.words), text)
        assert (flip.label_after, pytest.approx(flip.probability_after, abs=1e-4)) == after
        assert flip.label_after != flip.label


def test_insertions_are_true_of_the_model(explainer):
    flips = explainer.flip(texts(), kind="insertion")
    assert {flip.needless for flip in flips} == {True, False} and any(flip.flipped for flip in flips)
    for e, flip in zip(explainer(texts()), flips, strict=True):
        words = spans(e.words())
        assert (flip.label, pytest.approx(flip.probability, abs=1e-4)) == said_by_hand(explainer, words, e.text)
        if flip.needless:
            assert flip.label == e.label and flip.passes == 1 and not flip.flipped and flip.words == ()
        elif flip.flipped:
            others = [word for word in words if word not in spans(flip.words)]
            after = said_by_hand(explainer, others, e.text)
            assert (flip.label_after, pytest.approx(flip.probability_after, abs=1e-4)) == after
            assert flip.label_after == e.label != flip.label


def test_alone_in_a_list_and_in_a_stream_it_is_the_same(explainer):
    several = texts()[:8]
    together = explainer.flip(several)
    assert [explainer.flip(text) for text in several[:3]] == [
        FlipSet(**{**{name: getattr(flip, name) for name in FlipSet.__slots__}, **_close(flip, explainer.flip(text))})
        for text, flip in zip(several[:3], together, strict=False)
    ]
    streamed = list(explainer.stream(several, flip=True, batch_size=3))
    for e, flip in zip(streamed, together, strict=True):
        removal, insertion = e.flips
        assert (removal.words, removal.label_after, removal.passes) == (flip.words, flip.label_after, flip.passes)
        assert insertion.kind == "insertion"
    assert explainer(several[0]).flips is None and "flips" not in explainer(several[0]).to_dict()
    assert explainer.flip([]) == []


def _close(flip, other):
    """The probabilities of the other, which the batch moves by rounding alone."""
    for name in ("probability", "probability_after"):
        assert getattr(flip, name) == pytest.approx(getattr(other, name), abs=1e-5)
    return {"probability": other.probability, "probability_after": other.probability_after}


def test_a_target_is_reached_or_not_at_all(explainer):
    for text, e in zip(texts()[:6], explainer(texts()[:6]), strict=True):
        for target in ("bad", "fair", "good"):
            if target == e.label:
                with pytest.raises(ValueError, match=f"than the prediction, got '{target}', which is .* for text"):
                    explainer.flip(text, target=target)
            else:
                flip = explainer.flip(text, target=target)
                assert flip.target == target and flip.label_after == (target if flip.flipped else None)


def test_pairs_and_windows(explainer):
    first, second = texts()[:10], texts()[10:20]
    for kind in ("removal", "insertion"):
        flips = explainer.flip(first, second, kind=kind)
        assert any(flip.flipped for flip in flips)
        for a, b, flip in zip(first, second, flips, strict=True):
            sources = (a, b)
            assert all(word.text == sources[word.sequence][word.start : word.end] for word in flip.words)
            if flip.flipped and kind == "removal":
                assert said_by_hand(explainer, spans(flip.words), a, b)[0] == flip.label_after
    long = " ".join(texts()[:4])
    windowed = MhexExplainer(explainer.model, TOKENIZER, max_length=16, stride=4)
    e = windowed(long, flip=True)
    assert e.windows > 1
    for flip in e.flips:
        assert flip.flipped or not flip.words
        assert flip.label == e.label if flip.kind == "removal" else flip.label_after in (None, e.label)
    if e.flips[0].flipped:
        logits = []
        (item,) = windowed.tokenise([long])
        gone = {i for word in e.words() if (word.start, word.end) in {s[:2] for s in spans(e.flips[0].words)}
                for i in word.tokens}  # fmt: skip
        for window in item.windows:
            ids, seen = window.features["input_ids"].clone(), torch.ones(len(window), dtype=torch.long)
            hit = torch.tensor([position in gone for position in window.positions.tolist()])
            if e.flips[0].removal == "mask":
                ids[hit] = TOKENIZER.mask_token_id
            else:
                seen[hit] = 0
            with torch.no_grad():
                logits.append(explainer.model(input_ids=ids[None], attention_mask=seen[None]).logits[0])
        mean = torch.stack(logits).mean(0)
        assert explainer.model.config.id2label[int(mean.argmax())] == e.flips[0].label_after


def test_passes_are_all_that_the_model_is_asked(explainer):
    rows = []
    handle = explainer.model.register_forward_hook(lambda module, args, kwargs, out: rows.append(len(out.logits)),
                                                   with_kwargs=True)  # fmt: skip
    try:
        for text in texts()[:5]:
            for kind in ("removal", "insertion"):
                for most in (2, 6):
                    rows.clear()
                    flip = explainer.flip(text, kind=kind, passes=most)
                    assert sum(rows) == 1 + flip.passes <= 1 + most
    finally:
        handle.remove()


def test_a_decoder_keeps_the_token_that_it_reads():
    from helpers.families import plain_model

    plain = plain_model("gpt2", dropout=False, vocab_size=len(TOKENIZER), pad_token_id=0, num_labels=2)
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=False)))
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    tokenizer._tokenizer.post_processor = None
    decoder = MhexExplainer(model, tokenizer)
    with pytest.warns(UserWarning, match="removed by the attention mask"):
        flips = decoder.flip([text + " was" for text in random_texts(12, seed=4)], kind="insertion")
    for flip, text in zip(flips, random_texts(12, seed=4), strict=True):
        assert all(word.end <= len(text) for word in flip.words) and flip.removal == "attention"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "swap"}, "kind must be 'removal' or 'insertion', got 'swap'"),
        ({"kind": "insertion", "target": "bad"}, "target must be left out for insertions"),
        ({"target": "worse"}, "target must be a class of the model, got 'worse'"),
        ({"passes": 1}, "passes must be an integer of at least 2, got 1"),
        ({"text_pair": ["a", "b"]}, "text_pair must have one entry for each"),
    ],
)
def test_what_makes_no_sense_is_refused(explainer, options, message):
    with pytest.raises(ValueError, match=message):
        explainer.flip("the film was good", **options)


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_classes_must_exclude_each_other(kind):
    model = make_model(1) if kind == "regression" else make_model(3, problem_type=kind)
    calls = [lambda e: e("a film", flip=True)] + [lambda e: e.flip("a film")] * (kind == "regression")
    for call in calls:
        with pytest.raises(ValueError, match=f"classes that exclude each other, got a model for {kind}"):
            call(MhexExplainer(model, TOKENIZER))


def multi_label():
    model = make_model(3, problem_type="multi_label_classification", gate=False, initializer_range=0.3, dropout=0.0)
    with torch.no_grad():  # each label holds for one text in two
        said = model(**TOKENIZER(texts(), padding=True, return_tensors="pt")).logits
        model.classifier.bias -= said.median(0).values
    fit_equivalent_matrices(model, TOKENIZER, random_texts(120), attainable_texts=0)
    return MhexExplainer(model, TOKENIZER)


def label_by_hand(explainer, label, flip, text, keep=False):
    """Whether a label holds, and its probability, without the words of a flip set, or of them alone."""
    [item] = explainer.tokenise([text])
    chosen = {i for word in explainer(text).words() for i in word.tokens
              if ((word.start, word.end, word.sequence) in spans(flip.words)) != keep}  # fmt: skip
    ids = item.features["input_ids"].clone()
    if flip.words or keep:
        ids[list(chosen)] = TOKENIZER.mask_token_id
    with torch.no_grad():
        chance = float(explainer.model(input_ids=ids[None]).logits[0, explainer.classes.labels.index(label)].sigmoid())
    return (label, chance) if chance >= 0.5 else (f"not {label}", 1 - chance)


def test_a_predicted_label_of_several_is_turned_off():
    """By its own probability: other labels may hold before and after. Words alone turn it on."""
    explainer = multi_label()
    kinds = set()
    for text, e in zip(texts()[:10], explainer(texts()[:10]), strict=True):
        for label in e.prediction.labels:
            off = explainer.flip(text, target=label)
            kinds.add((off.kind, off.flipped))
            assert off.label == label and off.target is None and off.passes <= 6
            assert off.probability == pytest.approx(e.prediction.probabilities[label], abs=1e-5)
            if off.flipped:
                after = label_by_hand(explainer, label, off, text)
                assert (off.label_after, pytest.approx(off.probability_after, abs=1e-4)) == after
                assert off.label_after == f"not {label}"
            on = explainer.flip(text, target=label, kind="insertion")
            kinds.add((on.kind, on.flipped))
            if on.flipped:
                after = label_by_hand(explainer, label, on, text, keep=True)
                assert on.label == f"not {label}"
                assert (on.label_after, pytest.approx(on.probability_after, abs=1e-4)) == after
            else:
                assert on.needless or on.label_after is None
    assert ("removal", True) in kinds and len(kinds) > 1
    e = next(e for e in explainer(texts()) if 0 < len(e.prediction.labels) < 3)
    other = next(label for label in explainer.classes.labels if label not in e.prediction.labels)
    with pytest.raises(ValueError, match=f"target must be a label that the model predicts, got '{other}'"):
        explainer.flip(e.text, target=other)
    assert explainer.flip(e.text).label == max(e.prediction.probabilities, key=e.prediction.probabilities.get)


def test_heads_lead_as_well():
    explainer = MhexExplainer(make_model(), TOKENIZER)
    e = explainer(texts()[0], flip=True)
    assert e.method.explains == "heads" and len(e.flips) == 2


def test_json_and_refining_keep_them(explainer):
    e = explainer(texts()[0], flip=True)
    jsonschema.validate(e.to_dict(), explanation_schema())
    assert Explanation.from_json(e.to_json()) == e == pickle.loads(pickle.dumps(e)) and hash(e) == hash(e)
    assert explainer.refine(e, budget=4).flips == e.flips
    document = e.to_dict()
    for spoil, message in (
        ({"label": "other"}, "must be of classes that are named"),
        ({"label_after": "good", "probability_after": 2.0, "words": []}, "probability outside 0 to 1"),
        ({"flipped": True, "words": []}, "must have words and another label after them where it flipped"),
        ({"passes": -1}, "passes of a flip set must be 0 or more"),
    ):
        changed = {**document, "flips": [{**document["flips"][0], **spoil}]}
        with pytest.raises(ValueError, match=message):
            Explanation.from_dict(changed)


REMOVAL = {"kind": "removal", "label": "a", "probability": 0.9, "passes": 2, "removal": "mask"}
WORD = FlipWord("b", 0, 1, 0)


@pytest.mark.parametrize(
    "parts",
    [
        {"flipped": True, "words": (), "label_after": "b", "probability_after": 0.6},
        {"flipped": True, "words": (WORD,)},
        {"flipped": True, "words": (WORD,), "label_after": "a", "probability_after": 0.6},
        {"flipped": False, "words": (WORD,)},
        {"flipped": False, "words": (), "label_after": "a", "probability_after": 0.6},
        {"flipped": True, "words": (WORD,), "label_after": "b"},
        {"flipped": True, "words": (WORD,), "label_after": "b", "probability_after": 0.6, "target": "c"},
    ],
)
def test_a_flip_set_does_not_contradict_itself(parts):
    with pytest.raises(ValueError):
        FlipSet(**{**REMOVAL, **parts})


def run(worth, start, passes, weights):
    """The search on a game in which each word lowers the gap by its weight: what it finds, and the sets it asks for."""
    asked, logits = [], None
    search = search_flip(worth, start, passes, lambda said: Answer(said[0] < 0, float(said[0])))
    while True:
        try:
            chosen = next(search) if logits is None else search.send(logits)
        except StopIteration as end:
            return end.value, asked
        asked.append(tuple(chosen.tolist()))
        logits = np.array([start - weights[chosen].sum(), 0.0])


@given(
    st.lists(st.floats(-1, 3), min_size=1, max_size=30),
    st.floats(0.1, 20),
    st.integers(1, 12),
    st.floats(0, 1),
    st.integers(0, 99),
)
@example([1.5625, 1.96875, 2.75, 2.71875, 0, 0, 1.125, 1.5625, 0.015625, 0, 0.125, 0.03125, 0, 1.625], 13, 7, 0.1875, 8)
@settings(max_examples=100, deadline=None)
def test_the_search_asks_little_and_tells_what_it_was_told(worths, start, passes, noise, seed):
    worth = np.array(worths)
    weights = worth + noise * np.random.default_rng(seed).normal(size=len(worth))
    found, asked = run(worth, start, passes, weights)
    assert len(asked) + found.passes == passes and len(set(asked)) == len(asked), "no set is asked about twice"
    assert all(worth[np.array(chosen)].min() > 0 for chosen in asked), (
        "nothing that is worth nothing, nor the whole text"
    )
    turned = [sum(chosen) for chosen in asked if start - weights[np.array(chosen)].sum() < 0]
    if found.words is None:
        assert not turned
    else:
        assert found.words.sum() == min(turned) and tuple(found.words.tolist()) in asked
        assert found.logits[0] == start - weights[found.words].sum() < 0


def test_scores_that_are_right_are_found_at_once():
    worth = np.array([0.1, 2.0, 0.2, 1.0, -3.0, 0.5])
    found, asked = run(worth, 2.9, 6, worth)
    assert found.words.tolist() == [False, True, False, True, False, False] and sum(asked[0]) == 2
    found, asked = run(worth, 9.0, 6, worth)
    assert found.words is None and asked == [(True, True, True, True, False, True)]
    assert run(-worth[:1], 1.0, 6, worth)[1] == []


def test_words_that_are_not_needed_are_left_out():
    worth = np.array([4.0, 3.0, 2.0, 1.0])
    found, asked = run(worth, 5.0, 6, np.array([0.1, 6.0, 0.0, 0.0]))  # the second alone does it
    assert found.words.tolist() == [False, True, False, False]
