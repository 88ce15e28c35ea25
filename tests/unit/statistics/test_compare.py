from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.evaluation.runs import Address
from iadsr.statistics.compare import COLUMNS, Scores, Side, compare_all, plan, scores_of, write_comparisons
from iadsr.statistics.paired import holm

USERS = 40
FAST = {"flips": 199, "resamples": 100}


def ranks(values: list[float] | np.ndarray, *, first_user: int = 0) -> pd.DataFrame:
    """User i ranks its target at values[i] in both rules."""
    users = [f"u{first_user + i}" for i in range(len(values))]
    values = np.asarray(values, float)
    targets = np.arange(len(values), dtype=np.int32)
    return pd.DataFrame({"user": users, "target": targets, "rank_excluded": values, "rank_kept": values})


def run(
    method: str,
    seed: int = 0,
    rank: float | list[float] = 1.0,
    *,
    protocol: str = "paper",
    backbone: str = "gru4rec",
    reason: str | None = None,
) -> Scores:
    values = [] if reason else [rank] * USERS if isinstance(rank, (int, float)) else rank
    return scores_of(Address("toys", protocol, backbone, method, seed), ranks(values), reason)


def row(table: pd.DataFrame, metric: str = "HR@5", **where: str) -> pd.Series:
    chosen = table[(table["metric"] == metric) & (table["ranking"] == where.pop("ranking", "excluded"))]
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_plan() -> None:
    sides = [Side("d", p, "b", m) for p in ("paper", "strong") for m in ("none", "iadsr", "random_drop")]
    sides.append(Side("d", "strong", "b", "iadsr-theta=-0.5"))
    found = {(k, s.protocol, s.method, b.protocol, b.method) for k, s, b in plan(sides)}
    assert found == {
        ("method", "paper", "iadsr", "paper", "none"),
        ("method", "paper", "iadsr", "paper", "random_drop"),
        ("method", "paper", "random_drop", "paper", "none"),
        ("method", "strong", "iadsr", "strong", "none"),
        ("method", "strong", "iadsr", "strong", "random_drop"),
        ("method", "strong", "random_drop", "strong", "none"),
        ("method", "strong", "iadsr-theta=-0.5", "strong", "none"),
        ("method", "strong", "iadsr-theta=-0.5", "strong", "random_drop"),
        ("protocol", "strong", "none", "paper", "none"),
        ("protocol", "strong", "iadsr", "paper", "iadsr"),
        ("protocol", "strong", "random_drop", "paper", "random_drop"),
    }


def test_direction_and_numbers_by_hand() -> None:
    # HR@5 of iadsr: 30 of 40 users hit, 10 of them missed by none; none hits 24: 4 of them missed by iadsr
    iadsr = [1.0] * 30 + [9.0] * 10
    none = [1.0] * 20 + [9.0] * 10 + [1.0] * 4 + [9.0] * 6
    table = compare_all([run("iadsr", rank=iadsr), run("none", rank=none)], **FAST)
    assert list(table.columns) == list(COLUMNS) and len(table) == 14
    found = row(table)
    assert (found["mean"], found["baseline_mean"]) == (0.75, 0.6)
    assert found["difference"] == pytest.approx(0.15)
    assert found["relative_gain"] == pytest.approx(0.25)
    assert (found["wins"], found["ties"], found["losses"]) == (10, 26, 4)
    assert (found["users"], found["seeds"], found["status"]) == (40, 1, "ok")
    assert found["ci_low"] < 0.15 < found["ci_high"] and found["gain_low"] < 0.25 < found["gain_high"]
    assert np.isnan(found["seed_sd"])
    spread = np.array([1] * 10 + [0] * 26 + [-1] * 4)
    assert found["effect"] == pytest.approx(spread.mean() / spread.std(ddof=1))
    # 14 users differ, 10 against 4: sign test p = 0.18
    assert found["p"] == pytest.approx(0.18, abs=0.1)


