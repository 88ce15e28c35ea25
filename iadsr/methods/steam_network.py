"""STEAM's network: a shared encoder, the decoder of insertions, and the carrying out of corrections."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.steam_corruption import DELETE, INSERT
from iadsr.models.backbone import INIT_STD
from iadsr.models.dropout import Dropout
from iadsr.models.loss import softmax_loss

_ROWS = 512  # scores of so many decoded places are held at once


class SteamBlock(nn.Module):
    """A Transformer layer (post-norm, GELU, dropout on the attention weights too) with any attention mask."""

    def __init__(self, dimension: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dimension, 3 * dimension)
        self.out = nn.Linear(dimension, dimension)
        self.attention_norm = nn.LayerNorm(dimension)
        self.network = nn.Sequential(
            nn.Linear(dimension, inner), nn.GELU(), Dropout(dropout), nn.Linear(inner, dimension)
        )
        self.network_norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Transform x (B, T, D); `seen`, broadcast to (B, T, T), is True where a query's row may see a key's column."""
        x = self.attention_norm(x + self.dropout(self.attend(x, seen)))
        updated: Tensor = self.network_norm(x + self.dropout(self.network(x)))
        return updated

    def attend(self, x: Tensor, seen: Tensor) -> Tensor:
        """Apply multi-head attention to x (B, T, D)."""
        rows, time, width = x.shape
        query, key, value = self.qkv(x).view(rows, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5
        weights = scores.masked_fill(~seen.unsqueeze(1), -torch.inf).softmax(-1)
        merged: Tensor = self.out((self.dropout(weights) @ value).transpose(1, 2).reshape(rows, time, width))
        return merged


class Tokens(nn.Module):
    """Items 1..V and 0 for padding, embedded by the item table; V + 1 masks, V + 2 ends an insertion or fills a row."""

    def __init__(self, n_items: int, dimension: int, special: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.mask, self.end = n_items + 1, n_items + 2
        self.special = nn.Parameter(torch.randn(special, dimension) * INIT_STD)

    def forward(self, table: nn.Module, tokens: Tensor) -> Tensor:
        """Embed tokens (…) as (…, D)."""
        is_item = tokens <= self.n_items
        items: Tensor = table(torch.where(is_item, tokens, 0))
        special = F.embedding((tokens - self.mask).clamp(min=0), self.special)
        return torch.where(is_item.unsqueeze(-1), items, special)


class SteamEncoder(nn.Module):
    """Embeddings with positions, through bidirectional blocks that see no padding."""

    def __init__(self, length: int, layers: int, dimension: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length, dimension) * INIT_STD)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(SteamBlock(dimension, heads, inner, dropout) for _ in range(layers))

    def forward(self, embedded: Tensor, seen: Tensor) -> Tensor:
        """Encode embeddings (B, T, D) as (B, T, D); for `seen` see `SteamBlock`."""
        x: Tensor = self.dropout(embedded + self.positions[: embedded.shape[1]])
        for block in self.blocks:
            x = block(x, seen)
        return x


class Inserter(nn.Module):
    """Decodes what to insert before a position, the nearest item first, from the position's encoding.

    Args of the methods:
        encoded: (N, D) encodings of the positions.
        positions: (longest, D) position vectors.
        items: (V + 1, D) vectors of all items in order, then that of the end.
    """

    def __init__(self, dimension: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.block = SteamBlock(dimension, heads, inner, dropout)

    def forward(self, embedded: Tensor) -> Tensor:
        """Compute states (N, K, D), each from the embeddings (N, K, D), with positions, up to it."""
        time = embedded.shape[1]
        seen = torch.ones(time, time, dtype=torch.bool, device=embedded.device).tril().unsqueeze(0)
        states: Tensor = self.block(self.dropout(embedded), seen)
        return states

    def loss(self, encoded: Tensor, wanted: Tensor, positions: Tensor, items: Tensor) -> Tensor:
        """Compute the mean cross-entropy of what is to be inserted (N, longest), each item after those before it.

        `wanted` holds rows of `items`, and -1 behind the last one: there, where there is room, the end is wanted once.
        """
        end = len(items) - 1
        given = torch.where(wanted < 0, end, wanted)
        counted = torch.arange(wanted.shape[1], device=wanted.device) <= (wanted >= 0).sum(1, keepdim=True)
        before = torch.cat((encoded.unsqueeze(1), F.embedding(given[:, :-1], items)), 1)
        return softmax_loss(self(before + positions)[counted], items, given[counted])

    @torch.no_grad()
    def decode(self, encoded: Tensor, positions: Tensor, items: Tensor, repeated: bool) -> Tensor:
        """Decode greedily, until the end or `longest` items: (N, longest) rows of `items`, then -1.

        Args:
            repeated: a released defect; see `STEAMOptions`.
        """
        end, longest = len(items) - 1, len(positions)
        decoded = torch.full((len(encoded), longest), -1, device=encoded.device)
        going, before = torch.arange(len(encoded), device=encoded.device), encoded.unsqueeze(1)
        for step in range(longest):
            times = torch.arange(step + 1, 0, -1, device=encoded.device).unsqueeze(1) if repeated else 1
            states = self(before + positions[: step + 1] * times)[:, -1]
            best = torch.cat([(part @ items.t()).argmax(1) for part in states.split(_ROWS)])
            more = best != end
            going, best = going[more], best[more]
            decoded[going, step] = best
            before = torch.cat((before[more], items[best].unsqueeze(1)), 1)
        return decoded


class Corrected(NamedTuple):
    """Corrected sequences.

    Attributes:
        items: (B, M), padded with 0 on the right; M is at least 1.
        lengths: (B,), 0 where nothing is left.
        inserted: (B,) how many of them are new.
    """

    items: Tensor
    lengths: Tensor
    inserted: Tensor


def apply_operations(items: Tensor, operations: Tensor, places: Tensor, new: Tensor, longest: int) -> Corrected:
    """Carry out one operation per item, and keep the last `longest` items.

    Args:
        items: (B, T), padded with 0 on the right.
        operations: (B, T).
        places: (N,) flat indices in (B, T) of the items before which others are inserted.
        new: (N, K) the others, the nearest first; 0 behind them.
    """
    rows, time = items.shape
    kept = (items > 0) & (operations != DELETE)
    count = torch.zeros_like(items).flatten().index_put((places,), (new > 0).sum(1)).view(rows, time)
    ends = (kept + count).cumsum(1)
    lengths = ends[:, -1].clamp(max=longest)
    ends = ends - (ends[:, -1:] - longest).clamp(min=0)  # the first ones may end before the beginning
    width = max(1, int(lengths.max()))
    room = items.new_zeros(rows, width + 1)
    place = torch.where(kept & (ends > 0), ends - 1, width)
    room = room.scatter(1, place, torch.where(place < width, items, 0))
    row = places // time
    nearest = ends.flatten()[places] - 2
    back = nearest.unsqueeze(1) - torch.arange(new.shape[1], device=items.device)
    there = (new > 0) & (back >= 0)
    room = room.index_put((row.unsqueeze(1), torch.where(there, back, width)), torch.where(there, new, 0))
    inserted = torch.zeros_like(lengths).index_add(0, row, there.sum(1))
    return Corrected(room[:, :width], lengths, inserted)


def places_of(operations: Tensor, items: Tensor) -> Tensor:
    """List the flat indices (N,) of the items before which something is to be inserted."""
    return ((operations == INSERT) & (items > 0)).flatten().nonzero().squeeze(1)
