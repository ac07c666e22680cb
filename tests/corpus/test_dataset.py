# SPDX-License-Identifier: Apache-2.0
"""`highlight_dataset`: columns of fixed types beside the texts, the same numbers as the explainer's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, Value, load_dataset

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_dataset, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model, highlight_dataset

TOKENIZER = tiny_tokenizer()


def make_explainer(num_labels=3, fit=False, **options):
    config = {"problem_type": "regression"} if num_labels == 1 else {}
    names = ["bad", "fair", "good"][:num_labels]
    plain = tiny_bert(num_labels=num_labels, id2label=dict(enumerate(names)), **config).eval()
    model = train_heads(get_mhex_model(plain, MhexConfig(gate=True)))
    if fit:
        fit_equivalent_matrices(model, TOKENIZER, tiny_texts(40)[0], progress=False)
    return MhexExplainer(model, TOKENIZER, **options)


@pytest.fixture(scope="module")
def explainer():
    return make_explainer()


@pytest.mark.parametrize("fit", [False, True])
def test_columns_say_what_explanations_say(fit):
    explainer = make_explainer(fit=fit)
    dataset = tiny_dataset(30)
    found = highlight_dataset(dataset, explainer, classes="all", batch_size=8)
    assert found["text"] == dataset["text"] and found["label"] == dataset["label"]
    assert found.features["label"] == dataset.features["label"]
    for row, e in zip(found, explainer(list(dataset["text"]), classes="all"), strict=True):
        words = e.words()
        assert row["mhex_label"] == e.label and row["mhex_target"] == e.target.label
        assert row["mhex_probability"] == pytest.approx(e.probability, abs=1e-5)
        np.testing.assert_allclose(row["mhex_probabilities"], list(e.prediction.probabilities.values()), atol=1e-5)
        assert row["mhex_spans"] == [word.text for word in words]
        assert [*zip(row["mhex_starts"], row["mhex_ends"], strict=True)] == [(word.start, word.end) for word in words]
        np.testing.assert_allclose(row["mhex_scores"], [word.score for word in words], atol=1e-5)
        classes = [e.class_scores[list(word.tokens)].sum(0) for word in words]
        np.testing.assert_allclose(row["mhex_class_scores"], classes, atol=1e-5)
        assert sum(row["mhex_scores"]) + row["mhex_special_score"] == pytest.approx(row["mhex_sum"], abs=1e-4)
        assert row["mhex_sum"] == pytest.approx(e.sum, abs=1e-4)
        assert row["mhex_base_value"] == pytest.approx(e.base_value, abs=1e-4)
        assert row["mhex_note_codes"] == list(e.note_codes)
        assert row["mhex_notes"] == list(e.notes) and row["mhex_error"] is None and row["mhex_windows"] == 1


def test_tokens_and_top_k(explainer):
    dataset = tiny_dataset(12)
    whole = highlight_dataset(dataset, explainer, unit="tokens")
    short = highlight_dataset(dataset, explainer, unit="tokens", top_k=3)
    for full, cut, e in zip(whole, short, explainer(list(dataset["text"])), strict=True):
        own = [token for token in e.tokens if not token.special]
        assert full["mhex_spans"] == [token.text for token in own]
        strongest = sorted(np.argsort([-abs(token.score) for token in own], kind="stable")[:3])
        assert cut["mhex_starts"] == [own[i].start for i in strongest]
        assert cut["mhex_sum"] == full["mhex_sum"]


def test_types_are_the_same_whatever_is_in_the_rows(explainer, tmp_path):
    rows = {"text": ["good film", None, "", "bad"]}
    full = highlight_dataset(Dataset.from_dict(rows), explainer, errors="record")
    empty = highlight_dataset(
        Dataset.from_dict({"text": [None]}, Features({"text": Value("string")})), explainer, errors="record"
    )
    value = highlight_dataset(Dataset.from_dict({"text": ["good"]}), make_explainer(1))
    assert full.features == empty.features == value.features
    assert full["mhex_error"] == [None, "the text is missing", "the text is empty", None]
    assert full[1]["mhex_scores"] is None and full[0]["mhex_scores"] is not None
    assert value[0]["mhex_label"] is None and len(value[0]["mhex_values"]) == 1
    full.to_parquet(tmp_path / "a.parquet")
    assert pa.parquet.read_schema(tmp_path / "a.parquet").field("mhex_scores").type == pa.list_(pa.float32())
    again = load_dataset(
        "parquet", data_files=str(tmp_path / "a.parquet"), split="train", cache_dir=str(tmp_path / "c")
    )
    assert again["mhex_scores"] == full["mhex_scores"]
    assert pa.parquet.read_table(tmp_path / "a.parquet").to_pandas()["mhex_label"][0] == full["mhex_label"][0]


def test_streams_are_explained_as_they_are_read(explainer):
    dataset, read = tiny_dataset(50), []

    def rows():
        for row in dataset:
            read.append(row)
            yield row

    stream = IterableDataset.from_generator(rows, features=dataset.features)
    found = highlight_dataset(stream, explainer, batch_size=10)
    assert isinstance(found, IterableDataset) and not read
    first = next(iter(found))
    assert len(read) < 50 and first["mhex_spans"] and set(first) == set(found.column_names)
    whole = highlight_dataset(dataset, explainer, batch_size=10)
    np.testing.assert_allclose(
        np.concatenate([row["mhex_scores"] for row in found]), np.concatenate(whole["mhex_scores"]), atol=1e-6
    )


def test_it_composes_with_map_filter_and_formats(explainer):
    dataset = tiny_dataset(20).with_format("numpy", columns=["label"], output_all_columns=True)
    found = highlight_dataset(dataset, explainer)
    assert found.format["type"] == "numpy" and isinstance(found[0]["label"], np.integer)
    plain = found.with_format(None)
    certain = plain.filter(lambda row: row["mhex_probability"] > 0.5)
    assert len(certain) == sum(chance > 0.5 for chance in plain["mhex_probability"])
    sums = plain.map(lambda row: {"total": sum(row["mhex_scores"])})
    np.testing.assert_allclose(sums["total"], [sum(scores) for scores in plain["mhex_scores"]], rtol=1e-6)


def test_batch_size_and_order_do_not_change_a_score(explainer):
    dataset = tiny_dataset(40)
    one, other = (
        highlight_dataset(dataset, explainer, batch_size=40),
        highlight_dataset(dataset, explainer, batch_size=3),
    )
    back = highlight_dataset(dataset.select(range(39, -1, -1)), explainer, batch_size=7)
    for found in (other["mhex_scores"], back["mhex_scores"][::-1]):
        for a, b in zip(one["mhex_scores"], found, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_cache_knows_the_weights_and_the_options(explainer, tmp_path):
    tiny_dataset(6).save_to_disk(tmp_path / "d")
    dataset = Dataset.load_from_disk(tmp_path / "d")
    calls = []
    original = explainer.attribute
    explainer.attribute = lambda *given: calls.append(1) or original(*given)
    try:
        highlight_dataset(dataset, explainer)
        assert len(calls) == 1
        again = highlight_dataset(dataset, explainer)
        assert len(calls) == 1, "read from the cache"
        highlight_dataset(dataset, explainer, unit="tokens")
        assert len(calls) == 2
        explainer.model.mhex[0].w1.data.mul_(2)
        changed = highlight_dataset(dataset, explainer)
        assert len(calls) == 3 and changed["mhex_scores"] != again["mhex_scores"]
    finally:
        del explainer.attribute
        explainer.model.mhex[0].w1.data.div_(2)


def test_long_texts_are_flagged_and_warned_of(explainer):
    dataset = Dataset.from_dict({"text": ["good", "the film was bad " * 30]})
    with pytest.warns(UserWarning, match="row 1: Explained in part"):
        found = highlight_dataset(dataset, explainer)
    assert found["mhex_truncated"] == [False, True] and "Explained in part" in found[1]["mhex_notes"][0]
    windows = highlight_dataset(dataset, make_explainer(stride=8))
    assert windows["mhex_truncated"] == [False, False] and windows[1]["mhex_windows"] > 1
    assert len(windows[1]["mhex_spans"]) == 120


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_strings_of_every_arrow_type(explainer, kind):
    texts = ["a good film", "the plot was awful and the music was dull"]
    column = pa.array(texts, kind) if kind == pa.string_view() else pa.array(texts).cast(kind)
    found = highlight_dataset(Dataset(pa.table({"text": column})), explainer)
    assert found["mhex_spans"] == [text.split() for text in texts] and found["text"] == texts


def test_bad_input(explainer):
    dataset = tiny_dataset(4)
    with pytest.raises(TypeError, match="dataset must be a datasets.Dataset"):
        highlight_dataset(["good"], explainer)
    with pytest.raises(TypeError, match=r"got DatasetDict; pass one of its splits, such as dataset\['test'\]\."):
        highlight_dataset(DatasetDict(test=dataset), explainer)
    with pytest.raises(
        ValueError, match="text_column must name a column of the dataset, got 'review'; it has text, label"
    ):
        highlight_dataset(dataset, explainer, text_column="review")
    with pytest.raises(TypeError, match="text_column must name a column of strings, got 'label', which holds int64"):
        highlight_dataset(dataset, explainer, text_column="label")
    with pytest.raises(ValueError, match="no column that begins with mhex_"):
        highlight_dataset(highlight_dataset(dataset, explainer), explainer)
    with pytest.raises(ValueError, match="row 1 of the dataset cannot be explained: the text is empty"):
        highlight_dataset(Dataset.from_dict({"text": ["good", " "]}), explainer)
    for options in ({"unit": "letters"}, {"top_k": 0}, {"top_k": 1.5}, {"batch_size": 0}, {"errors": "ignore"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            highlight_dataset(dataset, explainer, **options)


@pytest.mark.parametrize("kind", ["numpy", "torch", "pandas"])
def test_formats_show_the_new_columns(explainer, kind):
    found = highlight_dataset(tiny_dataset(4).with_format(kind), explainer)
    assert found.format["type"] == kind and "mhex_scores" in found.format["columns"]
    chosen = tiny_dataset(4).with_format(kind, columns=["label"], output_all_columns=True)
    assert highlight_dataset(chosen, explainer).format["output_all_columns"]
    assert "mhex_label" in highlight_dataset(tiny_dataset(4).with_format(kind, columns=["label"]), explainer)[0]


def test_a_dataset_without_rows_has_the_columns_too(explainer):
    full, empty = tiny_dataset(3), tiny_dataset(3).select([])
    assert highlight_dataset(empty, explainer).features == highlight_dataset(full, explainer).features


def test_streams_of_unknown_columns_are_checked_as_they_come(explainer):
    def rows(name):
        yield {"text": "good film", name: 1.0}

    stream = IterableDataset.from_generator(rows, gen_kwargs={"name": "mhex_sum"})
    with pytest.raises(ValueError, match="no column that begins with mhex_, got mhex_sum"):
        next(iter(highlight_dataset(stream, explainer)))
    stream = IterableDataset.from_generator(rows, gen_kwargs={"name": "other"})
    with pytest.raises(ValueError, match="text_column must name a column of the dataset, got 'zz'; it has text, other"):
        next(iter(highlight_dataset(stream, explainer, text_column="zz")))
    assert next(iter(highlight_dataset(stream, explainer)))["mhex_scores"]


def test_the_cache_knows_the_tokenizers_settings(tmp_path):
    Dataset.from_dict({"text": ["good " * 80 + "bad " * 80]}).save_to_disk(tmp_path / "d")
    dataset, tokenizer = Dataset.load_from_disk(tmp_path / "d"), tiny_tokenizer()
    explainer = MhexExplainer(make_explainer().model, tokenizer)
    with pytest.warns(UserWarning, match="Explained in part"):
        right = highlight_dataset(dataset, explainer)[0]["mhex_spans"]
    tokenizer.truncation_side = "left"
    with pytest.warns(UserWarning, match="Explained in part"):
        left = highlight_dataset(dataset, explainer)[0]["mhex_spans"]
    assert set(right) == {"good"} and set(left) == {"bad"}


def test_words_that_turn_predictions_are_columns(explainer):
    dataset = tiny_dataset(12)
    plain, flips = highlight_dataset(dataset, explainer), highlight_dataset(dataset, explainer, flip=True)
    assert not [name for name in plain.column_names if "flip" in name or "alone" in name]
    assert len(flips.column_names) == len(plain.column_names) + 12
    for row, e in zip(flips, explainer(list(dataset["text"]), flip=True), strict=True):
        for name, flip in zip(("mhex_flip", "mhex_alone"), e.flips, strict=True):
            assert row[f"{name}_label"] == flip.label_after
            words = None if flip.label_after is None else [word.text for word in flip.words]
            assert row[f"{name}_spans"] == words
            if words is not None:
                assert row[f"{name}_probability"] == pytest.approx(flip.probability_after, abs=1e-5)
                assert [
                    row["text"][s:t] for s, t in zip(row[f"{name}_starts"], row[f"{name}_ends"], strict=True)
                ] == words
    with pytest.raises(ValueError, match="flip sets need classes that exclude each other"):
        highlight_dataset(dataset, make_explainer(1), flip=True)
