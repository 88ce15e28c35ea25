"""`recency`: a control that keeps the newest inputs, as many as another method's run."""

from __future__ import annotations

import torch
from torch import Tensor

from iadsr.methods.masks import count_dropped, keep_all_but
from iadsr.methods.matched_drop import MatchedDrop
from iadsr.methods.method import Batch


class Recency(MatchedDrop):
    """Drops the oldest inputs of each row."""

    def choose(self, rate: float, batch: Batch, noise: torch.Generator) -> tuple[Tensor, None]:
        """Drop the first inputs; see `MatchedDrop`."""
        place = batch.valid.cumsum(1)  # from 1
        counts = count_dropped(batch.valid.sum(1, keepdim=True), rate, batch.users)
        return keep_all_but((place <= counts) & batch.valid), None
