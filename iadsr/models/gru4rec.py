"""GRU4Rec (Hidasi et al., ICLR 2016): a recurrent backbone."""

from __future__ import annotations

from torch import Tensor, nn

from iadsr.models.dropout import Dropout
from iadsr.models.recurrence import run_gru


class GRU4Rec(nn.Module):
    """Dropout on the embeddings, a GRU, a linear map back to the embedding width."""

    def __init__(self, dimension: int, dropout: float, hidden: int, layers: int) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(dimension, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.project = nn.Linear(hidden, dimension)
        for name, weight in self.gru.named_parameters():
            if name.startswith("weight"):
                nn.init.xavier_uniform_(weight)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """See `Backbone`. Recurrence runs forward, so padding on the right cannot reach a valid state."""
        hidden = run_gru(self.gru, self.dropout(embedded), lengths, self.dropout)
        states: Tensor = self.project(self.dropout(hidden))
        return states


def build(n_users: int, dimension: int, max_length: int, dropout: float, hidden: int, layers: int) -> GRU4Rec:
    """Build a GRU4Rec, which needs neither users nor a limit on the length."""
    return GRU4Rec(dimension, dropout, hidden, layers)
