from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.core.files import file_digest
from iadsr.evaluation.runs import Address, read_run
from iadsr.statistics import compare
from iadsr.statistics.compare import (
    COLUMNS,
    CONTROLS,
    Experiment,
    Scores,
    Side,
    compare_all,
    plan,
    plan_experiment,
    read_scores,
    scores_of,
    write_comparisons,
)
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


def some_run(rng: np.random.Generator, method: str, seed: int = 0, **where: str) -> Scores:
    """A run that ranks its targets at random."""
    return run(method, seed, list(rng.integers(1, 30, USERS).astype(float)), **where)


def write_run(
    root: Path, method: str, seed: int, values: list[float] | np.ndarray, *, protocol: str = "paper", shift: int = 0
) -> Path:
    """A run's folder; it diverged when there are no `values`. `shift` gives the users other targets."""
    folder = root / "toys" / protocol / "gru4rec" / method / f"seed{seed}"
    folder.mkdir(parents=True)
    table = ranks(values).astype({"user": "str"})
    table.assign(target=table["target"] + shift).to_parquet(folder / "ranks.parquet")
    cell = {"dataset": "toys", "protocol": protocol, "backbone": "gru4rec", "method": method, "seed": seed}
    status = {"status": "done"} if len(values) else {"status": "diverged", "reason": "loss is NaN"}
    (folder / "record.json").write_text(json.dumps({"cell": cell, **status}))
    return folder


def row(table: pd.DataFrame, metric: str = "HR@5", **where: str) -> pd.Series:
    chosen = table[(table["metric"] == metric) & (table["ranking"] == where.pop("ranking", "excluded"))]
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_plan() -> None:
    sides = [Side("d", p, "b", m) for p in ("paper", "strong") for m in ("none", "iadsr", "random_mask", "random_drop")]
    sides += [Side("d", "strong", "b", m) for m in ("aux_only", "iadsr-theta=-0.5")]
    found = {(k, s.protocol, s.method, b.protocol, b.method) for k, s, b in plan(sides)}
    assert found == {
        ("method", "paper", "iadsr", "paper", "none"),
        ("method", "paper", "iadsr", "paper", "random_mask"),
        ("method", "paper", "random_mask", "paper", "none"),
        ("method", "paper", "random_drop", "paper", "none"),
        ("method", "strong", "iadsr", "strong", "none"),
        ("method", "strong", "iadsr", "strong", "random_mask"),
        ("method", "strong", "iadsr", "strong", "aux_only"),
        ("method", "strong", "random_mask", "strong", "none"),
        ("method", "strong", "random_drop", "strong", "none"),
        ("method", "strong", "aux_only", "strong", "none"),
        ("method", "strong", "iadsr-theta=-0.5", "strong", "none"),
        ("protocol", "strong", "none", "paper", "none"),
        ("protocol", "strong", "iadsr", "paper", "iadsr"),
        ("protocol", "strong", "random_mask", "paper", "random_mask"),
        ("protocol", "strong", "random_drop", "paper", "random_drop"),
    }


def test_pairs_of_several_backbones_are_also_compared_on_average() -> None:
    sides = [Side("d", "paper", b, m) for b in ("a", "b") for m in ("none", "iadsr", "random_mask")]
    found = {(s.backbone, s.method, b.method) for k, s, b in plan(sides) if k == "backbones"}
    assert found == {("all", "iadsr", "none"), ("all", "iadsr", "random_mask"), ("all", "random_mask", "none")}
    assert not [k for k, _, _ in plan(sides[:3]) if k == "backbones"]


def test_users_are_averaged_over_backbones() -> None:
    half, all_, none = [1.0] * 20 + [9.0] * 20, 1.0, 9.0
    runs = [
        run("none", rank=none, backbone="a"),
        run("iadsr", rank=half, backbone="a"),
        run("none", rank=half, backbone="b"),
        run("iadsr", rank=all_, backbone="b"),
    ]
    found = row(compare_all(runs, **FAST), kind="backbones")
    assert found["backbone"] == "all" and found["family"] == "backbones | toys | paper | excluded | HR@5"
    assert (found["mean"], found["baseline_mean"], found["difference"]) == (0.75, 0.25, 0.5)
    assert (found["wins"], found["ties"], found["users"]) == (40, 0, 40), "each user gains a half, in one backbone"
    assert found[["ci_low", "ci_high"]].tolist() == pytest.approx([0.5, 0.5])