def test_equal_methods_do_not_differ() -> None:
    values = list(np.arange(1.0, USERS + 1))
    table = compare_all([run("iadsr", rank=values), run("none", rank=values)], **FAST)
    assert (table["difference"] == 0).all() and (table["p"] == 1).all() and (table["p_holm"] == 1).all()
    assert (table["ties"] == USERS).all() and (table["effect"] == 0).all()
    assert (table["ci_low"] == 0).all() and (table["ci_high"] == 0).all()


def test_a_mean_of_zero_has_no_relative_gain() -> None:
    table = compare_all([run("iadsr", rank=1.0), run("none", rank=50.0)], **FAST)
    found = row(table, "HR@20")
    assert found["difference"] == 1 and np.isnan(found["relative_gain"]) and np.isnan(found["gain_low"])
    assert row(table, "MRR")["relative_gain"] == pytest.approx(49)


def test_users_are_joined_by_id_not_by_position() -> None:
    address = Address("toys", "paper", "gru4rec", "none", 0)
    table = ranks(np.arange(1.0, USERS + 1))
    shuffled = scores_of(address._replace(method="iadsr"), table.sample(frac=1, random_state=0))
    found = compare_all([scores_of(address, table), shuffled], **FAST)
    assert (found["ties"] == USERS).all()


def test_seeds_are_matched_by_number() -> None:
    # seed 1 is worse for both, so matched differences are equal: no spread between seeds
    good, bad = [1.0] * 20 + [9.0] * 20, [1.0] * 10 + [9.0] * 30
    better, worse = [1.0] * 24 + [9.0] * 16, [1.0] * 14 + [9.0] * 26
    runs = [run("none", 0, good), run("none", 1, bad), run("iadsr", 1, worse), run("iadsr", 0, better)]
    found = row(compare_all(runs, **FAST))
    assert found["seeds"] == 2 and found["seed_sd"] == pytest.approx(0) and found["difference"] == pytest.approx(0.1)
    unequal = row(compare_all([*runs[:2], run("iadsr", 0, bad), run("iadsr", 1, good)], **FAST))
    assert unequal["difference"] == pytest.approx(0)
    assert unequal["seed_sd"] == pytest.approx(np.std([-0.25, 0.25], ddof=1))
    assert unequal["ties"] == USERS


def test_family_is_everything_of_one_kind_protocol_ranking_and_metric() -> None:
    rng = np.random.default_rng(0)
    runs = [
        run(method, rank=list(rng.integers(1, 30, USERS).astype(float)), protocol=protocol, backbone=backbone)
        for protocol in ("paper", "strong")
        for backbone in ("gru4rec", "sasrec", "caser")
        for method in ("none", "iadsr", "random_drop")
    ]
    table = compare_all(runs, **FAST)
    sizes = table.groupby(["kind", "family"]).size()
    # kind method: 3 backbones x 3 pairs in each protocol; kind protocol: 3 backbones x 3 methods
    assert (sizes == 9).all()
    assert len(sizes["method"]) == 2 * 2 * 7 and len(sizes["protocol"]) == 2 * 7
    assert "method | toys | strong | kept | NDCG@10" in sizes["method"]
    assert "protocol | toys | kept | NDCG@10" in sizes["protocol"]
    for _, family in table.groupby("family"):
        np.testing.assert_allclose(family["p_holm"], holm(family["p"].to_numpy()))
    assert (table["p_holm"] >= table["p"]).all()


def test_a_diverged_seed_is_left_out_and_named() -> None:
    runs = [run("none", 0), run("none", 1), run("iadsr", 0, 3.0), run("iadsr", 1, reason="loss is NaN")]
    found = row(compare_all(runs, **FAST))
    assert found["seeds"] == 1 and found["users"] == USERS
    assert found["status"] == "ok, without iadsr seed 1: diverged (loss is NaN)"


