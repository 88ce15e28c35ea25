"""Dropout against its definition, at rates that are and are not multiples of 1/256."""

import pytest
import torch

from iadsr.models.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.4, 0.5, 0.9])
def test_rate_scale_and_gradient(rate: float) -> None:
    torch.manual_seed(3)
    x = torch.full((401, 997), 2.0, requires_grad=True)  # not a multiple of 8 elements
    y = Dropout(rate)(x)
    kept = y != 0
    share = 1 - round(256 * rate) / 256
    assert abs(share - (1 - rate)) <= 1 / 512
    assert float(kept.float().mean()) == pytest.approx(share, abs=0.004)  # more than 5 standard errors
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 2.0 / share))
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept.float() / share)


def test_every_lane_of_a_draw_drops_independently() -> None:
    torch.manual_seed(4)
    kept = (Dropout(0.5)(torch.ones(80_000)) != 0).float().view(-1, 8)
    assert (kept.mean(0) - 0.5).abs().max() < 0.03
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 0.06


def test_nothing_is_dropped_or_drawn_without_need() -> None:
    x = torch.randn(5, 3)
    state = torch.get_rng_state()
    assert Dropout(0.4).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), state)