def test_an_average_over_backbones_uses_the_seeds_that_all_have_and_names_the_rest() -> None:
    runs = [run(m, seed, backbone=b) for m in ("none", "iadsr") for seed in (0, 1) for b in ("a", "b")]
    runs += [run("none", 0, backbone="c"), run("iadsr", 0, backbone="c", reason="diverged (loss is NaN)")]
    runs[-3] = run("iadsr", 1, backbone="b", reason="diverged (NaN)")
    found = row(compare_all(runs, **FAST), kind="backbones")
    assert found["seeds"] == 1
    assert found["status"] == ("ok, without b: iadsr seed 1: diverged (NaN); c: iadsr seed 0: diverged (loss is NaN)")
    lost = [
        one
        if one.address.method == "none"
        else run("iadsr", one.address.seed, backbone=one.address.backbone, reason="x")
        for one in runs
    ]
    assert row(compare_all(lost, **FAST), kind="backbones")["status"].startswith("a: iadsr seed 0: x")


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
        for method in ("none", "iadsr", "random_mask")
    ]
    table = compare_all(runs, **FAST)
    sizes = table.groupby(["kind", "family"]).size()
    # kind method: 3 backbones x 3 pairs in each protocol; kind protocol: 3 backbones x 3 methods
    assert (sizes[["method", "protocol"]] == 9).all() and (sizes["backbones"] == 3).all()
    assert len(sizes["method"]) == 2 * 2 * 7 and len(sizes["protocol"]) == 2 * 7
    assert "method | toys | strong | kept | NDCG@10" in sizes["method"]
    assert "protocol | toys | kept | NDCG@10" in sizes["protocol"]
    for _, family in table.groupby("family"):
        np.testing.assert_allclose(family["p_holm"], holm(family["p"].to_numpy()))
    assert (table["p_holm"] >= table["p"]).all()


def test_a_diverged_seed_is_left_out_and_named() -> None:
    runs = [run("none", 0), run("none", 1), run("iadsr", 0, 3.0), run("iadsr", 1, reason="diverged (loss is NaN)")]
    found = row(compare_all(runs, **FAST))
    assert found["seeds"] == 1 and found["users"] == USERS
    assert found["status"] == "ok, without iadsr seed 1: diverged (loss is NaN)"


