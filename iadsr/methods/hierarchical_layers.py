"""Layers and losses of HSD: does an input fit its sequence, and does it fit its user?

Shapes: B rows, T positions of a batch, L the most positions, H the width of item embeddings.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.dropout import Dropout


class Inputs(NamedTuple):
    """What the levels read.

    Attributes:
        embedded: (B, T, H), 0 where not `counted`.
        valid: (B, T) True at inputs.
        counted: (B, T) True where convolution and norm read something: as `valid`, unless padding is read, too.
        lengths: (B,) positions that the LSTM reads.
    """

    embedded: Tensor
    valid: Tensor
    counted: Tensor
    lengths: Tensor


class SequenceLevel(nn.Module):
    """Judge inputs by their sequence.

    One LSTM, forward and backward, encodes the embeddings and then decodes what it encoded; a convolution over all
    positions compares that with the embeddings. Causal: forward only, and earlier positions only.
    """

    def __init__(self, width: int, positions: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.ahead = nn.LSTM(width, width, batch_first=True)
        self.back = None if causal else nn.LSTM(width, width, batch_first=True)
        self.convolution = PositionConvolution(positions, causal)
        self.classify = nn.Linear(width, 2, bias=False)
        self.dropout = Dropout(dropout)
        for lstm in (self.ahead, self.back):
            for name, weight in () if lstm is None else lstm.named_parameters():
                if name.startswith("weight"):
                    nn.init.xavier_uniform_(weight)
        nn.init.xavier_normal_(self.classify.weight)

    def decode(self, inputs: Inputs) -> Tensor:
        """Reconstruct the embeddings (B, T, H); 0 where not `counted`."""
        inside, counted = inputs.valid.unsqueeze(-1), inputs.counted.unsqueeze(-1)
        encoded = self._both_ways(self.dropout(inputs.embedded) * inside, inputs.lengths) * inside
        return self._both_ways(encoded, inputs.lengths) * counted

    def forward(self, decoded: Tensor, inputs: Inputs) -> Tensor:
        """Score the classes wanted and noise (B, T, 2)."""
        compared: Tensor = self.convolution(decoded, inputs.embedded)
        scores: Tensor = self.classify(F.relu(self.dropout(compared)))
        return scores

    def _both_ways(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Add the states of both directions. Padding stands behind a row either way, so no state depends on it."""
        states: Tensor = self.ahead(x)[0]
        if self.back is None:
            return states
        places = reversed_places(lengths, x.shape[1]).unsqueeze(-1).expand_as(x)
        behind: Tensor = self.back(x.gather(1, places))[0].gather(1, places)
        return states + behind


