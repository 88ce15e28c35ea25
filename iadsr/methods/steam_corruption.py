"""STEAM's training rows: random parts of sequences, corrupted at random, with what would undo it; and masks.

Sequences are (B, T) item indices, padded with 0 on the right, and (B,) lengths.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

KEEP, DELETE, INSERT = range(3)


class Rates(NamedTuple):
    """Probabilities of the corruption; the rest is kept. `longest`: most items that are deleted in a row."""

    delete: float
    insert: float
    longest: int


class Corrupted(NamedTuple):
    """Corrupted sequences, and the operation at each position that restores them.

    Attributes:
        items: (B, M), M the longest of them.
        labels: (B, M) DELETE where an item was inserted, INSERT where items before it were deleted, else KEEP.
        places: (N,) flat indices in (B, M) of the positions labelled INSERT.
        deleted: (N, longest) the items to be inserted before each of them, the nearest first; 0 behind them.
    """

    items: Tensor
    labels: Tensor
    places: Tensor
    deleted: Tensor


def cut_part(items: Tensor, lengths: Tensor, longest: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cut a random part out of each sequence: a uniform beginning, a uniform length 1..longest, cut at the end.

    Returns:
        Sequences and their lengths.
    """
    start, size = torch.rand(2, len(items), generator=noise, device=items.device)
    begin = (start * lengths).long().clamp(max=lengths - 1)
    count = torch.minimum(1 + (size * longest).long().clamp(max=longest - 1), lengths - begin)
    steps = torch.arange(items.shape[1], device=items.device)
    part = items.gather(1, (begin.unsqueeze(1) + steps).clamp(max=items.shape[1] - 1))
    return (part * (steps < count.unsqueeze(1)))[:, : int(count.max())], count


def draw_masks(valid: Tensor, rate: float, noise: torch.Generator, empty: bool = False) -> Tensor:
    """Draw masks (B, T), True with probability `rate`; unless `empty`, a row that would have none gets one somewhere.

    Rows without a valid place have none.
    """
    drawn = torch.rand(valid.shape, generator=noise, device=valid.device).masked_fill(~valid, 2.0)
    masked = drawn < rate
    return valid & masked if empty else valid & (masked | (drawn == drawn.amin(1, keepdim=True)))


def corrupt(
    items: Tensor, lengths: Tensor, rates: Rates, n_items: int, longest: int, noise: torch.Generator
) -> Corrupted:
    """Walk over each sequence and draw for its next item: keep; delete; or insert another, then draw again.

    A first deletion begins a run, which goes on while further draws say so, up to `rates.longest` items and never to
    the last item of the sequence. The item after a run is kept. An operation that is impossible is drawn again.
    Inserted items are none of the sequence's; unlike the release's, they can repeat.

    The walk is not made step by step: every position draws what it would do if the walk came by, and the positions at
    which it does follow by pointer doubling.

    Args:
        n_items: items 1..n_items.
        longest: no corrupted sequence is longer; at least T.
    """
    keep = 1 - rates.delete - rates.insert
    rows, time = items.shape
    last = (lengths - 1).unsqueeze(1)
    steps = torch.arange(time, device=items.device).expand(rows, time)
    inserting, deleting, running = 1 - torch.rand(3, rows, time, generator=noise, device=items.device)  # in (0, 1]

    run = (1 + _count(running, rates.delete)).clamp(max=rates.longest)
    run = torch.minimum(run, last - steps).clamp(min=0) * (deleting <= rates.delete / (keep + rates.delete))
    visited = _follow(steps + run + 1, lengths)
    run = run * visited
    before = _put(steps + run, run, time)  # length of the run that ends before a position
    kept = (visited & (run == 0)) | (before > 0)

    at_last = rates.insert / (keep + rates.insert)
    new = torch.where(steps < last, _count(inserting, rates.insert), _count(inserting, at_last)) * visited
    room = torch.minimum(longest - lengths, n_items - _distinct(items).sum(1)).clamp(min=0)
    new = torch.minimum(new.cumsum(1), room.unsqueeze(1)).diff(dim=1, prepend=new.new_zeros(rows, 1))

    ends = (new + kept).cumsum(1)
    count = ends[:, -1:]
    width = int(count.max())
    place = torch.where(kept, ends - 1, width)
    operations = torch.tensor([DELETE, KEEP, INSERT], device=items.device)
    labels = operations[_put(place, 1 + (before > 0).long(), width)]
    corrupted = torch.where(labels == DELETE, draw_others(items, width, n_items, noise), _put(place, items, width))
    valid = torch.arange(width, device=items.device) < count
    row, end = (before > 0).nonzero(as_tuple=True)
    back = torch.arange(1, rates.longest + 1, device=items.device)
    deleted = items[row.unsqueeze(1), (end.unsqueeze(1) - back).clamp(min=0)] * (back <= before[row, end].unsqueeze(1))
    return Corrupted(corrupted * valid, labels * valid, row * width + place[row, end], deleted)


def draw_others(items: Tensor, width: int, n_items: int, noise: torch.Generator) -> Tensor:
    """Draw (B, width) items uniformly from those that a row (B, T) lacks; any items for a row that lacks none.

    The k-th smallest missing item is k plus the number of present ones up to it, which needs no rejection.
    """
    beyond = n_items + items.shape[1] + 1
    present = torch.where(_distinct(items), items.sort(1).values - 1, beyond).sort(1).values
    missing = n_items - (present < beyond).sum(1, keepdim=True)
    drawn = torch.rand(len(items), width, generator=noise, device=items.device)
    rank = torch.minimum((drawn * missing).long(), missing - 1).clamp(min=0)
    gaps = present - torch.arange(items.shape[1], device=items.device)
    return (rank + torch.searchsorted(gaps, rank, right=True) + 1).clamp(max=n_items)


def _distinct(items: Tensor) -> Tensor:
    """Mark the first of equal items in each sorted row (B, T), without padding."""
    ordered = items.sort(1).values
    return (ordered > 0) & (ordered.diff(dim=1, prepend=ordered.new_zeros(len(items), 1)) > 0)


def _count(drawn: Tensor, rate: float) -> Tensor:
    """Count successes at a rate before the first failure, from uniform draws in (0, 1]."""
    if not rate:
        return torch.zeros_like(drawn, dtype=torch.long)
    return (drawn.log() / math.log(rate)).floor().clamp(max=2**20).long()


def _follow(following: Tensor, lengths: Tensor) -> Tensor:
    """Mark the positions (B, T) that a walk from 0 visits before its length, if it goes from t to `following[t]` > t.

    After k rounds the pointers are 2^k steps long, and the first 2^k positions of the walk are marked.
    """
    rows, time = following.shape
    end = torch.full((rows, 1), time, device=following.device)
    pointer = torch.cat((following.clamp(max=time), end), 1)
    visited = torch.zeros_like(pointer)
    visited[:, 0] = 1
    for _ in range(max(1, time).bit_length()):
        visited = visited.scatter_reduce(1, pointer, visited, "amax")
        pointer = pointer.gather(1, pointer)
    steps = torch.arange(time, device=following.device)
    return (visited[:, :time] > 0) & (steps < lengths.unsqueeze(1))


def _put(places: Tensor, values: Tensor, width: int) -> Tensor:
    """Put values at places (B, T) in (B, width); those at `width` or beyond are lost, of several the largest stays."""
    room = values.new_zeros(len(values), width + 1)
    return room.scatter_reduce(1, places.clamp(max=width), values, "amax")[:, :width]
