"""ADT: which targets count, and how much."""

import pytest
import torch

from iadsr.config.search import search_ranges
from iadsr.methods.adt import ADT
from iadsr.methods.adt_options import ADTOptions
from iadsr.methods.method import Encoded
from iadsr.training.loop import train
from iadsr.training.recommender import build_recommender
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences

LOSSES = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0, 0.5, 0.1, 6.0, 0.2, 0.3])


def weights(**options: object) -> tuple[list[torch.Tensor], Encoded]:
    """Weights of the same targets in four steps."""
    method, encoded = ADT(inputs_of(), ADTOptions(**options)), Encoded(torch.zeros(1))  # type: ignore[arg-type]
    return [method.weigh_targets(encoded, lambda: LOSSES, torch.arange(len(LOSSES))) for _ in range(4)], encoded


def test_truncation_leaves_out_a_rising_share_of_the_largest_losses() -> None:
    found, encoded = weights(rate=0.3, ramp=3)
    left_out = [sorted(LOSSES[step == 0].tolist()) for step in found]
    assert left_out == [[6.0], [5.0, 6.0], [4.0, 5.0, 6.0], [4.0, 5.0, 6.0]]
    assert all(set(step.tolist()) <= {0.0, 1.0} for step in found)
    assert float(encoded.traced["targets_kept"]) == pytest.approx(0.7)


def test_the_search_reaches_the_releases_share() -> None:
    """It leaves out 0.05 to 0.2 of all pairs, which are positives alone: with a negative each, twice that share."""
    found = search_ranges(ADTOptions)["rate"]
    assert found.low <= 2 * 0.05 and found.high >= 2 * 0.2


def test_reweighting_is_a_power_of_the_probability() -> None:
    found, _ = weights(weights="reweighted", power=0.5)
    torch.testing.assert_close(found[0], torch.exp(-LOSSES).sqrt())


def test_no_rate_and_no_power_are_the_backbone_alone() -> None:
    def curve(kind: str, options: dict[str, object]) -> list[float]:
        cell = small_cell("gru4rec", kind, "all", options)
        return [row.loss for row in train(build_recommender(cell, inputs_of()), feed_of(small_sequences()), cell).curve]

    plain = curve("none", {})
    assert curve("adt", {"rate": 0.0}) == pytest.approx(plain, rel=1e-6)
    assert curve("adt", {"weights": "reweighted", "power": 0.0}) == pytest.approx(plain, rel=1e-6)
    assert curve("adt", {"ramp": 1}) != pytest.approx(plain, rel=1e-3)
    assert curve("adt", {"weights": "reweighted"}) != pytest.approx(plain, rel=1e-3)
