"""The backbones of the authors' release, with its sizes and without its missing masks mended.

Inputs are padded on the left to a fixed length, padding has an embedding like any item, and nothing hides it: it is
encoded, and it takes part in attention, filters and the maximum over time. Scores come from an output layer of its own.
Their states are H wide where embeddings are D wide.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.recurrence import run_gru

_STD = 0.02  # of SASRec's weights


class ReleasedTable(nn.Module):
    """Item embeddings, padding's among them, and an output layer apart from them. See `ItemTable`."""

    def __init__(self, n_items: int, dimension: int, hidden: int, rank_padding: bool) -> None:
        super().__init__()
        self.first = 0 if rank_padding else 1
        self.embedding = nn.Embedding(n_items + 1, dimension)
        self.output = nn.Linear(hidden, n_items + 1)

    def forward(self, items: Tensor) -> Tensor:
        """Embed item indices (…) as (…, D)."""
        embedded: Tensor = self.embedding(items)
        return embedded

    @property
    def candidates(self) -> Tensor:
        """(V, H) rows of the output layer; row i is item i + `first`."""
        return self.output.weight[self.first :]

    @property
    def bias(self) -> Tensor:
        """(V,) added to the candidates' scores."""
        return self.output.bias[self.first :]

    @property
    def n_candidates(self) -> int:
        """Count the candidates."""
        return self.output.out_features - self.first

    def computed(self) -> ReleasedTable:
        """Return this table: its vectors are its weights."""
        return self


class ReleasedGRU4Rec(nn.Module):
    """Two recurrent layers and nothing else."""

    def __init__(self, dimension: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dimension, hidden, layers, batch_first=True)
        self.between = nn.Identity()

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Encode embeddings (B, T, D) as states (B, T, H)."""
        return run_gru(self.gru, embedded, lengths, self.between)


class ReleasedSASRec(nn.Module):
    """Attention blocks in which every position sees every other one."""

    def __init__(
        self, dimension: int, max_length: int, dropout: float, hidden: int, layers: int, heads: int, inner: int
    ) -> None:
        super().__init__()
        self.positions = nn.Embedding(max_length, dimension)
        self.norm = nn.LayerNorm(dimension, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        block = nn.TransformerEncoderLayer(dimension, heads, inner, dropout, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.project = nn.Linear(dimension, hidden)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Encode embeddings (B, T, D) as states (B, T, H)."""
        x = self.dropout(self.norm(embedded + self.positions.weight))
        states: Tensor = self.project(self.encoder(x))
        return states

    def initialise(self, model: nn.Module) -> None:
        """Give this network, and all modules around it, the release's first weights."""
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(cast(Tensor, module.bias))


class ReleasedCaser(nn.Module):
    """Filters over the whole input; the state that predicts stands at the last position, zeros elsewhere.

    Its short interest has no context: a linear map of each embedding. Its long one is the state that predicts.
    """

    def __init__(
        self, n_users: int, dimension: int, max_length: int, dropout: float, hidden: int, filters: int
    ) -> None:
        super().__init__()
        self.vertical = nn.Linear(max_length, filters)
        self.horizontal = nn.ModuleList(nn.Conv1d(dimension, filters, height) for height in range(1, max_length + 1))
        self.merge = nn.Linear(filters * (dimension + max_length), dimension)
        self.users = nn.Embedding(n_users, dimension)
        self.join = nn.Linear(2 * dimension, hidden)
        self.short = nn.Linear(dimension, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Encode embeddings (B, T, D) as states (B, T, H)."""
        x = embedded.transpose(1, 2)  # (B, D, T)
        columns = self.vertical(x).transpose(1, 2).flatten(1)  # filter by filter, as released
        rows = [F.relu(convolve(x)).amax(-1) for convolve in self.horizontal]
        features = self.dropout(torch.cat((columns, *rows), dim=1))
        sequence = F.relu(self.merge(features))
        state: Tensor = F.relu(self.join(torch.cat((sequence, self.users(users)), dim=1)))
        return F.pad(state.unsqueeze(1), (0, 0, embedded.shape[1] - 1, 0))

    def interests(self, embedded: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the short (B, T, H) and long (B, 1, H) interests."""
        return self.short(embedded), states[:, -1:]


def build(
    name: str, n_users: int, dimension: int, max_length: int, dropout: float, options: dict[str, Any]
) -> nn.Module:
    """Build the release's backbone called `name`, with fresh parameters."""
    if name == "gru4rec":
        return ReleasedGRU4Rec(dimension, **options)
    if name == "caser":
        return ReleasedCaser(n_users, dimension, max_length, dropout, **options)
    return ReleasedSASRec(dimension, max_length, dropout, **options)
