# SPDX-License-Identifier: Apache-2.0
"""What an explanation says, in a sentence or two, and what its flip sets say: from its numbers alone.

No sentence says more than the scores do: where these explain next to nothing of a prediction, or speak against it, that
is what is said, and words are named with their weight alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .highlight import Highlight, Segment
from .summary import answers_of, is_prediction, percent

_NAMED, _OPPOSED, _LISTED = 3, 2, 8  # words at the most: of one side, of the other, of a flip set
_LEADS = 0.4  # of the largest score of its side: what a word has at least to be named
_OPPOSES = 0.25  # of the largest of all: the same on the other side
_LITTLE = 0.25  # of the logit explained: words whose sizes are less together explain next to nothing of it
_WEAK = 0.3  # skill of a fit
_LONGEST = 40  # characters of a word


class Part(NamedTuple):
    """A run of a sentence; a word of the text is quoted."""

    text: str
    quoted: bool = False


def as_text(parts: Iterable[Part]) -> str:
    """Sentences as a string."""
    return "".join(f'"{part.text}"' if part.quoted else part.text for part in parts)


def plain_words(explanation: Mapping[str, Any], drawn: Highlight, *, beside_notes: bool = False) -> tuple[Part, ...]:
    """What an explanation (JSON form) says, with its flip sets. Nothing for one of a place in a text.

    `beside_notes`: the notes stand there as well, so that what they say is not said twice.
    """
    if explanation.get("place") is not None:
        return ()
    parts = [Part(_predicted(explanation["prediction"])), *_drivers(explanation, drawn)]
    if caution := _caution(explanation, drawn, explanation.get("note_codes", ()) if beside_notes else ()):
        parts.append(Part(f" {caution}"))
    for flip in explanation.get("flips") or ():
        parts += [Part(" "), *flip_sentence(flip, str(explanation["prediction"]["label"]))]
    return tuple(parts)


def flip_sentence(flip: Mapping[str, Any], label: str) -> list[Part]:
    """What a flip set (JSON form) of a text that is predicted as `label` says."""
    after, tried = flip.get("label_after"), f"({flip['passes'] or 'none'} tried)"
    count = len(flip["words"])
    words = _listed([word["text"] for word in flip["words"]]) if count <= _LISTED else [Part(f"{count} of its words")]
    if flip["flipped"]:
        outcome = f"{after} ({percent(flip['probability_after'])})."
        if flip["kind"] == "removal":
            return [Part("Without "), *words, Part(f" this would be {outcome}")]
        gives = "gives" if count == 1 else "give"
        return [Part("Already " if count <= _LISTED else ""), *words, Part(f" alone {gives} {outcome}")]
    if flip["kind"] == "removal":
        changes = "changes the prediction" if flip.get("target") is None else f"makes it {flip['target']}"
        return [Part(f"No set of words was found whose removal {changes} {tried}.")]
    if after is not None:
        return [Part(f"Without any of its words it is {label}, too ({percent(flip['probability'])}).")]
    return [Part(f"No set of words was found that alone gives {label} {tried}.")]


def _predicted(prediction: Mapping[str, Any]) -> str:
    if prediction.get("labels") == []:
        return "No label is predicted"
    form = "{} {}" if "value" in prediction else "{} ({})"
    answers = [form.format(*answer) if answer[1] else answer[0] for answer in answers_of(prediction)]
    return f"Predicted {', '.join(answers)}"


def _drivers(explanation: Mapping[str, Any], drawn: Highlight) -> list[Part]:
    """Which words the scores name, those first whose side all words together are on."""
    skill = _skill(explanation)
    if skill is not None and skill <= 0:
        return [Part(f". The fit knows nothing about single words (skill {skill:.2f}), so none is named.")]
    if _explains_little(explanation, drawn):
        return [Part(". The scores of its words explain next to nothing of it.")]
    negative = _total(explanation, drawn) < 0
    first, second = _sides(drawn, negative)
    if not first and not second:
        return [Part(". No word has a score whose sign is settled.")]
    prediction, target, foil = explanation["prediction"], explanation["target"]["label"], explanation["foil"]
    of_prediction = foil is None and is_prediction(prediction, explanation["target"])
    sides = ("against", "for") if negative else ("for", "against")
    if "value" in prediction:
        verbs = ("lowered", "raised") if negative else ("raised", "lowered")
        opening = ": " if of_prediction else f". {target}: "
        clauses = [[Part(f"{verbs[0]} {_weight(first, drawn)} by "), *_joined(first)]] if first else []
        clauses += [[Part(f"{verbs[1]} by "), *_joined(second)]] if second else []
    else:
        opening = ", although its words together speak against it: " if negative else ": "
        if not of_prediction:
            rather = "" if foil is None else f" rather than {foil['label']}"
            opening = f". Its words together speak {sides[0]} {target}{rather}: "
        heads = "by its heads " if explanation["method"]["explains"] == "heads" else ""
        clauses = [[Part(f"{heads}{_weight(first, drawn)} "), *_joined(first)]] if first else []
        verb = "speaks" if len(second) == 1 else "speak"
        clauses += [[*_joined(second), Part(f" {verb} {sides[1]} it")]] if second else []
    between = [Part("; "), *clauses[1]] if len(clauses) > 1 else []
    return [Part(opening), *clauses[0], *between, Part(".")]


def _caution(explanation: Mapping[str, Any], drawn: Highlight, noted: Sequence[str]) -> str:
    """The weightiest reason not to build on single words, where there is one that no note gives."""
    method, misfit, skill = explanation["method"], explanation.get("misfit"), _skill(explanation)
    if skill is not None and skill <= 0:
        return ""
    total, base = _total(explanation, drawn), explanation["base_value"] / _largest(drawn)
    code = caution = ""
    if skill is not None and skill < _WEAK:
        code, caution = "no_skill", f"The fit is weak (skill {skill:.2f}): single words are hints at best."
    elif misfit is not None and method.get("usual_misfit") is not None and abs(misfit) > method["usual_misfit"]:
        code, caution = "large_misfit", "The scores miss more of this text than of most."
    elif base > total > 0 and not _explains_little(explanation, drawn):
        code, caution = "base_outweighs_words", "The base value counts for more than all words together."
    return "" if code in noted else caution


def _skill(explanation: Mapping[str, Any]) -> float | None:
    """That of the fit, where its one pass is what is shown."""
    skill: float | None = explanation["method"]["skill"] if explanation.get("passes", 1) == 1 else None
    return skill


def _total(explanation: Mapping[str, Any], drawn: Highlight) -> float:
    """What all words say together, in the largest score; where scores are cut off at 0, what they said before."""
    top = _largest(drawn)
    if explanation["method"]["non_negative"]:
        return float(explanation["sum"]) / top
    return math.fsum(score / top for score in drawn.scores)


def _largest(drawn: Highlight) -> float:
    """The unit of sums, so that those of the largest numbers stay finite; 1 where all scores are 0."""
    return max(map(abs, drawn.scores), default=0.0) or 1.0


def _explains_little(explanation: Mapping[str, Any], drawn: Highlight) -> bool:
    top = _largest(drawn)
    size = math.fsum(abs(score) / top for score in drawn.scores)
    return size == 0 or size < _LITTLE * abs(explanation["sum"] / top + explanation["base_value"] / top)


def _sides(drawn: Highlight, negative: bool) -> tuple[list[Segment], list[Segment]]:
    """The leading words of the side that all together are on, and of the other, strongest first."""
    largest = _largest(drawn)
    sign = -1 if negative else 1
    sides = []
    for direction, most in ((sign, _NAMED), (-sign, _OPPOSED)):
        words = [word for word in drawn.strongest(len(drawn.segments)) if direction * (word.score or 0.0) > 0]
        of_side = words and direction == sign
        least = _LEADS * abs(words[0].score or 0.0) if of_side else _OPPOSES * largest
        named = {word.text: word for word in reversed(words) if abs(word.score or 0.0) >= least and not word.unsettled}
        sides.append(list(reversed(named.values()))[:most])
    return sides[0], sides[1]


def _weight(words: Sequence[Segment], drawn: Highlight) -> str:
    """Whether the words named have half of all that is said on their side."""
    sign, top = math.copysign(1, words[0].score or 0.0), _largest(drawn)
    side = [(word.text, sign * (word.score or 0.0) / top) for word in drawn.segments if sign * (word.score or 0.0) > 0]
    named = {word.text for word in words}
    part = math.fsum(score for text, score in side if text in named)
    return "mainly" if 2 * part >= math.fsum(score for _, score in side) else "among others"


def _joined(words: Sequence[Segment]) -> list[Part]:
    """ "a", "b" and "c" """
    parts = _listed([word.text for word in words])
    return [*parts[:-2], Part(" and "), parts[-1]] if len(words) > 1 else parts


def _listed(words: Sequence[str]) -> list[Part]:
    """ "a", "b", "c" """
    parts: list[Part] = []
    for word in words:
        shown = word if len(word) <= _LONGEST else f"{word[:_LONGEST]}\u2026"
        parts += [Part(", "), Part(shown, True)] if parts else [Part(shown, True)]
    return parts
