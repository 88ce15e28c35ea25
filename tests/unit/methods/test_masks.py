"""Sampling frequencies, hardness, gradients, and InfoNCE by hand."""

import math

import numpy as np
import pytest
import torch

from iadsr.methods.masks import gumbel_noise, harden, info_nce, logistic_noise, soft_sample


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("score", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_keep_probability_is_the_sigmoid_at_any_temperature(score: float, temperature: float) -> None:
    scores = torch.full((200_000,), score)
    kept = harden(soft_sample(scores, logistic_noise(scores, stream()), temperature)).mean()
    assert abs(float(kept) - 1 / (1 + math.exp(-score))) < 0.005
    released = harden(soft_sample(scores, gumbel_noise(scores, stream()), temperature)).mean()
    assert abs(float(released) - (1 - math.exp(-math.exp(score)))) < 0.005  # R4: 0.63 at a score of 0


def test_mask_is_hard_and_gradient_reaches_the_score() -> None:
    score = torch.randn(1000, requires_grad=True)
    mask = harden(soft_sample(score, logistic_noise(score, stream()), 1.0))
    assert set(mask.detach().round(decimals=6).unique().tolist()) == {0.0, 1.0}
    mask.sum().backward()
    assert score.grad is not None
    assert (score.grad > 0).all()


def test_noise_is_logistic() -> None:
    noise = logistic_noise(torch.empty(400_000), stream(1))
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.var()) - math.pi**2 / 3) < 0.05


def test_info_nce_by_hand() -> None:
    left = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    right = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    r = math.sqrt(0.5)
    rows = [(1.0, r), (0.0, r)]
    expected = np.mean([-row[i] / 0.5 + math.log(sum(math.exp(x / 0.5) for x in row)) for i, row in enumerate(rows)])
    assert float(info_nce(left, right, 0.5)) == pytest.approx(float(expected), abs=1e-6)
