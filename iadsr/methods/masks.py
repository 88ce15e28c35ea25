"""Straight-through masks, the removal of dropped inputs, and contrastive alignment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.config.fields import Remove
from iadsr.methods.method import Batch
from iadsr.models.loss import softmax_loss

_GOLDEN = (5**0.5 - 1) / 2  # fractional parts of its multiples fill [0, 1) evenly, however many
_EPS = 1e-10  # the release's guard against log(0)


def logistic_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard logistic samples (the difference of two Gumbel samples), shaped as `like`."""
    return torch.logit(_uniform(like, generator), eps=1e-6)


def gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel samples, shaped as `like`: the release's noise (R4).

    P(keep | score s) is then 1 - exp(-exp(s)), which is 0.63 at s = 0, and not sigmoid(s).
    """
    return -torch.log(-torch.log(_uniform(like, generator) + _EPS) + _EPS)


def bernoulli(rate: Tensor | float, valid: Tensor, noise: torch.Generator) -> Tensor:
    """Draw a mask (B, T): 1 with probability `rate`, else 0. Padding gets 1: the released networks encode it."""
    drawn = torch.rand(valid.shape, generator=noise, device=valid.device) < rate
    return (drawn | ~valid).to(torch.get_default_dtype())


def soft_sample(score: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
    """Sample the Concrete distribution, between 0 and 1, from logits and as many noise samples."""
    return torch.sigmoid((score + noise) / temperature)


def harden(soft: Tensor) -> Tensor:
    """Round to 0 and 1, with the gradient of `soft` (straight-through).

    With logistic noise, 1 has probability sigmoid(score) at any temperature.
    """
    hard = (soft > 0.5).to(soft.dtype)
    return hard + (soft - soft.detach())


def keep_all_but(dropped: Tensor) -> Tensor:
    """Convert a mask of dropped inputs (B, T) to one of kept inputs, 1 and 0."""
    return (~dropped).to(torch.get_default_dtype())


def rate_in_epoch(rates: npt.NDArray[np.float64], epoch: int) -> float:
    """Look up the keep rate of a matched run in an epoch, counted from 1; after its last one, that of the last."""
    return float(rates[min(epoch, len(rates)) - 1])


def count_dropped(inputs: Tensor, rate: float, users: Tensor) -> Tensor:
    """Compute how many of n inputs to drop at a keep rate: (1 - rate) n, rounded up or down by user, not at random.

    Users differ in where they round, evenly, so that all of them together drop the wanted share. One input stays.

    Args:
        inputs: (B, T) or (B, 1) numbers n of inputs.
        users: (B,).
    """
    rounding = ((users.double() + 1) * _GOLDEN).frac().unsqueeze(1)
    wanted = ((1 - rate) * inputs.double() + rounding).floor()
    return wanted.clamp(max=inputs.double() - 1).long()


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def info_nce(left: Tensor, right: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Compute InfoNCE with in-batch negatives, from `left` to `right`; row i of one matches row i of the other.

    Args:
        left, right: (N, D), not normalised.
        same: (N,) what each row is about; other rows about the same are no negatives. None: every other row is one.
    """
    own = torch.arange(len(left), device=left.device)
    queries, keys = F.normalize(left, dim=-1) / temperature, F.normalize(right, dim=-1)
    equal = None if same is None else (same.unsqueeze(1) == same).fill_diagonal_(False)
    return softmax_loss(queries, keys, own, equal)


def encode_kept(backbone: nn.Module, embedded: Tensor, keep: Tensor, batch: Batch, remove: Remove) -> Tensor:
    """Encode inputs some of which are dropped.

    `zero` multiplies embeddings by `keep`: a dropped input keeps its place in time. `pack` takes dropped inputs out and
    moves the kept ones up, in order; the state at t is then that of the last kept input up to t, and where there is
    none, that of a single zero vector (with its row's user).

    Args:
        embedded: (B, T, D).
        keep: (B, T) 1 or 0; for `zero` also between.
        batch: lengths, valid places and users of the rows; padded on the right for `pack`.

    Returns:
        (B, T, W) states, causal where the backbone is.
    """
    if remove == "pack":
        return encode_packed(backbone, embedded, keep, batch)
    states: Tensor = backbone(embedded * keep.unsqueeze(-1), batch.lengths, batch.users)
    return states


def encode_packed(backbone: nn.Module, embedded: Tensor, keep: Tensor, batch: Batch) -> Tensor:
    """Encode as `encode_kept` with `pack`. Equals the plain backbone, bit for bit, where nothing is dropped."""
    kept = (keep > 0.5) & batch.valid
    packed, counts = pack(embedded, kept)
    states = unpack(backbone(packed, counts.clamp(min=1), batch.users), kept)
    nothing = (kept.cumsum(1) == 0) & batch.valid
    if bool(nothing.any()):
        empty = backbone(torch.zeros_like(embedded[:, :1]), torch.ones_like(batch.lengths), batch.users)
        states = torch.where(nothing.unsqueeze(-1), empty, states)
    return states


def pack(x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Move the kept (B, T) positions of x (B, T, ...) to the beginning, in order; the others follow, in order.

    Returns:
        The packed x; how many are kept (B,).
    """
    order = torch.argsort((~kept).byte(), dim=1, stable=True)
    return x.gather(1, order.view(*order.shape, *[1] * (x.dim() - 2)).expand_as(x)), kept.sum(1)


def unpack(states: Tensor, kept: Tensor) -> Tensor:
    """Give each position the packed state (B, T, W) of the last kept one up to it; undefined where there is none."""
    last = (kept.cumsum(1) - 1).clamp(min=0)
    return states.gather(1, last.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
