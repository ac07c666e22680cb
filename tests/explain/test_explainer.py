# SPDX-License-Identifier: Apache-2.0
"""Texts to Explanations: targets, contrasts, batches, long texts and bad input, on tiny models."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from helpers.explained import TEXTS, TOKENIZER, make_model
from helpers.tiny import tiny_bert
from mhex_nlp import MhexExplainer, get_mhex_model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def explainer(model):
    return MhexExplainer(model, TOKENIZER)


def raw(model, text):
    inputs = TOKENIZER(text, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs, output_attributions=True)


def test_one_text(model, explainer):
    e = explainer(TEXTS[0])
    output = raw(model, TEXTS[0])
    best = int(output.logits.argmax())
    assert e.target.id == e.prediction.id == best and e.label == ["bad", "fair", "good"][best]
    assert e.probability == pytest.approx(output.logits.softmax(-1)[0, best].item(), rel=1e-6)
    phi = output.layer_attributions.mean(2)[0]  # (T, C)
    np.testing.assert_allclose(e.scores, (phi[:, best] - phi.mean(-1)).numpy(), rtol=1e-4, atol=1e-6)
    assert [token.piece for token in e.tokens] == ["[CLS]", "the", "film", "was", "good", "[SEP]"]
    assert [token.special for token in e.tokens] == [True, False, False, False, False, True]
    assert [(w.text, w.start, w.end) for w in e.words()][1] == ("film", 4, 8)
    assert e.method.explains == "heads" and e.method.contrast == "centred" and not e.truncated


def test_sums(model, explainer):
    """I2 to the end: words + specials = tokens = sum, and base_value + sum is the heads' contrasted logit."""
    for aggregation, pick in (("mean", lambda s: s.mean(0)), ("last", lambda s: s[-1])):
        explain = MhexExplainer(model, TOKENIZER, aggregation=aggregation)
        for text in TEXTS:
            e, output = explain(text), raw(model, text)
            tolerance = 1e-5 * (1 + float(np.abs(e.scores).sum()))
            special = sum(token.score for token in e.tokens if token.special)
            assert sum(word.score for word in e.words()) + special == pytest.approx(e.sum, abs=tolerance)
            assert sum(span.score for span in e.sentences()) + special == pytest.approx(e.sum, abs=tolerance)
            chosen = pick(output.head_logits[0])
            expected = (chosen[e.target.id] - chosen.mean()).item()
            assert e.base_value + e.sum == pytest.approx(expected, abs=tolerance)
            assert e.heads.id == int(chosen.argmax())
            assert e.heads.agrees == (e.heads.id == e.prediction.id) == (not e.notes)


def test_alone_in_a_list_and_in_any_batch(explainer, model):
    """I3 through the explainer; order is kept."""
    together = explainer(TEXTS * 3)
    assert [e.text for e in together] == TEXTS * 3 and [e.id for e in together] == [str(i) for i in range(12)]
    small = MhexExplainer(model, TOKENIZER, batch_tokens=8)
    for e, text in zip(together, TEXTS * 3, strict=True):
        for other in (explainer(text), small(TEXTS)[TEXTS.index(text)]):
            scale = max(1.0, np.abs(other.scores).max())
            np.testing.assert_allclose(e.scores, other.scores, rtol=0, atol=1e-5 * scale)
    assert explainer([TEXTS[0]])[0].to_json() == explainer(TEXTS[0]).to_json()
    assert explainer([]) == []


def test_reruns_are_identical(explainer):
    """I4."""
    assert [e.to_json() for e in explainer(TEXTS)] == [e.to_json() for e in explainer(TEXTS)]


def test_targets_by_name_and_id(explainer):
    by_name, by_id = explainer(TEXTS[0], target="fair"), explainer(TEXTS[0], target=1)
    assert by_name.to_json() == by_id.to_json() and by_name.target.label == "fair"
    for same in (np.int64(1), np.array([0, 1]).argmax(), torch.tensor(1)):
        assert explainer(TEXTS[0], target=same, foil=np.uint8(0)).target == by_id.target
    every = explainer(TEXTS[0], classes="all")
    np.testing.assert_allclose(every.class_scores[:, 1], by_id.scores, rtol=1e-6)
    np.testing.assert_allclose(every.class_scores.sum(1), 0, atol=1e-6)  # centred
    assert every.classes == ("bad", "fair", "good")


def test_foil(explainer):
    e = explainer(TEXTS[0], target="good", foil="bad")
    plain = MhexExplainer(explainer.model, TOKENIZER, contrast="none")(TEXTS[0], target="good", classes="all")
    np.testing.assert_allclose(e.scores, plain.class_scores[:, 2] - plain.class_scores[:, 0], atol=1e-6)
    assert e.foil.label == "bad" and e.method.contrast == "foil"


