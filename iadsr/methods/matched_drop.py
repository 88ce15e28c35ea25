"""The base of controls that drop as many inputs as another method's run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iadsr.methods.masks import encode_kept, previous_rate
from iadsr.methods.method import Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.methods.random_drop_options import RandomDropOptions


class MatchedDrop(Method):
    """Drops inputs at the matched run's keep rates, each an epoch later, as that run uses its masks."""

    def __init__(self, inputs: MethodInputs, options: RandomDropOptions) -> None:
        super().__init__()
        if inputs.keep_rates is None:
            raise ValueError("a control of a matched run needs its keep rates")
        self.rates, self.test_rate = inputs.keep_rates, inputs.test_keep_rate
        self.remove = options.remove
        self.rate = 1.0

    def choose(self, rate: float, batch: Batch, noise: torch.Generator) -> Tensor:
        """Choose a mask (B, T) of 1 and 0 at a keep rate; 1 at padding."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Set the keep rate of an epoch."""
        self.rate = previous_rate(self.rates, epoch)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Encode what is kept at the epoch's rate; see `Method`."""
        return self._drop(table, backbone, batch, self.rate, noise)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """Encode what is kept at the matched run's rate at test time; see `Method`."""
        return self._drop(table, backbone, batch, self.test_rate, noise)

    def _drop(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, rate: float, noise: torch.Generator
    ) -> Encoded:
        keep = self.choose(rate, batch, noise)
        return Encoded(encode_kept(backbone, table(batch.items), keep, batch, self.remove), keep=keep)