def test_a_comparison_without_seeds_says_why() -> None:
    runs = [
        run("none", reason="loss is NaN"),
        run("iadsr"),
        run("iadsr", backbone="sasrec"),
        run("none", 1, backbone="caser"),
        run("iadsr", 2, backbone="caser"),
    ]
    table = compare_all(runs, **FAST)
    assert table[["p", "p_holm", "difference", "wins", "ci_low"]].isna().all(axis=None)
    assert (table["users"] == 0).all() and (table["seeds"] == 0).all()
    assert row(table, backbone="gru4rec")["status"] == "none seed 0: diverged (loss is NaN)"
    assert row(table, backbone="sasrec")["status"] == "none: not in the grid"
    assert row(table, backbone="caser")["status"] == "iadsr seed 1: not in the grid; none seed 2: not in the grid"


def test_missing_rows_do_not_count_in_the_family() -> None:
    runs = [run("none"), run("iadsr", rank=9.0), run("other", reason="loss is NaN")]
    found = row(compare_all(runs, **FAST), method="iadsr")
    assert found["p_holm"] == found["p"]


def test_unequal_users_or_targets_are_refused() -> None:
    address = Address("toys", "paper", "gru4rec", "none", 0)
    method = scores_of(address._replace(method="iadsr"), ranks([1.0, 2.0]))
    with pytest.raises(
        DataError,
        match=r"toys/paper/gru4rec/iadsr/seed0 and toys/paper/gru4rec/none/seed0 .*\(1 only in .* 1 only",
    ):
        compare_all([method, scores_of(address, ranks([1.0, 2.0], first_user=1))], **FAST)
    with pytest.raises(DataError, match="different test items for 1 of the same users"):
        compare_all([method, scores_of(address, ranks([1.0, 2.0]).assign(target=[0, 7]))], **FAST)


def test_numbers_do_not_depend_on_the_rest_of_the_grid() -> None:
    rng = np.random.default_rng(4)
    runs = [run(m, rank=list(rng.integers(1, 30, USERS).astype(float))) for m in ("none", "iadsr", "aux_only")]
    few = compare_all(runs[:2], **FAST)
    many = compare_all(runs, **FAST)
    kept = many[many["method"] == "iadsr"].reset_index(drop=True)
    pd.testing.assert_frame_equal(few.drop(columns="p_holm"), kept.drop(columns="p_holm"))
    assert not few[["p", "ci_low"]].equals(compare_all(runs[:2], **FAST, seed=1)[["p", "ci_low"]])


def test_nothing_to_compare_is_an_empty_table() -> None:
    table = compare_all([run("none")], **FAST)
    assert table.empty and list(table.columns) == list(COLUMNS)
    assert table["p"].dtype == np.float64


def test_reads_runs_and_writes_the_table(tmp_path: Path) -> None:
    folders = []
    for method, rank in (("none", 9.0), ("iadsr", 1.0), ("broken", None)):
        folder = tmp_path / "toys" / "paper" / "gru4rec" / method / "seed0"
        folder.mkdir(parents=True)
        ranks([] if rank is None else [rank] * USERS).astype({"user": "str"}).to_parquet(folder / "ranks.parquet")
        cell = {"dataset": "toys", "protocol": "paper", "backbone": "gru4rec", "method": method, "seed": 0}
        status = {"status": "done"} if rank else {"status": "diverged", "reason": "loss is NaN"}
        (folder / "record.json").write_text(json.dumps({"cell": cell, **status}))
        folders.append(folder)
    out = tmp_path / "statistics" / "comparisons.parquet"
    write_comparisons(folders, out, **FAST)
    table = pd.read_parquet(out)
    assert list(table.columns) == list(COLUMNS) and len(table) == 28
    assert row(table, method="iadsr")["difference"] == 1
    assert row(table, method="broken")["status"] == "broken seed 0: diverged (loss is NaN)"
    (folders[0] / "ranks.parquet").unlink()
    with pytest.raises(DataError, match=r"has no ranks\.parquet"):
        write_comparisons(folders, out)
