# SPDX-License-Identifier: Apache-2.0
"""What the command's verbs read: models, a tokenizer beside each, and texts with labels."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.families import train_heads
from helpers.tiny import tiny_bert, tiny_mhex, tiny_texts, tiny_tokenizer


def make_command_files(root: Path) -> Path:
    """`model` with trained heads, `plain` without heads, and `rows.jsonl` with the columns text and label."""
    train_heads(tiny_mhex(gate=False).eval()).save_pretrained(root / "model")
    tiny_bert().save_pretrained(root / "plain")
    for name in ("model", "plain"):
        tiny_tokenizer().save_pretrained(root / name)
    rows = [{"text": text, "label": label} for text, label in zip(*tiny_texts(40), strict=True)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root
