"""Caser (Tang and Wang, WSDM 2018): convolutions over a causal window of recent items.

The published model sees one window of L items per prediction. Here every position has such a window, in one pass:
a filter of height h is a convolution over time, its max-pooling a sliding maximum over the L - h + 1 places inside
the window. Before a sequence starts the window holds zeros. The published output layer
reads the hidden layer and a user embedding (`user_embedding`); by default it reads the last item's embedding instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.backbone import INIT_STD
from iadsr.models.dropout import Dropout


class Caser(nn.Module):
    """Horizontal filters of every height up to the window, vertical filters, one hidden layer."""

    def __init__(
        self, n_users: int, dimension: int, dropout: float, window: int, horizontal: int, vertical: int,
        user_embedding: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.window, self.filters = window, horizontal
        self.horizontal = nn.ModuleList(nn.Conv1d(dimension, horizontal, height) for height in range(1, window + 1))
        self.vertical = nn.Linear(window, vertical)
        self.dropout = Dropout(dropout)
        self.hidden = nn.Linear(horizontal * window + vertical * dimension, dimension)
        self.out = nn.Linear(2 * dimension, dimension)
        self.users = nn.Embedding(n_users, dimension) if user_embedding else None
        if self.users is not None:
            nn.init.normal_(self.users.weight, std=INIT_STD)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """See `Backbone`. A window ends at its position, so nothing on its right can reach it."""
        x = self.dropout(embedded)
        padded = F.pad(x, (0, 0, self.window - 1, 0))  # (B, T + window - 1, D)
        features = self.dropout(torch.cat((self._rows(padded), *self._columns(padded)), dim=-1))
        hidden = F.relu(self.hidden(features))
        beside = x if self.users is None else self.users(users).unsqueeze(1).expand_as(x)
        states: Tensor = self.out(torch.cat((hidden, beside), dim=-1))
        return states

    def _rows(self, padded: Tensor) -> Tensor:
        """Apply the horizontal filters, pooled over their places in each position's window: (B, T, F * window).

        The filters' rows of all heights meet the items in one product, and a filter of height h then sums h of its
        shifted columns: faster than a convolution for each height.
        """
        weights, biases = zip(*((one.weight, one.bias) for one in self.horizontal), strict=True)
        weight = torch.cat([weight.permute(2, 0, 1).flatten(0, 1) for weight in weights])  # (sum of h * F, D)
        rows = iter(torch.split(F.linear(padded, weight), self.filters, dim=-1))
        pooled = []
        for height in range(1, self.window + 1):
            places = padded.shape[1] - height + 1
            shifted = [next(rows)[:, shift : shift + places] for shift in range(height)]
            pooled.append(_sliding_max(sum(shifted[1:], shifted[0]), self.window - height + 1))
        return F.relu(torch.cat(pooled, dim=-1) + torch.cat(biases))

    def _columns(self, padded: Tensor) -> Tensor:
        """Apply the vertical filters, weighted sums of each window's items: (V, B, T, D)."""
        batch, longer, width = padded.shape
        time = longer - self.window + 1
        window = torch.stack([padded[:, place : place + time] for place in range(self.window)])
        summed = torch.addmm(self.vertical.bias.unsqueeze(1), self.vertical.weight, window.flatten(1))
        return summed.view(-1, batch, time, width)


def _sliding_max(x: Tensor, width: int) -> Tensor:
    """Take the maximum of `width` neighbours, (B, T, F) to (B, T - width + 1, F), in about log2(width) steps."""
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        left, right = x[:, : x.shape[1] - step], x[:, step:]
        x = torch.where(left > right, left, right)  # its gradient is cheaper than that of torch.maximum
        covered += step
    return x


def build(n_users: int, dimension: int, max_length: int, dropout: float, **options: Any) -> Caser:
    """Build a Caser: its window, not `max_length`, limits what a position sees; `options`: see `CaserOptions`."""
    return Caser(n_users, dimension, dropout, **options)