def test_layers_add_up(model):
    for aggregation in ("mean", "ema", "last"):
        e = MhexExplainer(model, TOKENIZER, aggregation=aggregation)(TEXTS[1], layers=True)
        assert e.layer_scores.shape == (len(e.tokens), 2)
        np.testing.assert_allclose(e.layer_scores.sum(1), e.scores, atol=1e-6)


def test_non_negative_clamps_last(model, explainer):
    e = MhexExplainer(model, TOKENIZER, non_negative=True)(TEXTS[1], classes="all", layers=True)
    np.testing.assert_allclose(e.scores, np.maximum(explainer(TEXTS[1]).scores, 0), atol=1e-7)
    assert (e.class_scores >= 0).all() and (e.layer_scores >= 0).all() and e.method.non_negative


def test_pairs(explainer):
    e = explainer(TEXTS[0], text_pair=TEXTS[2])
    assert {token.sequence for token in e.tokens if not token.special} == {0, 1}
    assert [(w.text, w.sequence) for w in e.words()] == [
        *((word, 0) for word in TEXTS[0].split()),
        ("lovely", 1),
    ]
    listed = explainer(TEXTS[:2], text_pair=[TEXTS[2], TEXTS[3]])
    np.testing.assert_allclose(listed[0].scores, e.scores, atol=1e-5)
    assert listed[1].text_pair == TEXTS[3]
    # two strings in a list are two texts, never a pair
    assert [each.text_pair for each in explainer(TEXTS[:2])] == [None, None]


def test_stream_is_the_list(explainer):
    streamed = list(explainer.stream(iter(TEXTS), batch_size=3, target="bad"))
    assert [e.id for e in streamed] == ["0", "1", "2", "3"]
    for e, other in zip(streamed, explainer(TEXTS, target="bad"), strict=True):
        np.testing.assert_allclose(e.scores, other.scores, atol=1e-5)
    pairs = list(explainer.stream(TEXTS, text_pairs=reversed(TEXTS), batch_size=2))
    assert [e.text_pair for e in pairs] == TEXTS[::-1]
    endless = explainer.stream((text for _ in range(10**9) for text in TEXTS), batch_size=2)
    assert next(endless).text == TEXTS[0]


def test_long_texts_are_cut_with_a_warning(explainer):
    text = "good " * 100
    with pytest.warns(UserWarning, match=r"Explained in part: the model takes 64 tokens and saw 309 of 500 characters"):
        e = explainer(text)
    assert e.truncated and len(e.tokens) == 64 and "309 of 500" in e.notes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not explainer("good " * 62).truncated
    with pytest.warns(UserWarning, match=r"text 1 \(and 1 more\)"):
        explainer(["good", text, text])


def test_the_tokenizer_and_the_mode_are_left_alone(model):
    model.train()
    before = TOKENIZER.backend_tokenizer.get_vocab_size(), TOKENIZER.special_tokens_map, TOKENIZER.padding_side
    MhexExplainer(model, TOKENIZER)(TEXTS)
    after = TOKENIZER.backend_tokenizer.get_vocab_size(), TOKENIZER.special_tokens_map, TOKENIZER.padding_side
    assert model.training and before == after
    model.eval()


def test_multi_label():
    model = make_model(problem_type="multi_label_classification")
    explainer = MhexExplainer(model, TOKENIZER)
    e, output = explainer(TEXTS[0], target="bad"), raw(model, TEXTS[0])
    np.testing.assert_allclose(e.scores, output.layer_attributions.mean(2)[0, :, 0], atol=1e-6)
    assert e.method.contrast == "none" and e.heads is None
    probabilities = output.logits.sigmoid()[0]
    assert e.prediction.labels == tuple(
        n for n, p in zip(["bad", "fair", "good"], probabilities, strict=True) if p >= 0.5
    )
    assert explainer(TEXTS[0], target="bad", foil="good").method.contrast == "foil"
    with pytest.raises(ValueError, match="contrast='centred' compares classes that exclude each other"):
        MhexExplainer(model, TOKENIZER, contrast="centred")


def test_regression():
    model = make_model(num_labels=1)
    e, output = MhexExplainer(model, TOKENIZER)(TEXTS[1]), raw(model, TEXTS[1])
    assert e.prediction.value == pytest.approx(output.logits.item()) and e.label is None
    np.testing.assert_allclose(e.scores, output.layer_attributions.mean(2)[0, :, 0], atol=1e-6)
    with pytest.raises(ValueError, match="foil must be left out for regression"):
        MhexExplainer(model, TOKENIZER)(TEXTS[0], foil=0)
    several = MhexExplainer(make_model(problem_type="regression"), TOKENIZER)
    assert len(several(TEXTS[0], target=2).prediction.value) == 3
    with pytest.raises(ValueError, match="target must be given for a model with several regression outputs"):
        several(TEXTS[0])


