"""The metrics agree with an independent implementation (ranx) on scores without ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iadsr.evaluation.metrics import METRICS, per_user


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """ranx's metrics by our names. Interpreted: compiling them takes a minute, running them takes none."""
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    ranked = pytest.importorskip("ranx.metrics")
    return {"HR": ranked.hit_rate, "NDCG": ranked.ndcg, "MRR": ranked.reciprocal_rank}.__getitem__


def test_agrees_with_ranx_for_every_user(peer: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    users, items = 40, 60
    scores = rng.permuted(np.tile(np.arange(items, dtype=float), (users, 1)), axis=1)
    targets = rng.integers(0, items, users)
    own = scores[np.arange(users), targets]
    rank = 1.0 + (scores > own[:, None]).sum(axis=1)
    assert (rank <= 5).any() and (rank > 20).any()

    # ranx takes (user, position, (item, relevance or score)) with the best first
    best_first = np.argsort(-scores, axis=1)
    run = np.stack([best_first, np.take_along_axis(scores, best_first, axis=1)], axis=2)
    relevant = np.stack([targets, np.ones(users)], axis=1)[:, None, :]
    mine = per_user(pd.DataFrame({"rank_kept": rank}), "kept")
    for metric in METRICS:
        name, _, depth = metric.partition("@")
        theirs = peer(name)(relevant, run, int(depth or 0))
        np.testing.assert_allclose(mine[metric], theirs, atol=1e-12, err_msg=metric)
