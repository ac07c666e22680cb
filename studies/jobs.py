# SPDX-License-Identifier: Apache-2.0
"""`mhex highlight` as processes: started, killed, resumed, and what of its output stayed the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from mhex_nlp.corpus.job.folder import ledgers, unsealed

ROOT = Path(__file__).parents[1]


def environment(root: Path = ROOT, **variables: str) -> dict[str, str]:
    """That of a process which imports the package of a checkout, whichever is installed, and downloads nothing."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, "PYTHONPATH": path, **offline, **variables}


def on_cpu(threads: int = 1) -> dict[str, str]:
    """The environment of a job on the CPU, with so many threads a process."""
    return environment(ACCELERATE_USE_CPU="true", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS=str(threads))


def highlight_command(options: Mapping[str, Any], processes: int = 1, port: int | None = None) -> list[str]:
    """`mhex highlight` by itself, or in several processes by accelerate; `options` are flags with their values."""
    start = ["-m", "mhex_nlp", "highlight", *(str(part) for option in options.items() for part in option)]
    if processes == 1:
        return [sys.executable, *start]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    launch += [] if port is None else [f"--main_process_port={port}"]
    return [sys.executable, *launch, *start, "--num-processes", str(processes)]


def start(command: list[str], variables: Mapping[str, str], folder: Path | None = None) -> subprocess.Popen[bytes]:
    """The job in a session of its own, with what it prints kept for `finish`."""
    printed: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=variables, start_new_session=True, **printed)


def finish(process: subprocess.Popen[bytes], status: int = 0) -> None:
    """Waits for the end of a job; SystemExit where it is another than `status`, with what the job printed."""
    printed, _ = process.communicate()
    if process.returncode != status:
        raise SystemExit(f"the job ended with status {process.returncode}:\n{printed.decode()}")


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process and all that it started: the processes of a launcher have groups of their own."""
    top = psutil.Process(process.pid)
    for one in [top, *top.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.communicate()


def finished_parts(output: Path) -> int:
    """How many parts are done."""
    return sum(path.read_bytes().count(b"\n") for path in output.glob("progress-*.jsonl"))


def stamps(output: Path) -> dict[str, tuple[int, int]]:
    """When and where on the disk the files of finished parts were written."""
    records = [unsealed(line) for path in ledgers(output) for line in path.read_bytes().splitlines(keepends=True)]
    names = [name for record in records if record is not None for name in record["files"]]
    return {name: ((output / name).stat().st_mtime_ns, (output / name).stat().st_ino) for name in names}


def check_untouched(before: dict[str, Any], output: Path) -> None:
    """SystemExit where a part that was finished has been written again."""
    after = stamps(output)
    if any(after[name] != before[name] for name in before):
        raise SystemExit("a finished part was written again")


def equal_files(one: Path, other: Path, pattern: str = "[!.]*") -> dict[str, bool]:
    """Whether each file of two folders is bit-equal in both, by its name."""
    names = {path.name for folder in (one, other) for path in folder.glob(pattern)}
    return {name: (one / name).read_bytes() == (other / name).read_bytes() for name in sorted(names)}
