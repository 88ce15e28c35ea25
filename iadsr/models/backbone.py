"""What a backbone is, how one is made, and the item table that its states are scored against."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from iadsr.config.options import find_backbone

INIT_STD = 0.02  # of item embeddings, and of whatever is added to them


class Backbone(Protocol):
    """A sequence encoder, causal where its options say so (`causal`).

    With a method `initialise(model)`, it gives first weights to the whole recommender around it.
    """

    def __call__(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Encode item embeddings as states.

        Args:
            embedded: (B, T, D) item embeddings, padded on the right.
            lengths: (B,) valid positions of each row.
            users: (B,) user indices; a backbone with user embeddings reads them.

        Returns:
            (B, T, D) states. That of a causal backbone at t depends on positions <= t alone, hence never on padding;
            what the states of any other depend on, it says itself. What stands at padded positions is undefined.
        """
        ...


def build_backbone(
    name: str, n_users: int, dimension: int, max_length: int, dropout: float, options: Mapping[str, Any]
) -> nn.Module:
    """Make a backbone of ours, or `package.module.Class`, with fresh parameters."""
    module, _, make = find_backbone(name, "ours", "backbone").implementation.partition(":")
    backbone: nn.Module = getattr(importlib.import_module(module), make)(
        n_users=n_users, dimension=dimension, max_length=max_length, dropout=dropout, **options
    )
    return backbone


def no_backbone(**_: Any) -> nn.Module:
    """Make the backbone `own`, an identity: for methods that bring their own network and call none."""
    return nn.Identity()


class ItemTable(nn.Module):
    """Embeddings of items 1..n_items; index 0 pads and embeds to zero. Inputs and scores share the table.

    Attributes:
        first: the item in row 0 of `candidates`: 1, or 0 if padding can be recommended (R9).
        bias: (V,) added to the candidates' scores, or None.
        n_candidates: V.
    """

    bias: Tensor | None = None

    def __init__(self, n_items: int, dimension: int, rank_padding: bool = False) -> None:
        super().__init__()
        self.first = 0 if rank_padding else 1
        self.embedding = nn.Embedding(n_items + 1, dimension, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=INIT_STD)
        with torch.no_grad():
            self.embedding.weight[0].zero_()

    def forward(self, items: Tensor) -> Tensor:
        """Embed item indices (…) as (…, D)."""
        embedded: Tensor = self.embedding(items)
        return embedded

    @property
    def candidates(self) -> Tensor:
        """(V, D) vectors of everything that can be recommended; row i is item i + `first`."""
        return self.embedding.weight[self.first :]

    @property
    def n_candidates(self) -> int:
        """Count the candidates."""
        return self.embedding.num_embeddings - self.first

    def computed(self) -> ItemTable:
        """Return this table: its vectors are its weights. See `iadsr.models.text_tables` for others."""
        return self


def last_states(states: Tensor, lengths: Tensor) -> Tensor:
    """Select from states (B, T, D) that at each row's last valid position: (B, D)."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]
