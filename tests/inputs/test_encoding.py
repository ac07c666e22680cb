# SPDX-License-Identifier: Apache-2.0
"""What comes in at the door: texts, pairs, streams, lengths, tokenizers. Complaints name the argument and the row."""

from __future__ import annotations

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from tokenizers import AddedToken
from transformers import BertTokenizer

from helpers.explained import TEXTS, TOKENIZER, make_model
from helpers.families import plain_model, train_heads
from helpers.tiny import tiny_bert, tiny_tokenizer
from mhex_nlp import MhexExplainer, get_mhex_model
from mhex_nlp.inputs.batching import token_batches
from mhex_nlp.inputs.encoding import check_max_length, tokenise
from mhex_nlp.inputs.texts import check_pairs, check_texts, zip_rows
from mhex_nlp.inputs.tokenizer import has_vocabulary, private_copy

ACCEPTS = frozenset({"input_ids", "token_type_ids", "attention_mask"})
FRAME = pd.DataFrame({"text": TEXTS, "label": [0, 1, 1, 0]})


@pytest.fixture(scope="module")
def explainer():
    return MhexExplainer(make_model(), TOKENIZER)


# ------------------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize("table", [FRAME, Dataset.from_pandas(FRAME)], ids=["pandas", "datasets"])
def test_tables_are_refused_and_their_columns_are_texts(explainer, table):
    """Iterating over a DataFrame gives its column names, which used to be explained."""
    for call in (explainer, explainer.stream):
        with pytest.raises(
            TypeError, match=r"texts? must be .*got a (DataFrame|Dataset); pass one column.*df\['text'\]"
        ):
            call(table)
        with pytest.raises(TypeError, match=r"text_pairs? must be .*pass one column"):
            call(TEXTS, table)
        assert [e.text for e in call(table["text"])] == TEXTS


@pytest.mark.parametrize("nothing", [np.array("good"), None, 3, object()], ids=["0-d", "None", "int", "object"])
def test_what_has_no_rows(explainer, nothing):
    with pytest.raises(TypeError, match="^text must be a string or a list of strings, got"):
        explainer(nothing)
    with pytest.raises(TypeError, match="^texts must be an iterable of strings, got"):
        explainer.stream(nothing)
    if nothing is not None:
        with pytest.raises(TypeError, match="^text_pair must be an iterable of strings, got"):
            explainer(TEXTS, nothing)


def test_surrogate_pairs_are_joined_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_texts(["a \ud83d\ude00 b", "x"]) == ["a \U0001f600 b", "x"]
    with pytest.warns(UserWarning, match=r"^text\[1\] holds lone surrogates") as caught:
        assert check_texts(["a", "\ude00\ud83d\ud83d\ude00\ud83d"]) == ["a", "\ufffd\ufffd\U0001f600\ufffd"]
    assert caught[0].filename == __file__  # the caller's line, not one of ours


def test_one_warning_a_call_names_all_lone_surrogates(explainer):
    with pytest.warns(UserWarning, match=r"^text\[0\] \(and 3 more\) holds lone surrogates") as caught:
        explanations = explainer(["a \ud800", "b", "\udfff good"], ["x \ud800", "y", "\udc00 z"])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert [e.text_pair for e in explanations] == ["x \ufffd", "y", "\ufffd z"]
    with pytest.warns(UserWarning, match=r"^text_pairs\[1\] holds lone surrogates") as caught:
        list(explainer.stream(["a", "b", "\ud800"], ["x", "\ud800", "z"], batch_size=2))
    assert len(caught) == 1 and caught[0].filename == __file__


def test_offsets_hold_where_surrogates_were_replaced(explainer):
    text = "\ud83d\ude00 the \udc00film\ud800 good"
    with pytest.warns(UserWarning, match="^text holds lone surrogates"):
        e = explainer(text)
    plain = explainer("\U0001f600 the \ufffdfilm\ufffd good")
    assert e.text == plain.text and e.tokens == plain.tokens
    assert all(e.text[token.start : token.end] == token.text for token in e.tokens if not token.special)


def test_offsets_count_the_joined_text(explainer):
    e = explainer("the \ud83d\ude00 film")
    assert e.text == "the \U0001f600 film" and [w.start for w in e.words() if w.text == "film"] == [6]


def test_pairs_by_name_and_number():
    with pytest.raises(ValueError, match=r"^text_pairs\[7\] is missing: got None beside the text 'b'"):
        check_pairs(["a", "b"], ["x", None], "text_pairs", start=6)
    with pytest.raises(ValueError, match="^text_pair must hold at least one character"):
        check_pairs(["a"], " ")


def test_ids_of_a_call(explainer):
    assert explainer(TEXTS[0], ids="review").id == explainer(TEXTS[0], ids=["review"]).id == "review"
    with pytest.raises(TypeError, match="ids must be an iterable of strings, got one string"):
        explainer(TEXTS, ids="abcd")


