"""`oracle`: the bound for denoisers of inputs, where noise is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iadsr.methods.masks import encode_kept, keep_all_but
from iadsr.methods.method import Asked, Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.methods.oracle_options import OracleOptions


class Oracle(Method):
    """Drops every input that is known noise and no other, in training and at test time."""

    asks_for: frozenset[Asked] = frozenset({"noisy"})

    def __init__(self, inputs: MethodInputs, options: OracleOptions) -> None:
        super().__init__()
        self.remove = options.remove

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        return self.denoise(table, backbone, batch, noise)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`. Where no noise is known, nothing is dropped."""
        keep = keep_all_but(torch.zeros_like(batch.valid) if batch.noisy is None else batch.noisy)
        return Encoded(encode_kept(backbone, table(batch.items), keep, batch, self.remove), keep=keep)
