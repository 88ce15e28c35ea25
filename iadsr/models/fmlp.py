"""FMLP-Rec (Zhou et al., WWW 2022): learned filters over the frequencies of a sequence, in place of attention.

A product with a filter in the frequency domain is a circular convolution over all positions, so every state depends on
the whole input. As in the authors' code (RUCAIBox/FMLP-Rec f3c4285) the input is padded on the left to `max_length`
and padding is not masked: it is a zero vector plus its place's position vector, and passes through the filters and
networks like an item. A state therefore depends on how much padding `max_length` leaves, but not on the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iadsr.models.backbone import INIT_STD
from iadsr.models.dropout import Dropout


class FilterBlock(nn.Module):
    """A filter and a position-wise network, each with a residual connection and a layer norm."""

    def __init__(self, dimension: int, max_length: int, dropout: float, inner: int) -> None:
        super().__init__()
        frequencies = max_length // 2 + 1
        self.filter = nn.Parameter(torch.randn(frequencies, dimension, 2) * INIT_STD)  # real and imaginary parts
        self.filter_norm = nn.LayerNorm(dimension)
        self.network = nn.Sequential(nn.Linear(dimension, inner), nn.GELU(), nn.Linear(inner, dimension))
        self.network_norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Filter and update (B, L, D)."""
        x = self.filter_norm(x + self.dropout(apply_filter(x, self.filter)))
        updated: Tensor = self.network_norm(x + self.dropout(self.network(x)))
        return updated


class FMLPRec(nn.Module):
    """Learned positions and filter blocks. Not causal."""

    def __init__(self, dimension: int, max_length: int, dropout: float, layers: int, inner: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(max_length, dimension) * INIT_STD)
        self.norm = nn.LayerNorm(dimension)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(FilterBlock(dimension, max_length, dropout, inner) for _ in range(layers))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)

    def forward(self, embedded: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Encode embeddings (B, T, D) of at most `max_length` positions as states (B, T, D); see `Backbone`.

        A row's last valid state is the one that FMLP-Rec recommends from. Those before it see the items after them and
        are trained by nothing but a method that reads them; what stands at padded positions is undefined.
        """
        x = self.dropout(self.norm(pad_left(embedded, lengths, len(self.positions)) + self.positions))
        for block in self.blocks:
            x = block(x)
        return pad_right(x, lengths, embedded.shape[1])


def apply_filter(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply the frequencies of x (B, L, D), over L, by weight (L // 2 + 1, D, 2), real and imaginary parts."""
    spectrum = torch.fft.rfft(x, dim=1, norm="ortho") * torch.view_as_complex(weight)
    filtered: Tensor = torch.fft.irfft(spectrum, n=x.shape[1], dim=1, norm="ortho")
    return filtered


def pad_left(x: Tensor, lengths: Tensor, length: int) -> Tensor:
    """Move rows of x (B, T, D), padded on the right, to the end of (B, length, D), behind zeros."""
    steps = torch.arange(length, device=x.device) - (length - lengths.unsqueeze(1))
    return _take(x, steps.clamp(min=0)) * (steps >= 0).unsqueeze(-1)


def pad_right(x: Tensor, lengths: Tensor, length: int) -> Tensor:
    """Move rows of x (B, L, D), padded on the left, to the start of (B, length, D); undefined behind them."""
    steps = torch.arange(length, device=x.device) + (x.shape[1] - lengths.unsqueeze(1))
    return _take(x, steps.clamp(max=x.shape[1] - 1))


def _take(x: Tensor, steps: Tensor) -> Tensor:
    """Take rows of x (B, T, D) at steps (B, S): (B, S, D)."""
    begin = torch.arange(len(x), device=x.device).unsqueeze(1) * x.shape[1]
    return x.flatten(0, 1).index_select(0, (begin + steps).flatten()).view(*steps.shape, -1)


def build(n_users: int, dimension: int, max_length: int, dropout: float, layers: int, inner: int) -> FMLPRec:
    """Build an FMLP-Rec with positions and filters of `max_length` places; users are not read."""
    return FMLPRec(dimension, max_length, dropout, layers, inner)
