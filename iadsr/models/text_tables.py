"""Item vectors from item texts: what text gives a recommender without any denoising.

Texts (n_items + 1, E) have a zero row 0 for padding. An item with a zero row has no text: it enters no mean and no
covariance. What then becomes of it, each table says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.backbone import INIT_STD, ItemTable

_NOISE = 1e-10  # share of the largest variance below which a direction is rounding


class Components(NamedTuple):
    """Principal components of the N items that have a text, in double precision.

    Attributes:
        items: (N,) item indices.
        centred: (N, E) their texts less the mean text.
        directions: (E, R) unit vectors by falling variance, the largest entry of each positive.
        variances: (R,) all above 0.
    """

    items: Tensor
    centred: Tensor
    directions: Tensor
    variances: Tensor


def components(text: Tensor) -> Components:
    """Find the principal components of texts (n_items + 1, E), on the CPU wherever they are.

    Raises:
        ValueError: no two texts differ.
    """
    rows = text.cpu().double()
    items = rows.any(1).nonzero().squeeze(1)
    centred = rows[items] - rows[items].mean(0)
    variances, directions = torch.linalg.eigh(centred.t() @ centred / max(len(items), 1))
    variances, directions = variances.flip(0), directions.flip(1)
    rank = int((variances > _NOISE * rows.square().sum(1).max()).sum())
    if not rank:
        raise ValueError("item vectors from texts need texts that differ")
    variances, directions = variances[:rank], directions[:, :rank]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    return Components(items, centred, directions * largest.sign(), variances)


def whiten(text: Tensor, width: int) -> Tensor:
    """Whiten texts to mean 0 and covariance I over the items that have one: (n_items, K <= `width`), else zeros.

    Raises:
        ValueError: see `components`.
    """
    found = components(text)
    scale = found.directions[:, :width] / found.variances[:width].sqrt()
    whitened = found.centred.new_zeros(len(text) - 1, scale.shape[1])
    whitened[found.items - 1] = found.centred @ scale
    return whitened.to(torch.get_default_dtype())


@torch.no_grad()
def initialise_from_text(table: ItemTable, text: Tensor, reduce: str, scale: float) -> None:
    """Set first weights to reduced texts, scaled by one factor to `scale` times our standard deviation.

    An item without text keeps its random weights, and so does every column beyond the number of components.

    Args:
        reduce: `pca`: the first principal components; `random`: a Gaussian projection.

    Raises:
        ValueError: see `components`.
    """
    found, weight = components(text), table.embedding.weight
    if reduce == "pca":
        directions = found.directions[:, : weight.shape[1]]
    else:
        directions = torch.randn(text.shape[1], weight.shape[1]).double()
    reduced = found.centred @ directions
    reduced *= scale * INIT_STD / reduced.square().mean().sqrt()
    weight[found.items, : reduced.shape[1]] = reduced.to(weight.dtype)


class ItemVectors(nn.Module):
    """A table with vectors (n_items + 1, D) that were computed once, for a training step or a scoring."""

    bias: Tensor | None = None

    def __init__(self, vectors: Tensor, first: int) -> None:
        super().__init__()
        self.vectors, self.first = vectors, first

    def forward(self, items: Tensor) -> Tensor:
        """Look up vectors (…, D) of item indices (…)."""
        return F.embedding(items, self.vectors, padding_idx=0)

    @property
    def candidates(self) -> Tensor:
        """Slice the vectors of candidates (V, D)."""
        return self.vectors[self.first :]

    @property
    def n_candidates(self) -> int:
        """Count the candidates."""
        return len(self.vectors) - self.first

    def computed(self) -> ItemVectors:
        """Return this table."""
        return self


class TextTable(nn.Module):
    """A table of vectors computed from texts. Any look-up computes all of them: look up in what `computed` returns.

    Attributes:
        whitened: (n_items, K) see `whiten`.
    """

    bias: Tensor | None = None
    whitened: Tensor

    def __init__(self, whitened: Tensor, first: int) -> None:
        super().__init__()
        self.first = first
        self.register_buffer("whitened", whitened, persistent=False)

    def vectors(self) -> Tensor:
        """Compute all vectors (n_items + 1, D); padding's is zero."""
        raise NotImplementedError

    def computed(self) -> ItemVectors:
        """Compute the table's present vectors."""
        return ItemVectors(self.vectors(), self.first)

    def forward(self, items: Tensor) -> Tensor:
        """Look up vectors (…, D) of item indices (…)."""
        embedded: Tensor = self.computed()(items)
        return embedded

    @property
    def candidates(self) -> Tensor:
        """Compute the vectors of candidates (V, D)."""
        return self.computed().candidates

    @property
    def n_candidates(self) -> int:
        """Count the candidates."""
        return len(self.whitened) + 1 - self.first


class TextSum(TextTable):
    """A free vector per item plus a linear map of its whitened text; of an item without text, the map's bias.

    After UniSRec's transductive mode (Hou et al., KDD 2022), with one map in place of a mixture of experts.
    """

    def __init__(self, table: ItemTable, whitened: Tensor, scale: float) -> None:
        super().__init__(whitened, table.first)
        self.embedding = table.embedding
        self.project = nn.Linear(whitened.shape[1], table.embedding.embedding_dim)
        nn.init.normal_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        _rescale(self.project, whitened, scale)

    def vectors(self) -> Tensor:
        """Add the mapped texts to the free vectors; see `TextTable`."""
        return self.embedding.weight + _below_padding(self.project(self.whitened))


class TextFrozen(TextTable):
    """A small network of the whitened text, the same for all items; items without text share one vector.

    After LLM2Rec and AlphaRec, whose item vectors are a network of a frozen language model's. Padding is zero, also
    where it can be recommended.
    """

    def __init__(self, table: ItemTable, whitened: Tensor, scale: float) -> None:
        super().__init__(whitened, table.first)
        dimension = table.embedding.embedding_dim
        first, last = nn.Linear(whitened.shape[1], dimension), nn.Linear(dimension, dimension)
        self.network = nn.Sequential(first, nn.ReLU(), last)
        for layer in (first, last):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            _rescale(last, self.network[:2](whitened), scale)

    def vectors(self) -> Tensor:
        """Apply the network to every text; see `TextTable`."""
        return _below_padding(self.network(self.whitened))


@torch.no_grad()
def _rescale(layer: nn.Linear, given: Tensor, scale: float) -> None:
    """Scale the weights so that outputs, without a bias, have `scale` times our standard deviation."""
    layer.weight *= scale * INIT_STD / layer(given).std(correction=0)


def _below_padding(vectors: Tensor) -> Tensor:
    """Put vectors (n_items, D) below a row of zeros."""
    return F.pad(vectors, (0, 0, 1, 0))


def build(table: ItemTable, text: Tensor, options: Mapping[str, Any]) -> ItemTable | TextTable:
    """Make a table of item vectors from text, with fresh parameters.

    Args:
        table: the table that a run without text would have, with its first weights.
        text: (n_items + 1, E).
        options: see `iadsr.config.options.ItemTableOptions`.

    Raises:
        ValueError: there is not one text per item, or no two texts differ.
    """
    if len(text) != table.embedding.num_embeddings:
        raise ValueError(f"{len(text) - 1} texts are not one for each of {table.embedding.num_embeddings - 1} items")
    kind, scale = options["items"], options["items_scale"]
    if kind == "text_init":
        initialise_from_text(table, text, options["items_reduce"], scale)
        return table
    whitened = whiten(text, options["items_components"])
    if kind == "text_sum":
        return TextSum(table, whitened, scale)
    return TextFrozen(table, whitened, scale)
