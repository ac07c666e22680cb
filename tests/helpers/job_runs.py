# SPDX-License-Identifier: Apache-2.0
"""Jobs over sixty rows of a tiny model, and processes that end at a chosen moment."""

from __future__ import annotations

import json
import os
from pathlib import Path

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_texts, tiny_tokenizer
from mhex_nlp import MhexConfig, MhexExplainer, fit_equivalent_matrices, get_mhex_model
from mhex_nlp.corpus.columns import ColumnOptions
from mhex_nlp.corpus.job.job import SingleProcess, run_job
from mhex_nlp.corpus.job.ledger import Ledger
from mhex_nlp.corpus.readers.opening import open_rows

TOKENIZER = tiny_tokenizer()
FORMATS = ("html", "jsonl", "parquet")


def fitted_explainer():
    model = train_heads(get_mhex_model(tiny_bert(num_labels=3).eval(), MhexConfig(gate=True)))
    fit_equivalent_matrices(model, TOKENIZER, tiny_texts(40)[0], progress=False)
    return MhexExplainer(model, TOKENIZER)


def write_corpus(folder):
    """60 rows with ids and labels, three of them bad."""
    texts, labels = tiny_texts(60)
    rows = [
        {"text": text, "key": f"k{i}", "gold": label} for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    rows[7]["text"], rows[8]["text"], rows[33]["text"] = None, "  ", 12
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def run(explainer, corpus, output, state=None, formats=FORMATS, **options):
    source = options.pop("source", None) or open_rows(str(corpus), id_column="key", label_column="gold")
    settings = options.pop("settings", {"data": source.identity, "format": list(formats)})
    return run_job(
        explainer,
        source,
        Path(output),
        request=explainer.request(),
        formats=formats,
        columns=ColumnOptions(),
        settings=settings,
        state=state or SingleProcess(),
        part_rows=10,
        progress=False,
        **options,
    )


class Crash(BaseException):
    """Not an Exception, as SIGKILL is none."""


def crash_at(monkeypatch, moment, count):
    """Makes the process end at the count-th such moment."""
    seen = []

    def ending(function, wanted, before):
        def called(*given, **options):
            if wanted(*given):
                seen.append(1)
                if before and len(seen) == count:
                    raise Crash
            result = function(*given, **options)
            if not before and wanted(*given) and len(seen) == count:
                raise Crash
            return result

        return called

    def of_part(_, target):
        return Path(target).name.startswith("part-")

    if moment in ("before the sync", "after the sync"):
        monkeypatch.setattr(os, "fsync", ending(os.fsync, lambda *_: True, moment.startswith("before")))
    elif moment == "after the rename":
        monkeypatch.setattr(os, "replace", ending(os.replace, of_part, False))
    else:
        monkeypatch.setattr(Ledger, "add", ending(Ledger.add, lambda *_: True, moment == "before the ledger"))
