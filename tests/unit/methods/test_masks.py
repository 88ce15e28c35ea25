"""Sampling frequencies, hardness, gradients, and InfoNCE by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from iadsr.config.fields import Objective
from iadsr.methods.masks import (
    count_dropped,
    encode_kept,
    gumbel_noise,
    harden,
    info_nce,
    logistic_noise,
    rate_in_epoch,
    soft_sample,
)
from iadsr.sequences.samples import training_samples
from iadsr.training.recommender import build_recommender
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences


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


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("gru4rec", {"layers": 2}),
        ("sasrec", {}),
        ("sasrec", {"norm": "pre"}),
        ("caser", {"window": 3}),
        ("caser", {"window": 3, "user_embedding": True}),
    ],
)
def test_packing_equals_a_loop_over_positions(backbone: str, options: dict[str, object], objective: Objective) -> None:
    """Each state is the last one of the kept inputs alone, of a zero vector if there is none, its user's own; gradients
    too."""
    model = build_recommender(small_cell(backbone, "none", objective, {}, options, dropout=0.0), inputs_of())
    model.double()
    torch.manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    sequences = small_sequences()
    samples = training_samples(sequences, objective, 8, np.random.default_rng(0))
    batch = feed_of(sequences).step(samples, np.arange(3, 8)).batch
    keep = torch.rand(batch.items.shape).gt(0.5)
    keep[1] = False  # of whom nothing is left

    def one_by_one(embedded: Tensor) -> Tensor:
        states = []
        for row, place in batch.valid.nonzero().tolist():
            kept = embedded[row, : place + 1][keep[row, : place + 1]]
            x = (kept if len(kept) else torch.zeros(1, 8).double()).unsqueeze(0)
            states.append(model.backbone(x, torch.tensor([x.shape[1]]), batch.users[[row]])[0, -1])
        return torch.stack(states)

    results = []
    for encode in (one_by_one, lambda x: encode_kept(model.backbone, x, keep.double(), batch, "pack")[batch.valid]):
        model.zero_grad()
        states = encode(model.table(batch.items))
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        results.append([states.detach(), *(weight.grad for weight in model.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("rate", [1.0, 0.95, 0.5, 0.2, 0.0])
def test_counts_round_up_for_as_many_users_as_the_rate_says(rate: float) -> None:
    users = torch.arange(1000)
    for inputs in (1, 2, 3, 7, 50):
        counts = count_dropped(torch.full((1000, 1), inputs), rate, users).flatten()
        wanted = (1 - rate) * inputs
        if wanted < inputs - 1:
            assert set(counts.tolist()) <= {int(np.floor(wanted + 1e-9)), int(np.ceil(wanted - 1e-9))}
            assert float(counts.double().mean()) == pytest.approx(wanted, abs=0.005)
        assert int(counts.max()) < inputs
    assert torch.equal(counts, count_dropped(torch.full((1000, 1), 50), rate, users).flatten()), "no chance"


def test_an_epoch_has_its_own_rate_and_one_after_the_last_the_last_one_s() -> None:
    rates = np.array([1.0, 0.9, 0.5])
    assert [rate_in_epoch(rates, epoch) for epoch in (1, 2, 3, 4, 9)] == [1.0, 0.9, 0.5, 0.5, 0.5]