# ----------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "great"}, "target must be a class"),
        ({"target": 1, "foil": 1}, "foil must be another class than the target, got 'fair' for both"),
        ({"classes": "both"}, "classes must be"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": "8"}, "batch_size must be an integer of at least 1, got '8'"),
    ],
)
def test_a_stream_checks_its_options_at_once(explainer, options, message):
    with pytest.raises(ValueError, match=message):
        explainer.stream(TEXTS, **options)


def test_a_stream_checks_model_and_pairs_at_once(explainer):
    with pytest.raises(ValueError, match="never trained"):
        MhexExplainer(get_mhex_model(tiny_bert()), TOKENIZER).stream(TEXTS)
    with pytest.raises(TypeError, match="text_pairs must be an iterable of strings, got one string"):
        explainer.stream(["ab", "cd"], "xy")


def test_a_stream_takes_ids(explainer):
    explanations = explainer.stream(TEXTS, ids=(f"row {i}" for i in range(4)), batch_size=3)
    assert [e.id for e in explanations] == ["row 0", "row 1", "row 2", "row 3"]


def test_a_stream_counts_from_its_beginning(explainer):
    texts = ["good"] * 70
    with pytest.raises(TypeError, match=r"^texts\[70\] must be a string, got None"):
        list(explainer.stream([*texts, None]))
    with pytest.raises(ValueError, match=r"^texts\[70\] must hold"):
        list(explainer.stream([*texts, " "]))
    with pytest.raises(ValueError, match=r"^texts\[70\] has no token the tokenizer knows: '\\u200b'"):
        list(explainer.stream([*texts, "\u200b"]))
    with pytest.raises(ValueError, match=r"^text_pairs\[70\] is missing"):
        list(explainer.stream([*texts, "bad"], [*texts, None]))
    with pytest.warns(UserWarning, match=r"^texts\[70\] holds lone surrogates") as caught:
        list(explainer.stream([*texts, "good \ud800"]))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"^text 70: Explained in part"):
        list(explainer.stream([*texts, "good " * 99]))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["x"] * 3, r"text_pairs must have one entry for each text, got none for texts\[3\]"),
        (["x"] * 5, "text_pairs must have one entry for each text, got more than the 4 texts"),
    ],
)
def test_columns_of_a_stream_are_of_one_length(explainer, pairs, message):
    with pytest.raises(ValueError, match=message):
        list(explainer.stream(TEXTS, pairs, batch_size=2))


def test_every_column_is_as_long_as_the_texts():
    with pytest.raises(ValueError, match=r"ids must have one entry for each text, got none for texts\[1\]"):
        list(zip_rows(texts=TEXTS, text_pairs=TEXTS, ids=["a"]))


# ------------------------------------------------------------------------------------------- texts that cannot be had


def test_texts_without_a_token_are_named(explainer):
    with pytest.raises(ValueError, match=r"^text\[2\] has no token the tokenizer knows"):
        explainer(["good", "bad", "\u200b"])
    with pytest.raises(ValueError, match="^text has no token the tokenizer knows"):
        explainer("\u200b")


def test_the_text_whose_prediction_is_the_foil_is_named(explainer):
    labels = [e.label for e in explainer(TEXTS)]
    foil = labels[2]
    others = [text for text, label in zip(TEXTS, labels, strict=True) if label != foil]
    with pytest.raises(ValueError, match=rf"got '{foil}', which is what the model predicts for text\[{len(others)}\]"):
        explainer([*others, TEXTS[2]], foil=foil)
    with pytest.raises(ValueError, match=rf"predicts for texts\[{len(others)}\]; give a target as well"):
        list(explainer.stream([*others, TEXTS[2]], foil=foil, batch_size=1))


# ----------------------------------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("length", [1, 2, 0, -3])
def test_max_length_leaves_room_for_a_token(length):
    with pytest.raises(ValueError, match=rf"max_length must be at least 3, .* at most 64, .* got {length}\."):
        MhexExplainer(make_model(), TOKENIZER, max_length=length)


@pytest.mark.parametrize("length", ["10", 10.0, True])
def test_max_length_is_an_integer(length):
    with pytest.raises(TypeError, match="max_length must be an integer, got"):
        MhexExplainer(make_model(), TOKENIZER, max_length=length)


def test_the_least_max_length_holds_one_token_of_each_text():
    model = make_model()
    assert check_max_length(np.int64(10), TOKENIZER, None) == 10
    short = MhexExplainer(model, TOKENIZER, max_length=3)
    with pytest.warns(UserWarning, match="saw 3 of 8 characters"):
        assert [token.piece for token in short("the film").tokens] == ["[CLS]", "the", "[SEP]"]
    for length in (3, 4):
        with pytest.raises(
            ValueError, match=f"max_length must be at least 5, .*two texts, one token each, got {length}"
        ):
            MhexExplainer(model, TOKENIZER, max_length=length)("the film", "good")
    with pytest.warns(UserWarning):
        e = MhexExplainer(model, TOKENIZER, max_length=5)("the film " * 9, "good good")
    assert {token.sequence for token in e.tokens} == {None, 0, 1}


