"""GRU4Rec (Hidasi et al., ICLR 2016): a recurrent backbone."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.dropout import Dropout
from iadsr.models.recurrence import gru_layer


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

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """See `Backbone`. Recurrence runs forward, so padding on the right cannot reach a valid state."""
        x = self.dropout(embedded)
        hidden = self._on_cpu(x) if x.device.type == "cpu" else self.gru(x)[0]
        states: Tensor = self.project(self.dropout(hidden))
        return states

    def _on_cpu(self, x: Tensor) -> Tensor:
        """What `self.gru` computes, layer by layer."""
        steps = x.transpose(0, 1)
        for layer in range(self.gru.num_layers):
            if layer:
                steps = self.dropout(steps)
            input_weight, weight, input_bias, bias = self.gru.all_weights[layer]
            steps = gru_layer(F.linear(steps, input_weight, input_bias), weight, bias)
        return steps.transpose(0, 1)


def build(dimension: int, max_length: int, dropout: float, hidden: int, layers: int) -> GRU4Rec:
    """A GRU needs no limit on the length."""
    return GRU4Rec(dimension, dropout, hidden, layers)
