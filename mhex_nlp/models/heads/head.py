# SPDX-License-Identifier: Apache-2.0
"""The MHEX head of one encoder layer: attention gate, evidence, equivalent matrix. Pure torch.

Axes: B texts, T tokens, H hidden units, C labels. "Paper" is Sun & Liò 2025, arXiv 2501.01311; "our reading" marks what
the paper leaves open for text encoders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init  # honours `_is_hf_initialized`; a write through `.data` does not

Reading = Literal["tokens", "text"] | None  # evidence of each token, what the head says of the whole text, or nothing
_RMS_EPS = 1e-6


class GateActivation(nn.Module):
    """2 sigmoid, in (0, 2): a module without parameters, so that a forward hook can watch the gates."""

    def forward(self, pooled: Tensor) -> Tensor:
        return 2 * torch.sigmoid(pooled)


class MhexHead(nn.Module):
    """Gates what attention adds to the residual stream, and reads signed class evidence off every token.

    With `x` the attention output, `x_global` the stream it is added to and `z = x + x_global`:

        gate      g = 2 sigmoid(W1 mean(z)),  x <- g * x          paper: sigmoid(W1 GAP(x + x_global)); the 2 is ours
        evidence  e[t, c] = W_equiv[c] . relu(z[t]),  W_equiv = W2 W1                                       paper

    `W1` starts at zero, so that a fresh head has g = 1 exactly: injected into a pretrained model it changes no output
    bit. The paper's plain sigmoid would halve every attention output at the start.

    Args:
        hidden_size: H.
        num_labels: C.
        gate: apply the gate; `False` only reads.
        causal: pool over the positions up to each token, so that no later token changes an earlier state (ours).
        pre_norm: divide `z` by its root mean square over H first (ours): the unnormalised stream of a pre-LN
            family carries a few massive activations that would saturate the gate.
    """

    def __init__(
        self, hidden_size: int, num_labels: int, *, gate: bool = True, causal: bool = False, pre_norm: bool = False
    ) -> None:
        super().__init__()
        self.gate, self.causal, self.pre_norm = gate, causal, pre_norm
        self.activation = GateActivation()
        self.w1 = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.w2 = nn.Parameter(torch.empty(num_labels, hidden_size))
        self.bias = nn.Parameter(torch.empty(num_labels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every weight: W1 and the bias to 0, W2 to normal(0, 0.02), whatever the family's own scale is."""
        init.zeros_(self.w1)
        init.normal_(self.w2, mean=0.0, std=0.02)
        init.zeros_(self.bias)

    @property
    def equivalent_matrix(self) -> Tensor:
        """W_equiv = W2 W1 of the paper: (C, H), read as a class activation map over tokens."""
        return self.w2 @ self.w1

    def forward(
        self,
        x: Tensor,
        x_global: Tensor,
        mask: Tensor | None = None,
        *,
        reading: Reading = "tokens",
        z: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gated attention output, and what the head says.

        Args:
            x: (B, T, H), what attention adds.
            x_global: (B, T, H), the residual stream it is added to.
            mask: (B, T) bool, False on padding; `None` means that every token is real.
            reading: what to read; without it the head is its gate alone.
            z: x + x_global, (B, T, H), where the caller has it already; it is overwritten.

        Returns:
            x gated, (B, T, H) in the dtype of x; and in float32, by `reading`:
            "tokens": evidence (B, T, C), zero on padding, and the bias (C,), a copy, since offloaded and sharded
            parameters are there only while the head runs;
            "text": the logits (B, C), mean evidence of the real tokens and bias, and `None`. As the mean comes first,
            W_equiv, which takes another reading of all of W1, is not needed;
            `None`: `None` and `None`.
        """
        z = x + x_global if z is None else z  # (B, T, H)
        # In place from here on, which autograd allows for these operations: a copy of z would be the head's main cost.
        if mask is not None:
            _blank(z, ~mask)
        if self.pre_norm:
            square = z.float().pow(2).mean(-1, keepdim=True)
            z = (z.float() * torch.rsqrt(square + _RMS_EPS)).to(z.dtype)
        if self.gate:
            pooled = pool(z, mask, causal=self.causal)  # (B, 1 or T, H)
            gate = self.activation(F.linear(pooled.to(self.w1.dtype), self.w1))
            x = x * gate.to(x.dtype)
        if reading is None:
            return x, None, None
        z = z.relu_()
        if reading == "tokens":
            return x, F.linear(z.to(self.w1.dtype), self.equivalent_matrix).float(), self.bias.float().clone()
        pooled = pool(z, mask, causal=False).squeeze(1).to(self.w1.dtype)  # (B, H)
        return x, F.linear(F.linear(pooled, self.w1).float(), self.w2.float(), self.bias.float()), None


def trained(heads: Iterable[nn.Module]) -> bool:
    """Whether deep supervision ever reached these heads: some equivalent matrix and some bias have left zero.

    The bias tells: gates alone move W1, and with it W2 W1, without any head having learnt a class. Heads whose weights
    are offloaded (meta) count as trained.
    """
    weights = [head for head in heads if isinstance(head, MhexHead)]
    if any(head.bias.is_meta for head in weights):
        return True
    with torch.no_grad():
        return any(bool(head.bias.any()) and bool(head.equivalent_matrix.any()) for head in weights)


def _blank(z: Tensor, padding: Tensor) -> None:
    """Zeros in place of the (B, T, H) on padding, (B, T) bool. Not by a product: a padded row may hold NaN."""
    if z.device.type == "cpu" and not torch.compiler.is_compiling():
        # The few rows alone; elsewhere their number would have to be waited for. Not by a view, whose change in place
        # autograd answers with two more copies of the whole gradient.
        z.index_put_(padding.nonzero(as_tuple=True), z.new_zeros(()))
    else:
        z.masked_fill_(padding[..., None], 0.0)


def pool(z: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
    """Mean of z over real tokens, in float32 (the paper's global average pooling).

    Args:
        z: (B, T, H), zero on padding.
        mask: (B, T) bool or `None`.
        causal: running mean over the positions up to each token.

    Returns:
        (B, 1, H), or (B, T, H) when causal. A row without real tokens gives zeros.
    """
    if mask is None and not causal:
        return z.mean(1, keepdim=True, dtype=torch.float32)
    real = z.new_ones(z.shape[:2], dtype=torch.float32) if mask is None else mask.float()  # (B, T)
    if causal:
        return z.float().cumsum(1) / real.cumsum(1).clamp(min=1)[..., None]
    return z.sum(1, keepdim=True, dtype=torch.float32) / real.sum(1).clamp(min=1)[:, None, None]
