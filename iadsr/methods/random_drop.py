"""`random_drop`: a control that drops as many inputs as another method's run did, chosen by chance.

Whatever a denoiser gains beyond this control comes from *which* items it drops; the rest is input dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iadsr.config.fields import Remove
from iadsr.methods.masks import bernoulli, encode_kept
from iadsr.methods.method import Batch, Context, Encoded, Method


class RandomDrop(Method):
    """Bernoulli masks on the inputs at the matched run's keep rates, one epoch late as there."""

    def __init__(self, context: Context, remove: Remove) -> None:
        super().__init__()
        self.remove = remove
        if context.keep_rates is None:
            raise ValueError("random_drop needs the keep rates of the run that it matches")
        self.rates = context.keep_rates
        self.test_rate = context.test_keep_rate
        self.rate = 1.0

    def begin_epoch(self, epoch: int) -> None:
        """The input of epoch e carries the decisions of epoch e - 1; after its last one the rate stays."""
        self.rate = 1.0 if epoch == 1 else float(self.rates[min(epoch - 2, len(self.rates) - 1)])

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        """See `Method`."""
        return self._dropped(table, backbone, batch, self.rate, noise)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        """See `Method`. At a keep rate of 1 nothing is dropped."""
        return self._dropped(table, backbone, batch, self.test_rate, noise)

    def _dropped(
        self, table: nn.Module, backbone: nn.Module, batch: Batch, rate: float, noise: torch.Generator
    ) -> Encoded:
        embedded: Tensor = table(batch.items)
        keep = bernoulli(rate, batch.valid, noise)
        return Encoded(encode_kept(backbone, embedded, keep, batch, self.remove), keep=keep)


def build(context: Context, match: str, remove: Remove) -> RandomDrop:
    """`match` has done its work when the workflow chose whose rates `context` holds."""
    return RandomDrop(context, remove)
