# SPDX-License-Identifier: Apache-2.0
"""What was measured of the trust in a job's scores, on some of its own rows, kept in its folder. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..explain.json_form import dumps, from_plain, to_plain
from ..inputs.atomic_files import durable
from ..inputs.folders import read_object
from ..inputs.texts import warn
from .job.folder import JUDGEMENT, read_manifest, settings_key

if TYPE_CHECKING:
    from ..explain.judgement import Judgement

SCHEMA = "mhex-judgement/1"


@dataclass(frozen=True, slots=True)
class SampleJudgement:
    """What `MhexExplainer.judge` measured on rows drawn from a source; fields as in `Judgement`, but `texts`.

    It belongs to the weights, the settings and the rows that it names by their hashes.
    """

    weights: str
    settings: str
    rows: str
    asked: int  # rows to draw
    drawn: int  # fewer where there are no more
    passed_over: int  # rows that cannot be explained, or have a single token
    seed: int
    skill: float
    skill_interval: tuple[float, ...]
    absolute_skill: float
    texts: int  # rows that were judged
    masks: int
    removal: str
    foreign: bool
    fit_skill: float | None = None
    fit_interval: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema": SCHEMA, **to_plain(self, SampleJudgement, "judgement")}


def figures_of(judgement: SampleJudgement | Judgement) -> dict[str, Any]:
    """What displays say of a judgement (`render.judged`).

    Raises:
        TypeError: something else.
    """
    if not isinstance(judgement, SampleJudgement):
        from ..explain.judgement import Judgement  # which whoever made one has imported

        if not isinstance(judgement, Judgement):
            raise TypeError(f"judgement must be what explainer.judge gives, got {type(judgement).__name__}.")
    return {**asdict(judgement), "foreign": judgement.foreign}


def write_judgement(folder: Path, judgement: SampleJudgement) -> None:
    """Keeps it in the folder of its job."""
    with durable(folder / JUDGEMENT) as file:
        file.write(f"{dumps(judgement.to_dict(), indent=1)}\n".encode())


def kept_judgement(folder: Path, tied_to: Mapping[str, Any]) -> SampleJudgement | None:
    """The one that is kept there, if its fields are those of `tied_to`."""
    document = read_object(folder / JUDGEMENT)
    if document.pop("schema", None) != SCHEMA:
        return None
    try:
        judgement = from_plain(SampleJudgement, document, "judgement")
    except ValueError:
        return None
    intervals = (judgement.skill_interval, judgement.fit_interval or (0.0, 0.0))
    whole = all(len(interval) == 2 for interval in intervals)
    return judgement if whole and all(getattr(judgement, name) == value for name, value in tied_to.items()) else None


def judgement_of_job(source: Path) -> SampleJudgement | None:
    """That of a finished job by its folder, with a warning where there is one of other rows, weights or settings."""
    if not source.is_dir() or not (source / JUDGEMENT).exists():
        return None
    try:
        manifest = read_manifest(source)
    except FileNotFoundError:
        manifest = {}
    settings = manifest.get("settings", {})
    tied_to = {"rows": manifest.get("rows_hash"), "settings": settings_key(settings)}
    if "weights" in settings:
        tied_to["weights"] = settings["weights"]
    judgement = kept_judgement(source, tied_to)
    if judgement is None:
        warn(f"{source / JUDGEMENT} is not of the rows, weights and settings of this job, so it is not shown.")
    return judgement
