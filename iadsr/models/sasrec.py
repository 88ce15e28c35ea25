"""Causal self-attention over recent items, after SASRec (Kang and McAuley, ICDM 2018)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.backbone import INIT_STD
from iadsr.models.dropout import Dropout


class Block(nn.Module):
    """Attention and a position-wise network, each with a residual connection and a layer norm."""

    def __init__(
        self,
        dimension: int,
        dropout: float,
        heads: int,
        inner: int,
        norm: Literal["post", "pre"] = "post",
        activation: Literal["gelu", "relu"] = "gelu",
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"dimension {dimension} is not a multiple of {heads} heads")
        self.heads, self.norm, self.attention_dropout = heads, norm, attention_dropout
        self.qkv = nn.Linear(dimension, 3 * dimension)
        self.out = nn.Linear(dimension, dimension)
        self.attention_norm = nn.LayerNorm(dimension)
        self.network = nn.Sequential(
            nn.Linear(dimension, inner),
            nn.GELU() if activation == "gelu" else nn.ReLU(),
            Dropout(dropout),
            nn.Linear(inner, dimension),
        )
        self.network_norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Update (B, T, D); position t attends to positions <= t."""
        if self.norm == "pre":
            x = x + self.dropout(self.attend(self.attention_norm(x)))
            updated: Tensor = x + self.dropout(self.network(self.network_norm(x)))
            return updated
        x = self.attention_norm(x + self.dropout(self.attend(x)))
        updated = self.network_norm(x + self.dropout(self.network(x)))
        return updated

    def attend(self, x: Tensor) -> Tensor:
        """Apply causal multi-head attention to (B, T, D)."""
        batch, time, width = x.shape
        qkv = self.qkv(x).view(batch, time, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        dropped = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropped)
        merged: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        return merged


class SASRec(nn.Module):
    """Learned positions counted from the window's start and causal blocks.

    As published (`norm: pre`), embeddings are scaled by sqrt(D), blocks norm their inputs, and the last state is
    normed. The default, `norm: post`, norms the sum of embedding and position, since embeddings start small, and then
    after each residual connection as in the Transformer; it scored higher on MovieLens-100K's validation targets.
    """

    def __init__(self, dimension: int, max_length: int, dropout: float, layers: int, **options: Any) -> None:
        super().__init__()
        self.pre = options["norm"] == "pre"
        self.positions = nn.Parameter(torch.randn(max_length, dimension) * INIT_STD)
        self.norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dimension, dropout, **options) for _ in range(layers))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """See `Backbone`. Padding stands on the right, so the causal mask hides it from every valid position."""
        positions = self.positions[: embedded.shape[1]]
        if self.pre:
            x: Tensor = self.dropout(embedded * math.sqrt(embedded.shape[-1]) + positions)
        else:
            x = self.dropout(self.norm(embedded + positions))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) if self.pre else x


def build(n_users: int, dimension: int, max_length: int, dropout: float, layers: int, **options: Any) -> SASRec:
    """Build a SASRec for inputs of at most `max_length` positions; `options`: see `SASRecOptions`."""
    return SASRec(dimension, max_length, dropout, layers, **options)
