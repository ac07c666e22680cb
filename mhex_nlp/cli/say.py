# SPDX-License-Identifier: Apache-2.0
"""Lines of the command on stdout and stderr, which may quote files and their names: nothing in them reaches a terminal
as a command to it.
"""

from __future__ import annotations

import sys


def say(line: object, *, error: bool = False) -> None:
    """Prints a line, on stderr where it is an `error`, without control characters but tabs and newlines."""
    from ..render.controls import printable

    stream = sys.stderr if error else sys.stdout
    print(printable(str(line), getattr(stream, "encoding", None) or "utf-8"), file=stream)
