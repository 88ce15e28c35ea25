"""DCRec's Transformer: attention over the whole input, both ways, that sees no padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from iadsr.models.backbone import INIT_STD, last_states
from iadsr.models.dropout import Dropout


class AttentionBlock(nn.Module):
    """Attention and a position-wise network, each with a residual connection and then a layer norm."""

    def __init__(self, dimension: int, dropout: float, attention_dropout: float, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dimension, dimension)
        self.key_value = nn.Linear(dimension, 2 * dimension)
        self.out = nn.Linear(dimension, dimension)
        self.attention_norm = nn.LayerNorm(dimension)
        self.network = nn.Sequential(nn.Linear(dimension, inner), nn.GELU(), nn.Linear(inner, dimension))
        self.network_norm = nn.LayerNorm(dimension)
        self.dropout, self.attention_dropout = Dropout(dropout), Dropout(attention_dropout)

    def forward(self, wanted: Tensor, x: Tensor, valid: Tensor) -> Tensor:
        """Update positions `wanted` (B, Q, D) from all valid (B, T) positions of x (B, T, D): (B, Q, D)."""
        y = self.attention_norm(wanted + self.dropout(self.attend(wanted, x, valid)))
        updated: Tensor = self.network_norm(y + self.dropout(self.network(y)))
        return updated

    def attend(self, wanted: Tensor, x: Tensor, valid: Tensor) -> Tensor:
        """Compute multi-head attention, with the arguments of `forward`."""
        query = self._split(self.query(wanted))
        key, value = (self._split(part) for part in self.key_value(x).chunk(2, dim=-1))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~valid[:, None, None], -torch.inf).softmax(-1)
        mixed: Tensor = self.out((self.attention_dropout(weights) @ value).transpose(1, 2).flatten(2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """Split (B, T, D) by heads: (B, heads, T, D / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Transformer(nn.Module):
    """Learned positions counted from the start, a layer norm and blocks."""

    def __init__(
        self, dimension: int, max_length: int, dropout: float, attention_dropout: float, layers: int, heads: int,
        inner: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.positions = nn.Parameter(torch.randn(max_length, dimension) * INIT_STD)
        self.norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            AttentionBlock(dimension, dropout, attention_dropout, heads, inner) for _ in range(layers)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Compute the state (B, D) at the last of each row's `lengths` (B,) positions of embeddings (B, T, D).

        The last block updates that position alone.
        """
        valid = torch.arange(embedded.shape[1], device=embedded.device) < lengths.unsqueeze(1)
        x = self.dropout(self.norm(embedded + self.positions[: embedded.shape[1]]))
        *blocks, final = self.blocks
        for block in blocks:
            x = block(x, x, valid)
        state: Tensor = final(last_states(x, lengths).unsqueeze(1), x, valid).squeeze(1)
        return state
