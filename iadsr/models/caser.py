"""Caser (Tang and Wang, WSDM 2018): convolutions over a causal window of recent items.

The published model sees one window of L items per prediction. Here every position has such a window, in one pass:
a filter of height h is a convolution over time, its max-pooling a sliding maximum over the L - h + 1 places inside
the window. Before a sequence starts the window holds zeros. There is no user embedding, so that one backbone serves
users whose histories grow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.dropout import Dropout


class Caser(nn.Module):
    """Horizontal filters of every height up to the window, vertical filters, one hidden layer."""

    def __init__(self, dimension: int, dropout: float, window: int, horizontal: int, vertical: int) -> None:
        super().__init__()
        self.window = window
        self.horizontal = nn.ModuleList(nn.Conv1d(dimension, horizontal, height) for height in range(1, window + 1))
        self.vertical = nn.Linear(window, vertical)
        self.dropout = Dropout(dropout)
        self.hidden = nn.Linear(horizontal * window + vertical * dimension, dimension)
        self.out = nn.Linear(2 * dimension, dimension)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """See `Backbone`. A window ends at its position, so nothing on its right can reach it."""
        batch, time, width = embedded.shape
        x = self.dropout(embedded).transpose(1, 2)  # (B, D, T)
        padded = F.pad(x, (self.window - 1, 0))
        pooled = []
        for height, convolution in enumerate(self.horizontal, start=1):
            places = F.relu(convolution(padded))  # (B, F, T + window - height)
            pooled.append(F.max_pool1d(places, self.window - height + 1, stride=1))
        # A vertical filter is a weighted sum of the window's items: one small product is faster than a convolution over
        # B * D one-channel signals.
        window = torch.stack([padded[..., place : place + time] for place in range(self.window)])
        columns = self.vertical(window.flatten(1).T).T.view(-1, batch, width, time)
        pooled.extend(columns)
        features = self.dropout(torch.cat(pooled, dim=1).transpose(1, 2))
        hidden = F.relu(self.hidden(features))
        states: Tensor = self.out(torch.cat((hidden, x.transpose(1, 2)), dim=-1))
        return states


def build(dimension: int, max_length: int, dropout: float, window: int, horizontal: int, vertical: int) -> Caser:
    """The window, not `max_length`, limits what a position sees."""
    return Caser(dimension, dropout, window, horizontal, vertical)
