# SPDX-License-Identifier: Apache-2.0
"""What a reader must know of one explanation: a sentence each, with a code by which reports count them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..inputs.encoding import TokenisedText
from ..inputs.scripts import foreign_script
from .parts import HeadsChoice
from .request import Request
from .scores import Scores

AGAINST = "words_against_prediction"
OUTWEIGHED = "base_outweighs_words"
LARGE_MISFIT = "large_misfit"


class Note(NamedTuple):
    """A sentence, and the code of its kind, which stays when the sentence changes."""

    code: str
    sentence: str


def notes_of(
    item: TokenisedText, heads: HeadsChoice | None, request: Request, scores: Scores, row: int
) -> tuple[Note, ...]:
    """The notes of row `row` of the scores."""
    fit, fit_holds = request.fit, scores.fit_holds
    notes = [Note("truncated", item.cut_note())] if item.truncated else []
    if item.windows:
        notes.append(Note("windows", item.windows_note()))
    notes += _of_numbers(request, scores, row)
    if fit is not None and not fit_holds:
        unknown = "does not record which weights it was made on" if fit_holds is None else "was made on other weights"
        notes.append(Note("fit_unknown", f"The fit {unknown}: how far to trust these scores is not known."))
    elif fit is not None and fit.get("skill_interval", [1.0])[0] <= 0:
        skill = f"on held-out texts the fit has skill {fit['skill']:.2f}, no better than none"
        notes.append(Note("no_skill", f"Do not trust single words: {skill}."))
    if fit is not None:
        notes += _other_kind(item, fit)
    if scores.settled is not None and scores.passes is not None and not scores.settled[row]:
        open_ranking = f"After {scores.passes[row] - 1} further passes the ranking of the leading words is still open."
        notes.append(Note("open_ranking", open_ranking))
    if scores.answers is not None:
        notes += [Note("place", sentence) for sentence in scores.answers[row].notes]
    if heads is not None and not heads.agrees:
        sentence = f"The heads choose {heads.label}, the model does not: the scores explain the heads."
        notes.append(Note("heads_disagree", sentence))
    return tuple(notes)


def usual_misfit(request: Request) -> float | None:
    """What nine in ten held-out texts of the fit do not exceed, which was measured for the predicted class."""
    if request.fit is None or "misfit" not in request.fit:
        return None
    squares = {"foil": 2.0, "centred": 1 - 1 / len(request.table), "none": 1.0}  # of the norms of contrasts
    return float(request.fit["misfit"][1] * (squares[request.contrast] / squares[request.fit["contrast"]]) ** 0.5)


def _of_numbers(request: Request, scores: Scores, row: int) -> Iterator[Note]:
    """How words, base value and misfit stand to each other; in a regression no base value is too large."""
    total, base, misfit = float(scores.sums[row]), float(scores.bases[row]), float(scores.misfits[row])
    if _speak_against(request, scores, row):
        yield Note(AGAINST, "Taken together the words speak against the prediction: the base value decides it.")
    elif request.table.task != "regression" and not request.non_negative and abs(base) > abs(total):
        yield Note(OUTWEIGHED, "The base value outweighs the words: they make up the smaller part of this answer.")
    usual = usual_misfit(request) if scores.fit_holds else None
    if usual is not None and abs(misfit) > usual:  # NaN, where it is not known, is not
        missed = "The scores miss more of this text than of nine in ten on which their fit was judged"
        yield Note(LARGE_MISFIT, f"{missed}: a budget of further passes measures its words.")


def _speak_against(request: Request, scores: Scores, row: int) -> bool:
    """Whether the words of a text sum up against what is predicted; not known where scores are no contrast."""
    task, total = request.table.task, float(scores.sums[row])
    if request.non_negative or task == "regression":
        return False
    if task == "multi_label_classification":
        return total * (total + float(scores.bases[row])) < 0
    predicted = int(scores.logits[row].argmax()) if scores.answers is None else scores.answers[row].predicted
    return request.contrast != "none" and scores.targets[row] == predicted and total < 0


def _other_kind(item: TokenisedText, fit: Mapping[str, Any]) -> Iterator[Note]:
    """How a text differs from those that its fit was made on."""
    pair = item.text_pair is not None
    if fit.get("pairs", pair) is not pair:
        kinds = ("pairs of texts", "a single text") if fit["pairs"] else ("single texts", "a pair")
        yield Note("other_pairs", f"The fit was made on {kinds[0]}, and this is {kinds[1]}.")
    tokens = max(len(part.content_positions(causal=False)) for part in item.inputs)
    if tokens > fit.get("longest", tokens):
        longest = f"The fit was made on texts of at most {fit['longest']} tokens, and this has {tokens}."
        yield Note("other_length", longest)
    scripts = fit.get("scripts")
    if scripts and (foreign := foreign_script(" ".join(item.sources), scripts)):
        letters = f"The fit was made on texts in {' and '.join(scripts)} letters, and this is mostly in {foreign}."
        yield Note("other_script", letters)
