"""`random_drop`: a control that drops as many inputs as another method's run, by chance.

A denoiser's gain beyond this control comes from *which* items it drops; the rest is input dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iadsr.methods.masks import bernoulli, encode_kept, previous_rate
from iadsr.methods.method import Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.methods.random_drop_options import RandomDropOptions


class RandomDrop(Method):
    """Bernoulli masks on the inputs at the matched run's keep rates, one epoch late as there."""

    def __init__(self, inputs: MethodInputs, options: RandomDropOptions) -> None:
        super().__init__()
        if inputs.keep_rates is None:
            raise ValueError("random_drop needs the keep rates of the run that it matches")
        self.rates, self.test_rate = inputs.keep_rates, inputs.test_keep_rate
        self.remove = options.remove
        self.rate = 1.0

    def begin_epoch(self, epoch: int) -> None:
        """See `Method`."""
        self.rate = previous_rate(self.rates, epoch)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        return self._drop(table, backbone, batch, self.rate, noise)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`. At a keep rate of 1 nothing is dropped."""
        return self._drop(table, backbone, batch, self.test_rate, noise)

    def _drop(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, rate: float, noise: torch.Generator
    ) -> Encoded:
        keep = bernoulli(rate, batch.valid, noise)
        return Encoded(encode_kept(backbone, table(batch.items), keep, batch, self.remove), keep=keep)