def test_from_pretrained(model, tmp_path, explainer):
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    loaded = MhexExplainer.from_pretrained(str(tmp_path), batch_tokens=512)
    np.testing.assert_array_equal(loaded(TEXTS[1]).scores, explainer(TEXTS[1]).scores)
    low = MhexExplainer.from_pretrained(str(tmp_path), dtype="bfloat16", device="cpu")
    assert low.model.dtype == torch.bfloat16
    assert np.corrcoef(low(TEXTS[1]).scores, explainer(TEXTS[1]).scores)[0, 1] > 0.98


def test_surrogates_keep_their_place(explainer):
    with pytest.warns(UserWarning, match="lone surrogates"):
        e = explainer("the \ud800 film")
    assert e.text == "the \ufffd film" and [(w.text, w.start) for w in e.words()] == [("the", 0), ("film", 6)]


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "text must hold at least one character"),
        (" \n\t", ValueError, "not whitespace"),
        (None, TypeError, "text must be a string or a list of strings, got NoneType"),
        (3, TypeError, "got int"),
        (["good", None], TypeError, r"text\[1\] must be a string, got None"),
        (["good", 2.5], TypeError, r"text\[1\] must be a string, got 2.5"),
        (["good", "  "], ValueError, r"text\[1\] must hold"),
        (b"good", TypeError, "got bytes"),
        ({"text": "good"}, TypeError, "got dict"),
    ],
)
def test_bad_texts(explainer, text, error, message):
    with pytest.raises(error, match=message):
        explainer(text)


def test_half_pairs(explainer):
    with pytest.raises(ValueError, match=r"text_pair\[1\] is missing: got None beside the text 'a very bad"):
        explainer(TEXTS[:2], text_pair=["good", None])
    with pytest.raises(ValueError, match="one entry for each of the 2 texts, got 1"):
        explainer(TEXTS[:2], text_pair=["good"])
    with pytest.raises(ValueError, match="text_pair must hold|text_pair.* must hold"):
        explainer(TEXTS[0], text_pair="")


@pytest.mark.parametrize(
    "name", ["great", "1", 3, -1, True, np.True_, torch.tensor(True), 1.0, np.float32(1)], ids=repr
)
def test_unknown_classes_list_the_known_ones(explainer, name):
    with pytest.raises(ValueError, match=r"target must be a class .* known ones are 0 'bad', 1 'fair', 2 'good'"):
        explainer(TEXTS[0], target=name)


def test_foils_are_checked(explainer):
    with pytest.raises(ValueError, match="foil must be a class"):
        explainer(TEXTS[0], foil="great")
    with pytest.raises(ValueError, match="foil must be another class than the target, got 'good' for both"):
        explainer(TEXTS[0], target="good", foil="good")
    with pytest.raises(ValueError, match="foil must be another class than the target"):
        explainer(TEXTS[0], foil=explainer(TEXTS[0]).label)


def test_models_that_cannot_explain():
    with pytest.raises(ValueError, match=r"must have MHEX heads, got a BertForSequenceClassification .*get_mhex_model"):
        MhexExplainer(tiny_bert(), TOKENIZER)
    fresh = MhexExplainer(get_mhex_model(tiny_bert()), TOKENIZER)
    with pytest.raises(ValueError, match="never trained.*fine-tune"):
        fresh(TEXTS[0])
    named = tiny_bert(num_labels=2, id2label={0: "same", 1: "same"})
    with pytest.raises(ValueError, match="must differ"):
        MhexExplainer(get_mhex_model(named), TOKENIZER)
    broken = make_model()
    with torch.no_grad():
        broken.classifier.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"logits are not finite, .*: text\[1\]"):
        MhexExplainer(broken, TOKENIZER)(TEXTS[2:])


@pytest.mark.parametrize(
    "names", [None, {}, {0: "bad", 2: "good"}, {1: "bad", 2: "good"}, {"a": "bad"}, ["bad", "good"]]
)
def test_class_names_with_gaps(model, names):
    from types import SimpleNamespace

    from mhex_nlp.explain.targets import ClassTable

    with pytest.raises(ValueError, match="id2label must name the classes 0, 1, 2 and so on without a gap, got"):
        ClassTable(SimpleNamespace(id2label=names, problem_type=None, num_labels=2))
    if names:
        with pytest.raises(ValueError, match="id2label must name the classes"):
            changed = make_model()
            changed.config.id2label = names
            MhexExplainer(changed, TOKENIZER)


def test_class_ids_in_digits(explainer):
    """As JSON has them; transformers turns them into integers only where it reads a config."""
    model = make_model()
    model.config.id2label = {"2": "good", "0": "bad", "1": "fair"}
    assert MhexExplainer(model, TOKENIZER)(TEXTS[0]).to_json() == explainer(TEXTS[0]).to_json()
    model.config.id2label = {0: "bad", 1: "good"}
    with pytest.raises(ValueError, match="id2label must name the 3 classes of the model, got 2"):
        MhexExplainer(model, TOKENIZER)(TEXTS[0])


