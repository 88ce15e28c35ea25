"""`random_drop`: a control that drops as many inputs as another method's run, by chance.

A denoiser's gain beyond this control comes from *which* items it drops; the rest is input dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iadsr.methods.masks import bernoulli
from iadsr.methods.matched_drop import MatchedDrop
from iadsr.methods.method import Batch


class RandomDrop(MatchedDrop):
    """Drops each input by chance, independently of the others."""

    def choose(self, rate: float, batch: Batch, noise: torch.Generator) -> tuple[Tensor, None]:
        """Draw a Bernoulli mask; see `MatchedDrop`."""
        return bernoulli(rate, batch.valid, noise), None
