"""Cross-entropy of vectors among candidates, the largest part of a training step, without its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ROWS = 128  # a block's logits stay in cache
_TORCH = nn.LinearCrossEntropyOptions(batch_chunk_size=_ROWS)


class _Blocked(torch.autograd.Function):
    """The loss on a CPU, block by block and with its gradients, as in torch's `linear_cross_entropy`.

    With MovieLens-100K's items torch's takes 1.29 times its matrix products' time, this one 1.18: exponentials are not
    normalised in place, and targets cost no pass over a block.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        candidates: Tensor,
        targets: Tensor,
        excluded: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor:
        """Average log-sum-exps less the targets' scores; see `softmax_loss`."""
        wanted, weighted = candidates[targets], states
        if weights is not None:
            weights = weights.unsqueeze(1)
            wanted, weighted = wanted * weights, states * weights
        to_states, to_candidates = -wanted, torch.zeros_like(candidates).index_add_(0, targets, weighted, alpha=-1)
        total = -(states * wanted).sum()
        block = states.new_empty(min(_ROWS, len(states)), len(candidates))
        for low in range(0, len(states), _ROWS):
            part = states[low : low + _ROWS]
            scores = torch.mm(part, candidates.t(), out=block[: len(part)])
            if excluded is not None:
                scores.masked_fill_(excluded[low : low + _ROWS], -torch.inf)
            highest = scores.amax(1, keepdim=True)
            scores.sub_(highest).exp_()
            mass = scores.sum(1, keepdim=True)
            logarithm = highest + mass.log()
            if weights is not None:
                share = weights[low : low + _ROWS]
                logarithm, mass = logarithm * share, mass / share  # a weight of 0 makes the mass infinite
            total += logarithm.sum()
            to_states[low : low + _ROWS].addcdiv_(scores @ candidates, mass)
            to_candidates.addmm_(scores.t(), part / mass)
        ctx.save_for_backward(to_states, to_candidates)
        return total / len(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Scale the gradients that the forward pass computed."""
        to_states, to_candidates = ctx.saved_tensors
        scale = gradients[0] / len(to_states)
        return to_states * scale, to_candidates * scale, None, None, None


def softmax_loss(
    states: Tensor,
    candidates: Tensor,
    targets: Tensor,
    excluded: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute the mean cross-entropy of inner products with all candidates: items, or a contrastive loss's own rows.

    Args:
        states: (M, D).
        candidates: (V, D).
        targets: (M,) rows of `candidates`.
        excluded: (M, V) True for candidates that a row leaves out, never its target; None leaves out none.
        weights: (M,) of the rows, with a mean of 1; None: all 1.
    """
    if states.device.type == "cpu":
        loss: Tensor = _Blocked.apply(states, candidates, targets, excluded, weights)  # type: ignore[no-untyped-call]
        return loss
    if excluded is not None or weights is not None:
        scores = states @ candidates.t()
        return weighted_loss(scores if excluded is None else scores.masked_fill(excluded, -torch.inf), targets, weights)
    chunked = states.device.type != "meta" and len(states) > _ROWS
    return F.linear_cross_entropy(states, candidates, targets, options=_TORCH if chunked else None)


def weighted_loss(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Compute the mean cross-entropy of scores (M, V), with weights as in `softmax_loss`."""
    if weights is None:
        return F.cross_entropy(scores, targets)
    return (F.cross_entropy(scores, targets, reduction="none") * weights).mean()
