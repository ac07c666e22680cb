# SPDX-License-Identifier: Apache-2.0
"""Phrases by score and by grammar, and sentences of a pipeline. The "trained" pipeline is three rules long."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from helpers.explanations import make, scored
from mhex_nlp.explain.phrases import maximal_runs
from mhex_nlp.inputs.segmentation import segment_words


@Language.component("tests_articles")
def articles(doc: Doc) -> Doc:
    """An article belongs to the word after it, a noun; all else belongs to the first token of its sentence."""
    words, root, parse = [token.text for token in doc], 0, []
    for at, word in enumerate(words):
        following, before = [*words[at + 1 :], ""][0], words[at - 1] if at else ""
        if before in (".", "!"):
            root = at
        if at == root:
            parse.append((at, "ROOT", "VERB"))
        elif word in ("the", "a") and following.isalpha() and following not in ("the", "a"):
            parse.append((at + 1, "det", "DET"))
        elif at - 1 > root and before in ("the", "a") and word.isalpha():
            parse.append((root, "dobj", "NOUN"))
        else:
            parse.append((root, "dep", "X"))
    heads, deps, tags = ([row[column] for row in parse] for column in range(3))
    spaces = [bool(token.whitespace_) for token in doc]
    return Doc(doc.vocab, words=words, spaces=spaces, heads=heads, deps=deps, pos=tags)


def pipeline(*pipes: str, language: str = "en") -> Language:
    nlp = spacy.blank(language)
    for pipe in pipes:
        nlp.add_pipe(pipe)
    return nlp


PARSER = pipeline("tests_articles")


def texts_and_scores(spans: Any) -> list[tuple[str, float]]:
    return [(span.text, span.score) for span in spans]


NUMBERS = st.lists(st.integers(-3, 3).map(float), max_size=9)


@settings(max_examples=200, deadline=None)
@given(NUMBERS)
def test_runs_are_those_of_the_definition(scores: list[float]) -> None:
    """A run that beats every run inside it, in no longer run that does (Ruzzo & Tompa 1999, section 2)."""
    runs = list(itertools.combinations(range(len(scores) + 1), 2))
    value = {run: math.fsum(scores[slice(*run)]) for run in runs}

    def inside(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
        return outer[0] <= inner[0] and inner[1] <= outer[1] and inner != outer

    good = [run for run in runs if value[run] > max([0, *(value[other] for other in runs if inside(other, run))])]
    assert maximal_runs(scores) == [run for run in good if not any(inside(run, other) for other in good)]


@settings(max_examples=100, deadline=None)
@given(NUMBERS)
def test_the_best_run_has_the_greatest_sum(scores: list[float]) -> None:
    """Against Kadane's algorithm."""
    best = here = 0.0
    for score in scores:
        here = max(here + score, 0.0)
        best = max(best, here)
    assert max((math.fsum(scores[slice(*run)]) for run in maximal_runs(scores)), default=0.0) == best


def test_runs_of_many_scores_take_linear_time() -> None:
    falling = [value for _ in range(50_000) for value in (1.0, -2.0)]
    assert len(maximal_runs(falling)) == 50_000
    assert maximal_runs([value for _ in range(50_000) for value in (2.0, -1.0)]) == [(0, 99_999)]


def test_phrases_come_best_first() -> None:
    explanation = scored("a film not good at all, but fine", [0.5, 1, -4, 2, -1, 1.5, 0.25, -3, 0.75])
    assert texts_and_scores(explanation.phrases()) == [("good at all,", 2.75), ("a film", 1.5), ("fine", 0.75)]
    assert texts_and_scores(explanation.phrases(2)) == texts_and_scores(explanation.phrases())[:2]
    assert explanation.phrases(0) == ()
    for span in explanation.phrases():
        assert explanation.text[span.start : span.end] == span.text
        assert math.fsum(explanation.tokens[i].score for i in span.tokens) == span.score
    with pytest.raises(ValueError, match="^k must be an integer of at least 0, got -1"):
        explanation.phrases(-1)


def test_phrases_stay_in_their_half_and_leave_special_tokens_out() -> None:
    explanation = scored("bad fine", [-1, 2, 3, -1], "good bad", special=9.0)
    assert [(span.text, span.sequence, span.score) for span in explanation.phrases()] == [
        ("good", 1, 3),
        ("fine", 0, 2),
    ]
    assert scored("bad film", [-1, 0]).phrases() == ()


def test_phrases_of_a_pipeline_are_noun_chunks_and_the_rest() -> None:
    explanation = scored("See the film, not the end. Go see a play!", [1, 2, 4, -8, 16, 32, 64, -128, 1, 2, 4, 8, 16])
    assert texts_and_scores(explanation.phrases(nlp=PARSER)) == [
        ("See", 1),
        ("the film", 6),
        (", not", 8),
        ("the end", 96),
        (".", -128),
        ("Go see", 3),
        ("a play", 12),
        ("!", 16),
    ]
    assert texts_and_scores(explanation.phrases(2, nlp=PARSER)) == [("the end", 96), ("!", 16)]


