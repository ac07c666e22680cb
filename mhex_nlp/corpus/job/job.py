# SPDX-License-Identifier: Apache-2.0
"""A whole source of rows explained into part files, by one process or many, which a killed run takes up again.

Rows are cut into parts in the order of the input, before anything is sorted by length, so a part's batches and scores
do not depend on where a run was stopped or on how many processes share it. Part i is done by process i modulo their
number. No more than three parts are held in memory: one that is explained, and two that are read and tokenised ahead.
"""

from __future__ import annotations

import errno
import itertools
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...explain.json_form import dumps
from ...inputs.atomic_files import durable
from ...models.weights_hash import model_hash
from ..judged import SampleJudgement, figures_of, kept_judgement, write_judgement
from ..judging import Sample, judge_rows
from ..readers.rows import Row, RowSource
from .folder import ERRORS, MANIFEST, SCHEMA, SUMMARY, SUMMARY_PAGE, part_name, settings_key
from .ledger import Ledger
from .progress import JobProgress
from .work import TextWork, Work, work_of


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a job did in the end: rows read, explained, cut at the model's length, and refused (in errors.jsonl)."""

    rows: int
    explained: int
    truncated: int
    errors: int
    parts: int
    judgement: SampleJudgement | None = None  # how far the scores can be trusted on these rows


@dataclass(frozen=True, slots=True)
class _Part:
    index: int
    rows: list[Row]
    digest: str
    items: Sequence[Any]  # what the work's `prepare` made of the rows


def run_job(
    explainer: Any,
    source: RowSource,
    output: Path,
    *,
    request: Any,
    formats: Sequence[str],
    columns: Any,
    settings: Mapping[str, Any],
    state: Any,
    part_rows: int = 1000,
    overwrite: bool = False,
    judge: int = 0,
    progress: bool = True,
) -> JobReport | None:
    """Explains every row of `source` into `output`, or what an earlier run of the same settings left to do.

    Long because of its many arguments.

    Args:
        explainer: how to explain.
        source: the rows.
        output: a folder: new, empty, or of an earlier run.
        request: what `explainer.request` made of the options; of images, the options of a call themselves.
        formats: "jsonl", "parquet", "html": the files of each part.
        columns: what stands in the columns of Parquet files: `ColumnOptions`, of images `ImageColumnOptions`.
        settings: what the output depends on, as JSON; a run with others is refused.
        state: accelerate's `Accelerator`, or a `SingleProcess`.
        part_rows: rows of the input in a part.
        overwrite: remove what an earlier run left, and begin anew.
        judge: rows to draw, by the request's seed, on which the skill is measured once all are explained; a run that is
            taken up, or given again, does not measure twice.
        progress: show it.

    Returns:
        what was done by all processes together; in other processes than the first, `None`.

    Raises:
        ValueError: other settings or other rows than those the folder was begun with; labels of which none among the
            rows of the first part is a class of the model. (A single one that is none is an error of its row.)
        OSError: the folder cannot be written to, the disk is full. What is finished stays valid, and the same call
            goes on from there.
    """
    work = work_of(explainer, request, formats, columns)
    if judge and not isinstance(work, TextWork):
        raise ValueError("judge is for texts: fits of images are judged on the images that they hold out.")
    rows = work.rows(_read(source), source, part_rows)
    ledger = Ledger(output, state.process_index, settings, formats)
    try:
        if state.is_main_process:
            ledger.open(overwrite)
        state.wait_for_everyone()
        if not state.is_main_process:
            ledger.acquire()
        finished = ledger.finished(lambda part: part % state.num_processes == state.process_index)
        digests: list[str] = []
        sample = Sample(judge, request.seed) if judge and state.is_main_process else None
        with JobProgress(progress and state.is_main_process, state.num_processes, work.noun) as bar:
            parts = _parts(work, rows, part_rows, finished, ledger.rows_before(), state, digests, sample)
            for part in _prefetch(parts):
                ledger.begin()
                ledger.add(_explain_part(part, work, ledger))
                bar.advance(len(part.rows), source.share_read())
        state.wait_for_everyone()
        return _finish(ledger, work, settings, digests, sample) if state.is_main_process else None
    except OSError as error:
        raise _explain_os_error(error, output) from error
    finally:
        ledger.release()


class SingleProcess:
    """Stands for accelerate's state where there is one process, and no need of accelerate."""

    process_index, num_processes, is_main_process = 0, 1, True

    def wait_for_everyone(self) -> None:
        """There is no other."""


def _read(source: RowSource) -> Iterator[Row]:
    """The rows; ValueError where they cannot be read on, which is no fault of the output."""
    try:
        yield from source
    except OSError as error:
        raise ValueError(f"data must stay readable, got {source.name!r}: {error.strerror or error}.") from error


def _parts(
    work: Work,
    rows: Iterator[Row],
    size: int,
    finished: Mapping[int, Mapping[str, Any]],
    known: int | None,
    state: Any,
    digests: list[str],
    sample: Sample | None,
) -> Iterator[_Part]:
    """The parts that are left to this process, prepared; checks those that are finished.

    `known` is how many rows an earlier run found in all; `digests` gets that of each part that there is, and `sample`
    all rows.
    """
    for index in itertools.count():
        chunk = list(itertools.islice(rows, size))
        if not chunk:
            if beyond := [part for part in finished if part >= index]:
                raise _other_rows("", f"fewer: part {beyond[0]} has none any more")
            return
        if known is not None and chunk[-1].number >= known:
            raise _other_rows(f"{known} ", "more")
        digest = work.digest(chunk)
        digests.append(digest)
        if sample is not None:
            sample.add(chunk)
        if index in finished:
            if finished[index]["digest"] != digest:
                raise _other_rows("", f"others among rows {chunk[0].number} to {chunk[-1].number}")
        elif index % state.num_processes == state.process_index:
            yield _Part(index, chunk, digest, work.prepare(chunk))


