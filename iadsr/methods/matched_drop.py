"""The base of controls that drop as many inputs as another method's run, or a fixed share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from iadsr.methods.masks import encode_kept, rate_in_epoch
from iadsr.methods.method import Batch, Encoded, Method, MethodInputs, TrainingBatch
from iadsr.methods.random_drop_options import RandomDropOptions


class MatchedDrop(Method):
    """Drops inputs at the keep rates of the matched run's inputs, epoch by epoch, or at one rate."""

    def __init__(self, inputs: MethodInputs, options: RandomDropOptions) -> None:
        super().__init__()
        if options.rate is not None:
            self.rates, self.test_rate = np.array([1 - options.rate]), 1 - options.rate
        elif inputs.keep_rates is None:
            raise ValueError("a control of a matched run needs its keep rates")
        else:
            self.rates, self.test_rate = inputs.keep_rates, inputs.test_keep_rate
        self.remove = options.remove
        self.rate = 1.0

    def choose(self, rate: float, batch: Batch, noise: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Choose a mask (B, T) of 1 and 0 at a keep rate, 1 at padding; with scores (B, T), low for noise, if any."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Set the keep rate of an epoch."""
        self.rate = rate_in_epoch(self.rates, epoch)

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """Encode what is kept at the epoch's rate; see `Method`."""
        return self._drop(table, backbone, batch, self.rate, noise)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """Encode what is kept at the rate for scoring; see `Method`. At a keep rate of 1 nothing is dropped."""
        return self._drop(table, backbone, batch, self.test_rate, noise)

    def _drop(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, rate: float, noise: torch.Generator
    ) -> Encoded:
        keep, score = self.choose(rate, batch, noise)
        return Encoded(encode_kept(backbone, table(batch.items), keep, batch, self.remove), keep=keep, score=score)
