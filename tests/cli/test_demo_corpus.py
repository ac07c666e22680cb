# SPDX-License-Identifier: Apache-2.0
"""The embedded corpus is balanced and varied, leaks nothing between splits, and its rationales are sound."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import FrozenInstanceError
from itertools import combinations

import pytest

from mhex_nlp.cli.demo.corpus import LABELS, SPLITS, CorpusSentence, as_dataset, load_corpus

CORPUS = load_corpus()

# Irony is a reader's judgement, so it is written down here rather than guessed by a pattern.
IRONIC = frozenset(
    {
        "banking-020",
        "books-002",
        "books-018",
        "clinics-030",
        "clothes-022",
        "clothes-026",
        "film-012",
        "film-025",
        "food-009",
        "food-012",
        "gadgets-002",
        "gadgets-006",
        "garden-017",
        "hotels-008",
        "hotels-031",
        "museum-023",
        "music-012",
        "school-032",
        "service-026",
        "service-028",
        "software-014",
        "software-029",
        "sports-011",
        "sports-023",
        "transport-002",
        "transport-003",
        "travel-012",
        "travel-032",
    }
)


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)?", text.casefold())


def frame(sentence: CorpusSentence) -> str:
    """The sentence with its rationale and its numbers taken out: what a template would leave behind."""
    text = sentence.text
    for start, end in reversed(sentence.spans):
        text = text[:start] + "_" + text[end:]
    return " ".join(re.sub(r"\d+", "_", text).casefold().split())


def count(pattern: str) -> int:
    return sum(bool(re.search(pattern, sentence.text.casefold())) for sentence in CORPUS)


def test_size_balance_and_domains() -> None:
    labels = Counter(sentence.label for sentence in CORPUS)
    assert len(CORPUS) >= 480
    assert set(labels) == set(LABELS)
    assert abs(labels["positive"] / len(CORPUS) - 0.5) <= 0.03
    cells = Counter((sentence.domain, sentence.label) for sentence in CORPUS)
    domains = Counter(sentence.domain for sentence in CORPUS)
    assert len(domains) >= 12
    assert min(domains.values()) >= 30
    assert all(cells[domain, label] >= 10 for domain in domains for label in LABELS)


def test_ids_and_texts_are_unique_and_clean() -> None:
    assert len({sentence.id for sentence in CORPUS}) == len(CORPUS)
    assert len({sentence.text for sentence in CORPUS}) == len(CORPUS)
    for sentence in CORPUS:
        assert re.fullmatch(rf"{sentence.domain}-\d{{3}}", sentence.id)
        assert sentence.text == " ".join(sentence.text.split()), sentence.id
        assert not re.search(r"\[\[|\]\]|\|", sentence.text), sentence.id


def test_spans_are_tight_word_aligned_and_sorted() -> None:
    for sentence in CORPUS:
        text, last = sentence.text, 0
        assert 1 <= len(sentence.spans) <= 4, sentence.id
        for start, end in sentence.spans:
            assert last <= start < end <= len(text), sentence.id
            piece, before, after = text[start:end], text[:start], text[end:]
            assert piece[0].isalnum() and piece[-1].isalnum(), sentence.id
            # a contraction is one word: neither "didn" of "didn't" nor its "t" may stand alone
            assert not re.search(r"\w['’]?$", before), sentence.id
            assert not re.match(r"['’]?\w", after), sentence.id
            last = end
        assert sum(end - start for start, end in sentence.spans) < 0.6 * len(text), sentence.id


def test_splits_are_stratified() -> None:
    sizes = Counter(sentence.split for sentence in CORPUS)
    assert set(sizes) == set(SPLITS)
    assert sizes["test"] >= 100 and sizes["validation"] >= 70
    assert 0.6 <= sizes["train"] / len(CORPUS) <= 0.72
    cells = Counter((sentence.domain, sentence.label, sentence.split) for sentence in CORPUS)
    for domain in {sentence.domain for sentence in CORPUS}:
        for split in SPLITS:
            negative, positive = (cells[domain, label, split] for label in LABELS)
            assert min(negative, positive) >= 2 and abs(negative - positive) <= 1, (domain, split)


def test_no_text_in_two_splits() -> None:
    seen: dict[str, str] = {}
    for sentence in CORPUS:
        assert seen.setdefault(" ".join(words(sentence.text)), sentence.split) == sentence.split
    assert len(seen) == len(CORPUS)


def test_no_near_duplicates() -> None:
    bags = [(sentence.id, set(words(sentence.text))) for sentence in CORPUS]
    close = [(left, right) for (left, a), (right, b) in combinations(bags, 2) if len(a & b) > 0.7 * len(a | b)]
    assert close == []


def test_no_frame_or_opening_is_overused() -> None:
    frames: defaultdict[str, list[str]] = defaultdict(list)
    openings: defaultdict[str, list[str]] = defaultdict(list)
    for sentence in CORPUS:
        frames[frame(sentence)].append(sentence.id)
        openings[" ".join(words(sentence.text)[:4])].append(sentence.id)
    assert {key: ids for key, ids in frames.items() if len(ids) > 3} == {}
    assert {key: ids for key, ids in openings.items() if len(ids) > 3} == {}


def test_frame_sees_through_swapped_words_and_numbers() -> None:
    one = CorpusSentence("a-001", "Room 12 was superb.", "positive", "a", "train", ((12, 18),))
    two = CorpusSentence("a-002", "Room 407 was awful.", "negative", "a", "train", ((13, 18),))
    assert frame(one) == frame(two) == "room _ was _."


def test_hard_constructions_are_present_in_number() -> None:
    assert count(r"\b(not|never)\b|n't\b") >= 60
    assert count(r"\b(but|though|yet)\b") >= 60
    assert count(r"\?") >= 25
    assert count(r"\d") >= 40
    lengths = [len(words(sentence.text)) for sentence in CORPUS]
    assert sum(length <= 5 for length in lengths) >= 15
    assert sum(length >= 30 for length in lengths) >= 25
    by_id = {sentence.id: sentence for sentence in CORPUS}
    assert by_id.keys() >= IRONIC
    assert len(IRONIC) >= 20
    assert {by_id[name].split for name in IRONIC} == set(SPLITS)
    assert {by_id[name].label for name in IRONIC} == set(LABELS)


@pytest.mark.parametrize("marker", [r"\b(not|never)\b|n't\b", r"\b(but|though|yet)\b"])
def test_no_construction_gives_the_label_away(marker: str) -> None:
    labels = Counter(item.label for item in CORPUS if re.search(marker, item.text.casefold()))
    assert 0.3 <= labels["positive"] / labels.total() <= 0.7


def test_splits_partition_the_corpus() -> None:
    parts = [sentence for split in SPLITS for sentence in load_corpus(split)]
    assert sorted(item.id for item in parts) == sorted(item.id for item in CORPUS)
    assert all(item.split == "test" for item in load_corpus("test"))


@pytest.mark.parametrize("load", [load_corpus, as_dataset])
def test_unknown_split_raises(load: object) -> None:
    assert callable(load)
    with pytest.raises(ValueError, match=r"split must be one of .*'dev'"):
        load("dev")


def test_the_returned_list_is_the_callers_own() -> None:
    load_corpus().clear()
    assert len(load_corpus()) == len(CORPUS)
    with pytest.raises(FrozenInstanceError):
        CORPUS[0].text = ""  # type: ignore[misc]


def test_as_dataset_agrees_with_the_sentences() -> None:
    dataset = as_dataset("validation")
    sentences = load_corpus("validation")
    assert dataset.column_names == ["text", "label", "id", "domain", "spans"]
    assert dataset.features["label"].names == ["negative", "positive"]
    assert len(dataset) == len(sentences)
    for row, sentence in zip(dataset, sentences, strict=True):
        assert (row["id"], row["text"], row["domain"]) == (sentence.id, sentence.text, sentence.domain)
        assert dataset.features["label"].int2str(row["label"]) == sentence.label
        assert [tuple(span) for span in row["spans"]] == list(sentence.spans)
    assert len(as_dataset(None)) == len(CORPUS)


def test_import_does_not_pull_in_datasets() -> None:
    code = "import sys, mhex_nlp.cli.demo.corpus as c; c.load_corpus(); sys.exit('datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