def test_the_note_says_when_nothing_of_a_half_was_seen(explainer):
    with pytest.warns(UserWarning, match="saw .* and nothing at all of the pair's second half"):
        e = explainer("good " * 99, "\u200b")
    assert e.notes[0].endswith("and nothing at all of the pair's second half.")


# --------------------------------------------------------------------------------------------------------- tokenizers


@pytest.mark.filterwarnings("ignore:.*Explained in part")
def test_a_tokenizer_shared_by_threads():
    """transformers keeps the length it cuts at in the tokenizer, which explainers share."""
    model, tokenizer = make_model(), tiny_tokenizer()
    explainers = {length: MhexExplainer(model, tokenizer, max_length=length) for length in (8, 40)}

    def lengths(length: int) -> set[int]:
        return {len(e.tokens) for _ in range(20) for e in explainers[length](["good " * 60] * 3)}

    with ThreadPoolExecutor(2) as pool:
        seen = dict(zip(explainers, pool.map(lengths, explainers), strict=True))
    assert seen == {8: {8}, 40: {40}}


def test_the_settings_of_the_tokenizer_stay():
    tokenizer = tiny_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.enable_padding(length=7)
    backend.enable_truncation(5)
    before = backend.to_str()
    e = MhexExplainer(make_model(), tokenizer, max_length=30)("the film was very good and the plot was very dull")
    assert len(e.tokens) == 13 and backend.to_str() == before


def test_a_private_copy_tokenises_alike():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["goodish", AddedToken("plotty", lstrip=True, single_word=True)])
    copied, text = private_copy(tokenizer), "goodish [MASK] film plotty plottys"
    assert copied(text)["input_ids"] == tokenizer(text)["input_ids"] == copy.deepcopy(tokenizer)(text)["input_ids"]
    assert copied.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    copied.backend_tokenizer.enable_truncation(4)
    assert tokenizer.backend_tokenizer.truncation is None
    (item,) = tokenise(tokenizer, [text], None, 5, ACCEPTS)
    assert len(item) == 5 and item.truncated


def test_tokenizers_that_are_not_the_models():
    model = make_model(vocab_size=len(TOKENIZER) - 1)
    with pytest.raises(
        ValueError, match=rf"the model's own, got .* {len(TOKENIZER)} tokens for a model with {len(TOKENIZER) - 1}"
    ):
        MhexExplainer(model, TOKENIZER)
    assert not has_vocabulary(BertTokenizer()) and has_vocabulary(TOKENIZER)
    with pytest.raises(ValueError, match="tokenizer must know words, got a BertTokenizer with special tokens alone"):
        MhexExplainer(make_model(), BertTokenizer())
    MhexExplainer(make_model(vocab_size=999), TOKENIZER)  # embeddings are padded to round numbers


@pytest.mark.parametrize("family", ["bert", "t5", "modernbert"])
def test_a_folder_without_tokenizer_files(tmp_path, family):
    """transformers makes a tokenizer of special tokens out of the config alone; every word was unknown to it."""
    get_mhex_model(plain_model(family)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"^{tmp_path} has no tokenizer files that can be read"):
        MhexExplainer.from_pretrained(str(tmp_path))


# ------------------------------------------------------------------------------------------------- forward passes


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_typed_end_token_does_not_fail_the_call(family):
    """transformers wants equally many end tokens in every text of a batch; id 3 is [SEP] in the tiny tokenizer."""
    plain = plain_model(family, pad_token_id=0, decoder_start_token_id=0)
    explainer = MhexExplainer(train_heads(get_mhex_model(plain)), TOKENIZER)
    texts = ["the film was good", "good [SEP] bad film", "lovely", "bad [SEP] [SEP] plot", "very [SEP] dull music ."]
    together = explainer(texts)
    assert [e.text for e in together] == texts
    for text, e in zip(texts, together, strict=True):
        alone = explainer(text).scores
        np.testing.assert_allclose(e.scores, alone, atol=1e-5 * max(1, np.abs(alone).max()))


def test_batches_of_one_kind():
    lengths, kinds = [3, 9, 4, 9, 2, 8], [1, 1, 2, 2, 1, 1]
    assert token_batches(lengths, 20, kinds=kinds) == [[1, 5], [3, 2], [0, 4]]
    assert token_batches(lengths, 20, kinds=[1] * 6) == token_batches(lengths, 20)


def test_modes_of_parts_stay():
    """A frozen backbone in evaluation mode, say, under heads that train."""
    model = make_model().train()
    model.bert.eval()
    modes = [module.training for module in model.modules()]
    explainer = MhexExplainer(model, TOKENIZER)
    first = explainer(TEXTS[0])
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2
    assert torch.equal(torch.tensor(first.scores), torch.tensor(explainer(TEXTS[0]).scores))  # no dropout
