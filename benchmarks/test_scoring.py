"""Full ranking of every user against the bare product of users and items."""

from __future__ import annotations

import pytest
import torch

from benchmarks.conftest import Time
from benchmarks.workloads import BEAUTY, Training, cell
from iadsr.training.score import Scorer


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_ranks_of_beauty_against_the_bare_product(timed: Time, side: str) -> None:
    """Exact ranks of 22,363 users among 12,101 items under both rules; encoding the users is left out of both."""
    training = Training(BEAUTY, cell(BEAUTY, "gru4rec"))
    model = training.model.eval()
    scorer = Scorer(training.feed, "test", cell(BEAUTY, "gru4rec"))
    encoded = [(chosen, vectors) for chosen, vectors, _ in scorer._encoded(model, training.noise)]
    candidates = model.table.candidates

    @torch.inference_mode()
    def ranks() -> None:
        for chosen, vectors in encoded:
            for _, _, places in scorer._placed(model, vectors, chosen):
                assert len(places) == 2

    @torch.inference_mode()
    def product() -> None:
        for _, vectors in encoded:
            vectors @ candidates.T

    timed(
        ranks if side == "ours" else product, "exact ranks over the bare product: beauty", side, "limit", 1.5, rounds=3
    )
