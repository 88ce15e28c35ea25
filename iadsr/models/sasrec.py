"""SASRec (Kang and McAuley, ICDM 2018): causal self-attention over recent items."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STD = 0.02


class Block(nn.Module):
    """Pre-norm attention and position-wise network, each with a residual connection."""

    def __init__(self, dimension: int, dropout: float, heads: int, inner: int) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"dimension {dimension} is not a multiple of {heads} heads")
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dimension)
        self.qkv = nn.Linear(dimension, 3 * dimension)
        self.out = nn.Linear(dimension, dimension)
        self.network_norm = nn.LayerNorm(dimension)
        self.network = nn.Sequential(
            nn.Linear(dimension, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, dimension)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); position t attends to positions <= t."""
        batch, time, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, time, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, time, width)))
        updated: Tensor = x + self.dropout(self.network(self.network_norm(x)))
        return updated


class SASRec(nn.Module):
    """Learned positions counted from the window's start, a norm, causal blocks, a final norm.

    Weights start small (standard deviation 0.02) and the inputs are normed: with unit-scale inputs instead, the same
    network on MovieLens-100K overfits before its attention has learned anything.
    """

    def __init__(self, dimension: int, max_length: int, dropout: float, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(max_length, dimension) * _STD)
        self.input_norm = nn.LayerNorm(dimension)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dimension, dropout, heads, inner) for _ in range(layers))
        self.norm = nn.LayerNorm(dimension)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_STD)
                nn.init.zeros_(module.bias)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """See `Backbone`. Padding stands on the right, so the causal mask hides it from every valid position."""
        x = self.dropout(self.input_norm(embedded + self.positions[: embedded.shape[1]]))
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states


def build(dimension: int, max_length: int, dropout: float, layers: int, heads: int, inner: int) -> SASRec:
    """Positions limit the length."""
    return SASRec(dimension, max_length, dropout, layers, heads, inner)
