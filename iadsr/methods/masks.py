"""Masks that are 0/1 going forward and differentiable going back, and contrastive alignment."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iadsr.models.loss import softmax_loss

_EPS = 1e-10  # the release's guard against log(0)


def logistic_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard logistic samples (the difference of two Gumbel samples), shaped as `like`."""
    return torch.logit(_uniform(like, generator), eps=1e-6)


def gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel samples, shaped as `like`: what the release adds to a score (R4).

    P(keep | score s) is then 1 - exp(-exp(s)), which is 0.63 at s = 0, and not sigmoid(s).
    """
    return -torch.log(-torch.log(_uniform(like, generator) + _EPS) + _EPS)


def soft_sample(score: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Concrete sample between 0 and 1 from logits and as many noise samples."""
    return torch.sigmoid((score + noise) / temperature)


def harden(soft: Tensor) -> Tensor:
    """0/1 values with the gradient of `soft` (straight-through).

    With logistic noise, 1 has probability sigmoid(score) at any temperature.
    """
    hard = (soft > 0.5).to(soft.dtype)
    return hard + (soft - soft.detach())


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def info_nce(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """InfoNCE with in-batch negatives, from `left` to `right`; row i of one matches row i of the other.

    Args:
        left, right: (N, D), not normalised.
    """
    own = torch.arange(len(left), device=left.device)
    return softmax_loss(F.normalize(left, dim=-1) / temperature, F.normalize(right, dim=-1), own)