def test_a_comparison_without_seeds_says_why() -> None:
    runs = [
        run("none", reason="diverged (loss is NaN)"),
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
    kept = many[(many["method"] == "iadsr") & (many["baseline_method"] == "none")].reset_index(drop=True)
    pd.testing.assert_frame_equal(few.drop(columns="p_holm"), kept.drop(columns="p_holm"))
    assert not few[["p", "ci_low"]].equals(compare_all(runs[:2], **FAST, seed=1)[["p", "ci_low"]])


def test_nothing_to_compare_is_an_empty_table() -> None:
    table = compare_all([run("none")], **FAST)
    assert table.empty and list(table.columns) == list(COLUMNS)
    assert table["p"].dtype == np.float64


def test_reads_runs_and_writes_the_table(tmp_path: Path) -> None:
    ranked = {"none": [9.0] * USERS, "iadsr": [1.0] * USERS, "broken": []}
    folders = [write_run(tmp_path, method, 0, values) for method, values in ranked.items()]
    out = tmp_path / "statistics" / "comparisons.parquet"
    write_comparisons(folders, out, **FAST)
    table = pd.read_parquet(out)
    assert list(table.columns) == list(COLUMNS) and len(table) == 28
    assert row(table, method="iadsr")["difference"] == 1
    assert row(table, method="broken")["status"] == "broken seed 0: diverged (loss is NaN)"
    (folders[0] / "ranks.parquet").unlink()
    with pytest.raises(DataError, match=r"has no ranks\.parquet"):
        write_comparisons(folders, out)


def test_plan_of_an_experiment() -> None:
    sides = [Side("d", p, b, m) for p in ("x", "y") for b in ("caser", "sasrec") for m in ("none", "iadsr", "soft")]
    found = plan_experiment(sides, "iadsr")
    assert all(kind == "method" and base == side._replace(method="iadsr") for kind, side, base in found)
    assert [side for _, side, _ in found] == sorted(side for side in sides if side.method != "iadsr")
    # a ladder: one method, several protocols, which are never tested against each other
    assert plan_experiment([Side("d", p, "b", "none") for p in ("paper", "strong")], "none") == []


def test_experiments_change_no_row_of_the_main_grid() -> None:
    rng = np.random.default_rng(1)
    main = [
        some_run(rng, method, seed, protocol=protocol)
        for protocol in ("paper", "strong")
        for method in ("none", "iadsr", "random_drop")
        for seed in range(2)
    ]
    more = [some_run(rng, method, seed) for method in ("soft", "mean") for seed in range(2)]
    experiments = [
        Experiment("first", [*main, *more], "none"),
        Experiment("second", [*main[2:4], *more], "iadsr"),
        Experiment("third", [run("soft", protocol="other", backbone="sasrec")], "none"),
    ]
    alone = compare_all(main, **FAST)
    table = compare_all(main, experiments=experiments, **FAST)
    pd.testing.assert_frame_equal(table.iloc[: len(alone)], alone, check_exact=True)
    assert (alone["experiment"] == "").all() and alone["family"].str.match(r"(method|protocol) \| toys \| ").all()
    assert (table["experiment"].iloc[len(alone) :] != "").all()
    assert table["experiment"].unique().tolist() == ["", "first", "second", "third"]


def test_families_of_experiments() -> None:
    rng = np.random.default_rng(2)
    methods = ("none", "iadsr", "soft", "random_drop")
    runs = [some_run(rng, m, protocol=p, backbone=b) for p in ("a", "b") for b in ("caser", "sasrec") for m in methods]
    table = compare_all([], experiments=[Experiment("one", runs, "none"), Experiment("two", runs, "iadsr")], **FAST)
    sizes = table.groupby(["experiment", "family"]).size()
    # 3 methods against the baseline for each of 2 backbones; 2 protocols x 2 rankings x 7 metrics
    assert (sizes == 6).all() and len(sizes["one"]) == len(sizes["two"]) == 28
    assert "experiment | one | toys | a | kept | NDCG@10" in sizes["one"]
    assert (table["kind"] == "method").all() and (table["protocol"] == table["baseline_protocol"]).all()
    assert table.groupby("experiment")["baseline_method"].unique().map(list).to_dict() == {
        "one": ["none"],
        "two": ["iadsr"],
    }


def test_holm_within_an_experiment_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # each method differs from `none` for another number of users, by which its p value is known here
    p_values = {3: 0.01, 5: 0.04, 7: 0.03, 9: 0.005}

    def p_value(difference: np.ndarray, **_: object) -> float:
        return p_values.get(int(np.count_nonzero(difference)), 1.0)

    monkeypatch.setattr(compare.paired, "paired_test", p_value)
    main = [run("none", rank=9.0), run("m3", rank=[1.0] * 3 + [9.0] * (USERS - 3))]
    others = [run(f"m{count}", rank=[1.0] * count + [9.0] * (USERS - count)) for count in (5, 7, 9)]
    small = Experiment("small", [*main, others[0]], "none")
    table = compare_all(main, experiments=[Experiment("all", [*main, *others], "none"), small], **FAST)
    hits = table[(table["metric"] == "HR@5") & (table["ranking"] == "kept")]
    adjusted = {name: part.set_index("method")["p_holm"].to_dict() for name, part in hits.groupby("experiment")}
    # sorted 0.005 0.01 0.03 0.04 times 4 3 2 1 is 0.02 0.03 0.06 0.04, of which the last must not fall
    assert adjusted["all"] == pytest.approx({"m9": 0.02, "m3": 0.03, "m7": 0.06, "m5": 0.06})
    assert adjusted["small"] == pytest.approx({"m3": 0.02, "m5": 0.04})
    assert adjusted[""] == {"m3": 0.01}


def swept(rng: np.random.Generator, digests: dict[str, list[str]]) -> list[Scores]:
    """`none`, and methods by digest of each seed's ranks: equal digests have equal ranks."""
    values = {digest: list(rng.integers(1, 30, USERS).astype(float)) for own in digests.values() for digest in own}
    runs = [run(method, seed, values[digest]) for method, own in digests.items() for seed, digest in enumerate(own)]
    named = [digest for own in digests.values() for digest in own]
    return [
        *(some_run(rng, "none", seed) for seed in range(2)),
        *(replace(one, digest=digest) for one, digest in zip(runs, named, strict=True)),
    ]


def test_points_with_the_same_runs_are_one_test() -> None:
    points = {"x=-1.0": ["a", "b"], "x=-0.5": ["a", "b"], "x=0.0": ["a", "c"], "x=0.5": ["d", "e"]}
    members = swept(np.random.default_rng(5), points)
    table = compare_all([], experiments=[Experiment("sweep", members, "none")], **FAST)
    one = {method: row(table, method=method) for method in points}
    assert {method: found["same_as"] for method, found in one.items()} == {
        "x=-1.0": "",
        "x=-0.5": "x=-1.0",
        "x=0.0": "",
        "x=0.5": "",
    }
    adjusted = holm([one[method]["p"] for method in points if method != "x=-0.5"])
    assert [one[method]["p_holm"] for method in ("x=-1.0", "x=0.0", "x=0.5")] == pytest.approx(adjusted.tolist())
    numbers = [name for name in COLUMNS if name not in ("method", "same_as")]
    pd.testing.assert_series_equal(one["x=-1.0"][numbers], one["x=-0.5"][numbers], check_names=False)


def test_a_method_with_the_baseline_s_runs_is_no_test() -> None:
    members = swept(np.random.default_rng(6), {"iadsr": ["a", "b"], "theta=-0.9": ["a", "b"], "theta=0.5": ["c", "d"]})
    table = compare_all([], experiments=[Experiment("sweep", members[2:], "iadsr")], **FAST)
    same, other = row(table, method="theta=-0.9"), row(table, method="theta=0.5")
    assert (same["same_as"], same["p"], same["p_holm"], same["difference"]) == ("iadsr", 1.0, 1.0, 0.0)
    assert other["p_holm"] == other["p"], "the only test of its family"


def test_a_control_s_twin_is_still_tested_against_the_other_control() -> None:
    """`iadsr` with the runs of `aux_only`: no test against that, one against `random_mask`, in its family."""
    twins = {"iadsr": ["a", "b"], "aux_only": ["a", "b"], "random_mask": ["c", "d"]}
    table = compare_all(swept(np.random.default_rng(7), twins), **FAST)
    found = {
        (method, baseline): row(table, kind="method", method=method, baseline_method=baseline)
        for method, baseline in (*((method, "none") for method in twins), *(("iadsr", name) for name in CONTROLS))
    }
    same = {pair: one["same_as"] for pair, one in found.items() if one["same_as"]}
    assert same == {("aux_only", "none"): "iadsr", ("iadsr", "aux_only"): "aux_only"}
    tested = [pair for pair in found if pair not in same]
    adjusted = holm([found[pair]["p"] for pair in tested])
    assert [found[pair]["p_holm"] for pair in tested] == pytest.approx(adjusted.tolist())
    assert found["aux_only", "none"]["p_holm"] == found["iadsr", "none"]["p_holm"]


def test_averages_over_backbones_of_the_same_runs_are_one_test_too() -> None:
    points = {"x=1": ["a", "b"], "x=2": ["a", "b"], "x=3": ["c", "d"]}
    one = swept(np.random.default_rng(8), points)
    members = [*one, *(replace(run, address=run.address._replace(backbone="sasrec")) for run in one)]
    table = compare_all([], experiments=[Experiment("sweep", members, "none")], **FAST)
    for kind in ("method", "backbones"):
        part = table[table["kind"] == kind]
        if len(part):
            assert set(part.loc[part["method"] == "x=2", "same_as"]) == {"x=1"}
            assert set(part.loc[part["method"] != "x=2", "same_as"]) == {""}
    main = compare_all(members, **FAST)
    averaged = main[main["kind"] == "backbones"]
    assert set(averaged.loc[averaged["method"] == "x=2", "same_as"]) == {"x=1"}


def test_runs_that_diverged_alike_are_not_the_same_run() -> None:
    lost = [replace(run(method, reason="diverged (NaN)"), digest="empty") for method in ("x=1", "x=2")]
    table = compare_all([], experiments=[Experiment("sweep", [run("none"), *lost], "none")], **FAST)
    assert set(table["same_as"]) == {""}


def test_a_run_s_digest_is_that_of_its_ranks(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "iadsr", 0, [1.0, 2.0])
    record = json.loads((folder / "record.json").read_text())
    digest = file_digest(folder / "ranks.parquet")
    (folder / "record.json").write_text(json.dumps({**record, "files": {"ranks.parquet": digest}}))
    assert read_scores(read_run(folder)).digest == digest


def test_a_pair_has_the_same_numbers_in_every_grid_with_the_same_seeds() -> None:
    rng = np.random.default_rng(3)
    runs = [some_run(rng, method, seed) for method in ("none", "iadsr") for seed in range(3)]
    fewer = [scores for scores in runs if scores.address.seed < 2]
    experiments = [Experiment("all", runs, "none"), Experiment("two", fewer, "none")]
    table = compare_all(runs, experiments=experiments, **FAST)
    apart = table.drop(columns=["experiment", "family"])
    parts = {name: apart[table["experiment"] == name].reset_index(drop=True) for name in ("", "all", "two")}
    pd.testing.assert_frame_equal(parts[""], parts["all"], check_exact=True)
    assert (parts["two"]["seeds"] == 2).all() and (parts["all"]["seeds"] == 3).all()
    again = compare_all([], experiments=experiments[1:], **FAST).drop(columns=["experiment", "family"])
    pd.testing.assert_frame_equal(parts["two"], again, check_exact=True)


def test_an_experiment_without_its_baseline_says_why() -> None:
    main = [run("none"), run("iadsr", rank=9.0)]
    lost = [run("base", reason="diverged (loss is NaN)"), run("soft")]
    table = compare_all(
        main, experiments=[Experiment("gone", main, "base"), Experiment("lost", lost, "base")], **FAST
    ).query("experiment != ''")
    assert table[["p", "p_holm", "difference", "wins", "ci_low"]].isna().all(axis=None)
    assert (table["seeds"] == 0).all() and (table["users"] == 0).all()
    assert set(table.query("experiment == 'gone'")["status"]) == {"base: not in the grid"}
    assert set(table.query("experiment == 'lost'")["status"]) == {"base seed 0: diverged (loss is NaN)"}


def test_reads_experiments_each_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)

    def folder(method: str, **where: str | int) -> Path:
        return write_run(tmp_path, method, 0, rng.integers(1, 30, USERS).astype(float), **where)

    main = [folder("none"), folder("iadsr")]
    soft = folder("soft")
    # the same users with other test items under each protocol, as when ties in time are broken at random
    shuffled = [
        folder(method, protocol=f"shuffled-{shift}", shift=shift) for shift in (1, 2) for method in ("none", "iadsr")
    ]
    read: list[Path] = []

    def counting(found: compare.Run) -> Scores:
        read.append(found.directory)
        return scores_of(found.address, pd.read_parquet(found.directory / "ranks.parquet"))

    monkeypatch.setattr(compare, "read_scores", counting)
    out = tmp_path / "comparisons.parquet"
    write_comparisons(main, out, **FAST)
    alone = pd.read_parquet(out)
    read.clear()
    experiments = [
        ("masks", [*main, soft], "iadsr"),
        ("spread", [*map(str, shuffled), *main], "none"),
    ]
    write_comparisons(main, out, experiments=experiments, **FAST)
    table = pd.read_parquet(out)
    assert sorted(read) == sorted([*main, soft, *shuffled])
    pd.testing.assert_frame_equal(table.iloc[: len(alone)], alone, check_exact=True)
    masks = table.query("experiment == 'masks' and metric == 'MRR' and ranking == 'kept'")
    assert masks[["method", "baseline_method"]].to_numpy().tolist() == [["none", "iadsr"], ["soft", "iadsr"]]
    spread = table.query("experiment == 'spread' and metric == 'MRR' and ranking == 'kept'")
    assert spread["protocol"].tolist() == ["paper", "shuffled-1", "shuffled-2"]
    assert (spread["status"] == "ok").all() and (spread["seeds"] == 1).all()


def test_one_address_in_two_folders_is_refused(tmp_path: Path) -> None:
    main = [write_run(tmp_path / "here", "none", 0, [1.0] * USERS)]
    other = write_run(tmp_path / "there", "none", 0, [2.0] * USERS)
    with pytest.raises(DataError, match="given twice"):
        write_comparisons(main, tmp_path / "out.parquet", experiments=[("x", [other], "none")])
    with pytest.raises(DataError, match="given twice"):
        write_comparisons(main * 2, tmp_path / "out.parquet")
