# SPDX-License-Identifier: Apache-2.0
"""The limits of a service, and how it batches."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Real

from ...inputs.checks import as_integer


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What a service takes, and how many texts go through its model together.

    Args:
        max_characters: code points of a text, and of the second half of a pair.
        max_texts: texts of a request.
        max_bytes: bytes of a request's body.
        max_budget: further passes over each text that a request may ask for; 0 refuses budgets.
        max_waiting: texts that wait for the model; a request beyond is answered with 429.
        batch_texts: texts of several requests that are given to the explainer together, at the most. Requests are
            never split, so one with more texts goes alone.
        mix_requests: whether texts of several requests may be given to the explainer together. Without it every
            answer is bit-equal to that of a direct call with the request's texts; with it logits differ in their last
            bits, for a matrix product sums in another order for another number of rows.
        timeout: seconds from a request's arrival to its answer; what takes longer is answered with 408 or 504.

    Raises:
        ValueError: a number out of range, or fewer texts that may wait than a request may have.
    """

    max_characters: int = 20_000
    max_texts: int = 64
    max_bytes: int = 512 * 1024
    max_budget: int = 32
    max_waiting: int = 256
    batch_texts: int = 32
    mix_requests: bool = True
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "int":
                as_integer(getattr(self, field.name), field.name, at_least=0 if field.name == "max_budget" else 1)
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, Real) or not 0 < self.timeout < 86_400:
            raise ValueError(f"timeout must be a number of seconds above 0 and below 86,400, got {self.timeout!r}.")
        if self.max_waiting < self.max_texts:
            raise ValueError(
                f"max_waiting must be at least max_texts, or no request of so many texts would ever be taken, got "
                f"{self.max_waiting} and {self.max_texts}."
            )
