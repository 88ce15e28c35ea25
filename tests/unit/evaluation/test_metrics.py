from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from iadsr.core.errors import ConfigError, DataError
from iadsr.evaluation import metrics

Table = Callable[..., pd.DataFrame]


def test_one_relevant_item_by_hand() -> None:
    rank = np.array([1.0, 2.0, 5.0, 5.5, 6.0])
    assert metrics.hit_rate(rank, 5).tolist() == [1, 1, 1, 0, 0]
    assert metrics.ndcg(rank, 5) == pytest.approx([1, 1 / np.log2(3), 1 / np.log2(6), 0, 0])
    assert metrics.reciprocal_rank(rank) == pytest.approx([1, 0.5, 0.2, 1 / 5.5, 1 / 6])


def test_per_user_reads_the_ranking_it_is_asked_for(table: Table) -> None:
    ranks = table([5, 1], [1, 1])
    assert metrics.per_user(ranks, "excluded")["HR@5"].tolist() == [1, 1]
    assert metrics.per_user(ranks, "kept")["HR@5"].tolist() == [0, 1]
    assert tuple(metrics.per_user(ranks, "kept").columns) == tuple(metrics.METRICS)


def test_deciles_of_distinct_counts_are_equal_in_size() -> None:
    counts = np.random.default_rng(0).permutation(200)
    deciles = metrics.popularity_decile(counts)
    assert np.bincount(deciles, minlength=11).tolist() == [0] + [20] * 10
    assert (np.diff(deciles[np.argsort(counts)]) >= 0).all()


def test_deciles_keep_ties_together() -> None:
    # four share positions 1-4, mean 2.5: floor(10 * 2 / 5) + 1 = 5; the last: floor(10 * 4.5 / 5) + 1 = 10
    assert metrics.popularity_decile([3, 3, 3, 3, 8]).tolist() == [5, 5, 5, 5, 10]
    assert metrics.popularity_decile([]).tolist() == []
    counts = np.random.default_rng(0).integers(0, 30, 500)
    pairs = {(int(a), int(b)) for a, b in zip(counts, metrics.popularity_decile(counts), strict=True)}
    assert len(pairs) == len(np.unique(counts))


def test_shown_are_the_distinct_items_of_the_first_ten() -> None:
    top = pd.Series([list(range(1, 21)), [1, 2, 0, 0]])
    assert metrics.count_shown(top, 40) == 10
    assert metrics.count_shown(pd.Series([], dtype=object), 40) == 0
    with pytest.raises(DataError, match="outside the catalogue of 9 items"):
        metrics.count_shown(top, 9)


def test_summary_by_hand(table: Table) -> None:
    ranks = table([1, 20, 2.5, 30], [0, 5, 6, 100])
    summary = metrics.average_groups(ranks, "excluded", coverage=0.5).set_index(["group", "metric"])
    assert summary.loc[("all", "HR@5"), "value"] == 0.5
    assert summary.loc[("all", "HR@20"), "value"] == 0.75
    assert summary.loc[("all", "NDCG@20"), "value"] == pytest.approx((1 + 1 / np.log2(21) + 1 / np.log2(3.5)) / 4)
    assert summary.loc[("all", "MRR"), "value"] == pytest.approx((1 + 1 / 20 + 1 / 2.5 + 1 / 30) / 4)
    assert summary.loc[("cold", "HR@5")].tolist() == [0.5, 2]
    assert summary.loc[("decile_2", "HR@5")].tolist() == [1.0, 1]
    assert np.isnan(summary.loc[("decile_1", "HR@5"), "value"])
    assert summary.loc[("decile_1", "HR@5"), "users"] == 0
    assert summary.loc[("all", "coverage@10")].tolist() == [0.5, 4]
    assert summary.loc[("all", "tied_share")].tolist() == [0.25, 4]
    deciles = summary.filter(like="decile", axis=0).groupby("metric")["users"].sum()
    assert (deciles == 4).all()


def test_no_user_gives_every_row_without_a_value(table: Table) -> None:
    empty = metrics.average_groups(table([], []), "kept", coverage=np.nan)
    full = metrics.average_groups(table([1], [1]), "kept", coverage=0.5)
    assert empty["value"].isna().all() and (empty["users"] == 0).all()
    assert empty[["group", "metric"]].equals(full[["group", "metric"]])


def test_a_metric_added_to_the_table_is_computed_for_users_and_groups(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry in one module: every reader takes the names from there."""
    monkeypatch.setitem(metrics.METRICS, "top", lambda rank: (rank == 1).astype(float))
    ranks = table([1, 3], [1, 1])
    assert metrics.per_user(ranks, "excluded")["top"].tolist() == [1.0, 0.0]
    summary = metrics.average_groups(ranks, "excluded", coverage=0.5)
    assert summary.query("group == 'all' and metric == 'top'")["value"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nobody.knows:it", "No module named"),
        ("math:nothing", "no attribute 'nothing'"),
        ("statistics:MRR", "no attribute"),
    ],
)
def test_a_metric_that_is_not_there_is_an_error(path: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        metrics.add_metrics([path])


def test_a_metric_cannot_take_another_one_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", {**metrics.METRICS})
    metrics.add_metrics(["math:sqrt", "math:sqrt"])
    assert metrics.METRICS["sqrt"] is math.sqrt
    with pytest.raises(ConfigError, match="there is a metric 'sqrt' already"):
        metrics.add_metrics(["cmath:sqrt"])
