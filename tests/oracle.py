"""IADSR's training step, user by user and position by position, as obvious as can be.

What the vectorised step is checked against, and what the benchmark measures it against. The authors' release loops over
users and positions as well; products with the whole catalogue are products here as there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iadsr.methods.iadsr import IADSR
from iadsr.methods.masks import logistic_noise
from iadsr.training.feed import Step
from iadsr.training.recommender import Recommender


def slow_losses(model: Recommender, step: Step, keep: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
    """The losses of `Recommender.forward` with IADSR, scope `sequence` and one target a sample.

    Every valid position enters the alignment, so `alignment_rows` must be no smaller than their number.
    """
    method, items = model.method, step.batch.items
    assert isinstance(method, IADSR)
    random = logistic_noise(torch.empty(items.shape), noise)
    short_map, long_map = method.project.weight.chunk(2)
    weight = model.table.embedding.weight
    assert method.decode is not None
    pairs_short, pairs_long, errors, losses = [], [], [], []
    for user in range(len(items)):
        length = int(step.batch.lengths[user])
        embedded = model.table(items[user, :length])
        inputs = torch.stack([embedded[t] * keep[user, t] for t in range(length)])
        states = model.backbone(inputs.unsqueeze(0), torch.tensor([length]), step.batch.users[user : user + 1])[0]
        collaborative, semantic = states[0], torch.zeros(len(long_map))
        for t in range(length):
            collaborative = torch.maximum(collaborative, states[t])
            semantic = semantic + long_map @ method.text[items[user, t]] / length
        pairs_long.append((collaborative, semantic, int(step.batch.users[user])))
        mine = []
        gate = _cosine(semantic, collaborative) > method.cutoff.number
        for t in range(length):
            short = short_map @ method.text[items[user, t]]
            pairs_short.append((states[t], short, int(items[user, t])))
            score = _cosine(semantic, states[t]) + _cosine(collaborative, short) + _cosine(states[t], short)
            soft = torch.sigmoid((score + random[user, t]) / method.temperature)
            mask = (soft > 0.5).float() + soft - soft.detach() if gate else torch.ones(())
            if gate:
                mine.append((method.decode(states[t] * mask) - embedded[t]).square().mean())
        if mine:
            errors.append(torch.stack(mine).mean())
        logits = weight[1:] @ states[length - 1]
        losses.append(F.cross_entropy(logits, step.targets[user] - 1))
    return {
        "recommendation": torch.stack(losses).mean(),
        "alignment": method.alignment * (_info_nce(pairs_short, method) + _info_nce(pairs_long, method)),
        "reconstruction": method.reconstruction * torch.stack(errors).mean(),
    }


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    return left @ right / (left.norm() * right.norm())


def _info_nce(pairs: list[tuple[Tensor, Tensor, int]], method: IADSR) -> Tensor:
    """Pairs and what each is about; others about the same are negatives only with `equal_negatives`."""
    terms = []
    for index, (left, _, about) in enumerate(pairs):
        logits = []
        for other, (_, right, its) in enumerate(pairs):
            if other == index or its != about or method.equal_negatives:
                logits.append(_cosine(left, right) / method.alignment_temperature)
            if other == index:
                own = logits[-1]
        terms.append(torch.logsumexp(torch.stack(logits), 0) - own)
    return torch.stack(terms).mean()