class PositionConvolution(nn.Module):
    """A convolution over two sequences whose channels are positions: each output mixes all positions of both.

    Weights for fewer positions are a slice, which is what zeros behind an input amount to.
    """

    def __init__(self, positions: int, causal: bool) -> None:
        super().__init__()
        bound = (2 * positions) ** -0.5
        self.weight = nn.Parameter(torch.empty(2, positions, positions).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(positions, 1).uniform_(-bound, bound))
        self.causal = causal

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Mix two sequences (B, T, H) into one."""
        time = first.shape[1]
        weight = self.weight[:, :time, :time]
        if self.causal:
            weight = weight.tril()
        return weight[0] @ first + weight[1] @ second + self.bias[:time]


class ItemLevel(nn.Module):
    """Judge inputs by additive attention to a query."""

    def __init__(self, width: int, positions: int, dropout: float, norm: Literal["batch", "layer"]) -> None:
        super().__init__()
        self.norm = PositionNorm(positions) if norm == "batch" else LayerNorm(width)
        self.key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width)
        self.classify = nn.Linear(width, 2, bias=False)
        self.dropout = Dropout(dropout)
        for layer in (self.key, self.query, self.classify):
            nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, inputs: Inputs, query: Tensor) -> Tensor:
        """Score the classes wanted and noise (B, T, 2), given a query (B, 1, H) or (B, T, H)."""
        features = self.dropout(self.norm(inputs.embedded, inputs.counted)) * inputs.valid.unsqueeze(-1)
        scores: Tensor = self.classify(torch.tanh(self.key(features) + self.query(query)))
        return scores


class LayerNorm(nn.LayerNorm):
    """Layer norm, called like `PositionNorm`."""

    def forward(self, x: Tensor, counted: Tensor) -> Tensor:  # type: ignore[override]
        """Norm x (B, T, H); `counted` is not read."""
        return super().forward(x)


class PositionNorm(nn.Module):
    """Batch norm whose channels are positions, with mean and variance over counted rows and over H.

    In training too, x is normed by running statistics, those of the steps before: a batch's own hold what other rows
    know of a row's target. A running statistic is the mean over a position's first ten batches, then a moving average.

    Attributes:
        own_statistics: norm a training batch by its own statistics, as batch norm does.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.own_statistics = False
        self.weight = nn.Parameter(torch.ones(positions, 1))
        self.bias = nn.Parameter(torch.zeros(positions, 1))
        self.register_buffer("mean", torch.zeros(positions))
        self.register_buffer("variance", torch.ones(positions))
        self.register_buffer("batches", torch.zeros(positions))

    def forward(self, x: Tensor, counted: Tensor) -> Tensor:
        """Norm x (B, T, H); where `counted` (B, T) is False, nothing enters a statistic."""
        time = x.shape[1]
        mean, variance = self.mean[:time].clone(), self.variance[:time].clone()
        if self.training:
            own = moments(x, counted)
            self._follow(own[0].detach(), own[1].detach(), counted.any(0))
            if self.own_statistics:
                mean, variance = own
        normed = (x - mean.unsqueeze(-1)) * (variance.unsqueeze(-1) + 1e-5).rsqrt()
        return normed * self.weight[:time] + self.bias[:time]

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, seen: Tensor) -> None:
        """Move the running statistics of the positions `seen` (T,)."""
        time = len(seen)
        self.batches[:time] += seen
        share = torch.where(seen, 1 / self.batches[:time].clamp(min=1, max=10), 0.0)
        self.mean[:time].lerp_(mean, share)
        self.variance[:time].lerp_(variance, share)


def moments(x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance (T,) of x (B, T, H) over H and the rows that count (B, T); 0 where none does."""
    weight = counted.unsqueeze(-1).to(x.dtype)
    numbers = (weight.sum((0, 2)) * x.shape[-1]).clamp(min=1)
    mean = (x * weight).sum((0, 2)) / numbers
    return mean, ((x - mean.unsqueeze(-1)).square() * weight).sum((0, 2)) / numbers


def reversed_places(lengths: Tensor, time: int) -> Tensor:
    """List the places (B, T) that reverse each row's first `lengths` (B,) positions and leave the others."""
    steps = torch.arange(time, device=lengths.device)
    mirrored = lengths.unsqueeze(1) - 1 - steps
    return torch.where(mirrored >= 0, mirrored, steps)


def row_errors(decoded: Tensor, inputs: Inputs) -> Tensor:
    """Average the squared error of reconstructed embeddings, a sum over H, over each row's inputs: (B,)."""
    error = (decoded - inputs.embedded).square().sum(-1) * inputs.valid
    return error.sum(1) / inputs.valid.sum(1)


def smallest_rows(errors: Tensor, left_out: float) -> Tensor:
    """Mark the floor((1 - left_out) B) rows (B,), at least one, with the smallest errors (B,)."""
    kept = max(int((1 - left_out) * len(errors)), 1)
    return errors.argsort(stable=True).argsort() < kept


def all_but_largest(losses: Tensor, valid: Tensor, left_out: float) -> Tensor:
    """Mark the inputs (B, T), less those of the floor(left_out x length) largest losses (B, T) of each row."""
    count = (left_out * valid.sum(1, keepdim=True).double()).floor()
    place = losses.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (place >= count) & valid


def left_out_share(first: float, epochs: int, epoch: int) -> float:
    """Compute the share left out in an epoch, counted from 1: from `first` evenly down to 0 in epoch `epochs`."""
    return first * max(0.0, 1 - (epoch - 1) / max(epochs - 1, 1))