def _other_rows(count: str, difference: str) -> ValueError:
    return ValueError(
        f"data must hold the {count}rows that this output was begun with, got {difference}. --overwrite begins anew."
    )


def _prefetch(parts: Iterator[_Part]) -> Iterator[_Part]:
    """The same parts, of which the next is made while one is worked on: reading and tokenising need no model."""
    made: queue.Queue[_Part | BaseException | None] = queue.Queue(1)
    over = threading.Event()

    def put(item: _Part | BaseException | None) -> None:
        while not over.is_set():
            try:
                return made.put(item, timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for part in parts:
                put(part)
                if over.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    # a daemon: a read of standard input may never end, and the program must not wait for it
    thread = threading.Thread(target=make, name="mhex-tokenise", daemon=True)
    thread.start()
    try:
        while (part := made.get()) is not None:
            if isinstance(part, BaseException):
                raise part
            yield part
    finally:
        over.set()
        thread.join(1.0)  # what it has set for the process, such as how warnings are shown, is put back before we leave


def _explain_part(part: _Part, work: Work, ledger: Ledger) -> dict[str, Any]:
    """Explains and writes a part; its record for the ledger."""
    summary, rows, explained, errors = work.summary(), [], [], []
    for row, result in zip(part.rows, work.explain(part.rows, part.items), strict=True):
        if isinstance(result, str):
            errors.append({"row": row.number, "id": row.id, "reason": result})
        else:
            rows.append(row)
            explained.append(result)
            summary.add(result, row.rationale if row.label is None else str(row.label))
    return {
        "part": part.index,
        "rank": ledger.rank,
        "rows": len(part.rows),
        "digest": part.digest,
        "files": work.write(ledger.folder, part_name(ledger.rank, part.index), rows, explained),
        "errors": errors,
        "summary": summary.to_record(),
    }


def _finish(
    ledger: Ledger,
    work: Work,
    settings: Mapping[str, Any],
    digests: Sequence[str],
    sample: Sample | None,
) -> JobReport:
    """Writes the files about the whole: errors, summary, the manifest at last."""
    finished = ledger.finished()  # by now that of all processes
    for index, digest in enumerate(digests):
        if finished.get(index, {}).get("digest") != digest:
            raise ValueError(f"output must keep what is written there, got {ledger.folder} without part {index}.")
    ledger.remove_leftovers(finished)
    summary, parts, errors, rows = work.summary(), [], 0, 0
    with durable(ledger.folder / ERRORS) as file:
        for record in ledger.records(finished):
            for error in record["errors"]:
                file.write(f"{dumps(error)}\n".encode())
            errors += len(record["errors"])
            rows += record["rows"]
            summary.merge(record["summary"])
            parts.append({key: record[key] for key in ("part", "rank", "rows")} | {"files": record["files"]})
    rows_hash = settings_key({"parts": list(digests)})
    judgement = _judged(ledger.folder, work.explainer, settings, rows_hash, sample)
    answers = summary.report()
    if judgement is not None:
        answers["judgement"] = figures_of(judgement)
    counts = {"rows": rows, "explained": summary.texts, "truncated": summary.truncated, "errors": errors}
    ledger.write_json(SUMMARY, {"schema": "mhex-summary/1", **counts, **answers})
    pages = [name for part in parts for name in part["files"] if name.endswith(".html")]
    if (page := work.page({**counts, **answers}, pages)) is not None:
        with durable(ledger.folder / SUMMARY_PAGE) as file:
            file.write(page.encode())
    ledger.tidy(finished)
    head = {"schema": SCHEMA, "complete": True, "library": f"mhex_nlp {__version__}"}
    about = {"settings": dict(settings), **counts, "rows_hash": rows_hash}
    ledger.write_json(MANIFEST, {**head, **about, "parts": parts})
    return JobReport(**counts, parts=len(parts), judgement=judgement)


def _judged(
    folder: Path, explainer: Any, settings: Mapping[str, Any], rows_hash: str, sample: Sample | None
) -> SampleJudgement | None:
    """What is kept in the folder of these weights, settings and rows, or else measured now, where it is asked for."""
    weights = settings.get("weights") or model_hash(explainer.model)
    tied_to = {"weights": weights, "settings": settings_key(settings), "rows": rows_hash}
    if sample is None:
        return kept_judgement(folder, tied_to)
    kept = kept_judgement(folder, {**tied_to, "asked": sample.count, "seed": sample.seed})
    judgement = kept or judge_rows(explainer, sample.rows, sample.count, sample.seed, tied_to)
    if judgement is not None and kept is None:
        write_judgement(folder, judgement)
    return judgement


def _explain_os_error(error: OSError, folder: Path) -> OSError:
    """The error in one sentence that says what to do; those that speak for themselves as they are."""
    if error.errno is None:
        return error
    reason = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EROFS: "the disk is read-only",
        errno.EACCES: "the folder may not be written to",
        errno.EPERM: "the folder may not be written to",
    }.get(error.errno, error.strerror or str(error))
    again = "parts that are finished stay; run the same command again to go on"
    return OSError(f"output {folder} cannot be written: {reason}; {again}.")
