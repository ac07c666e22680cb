# SPDX-License-Identifier: Apache-2.0
"""What is coloured while one of several things is picked, as rules of CSS, so that a text stands on a page once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from json import dumps
from typing import Any

from .palette import level_name

_FAINT = 3  # up to this level a line has the colour of the strongest level, as in highlight.css

Tone = tuple[int, bool]  # a level, and whether its sign is not settled


def group_name(document: Mapping[str, Any]) -> str:
    """A name for the radio buttons of a document, which those of no other on the same page have."""
    return "g" + sha256(dumps(document, sort_keys=True).encode()).hexdigest()[:8]


def pick_rules(group: str, picks: Sequence[Mapping[int, Tone]], atom: str = "a") -> str:
    """The rules of one card: while pick k is (box `.e{k}`), atom i (`.{atom}{i}`) has the tone `picks[k][i]`.

    A pick is what the pointer is on, else what is chosen. The panel of pick k, `.v{k}`, shows. On a page of many cards
    each has a name for its atoms, since browsers look rules up by the class of what they style.
    """
    return "".join(_rule(group, number, tones, atom) for number, tones in enumerate(picks))


def _rule(group: str, number: int, tones: Mapping[int, Tone], atom: str) -> str:
    box = f".e{number}"
    picked = f".mhex .{group}:is(:has({box}:hover),:not(:has(.e:hover)):has({box} :checked))"
    rules = [f"& {box}{{border-color:var(--fg);box-shadow:0 0 0 1px var(--fg)}}", f"& .v{number}{{visibility:visible}}"]
    for tone, atoms in _by(tones, lambda level, _: f"background:var(--{level_name(level)})"):
        rules.append(f"{_atoms(atoms, atom)}{{{tone}}}")
    for line, atoms in _by(tones, lambda level, _: _line(level)):
        rules.append(f"{_atoms(atoms, atom)}{{{line}}}")
    unsettled = [index for index, (level, marked) in tones.items() if level and marked]
    if unsettled:
        rules.append(f"{_atoms(unsettled, atom)}{{background:none;outline:1px dotted var(--mute);outline-offset:-1px}}")
    return f"{picked}{{{''.join(rules)}}}"


def _by(tones: Mapping[int, Tone], style: Any) -> Iterable[tuple[str, list[int]]]:
    """The atoms that have a level, by what `style` says of them."""
    atoms_of: dict[str, list[int]] = {}
    for atom, (level, marked) in tones.items():
        if level:
            atoms_of.setdefault(style(level, marked), []).append(atom)
    return atoms_of.items()


def _line(level: int) -> str:
    kind, colour = ("solid 1.5px", "for") if level > 0 else ("wavy 1px", "against")
    if abs(level) <= _FAINT:
        colour = level_name(10 if level > 0 else -10)
    return f"text-decoration:underline {kind} var(--{colour})"


def _atoms(atoms: Sequence[int], name: str) -> str:
    """A list of selectors, not `:is()`, by whose classes no browser looks rules up."""
    return ",".join(f"& .{name}{atom}" for atom in atoms)