def test_the_task_that_the_first_labels_tell():
    """With several labels and no problem_type, transformers takes the task from the first batch it trains on."""
    model = make_model()
    explainer, strict = MhexExplainer(model, TOKENIZER), MhexExplainer(model, TOKENIZER, contrast="centred")
    assert explainer(TEXTS[0]).method.contrast == "centred" and explainer.contrast == "centred"
    model(**TOKENIZER(TEXTS[0], return_tensors="pt"), labels=torch.tensor([[1.0, 0.0, 1.0]]))
    e = explainer(TEXTS[0])
    assert e.method.contrast == explainer.contrast == "none" and e.prediction.labels is not None and e.heads is None
    with pytest.raises(ValueError, match="compares classes that exclude each other"):
        strict(TEXTS[0])


def test_models_inside_wrappers(model, explainer):
    """`token_type_ids` and all: the arguments are those of the model inside, whatever the wrapper's forward names."""

    class Adapted(torch.nn.Module):  # as PEFT wraps: a module of modules, with a forward of its own
        def __init__(self, inner):
            super().__init__()
            self.base_model = torch.nn.ModuleDict({"model": inner})

        def forward(self, input_ids=None, attention_mask=None, **kwargs):
            raise AssertionError("the model inside is what runs")

    expected = explainer(TEXTS[0], TEXTS[2])
    for wrapped in (Adapted(model), torch.compile(model), torch.nn.DataParallel(model), Adapted(torch.compile(model))):
        e = MhexExplainer(wrapped, TOKENIZER)(TEXTS[0], TEXTS[2])
        assert e.to_json() == expected.to_json()
    prompted = Adapted(model)
    prompted.active_peft_config = type("PromptTuningConfig", (), {"is_prompt_learning": True})()
    with pytest.raises(ValueError, match="a text's own tokens alone, got a Adapted that learned a prompt"):
        MhexExplainer(prompted, TOKENIZER)
    with pytest.raises(ValueError, match="must have MHEX heads, got a str"):
        MhexExplainer("bert-base-uncased", TOKENIZER)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_lora(model):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        make_model(), peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    ).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.3)
    e, pair = MhexExplainer(adapted, TOKENIZER)(TEXTS[0], TEXTS[2]), TOKENIZER(TEXTS[0], TEXTS[2], return_tensors="pt")
    with torch.no_grad():
        expected = adapted(**pair).logits.softmax(-1)[0].tolist()
    assert list(e.prediction.probabilities.values()) == pytest.approx(expected)
    assert e.prediction != MhexExplainer(model, TOKENIZER)(TEXTS[0], TEXTS[2]).prediction


def test_explanations_are_values(explainer):
    one, same, other = explainer(TEXTS[0]), explainer(TEXTS[0]), explainer(TEXTS[1])
    assert one == same and hash(one) == hash(same) and one != other and len({one, same, other}) == 2


def test_slow_tokenizers_are_refused(model, tmp_path):
    from transformers import CanineTokenizer

    with pytest.raises(ValueError, match="must be a fast tokenizer.*got a slow CanineTokenizer"):
        MhexExplainer(model, CanineTokenizer())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregation": "max"}, "aggregation must be one of"),
        ({"aggregation": "fitted"}, "needs fitted equivalent matrices"),
        ({"contrast": "softmax"}, "contrast must be"),
        ({"batch_tokens": 0}, "batch_tokens must be a positive integer"),
        ({"max_length": 65}, "at least 3, .* at most 64, which the model takes, got 65"),
        ({"language": "klingon"}, "language"),
    ],
)
def test_options_are_checked(model, options, message):
    with pytest.raises(ValueError, match=message):
        MhexExplainer(model, TOKENIZER, **options)(TEXTS[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype must be float32, bfloat16 or float16, got 'int8'"),
        ({"device": "gpu"}, "device must name a torch device"),
        ({"device": "cuda:99"}, "cannot compute in torch.float32"),
        ({"device": "meta"}, "device must hold data, got 'meta'"),
    ],
)
def test_devices_and_dtypes_are_checked(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        MhexExplainer.from_pretrained(str(tmp_path), **options)


def test_options_of_a_call_are_checked(model):
    with pytest.raises(ValueError, match="classes must be 'target' or 'all'"):
        MhexExplainer(model, TOKENIZER)(TEXTS[0], classes="both")
    with pytest.raises(ValueError, match="ids must have one entry"):
        MhexExplainer(model, TOKENIZER)(TEXTS, ids=["a"])
    with pytest.raises(TypeError, match="texts must be an iterable"):
        MhexExplainer(model, TOKENIZER).stream("good")
