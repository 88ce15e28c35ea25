"""A training step against its matrix products alone, IADSR's against its backbone's, and against the loops."""

from __future__ import annotations

import pytest
import torch

from benchmarks.conftest import Time
from benchmarks.products import Products
from benchmarks.workloads import BEAUTY, MOVIELENS, Size, Training, cell
from iadsr.config.options import known_backbones
from iadsr.methods.iadsr_options import IADSROptions
from tests.oracle import slow_losses

SIZES = pytest.mark.parametrize("size", [MOVIELENS, BEAUTY], ids=lambda size: size.dataset)
BACKBONES = [name for name, model in known_backbones().items() if model.causal]  # “strong” has objective `all`
RELEASE_BATCH, BEST_BATCH = 32, 512
EVERY = 10**6  # the loops align every position


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("backbone", BACKBONES)
@SIZES
def test_step_against_its_products(timed: Time, size: Size, backbone: str, side: str) -> None:
    training = Training(size, cell(size, backbone))
    function = training.step
    if side == "reference":
        with Products() as products:
            training.step()
        function = products.repeat
    timed(function, f"step over its matrix products: {backbone}, {size.dataset}", side, "limit", 1.5)


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("protocol", ["paper", "strong"])
@SIZES
def test_iadsr_against_its_backbone(timed: Time, size: Size, protocol: str, backbone: str, side: str) -> None:
    method = "iadsr" if side == "ours" else "none"
    training = Training(size, cell(size, backbone, method, protocol))
    timed(training.step, f"IADSR's step over none's: {backbone}, {size.dataset}, {protocol}", side, "limit", 1.8)


def released(batch_size: int, rows: int) -> Training:
    """GRU4Rec with IADSR at Beauty's size, one target a user; at most so many positions are aligned."""
    training = Training(BEAUTY, cell(BEAUTY, "gru4rec", "iadsr", "paper"), batch_size)
    training.model.method.alignment_rows = rows  # type: ignore[assignment]
    return training


def loops(training: Training) -> None:
    """A step, user by user and position by position."""
    losses = slow_losses(training.model, *training.prepared(training.typical), training.noise)
    training.optimiser.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    training.optimiser.step()


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_step_against_the_loops(timed: Time, side: str) -> None:
    training = released(RELEASE_BATCH, EVERY)
    function, rounds = (training.step, 20) if side == "ours" else (lambda: loops(training), 2)
    timed(function, "loops over a step: GRU4Rec + IADSR, batch 32, beauty", side, "speedup", 10, rounds=rounds)


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_epoch_against_the_loops(timed: Time, side: str) -> None:
    """Ours in the best batch, aligning as many positions as the option says; the loops' batches hold fewer."""
    ours = side == "ours"
    rows = IADSROptions().alignment_rows
    training = released(BEST_BATCH, rows) if ours else released(RELEASE_BATCH, EVERY)
    timed(
        training.epoch if ours else lambda: loops(training),
        f"loops over an epoch: GRU4Rec + IADSR, ours with batch {BEST_BATCH}, beauty",
        side, "speedup", 40, rounds=1, scale=1 if ours else len(training.batches),
    )  # fmt: skip
