"""Layers of SSDRec: encoders of its graphs, and the choice of what is inserted where.

Shapes: B rows, T positions, H width, V items, U users, C candidates for an insertion.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.hierarchical_layers import reversed_places
from iadsr.methods.masks import gumbel_noise
from iadsr.methods.ssdrec_graphs import Graphs, Matrix
from iadsr.models.dropout import Dropout

_SLOPE = 0.2  # of the leaky ReLU


class GraphVectors(NamedTuple):
    """Vectors of items (V + 1, H) and users (U, H)."""

    items: Tensor
    users: Tensor


class Neighbours(nn.Module):
    """A graph: adds up each row's neighbours' vectors, weighted."""

    begin: Tensor
    columns: Tensor
    weights: Tensor

    def __init__(self, graph: Matrix) -> None:
        super().__init__()
        for name, values in (("begin", graph.indptr), ("columns", graph.indices)):
            self.register_buffer(name, torch.as_tensor(values).long(), persistent=False)
        self.register_buffer("weights", torch.as_tensor(graph.data, dtype=torch.float32), persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Sum neighbours' vectors (N, H) for each row (M, H)."""
        summed: Tensor = F.embedding_bag(
            self.columns,
            vectors,
            self.begin,
            mode="sum",
            per_sample_weights=self.weights.to(vectors.dtype),
            include_last_offset=True,
        )
        return summed


class Blend(nn.Module):
    """A convolution over two vectors: a x + b y + c, with dropout."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        bound = 1.5**0.5  # Xavier's, as released
        self.weights = nn.Parameter(torch.empty(2).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(()).uniform_(-(0.5**0.5), 0.5**0.5))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Blend x and y (N, H)."""
        blended: Tensor = self.dropout(self.weights[0] * x + self.weights[1] * y + self.bias)
        return blended


class Merge(nn.Module):
    """Merge what the graph of users and items gives with what the graphs of neighbours and opposites give."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.join = nn.Linear(2 * width, width, bias=False)
        self.inner = nn.Linear(width, width, bias=False)
        self.map = nn.Linear(width, width, bias=False)
        for layer in (self.join, self.inner):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.eye_(self.map.weight)

    def forward(self, across: Tensor, near: Tensor, opposed: Tensor) -> Tensor:
        """Merge (N, H) each to (N, H)."""
        both = [self.join(torch.cat((across, part), dim=1)) for part in (near, opposed)]
        merged: Tensor = self.map(self.inner((both[0] + both[1]) / 2).sigmoid())
        return merged


class GraphEncoder(nn.Module):
    """One layer over all graphs; neighbours and opposites share its weights."""

    def __init__(self, graphs: Graphs, width: int, dropout: float) -> None:
        super().__init__()
        self.graphs = nn.ModuleDict({name: Neighbours(graph) for name, graph in graphs._asdict().items()})
        self.before = nn.Linear(width, width, bias=False)
        self.after = nn.Linear(width, width, bias=False)
        for layer in (self.before, self.after):
            nn.init.xavier_uniform_(layer.weight)
        self.blend_items, self.blend_users = Blend(dropout), Blend(dropout)
        self.merge_items, self.merge_users = Merge(width), Merge(width)

    def forward(self, items: Tensor, users: Tensor) -> GraphVectors:
        """Encode items (V + 1, H) and users (U, H)."""
        opposed = self.graphs["items_opposed"](items)
        return GraphVectors(
            self.merge_items(
                self.graphs["users_of_item"](users),
                self._around(items, self.graphs["items_before"](items), self.graphs["items_after"](items)),
                self._around(items, opposed, opposed),
            ),
            self.merge_users(
                self.graphs["items_of_user"](items),
                self.blend_users(self.graphs["users_alike"](users), users),
                self.blend_users(self.graphs["users_opposed"](users), users),
            ),
        )

    def _around(self, items: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Blend items (V + 1, H) with what comes before and after them, each weighed by attention."""
        parts = ((self.before, before), (self.after, after))
        scores = [F.leaky_relu(layer(items * part), _SLOPE).sum(1) / items.shape[1] ** 0.5 for layer, part in parts]
        share = torch.stack(scores, dim=1).softmax(1)
        blended: Tensor = self.blend_items(items, share[:, :1] * before + share[:, 1:] * after)
        return blended


class Surroundings(nn.Module):
    """A bidirectional LSTM over a start, the inputs and an end: what precedes each input, and what follows it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ends = nn.Parameter(torch.randn(2, width))
        self.ahead = nn.LSTM(width, width, bias=False, batch_first=True)
        self.back = nn.LSTM(width, width, bias=False, batch_first=True)
        for lstm in (self.ahead, self.back):
            for weight in lstm.parameters():
                nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode what stands before and behind each position of x (B, T, H), of which `lengths` (B,) are inputs."""
        rows, time, width = x.shape
        start, end = (part.expand(rows, 1, width) for part in self.ends)
        whole = torch.cat((start, x, end), dim=1)
        steps = torch.arange(time + 2, device=x.device).view(1, -1, 1)
        whole = torch.where(steps == (lengths + 1).view(-1, 1, 1), end, whole)
        places = reversed_places(lengths + 2, time + 2).unsqueeze(-1).expand_as(whole)
        before: Tensor = self.ahead(whole)[0]
        behind: Tensor = self.back(whole.gather(1, places))[0].gather(1, places)
        return before[:, :time], behind[:, 2:]


def consistency(x: Tensor, before: Tensor, behind: Tensor, valid: Tensor) -> Tensor:
    """Multiply two softmaxes over a row's inputs (B, T): of their fit to what surrounds them, and to each other."""
    hidden = ~valid
    fit = (x * before * behind).sum(-1)
    clamped = x.clamp(-1, 1) * valid.unsqueeze(-1)
    alike = (clamped * (clamped.sum(1, keepdim=True) - clamped)).sum(-1)
    return fit.masked_fill(hidden, -torch.inf).softmax(1) * alike.masked_fill(hidden, -torch.inf).softmax(1)


def choose(logits: Tensor, allowed: Tensor, temperature: Tensor, noise: torch.Generator) -> Tensor:
    """Draw one of each row's `allowed` (B, N) entries: 0 or 1 (B, N), with the gradient of a Gumbel-softmax."""
    perturbed = (logits + gumbel_noise(logits, noise)) / temperature
    soft = perturbed.masked_fill(~allowed, -torch.inf).softmax(1)
    drawn = F.one_hot(soft.argmax(1), soft.shape[1]).to(soft.dtype)
    return drawn + (soft - soft.detach())
