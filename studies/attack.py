# SPDX-License-Identifier: Apache-2.0
"""The whole attack of `tests/attack`: hostile texts, threads, interrupts, broken files and broken folders.

    python -m studies.attack --output docs/results/attack.json --page docs/attack.md

The tests run a twentieth of it, by the same seeds. What an attack tried and what went wrong is one row of the table; a
test that fails ends the study with its status, and nothing is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mhex_nlp import __version__

from .common import grid, machine, make_parser, write_json, write_page
from .jobs import ROOT


def attack(share: float) -> list[dict[str, Any]]:
    """The figures of every attack, in the order in which they ended."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        settings = {"MHEX_ATTACK_SHARE": str(share), "MHEX_ATTACK_RESULTS": str(results), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "tests/attack", "-m", "slow or not slow", "--timeout=3600", "-q"]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}).returncode
        if status:
            raise SystemExit(status)
        return [json.loads(line) for line in results.read_text("utf-8").splitlines()]


def table(report: dict[str, Any]) -> list[str]:
    """One row an attack: its name, and what was counted."""
    share = "" if report["share"] == 1 else f" {report['share']:.0%} of the attack."
    rows = []
    for row in report["attacks"]:
        counts = (f"{name.replace('_', ' ')} {value:,}" for name, value in row.items() if name != "attack")
        rows.append([str(row["attack"]), ", ".join(counts)])
    head = f"mhex_nlp {report['version']}, {report['machine']}.{share} Made by `python -m studies.attack`."
    return [head, "", *grid(["attack", "figures"], rows)]


def main() -> None:
    args = make_parser(__doc__, share=1.0).parse_args()
    figures = attack(args.share)
    report = {
        "version": __version__,
        "share": args.share,
        "machine": f"{machine()}, {os.cpu_count()} cores",
        "attacks": figures,
    }
    write_json(args.output, report)
    write_page(args.page, table(report))


if __name__ == "__main__":
    main()
