"""Masks that are 0/1 going forward and differentiable going back, and contrastive alignment."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iadsr.models.loss import softmax_loss


def logistic_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard logistic samples (the difference of two Gumbel samples), shaped as `like`.

    With one Gumbel sample instead (R4), P(keep | score s) would be 1 - exp(-exp(s)), which is 0.63 at s = 0.
    """
    uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return torch.logit(uniform, eps=1e-6)


def gumbel_sigmoid(score: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Hard binary-concrete sample: 1 with probability sigmoid(score), straight-through gradient.

    Args:
        score: any shape, logits.
        temperature: of the soft sample whose gradient is used; the hard sample does not depend on it.

    Returns:
        0/1 values in `score`'s shape and type.
    """
    soft = torch.sigmoid((score + logistic_noise(score, generator)) / temperature)
    hard = (soft > 0.5).to(soft.dtype)
    return hard + (soft - soft.detach())


def info_nce(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """InfoNCE with in-batch negatives, from `left` to `right`; row i of one matches row i of the other.

    Args:
        left, right: (N, D), not normalised.
    """
    own = torch.arange(len(left), device=left.device)
    return softmax_loss(F.normalize(left, dim=-1) / temperature, F.normalize(right, dim=-1), own)
