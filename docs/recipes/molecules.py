# SPDX-License-Identifier: Apache-2.0
"""Molecules as SMILES: which atoms decide the class? Tokens are units, since words mean nothing here."""

from __future__ import annotations

import itertools
from typing import Any

from standin import explainer_for_recipe, options

ATOMS = r"\[[^\]]+\]|Br|Cl|[BCNOSPFI]|[bcnosp]|[0-9]|[().=#\-+]"
CHAINS = ["CC", "CCC", "c1ccccc1", "CCN", "CC(C)C", "FCC"]
ACID, OTHER = "C(=O)O", ["CO", "C#N", "CCl", "C(C)O", "CN"]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    args = options(__doc__).parse_args(arguments)
    acids = [f"{chain}{part}{ACID}" for chain, part in itertools.product(CHAINS, ["", "C", "O", "CC", "N"])]
    others = [f"{chain}{end}" for chain, end in itertools.product(CHAINS, OTHER)]
    texts, labels = [*acids, *others], [1] * len(acids) + [0] * len(others)
    explainer = explainer_for_recipe(args.model, texts, labels, pattern=ATOMS, id2label={0: "other", 1: "acid"})

    one = explainer("c1ccccc1CCC(=O)O", target="acid")
    tokens = [token for token in one.tokens if not token.special]
    print(one.label, " ".join(f"{token.text}{token.score:+.2f}" for token in tokens))
    group = [token.score for token in tokens if token.start is not None and token.start >= len("c1ccccc1CC")]
    rest = sum(token.score for token in tokens) - sum(group)
    print(f"The acid group says {sum(group):+.2f}, all other atoms together {rest:+.2f}.")
    return {"explanation": one, "group": sum(group), "rest": rest}


if __name__ == "__main__":
    main()