def test_a_word_that_a_phrase_would_cut_goes_to_the_phrase_it_begins_in() -> None:
    """spaCy reads "Don't" as "Do" and "n't"; here the second is a phrase's first word."""
    nlp = pipeline()

    @Language.component("tests_cut")
    def cut(doc: Doc) -> Doc:
        for token, dep, pos in zip(doc, ["ROOT", "dobj"], ["VERB", "NOUN"], strict=True):
            token.head, token.dep_, token.pos_ = doc[0], dep, pos
        return doc

    nlp.add_pipe("tests_cut")
    assert [token.text for token in nlp("Don't")] == ["Do", "n't"]
    assert texts_and_scores(scored("Don't", [2]).phrases(nlp=nlp)) == [("Don't", 2)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=st.text("the a filmn't.,! \n好👍é", min_size=1, max_size=25),
    pair=st.none() | st.sampled_from(["the film. A play", " ", "a\ud800 b"]),
)
def test_each_word_is_in_one_phrase_and_sums_are_kept(text: str, pair: str | None) -> None:
    explanation = make(text, pair)
    phrases, words = explanation.phrases(nlp=PARSER), explanation.words()
    owners = {token: number for number, phrase in enumerate(phrases) for token in phrase.tokens}
    assert sorted(owners) == sorted(token for word in words for token in word.tokens)
    assert all(len({owners[token] for token in word.tokens}) == 1 for word in words)
    for spans in (phrases, explanation.sentences(nlp=PARSER)):
        special = [token.score for token in explanation.tokens if token.special]
        assert math.fsum([*special, *(span.score for span in spans)]) == pytest.approx(explanation.sum)
    order = [(span.sequence, span.start) for span in phrases]
    assert order == sorted(order)


def test_sentences_of_a_pipeline_are_its_own() -> None:
    nlp = pipeline("sentencizer")
    nlp.get_pipe("sentencizer").punct_chars = {";"}
    explanation = scored("Good; bad. Fine", [1, 0, 2, 0, 4, 1, 0, 1], "A; b")
    assert [(span.text, span.sequence) for span in explanation.sentences(nlp=nlp)] == [
        ("Good;", 0),
        ("bad. Fine", 0),
        ("A;", 1),
        ("b", 1),
    ]
    assert [span.text for span in explanation.sentences()] == ["Good; bad.", "Fine", "A; b"]
    assert explanation.sentences(nlp=nlp)[1].score == 6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda e: e.phrases(nlp=pipeline()),
            ValueError,
            "^nlp must have a parser, .* got a pipeline of a tokenizer alone",
        ),
        (lambda e: e.phrases(nlp=pipeline("sentencizer")), ValueError, "got a pipeline of sentencizer"),
        (
            lambda e: e.phrases(nlp=pipeline("tests_articles", language="xx")),
            ValueError,
            "^nlp must be for a language whose noun chunks spaCy knows, such as 'en', got 'xx'",
        ),
        (lambda e: e.phrases(nlp="en_core_web_sm"), TypeError, "^nlp must be a spaCy pipeline, .* got str"),
        (lambda e: e.sentences(nlp=len), TypeError, "^nlp must be a spaCy pipeline"),
        (lambda e: e.sentences(nlp=pipeline()), ValueError, "^nlp must set sentence boundaries: .*sentencizer"),
        (lambda e: e.sentences("en", PARSER), ValueError, "^language and nlp exclude each other"),
        (lambda e: e.phrases(language="en", nlp=PARSER), ValueError, "^language and nlp exclude each other"),
    ],
)
def test_a_pipeline_that_cannot_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(make("the film is fine"))


def test_a_pipeline_that_changes_the_text_is_refused() -> None:
    nlp = pipeline("sentencizer")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.lower().split())
    with pytest.raises(ValueError, match="^nlp must keep the text as it is, got 'the film ' for 'The film'"):
        make("The film", None).sentences(nlp=nlp)


# ------------------------------------------------------------------------------------- languages of the extra "cjk"


@pytest.mark.parametrize(
    ("language", "packages", "text", "words"),
    [
        ("ja", ["sudachipy", "sudachidict_core"], "東京は 日本の首都。", "東京|は|日本|の|首都|。"),
        ("th", ["pythainlp"], "ภาพยนตร์ไทย น้ำ", "ภาพยนตร์|ไทย|น้ำ"),
    ],
)
def test_words_of_scripts_without_spaces(language: str, packages: list[str], text: str, words: str) -> None:
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed (the extra cjk)")
    assert [text[start:end] for start, end in segment_words(text, language)] == words.split("|")
    explanation = scored(text, [float(2**number) for number in range(len(segment_words(text)))])
    spans = explanation.words(language)
    assert "|".join(span.text for span in spans) == words
    assert sum(span.score for span in spans) == 2.0 ** len(segment_words(text)) - 1
    assert sum(span.score for span in explanation.sentences(language)) == 2.0 ** len(segment_words(text)) - 1


@pytest.mark.parametrize(("language", "named"), [("ja", "sudachipy and sudachidict_core"), ("th", "pythainlp")])
def test_a_missing_tokenizer_is_named(monkeypatch: pytest.MonkeyPatch, language: str, named: str) -> None:
    from mhex_nlp.inputs import segmentation

    monkeypatch.setattr(segmentation.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(segmentation, "_PIPELINES", {})
    for ask in (
        segment_words,
        lambda text, code: make(text).words(code),
        lambda _, code: segmentation.check_language(code),
    ):
        with pytest.raises(
            ImportError, match=f"^language='{language}' needs {named}, which pip install 'mhex_nlp\\[cjk\\]'"
        ):
            ask("東京", language)
