"""A training step against its matrix products alone, IADSR's against its backbone's, and against the loops."""

from __future__ import annotations

import pytest
import torch

from benchmarks.conftest import Time
from benchmarks.products import Products
from benchmarks.workloads import BEAUTY, MOVIELENS, Size, Training, cell
from iadsr.core.config import BACKBONES
from tests.oracle import slow_losses

SIZES = pytest.mark.parametrize("size", [MOVIELENS, BEAUTY], ids=lambda size: size.dataset)


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("backbone", list(BACKBONES))
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
@pytest.mark.parametrize("backbone", list(BACKBONES))
@SIZES
def test_iadsr_against_its_backbone(timed: Time, size: Size, backbone: str, side: str) -> None:
    method = "iadsr" if side == "ours" else "none"
    training = Training(size, cell(size, backbone, method))
    timed(training.step, f"IADSR's step over none's: {backbone}, {size.dataset}", side, "limit", 1.8)


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_step_against_the_loops(timed: Time, side: str) -> None:
    """Release's sizes: 32 users of Beauty, one target each."""
    training = Training(BEAUTY, cell(BEAUTY, "gru4rec", "iadsr", "paper"), batch_size=32)
    method = training.model.method
    method.alignment_rows = 10**6  # type: ignore[assignment]  # the loops align every position
    step, keep = training.prepared()

    def loops() -> None:
        losses = slow_losses(training.model, step, keep, training.noise)
        training.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        training.optimiser.step()

    timed(training.step if side == "ours" else loops, "loops over a step: GRU4Rec + IADSR, beauty", side, "speedup", 10,
          rounds=10 if side == "ours" else 2)  # fmt: skip
