"""Verdicts, worked out by hand on small tables of comparisons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from iadsr.cli import CONFIG_FOLDER
from iadsr.config.claims import Between, Claim, Compared, Spared, Title, load_claims
from iadsr.core import columns as c
from iadsr.core.errors import ConfigError
from iadsr.statistics.claims import (
    COLUMNS,
    LISTED,
    VERDICTS,
    check_metrics,
    choose_title,
    combined,
    judge_claims,
    list_by_verdict,
)
from iadsr.statistics.compare import mark_whole
from iadsr.statistics.summaries import SIDE
from tests.unit.statistics.frames import SOUGHT, one_row

USUAL: dict[str, Any] = {
    c.EXPERIMENT: "main", "kind": "method", c.DATASET: "toys", c.PROTOCOL: "paper", c.BACKBONE: "gru4rec",
    c.METHOD: "iadsr", "baseline_method": "none", c.METRIC: "HR@5", "same_as": "", "headline": True,
    "outcome": "gain", "gain": 0.3, "gain_low": 0.1, "gain_high": 0.5, "detectable": 0.2, "baseline_mean": 0.1,
    c.RANKING: "kept", "seeds": 3, "users": 500, "needed": 4, "backbones": 1,
}  # fmt: skip
NOTHING = {
    "metrics": pd.DataFrame(
        columns=[
            *(c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.BACKBONE, c.METHOD, c.RANKING, c.GROUP, c.METRIC),
            *("mean", "popular"),
        ]
    ),
    "sides": pd.DataFrame(columns=[c.EXPERIMENT, *SIDE, "seeds_done", "seeds_expected"]),
    "quantities": pd.DataFrame(columns=[c.EXPERIMENT, *SIDE, "quantity", "mean", "sd", "seeds"]),
    "keep": pd.DataFrame(columns=[c.EXPERIMENT, *SIDE, "stage", c.GROUP, "mean", "sd", "seeds"]),
}
PLACE: dict[str, Any] = {
    c.EXPERIMENT: "main",
    c.DATASET: "toys",
    c.PROTOCOL: "paper",
    c.BACKBONE: "gru4rec",
    c.METHOD: "iadsr",
}


def claim(rule: Compared | Between | Spared, published: list[float] | None = None) -> Claim:
    return Claim(id="one", title="t", sentence="s", source="nowhere", published=published, judged=rule)


def compared(**changes: Any) -> Compared:
    return Compared(**({"experiments": ["main"], "pairs": [["iadsr", "*"]], "metrics": ["HR@5"]} | changes))


def judge(one: Claim, *rows: dict[str, Any], **tables: pd.DataFrame) -> pd.DataFrame:
    lost = ("untrained", "missing")
    said = [USUAL | {"status": row["outcome"] if row.get("outcome") in lost else "ok"} | row for row in rows]
    comparisons = pd.DataFrame(said, columns=[*USUAL, "status"])
    parts = [part.assign(whole=mark_whole(part)) for _, part in comparisons.groupby(c.EXPERIMENT)]
    comparisons = pd.concat(parts).sort_index() if parts else comparisons.assign(whole=True)
    return judge_claims([one], NOTHING | {"comparisons": comparisons} | tables, SOUGHT)


def verdict(one: Claim, *rows: dict[str, Any], **tables: pd.DataFrame) -> str:
    return str(one_row(judge(one, *rows, **tables), protocol="")["verdict"])


@pytest.mark.parametrize(
    ("row", "expected", "without", "published"),
    [
        ({}, "gain", "reproduced", "reproduced"),
        ({"gain_high": 0.2}, "gain", "reproduced", "partly reproduced"),
        ({"outcome": "loss"}, "gain", "opposite", "opposite"),
        ({"outcome": "loss", "gain_high": -0.1}, "loss", "reproduced", None),
        ({"outcome": "gain"}, "loss", "opposite", None),
        ({"outcome": "equal", "gain_high": 0.09}, "gain", "not reproduced", "not reproduced"),
        ({"outcome": "none", "gain_high": 0.2}, "gain", "underpowered", "not reproduced"),
        ({"outcome": "none", "gain_high": 0.3}, "gain", "underpowered", "underpowered"),
        ({"outcome": "none", "gain_high": 0.09}, "gain", "not reproduced", "not reproduced"),
        ({"outcome": "none", "gain_low": -0.09, "gain_high": 0.2}, "loss", "not reproduced", None),
        ({"outcome": "none", "gain_low": -0.11, "gain_high": 0.05}, "loss", "underpowered", None),
        ({"outcome": "none", "gain_high": np.nan}, "gain", "underpowered", "underpowered"),
        ({"outcome": "underpowered", "gain_high": 0.6, "detectable": 0.5}, "gain", "underpowered", "underpowered"),
        ({"outcome": "underpowered", "gain_high": 0.2, "detectable": 0.5}, "gain", "underpowered", "not reproduced"),
        ({"outcome": "none", "gain_high": 0.0, "same_as": "none"}, "gain", "not reproduced", "not reproduced"),
        ({"outcome": "untrained", "gain": np.nan}, "gain", "not run", "not run"),
        ({"outcome": "missing", "gain": np.nan}, "gain", "not run", "not run"),
    ],
)
def test_one_comparison(row: dict[str, Any], expected: str, without: str, published: str | None) -> None:
    rule = compared(expected=expected)
    assert verdict(claim(rule), row) == without
    if published is not None:
        assert verdict(claim(rule, [0.246, 0.363]), row) == published


@pytest.mark.parametrize(
    ("verdicts", "some", "every"),
    [
        ([], "not run", "not run"),
        (["not run", "not run"], "not run", "not run"),
        (["not run", "opposite"], "opposite", "opposite"),
        (["reproduced", "underpowered"], "partly reproduced", "partly reproduced"),
        (["partly reproduced", "opposite"], "partly reproduced", "not reproduced"),
        (["reproduced", "not reproduced"], "partly reproduced", "not reproduced"),
        (["underpowered", "not reproduced"], "underpowered", "not reproduced"),
        (["underpowered", "opposite"], "not reproduced", "not reproduced"),
        (["not reproduced", "opposite"], "not reproduced", "not reproduced"),
    ],
)
def test_several_together(verdicts: list[str], some: str, every: str) -> None:
    assert combined(verdicts) == combined(reversed(verdicts)) == some
    assert combined(verdicts, needs_all=True) == every


def test_protocols_and_datasets_make_the_whole() -> None:
    one = claim(compared())
    strong = {c.PROTOCOL: "strong"}
    assert verdict(one, {}, strong) == "reproduced"
    assert verdict(one, {}, strong | {"outcome": "equal"}) == "depends on the protocol"
    assert verdict(one, {}, strong | {"outcome": "underpowered"}) == "partly reproduced"
    assert verdict(one, {}, strong | {"outcome": "missing"}) == "partly reproduced", "not everywhere"
    assert verdict(one, {}, strong | {"outcome": "loss"}) == "depends on the protocol"
    assert verdict(one, {}, {c.DATASET: "beauty", "outcome": "loss"}) == "partly reproduced", "no protocol is to blame"
    rows = judge(one, {"gain": 0.2}, {c.DATASET: "beauty", "gain_high": 0.7}, strong | {"outcome": "missing"})
    assert list(rows.columns) == list(COLUMNS)
    assert rows[[c.DATASET, c.PROTOCOL, "verdict", "judged", "lost"]].to_numpy().tolist() == [
        ["", "", "partly reproduced", 2, 1],
        ["toys", "paper", "reproduced", 1, 0],
        ["beauty", "paper", "reproduced", 1, 0],
        ["toys", "strong", "not run", 0, 1],
    ]
    assert one_row(rows, dataset="beauty")[["least", "most", "low", "high", "detectable"]].tolist() == [
        0.3, 0.3, 0.1, 0.7, 0.2,
    ]  # fmt: skip


def test_a_claim_without_a_row_is_not_run() -> None:
    rows = judge(claim(compared(experiments=["theta"])), {})
    assert rows[["verdict", "judged", "lost"]].to_numpy().tolist() == [["not run", 0, 0]]


def test_the_mean_over_backbones_or_each_of_them() -> None:
    rows = [
        {"outcome": "loss"},
        {c.BACKBONE: "sasrec"},
        {c.BACKBONE: "all", "kind": "backbones", "outcome": "equal"},
        {c.PROTOCOL: "alone"},
        {c.EXPERIMENT: "texts", c.PROTOCOL: "alone", c.BACKBONE: "all", "kind": "backbones", "outcome": "loss"},
        {"baseline_method": "hsd", c.PROTOCOL: "alone", c.BACKBONE: "all", "kind": "backbones"},
    ]
    found = judge(claim(compared()), *rows).set_index(c.PROTOCOL)["verdict"]
    assert found.to_dict() == {"": "depends on the protocol", "paper": "not reproduced", "alone": "reproduced"}
    found = judge(claim(compared(unit="each")), *rows).set_index(c.PROTOCOL)["verdict"]
    assert found["paper"] == "partly reproduced"
    found = judge(claim(compared(unit="each", needs="all")), *rows).set_index(c.PROTOCOL)["verdict"]
    assert found["paper"] == "not reproduced"


def test_the_same_runs_count_once_and_never_vanish() -> None:
    """One of them may be no part of the claim, or be the baseline itself."""
    rule = compared(pairs=[["iadsr-*", "none"]])
    twin = {c.METHOD: "iadsr-b", "same_as": "iadsr-a", "outcome": "loss"}
    assert one_row(judge(claim(rule), twin), protocol="paper")["judged"] == 1
    assert one_row(judge(claim(rule), {c.METHOD: "iadsr-a"}, twin), protocol="paper")["judged"] == 1
    row = one_row(judge(claim(rule), {c.METHOD: "iadsr-a", "outcome": "none", "same_as": "none"}), protocol="paper")
    assert (row["verdict"], row["judged"]) == ("not reproduced", 1)


def test_only_what_the_rule_names_counts() -> None:
    for other in (
        {c.EXPERIMENT: "texts"}, {c.METRIC: "HR@20"}, {"headline": False}, {c.METHOD: "hsd"},
        {"kind": "protocol"},
    ):  # fmt: skip
        assert verdict(claim(compared()), {}, {"outcome": "loss"} | other) == "reproduced", other
    rule = compared(pairs=[["iadsr-theta=*", "iadsr"]])
    assert verdict(claim(rule), {}, {c.METHOD: "iadsr-theta=0.5", "baseline_method": "iadsr", "outcome": "loss"}) == (
        "opposite"
    )


def test_the_best_rival_is_the_one_with_the_highest_mean() -> None:
    weak = {"baseline_method": "adt"}
    best = {"baseline_method": "hsd", "baseline_mean": 0.2, "outcome": "equal"}
    lost = {"baseline_method": "steam", "baseline_mean": np.nan, "outcome": "untrained"}
    row = one_row(judge(claim(compared(against="best")), weak, best, lost), protocol="paper")
    assert (row["verdict"], row["against"], row["lost"]) == ("not reproduced", "hsd", 1)
    assert verdict(claim(compared(against="every")), weak, best, lost) == "partly reproduced"
    assert verdict(claim(compared(against="best")), weak, lost) == "partly reproduced", "the lost one may be the best"
    for place in ({c.PROTOCOL: "strong"}, {c.BACKBONE: "caser"}):
        rows = judge(claim(compared(against="best", unit="each")), weak, best | place)
        assert rows["judged"].iloc[0] == 2, "the best of each place"
    rows = judge(claim(compared(against="best", metrics=["HR@5", "MRR"])), weak, best | {c.METRIC: "MRR"})
    assert rows["judged"].iloc[0] == 2
    part = {"status": "ok, without seed 1 untrained"}
    assert judge(claim(compared()), part)[["verdict", "judged", "lost"]].to_numpy().tolist() == [
        ["partly reproduced", 1, 1], ["partly reproduced", 1, 1],
    ]  # fmt: skip


def sides_of(rows: list[dict[str, Any]], expected: int) -> pd.DataFrame:
    """The sides of rows, of each of which so many seeds were expected, and those of its mean done."""
    sides = pd.DataFrame([{**{name: row[name] for name in PLACE}, "seeds_done": row["seeds"]} for row in rows])
    return sides.drop_duplicates([*PLACE]).assign(seeds_expected=expected)


def test_a_quantity_lies_between_two_values() -> None:
    rule = Between(experiments=["main"], method="iadsr", quantity="gate_share", low=0.01, high=0.99)
    place = PLACE | {"quantity": "gate_share", "seeds": 2, "sd": 0.0}
    rows = [
        place | {c.PROTOCOL: "paper", "mean": 1.0},
        place | {c.PROTOCOL: "paper", c.BACKBONE: "sasrec", "mean": 0.999},
        place | {c.PROTOCOL: "strong", "mean": 0.99},
        place | {c.PROTOCOL: "strong", "mean": 0.2, c.METHOD: "random_mask"},
        place | {c.PROTOCOL: "paper", "mean": 0.5, "quantity": "noise_auc"},
    ]
    sides = sides_of(rows, 2)
    found = judge(claim(rule), quantities=pd.DataFrame(rows), sides=sides).set_index(c.PROTOCOL)
    assert found["verdict"].to_dict() == {
        "": "depends on the protocol", "paper": "not reproduced", "strong": "reproduced",
    }  # fmt: skip
    single = [row | {"seeds": 1} for row in rows]
    assert verdict(claim(rule), quantities=pd.DataFrame(single), sides=sides) == "underpowered"
    assert found.loc["paper", ["least", "most", "judged", "lost"]].tolist() == [0.999, 1.0, 2, 0]


def test_a_quantity_of_runs_that_are_missing_is_not_wholly_reproduced() -> None:
    rule = Between(experiments=["main"], method="iadsr", quantity="gate_share", low=0.01, high=0.99)
    row = PLACE | {"quantity": "gate_share", "mean": 0.5, "sd": 0.0, "seeds": 2}
    found, lost = pd.DataFrame([row]), row | {c.BACKBONE: "caser", "seeds": 0}
    assert verdict(claim(rule), quantities=found, sides=sides_of([row], 2)) == "reproduced"
    assert verdict(claim(rule), quantities=found, sides=sides_of([row], 3)) == "partly reproduced", "a seed is missing"
    assert verdict(claim(rule), quantities=found, sides=sides_of([row, lost], 2)) == "partly reproduced"
    lost |= {c.BACKBONE: "gru4rec", c.PROTOCOL: "strong"}
    table = judge(claim(rule), quantities=found, sides=sides_of([row, lost], 2)).set_index(c.PROTOCOL)
    assert table["verdict"].to_dict() == {"": "partly reproduced", "paper": "reproduced", "strong": "not run"}
    assert table["lost"].to_dict() == {"": 1, "paper": 0, "strong": 1}
    without = row | {c.METHOD: "none"}
    every = claim(rule.model_copy(update={"method": "*"}))
    assert verdict(every, quantities=found, sides=sides_of([row, without], 2)) == "reproduced", "`none` has no gate"


@pytest.mark.parametrize(
    ("mean", "sd", "seeds", "expected"),
    [
        (-0.004, 0.002, 3, "reproduced"),  # t interval of 3 seeds: 2.48 standard deviations either way
        (-0.004, 0.003, 3, "underpowered"),
        (-0.02, 0.005, 3, "underpowered"),
        (-0.02, 0.004, 3, "opposite"),
        (-0.02, 0.0, 2, "opposite"),
        (0.1, np.nan, 1, "underpowered"),
    ],
)
def test_cold_items_are_spared_by_an_interval_over_seeds(mean: float, sd: float, seeds: int, expected: str) -> None:
    rule = Spared(experiments=["main"], method="iadsr", stages=["test"], beside="random_mask")
    row = PLACE | {"stage": "test", c.GROUP: "cold minus decile_10", "mean": mean, "sd": sd, "seeds": seeds}
    others = [row | {"stage": "train", "mean": -mean}, row | {c.GROUP: "cold", "mean": -mean}]
    others += [row | {c.METHOD: "hsd", "mean": -mean}]
    beside = [row | {c.METHOD: "random_mask", c.BACKBONE: name, "mean": at} for name, at in (("a", -0.3), ("b", 0.2))]
    elsewhere = row | {c.METHOD: "random_mask", c.PROTOCOL: "strong", "mean": 9.0}
    keep = pd.DataFrame([row, *others, *beside, elsewhere])
    found = one_row(judge(claim(rule), keep=keep, sides=sides_of([row, *others], seeds)), protocol="paper")
    assert found["verdict"] == expected
    both = rule.model_copy(update={"stages": ["train", "test"]})
    harmed = keep.assign(mean=keep["mean"].mask(keep["stage"] == "train", -0.5), sd=0.0)
    assert verdict(claim(both), keep=harmed, sides=sides_of([row, *others], seeds)) in (
        ("opposite", "not reproduced") if seeds > 1 else ("underpowered",)
    ), "one stage refutes it"
    assert found[["against", "beside_least", "beside_most"]].tolist() == ["random_mask", -0.3, 0.2]


def test_a_claim_on_cold_targets_is_judged_by_their_users_alone() -> None:
    """Fewer users than it asks for are too few data, whatever their comparison says."""
    rule = compared(group="cold", least_users=100)
    cold = pd.DataFrame([USUAL | {"status": "ok", "outcome": "loss", "gain_high": -0.1, "users": 100, "whole": True}])
    row = one_row(judge(claim(rule), {}, cold_comparisons=cold), protocol="paper")
    assert (row["verdict"], row["users"]) == ("opposite", 100)
    few = one_row(judge(claim(rule), {}, cold_comparisons=cold.assign(users=99)), protocol="paper")
    assert few["verdict"] == "underpowered"
    assert np.isnan(few["needed"]) and not few["excluded"], "no seeds help"
    assert verdict(claim(rule), {}, cold_comparisons=cold.assign(users=99, same_as="none", outcome="none")) == (
        "not reproduced"
    ), "the very same runs need no more"


@pytest.mark.parametrize(
    ("expected", "ends", "excluded"),
    [
        ("gain", [(-0.3, 0.2), (-0.1, 0.24)], True),
        ("gain", [(-0.3, 0.2), (-0.1, 0.25)], False),
        ("loss", [(-0.2, 0.3)], True),
        ("loss", [(-0.25, 0.0)], False),
    ],
)
def test_it_is_said_which_gain_is_ruled_out_and_how_many_seeds_would_find_it(
    expected: str, ends: list[tuple[float, float]], excluded: bool
) -> None:
    rows = [
        {"outcome": "underpowered", "gain_low": low, "gain_high": high, c.METRIC: name, "needed": 4 + at}
        for at, ((low, high), name) in enumerate(zip(ends, ("HR@5", "MRR"), strict=False))
    ]
    one = claim(compared(expected=expected, metrics=["HR@5", "MRR"]))
    row = one_row(judge(one, *rows), protocol="paper")
    assert (row["sought"], row["excluded"]) == (0.246, excluded)
    assert excluded or row["needed"] == 3 + len(ends), "of the comparison that holds it"
    if excluded:
        assert np.isnan(row["needed"])
    assert not judge(one, {"outcome": "missing"})["excluded"].any()
    assert not judge(one, *(row | {"seeds": 1} for row in rows))["excluded"].any(), "one seed rules nothing out"


def test_backbones_whose_baseline_is_not_above_the_most_popular_items_are_named() -> None:
    place = {name: USUAL[name] for name in (c.EXPERIMENT, c.DATASET, c.PROTOCOL, c.RANKING, c.METRIC)}
    own = {**place, c.METHOD: "none", c.GROUP: "all", "popular": 0.2}
    metrics = pd.DataFrame(
        [
            own | {c.BACKBONE: "gru4rec", "mean": 0.3},
            own | {c.BACKBONE: "sasrec", "mean": 0.1},
            own | {c.BACKBONE: "caser", "mean": 0.2},
            own | {c.BACKBONE: "gru4rec", "mean": 0.1, c.METRIC: "NDCG@10"},
            own | {c.BACKBONE: "gru4rec", "mean": 0.1, c.METHOD: "iadsr"},
            own | {c.BACKBONE: "gru4rec", "mean": 0.1, c.GROUP: "cold", "popular": np.nan},
            own | {c.BACKBONE: "", "mean": 0.2, c.METHOD: "most_popular"},
        ]
    )
    pooled = {c.BACKBONE: "all", "kind": "backbones"}
    whole, row = judge(claim(compared()), pooled, metrics=metrics).to_dict("records")
    assert (whole["weak"], row["weak"]) == ("", "sasrec, caser")
    assert (whole["verdict"], row["verdict"]) == ("partly reproduced", "partly reproduced")
    lower = compared(expected="loss", unit="each")
    worse = {c.BACKBONE: "sasrec", "outcome": "loss", "gain_high": -0.1}
    assert verdict(claim(lower), worse, metrics=metrics) == "reproduced", "a loss against it is one all the more"
    each = claim(compared(unit="each"))
    assert one_row(judge(each, {}, metrics=metrics), protocol="paper")["weak"] == ""
    assert one_row(judge(each, {c.BACKBONE: "sasrec"}, metrics=metrics), protocol="paper")["weak"] == "sasrec"
    lost = {"outcome": "untrained", c.BACKBONE: "sasrec"}
    assert one_row(judge(each, lost, metrics=metrics), protocol="paper")["weak"] == ""


def test_the_title_is_the_first_whose_conditions_hold() -> None:
    titles = [
        Title(title="both", when={"one/paper": ["reproduced"], "one/strong": ["opposite"]}),
        Title(title="paper", when={"one/paper": ["reproduced", "partly reproduced"]}),
        Title(title="lost", when={"two": ["not run"], "one": ["opposite"]}),
    ]
    rows = [("one", "", "", "opposite"), ("one", "toys", "paper", "reproduced"), ("one", "toys", "strong", "opposite")]

    def chosen(*rows: tuple[str, ...]) -> str:
        return choose_title(titles, pd.DataFrame(rows, columns=["claim", c.DATASET, c.PROTOCOL, "verdict"]))

    assert chosen(*rows) == "both"
    assert chosen(*rows, ("one", "beauty", "strong", "reproduced")) == "paper", "not in every dataset"
    assert chosen(*rows[:2]) == "paper"
    assert chosen(rows[0]) == "lost", "a claim without a row is not run"
    assert chosen() == "Does the published gain hold?"


@pytest.mark.parametrize("outcome", ["gain", "loss", "equal", "none", "underpowered"])
def test_one_seed_decides_nothing_unless_the_runs_are_the_same(outcome: str) -> None:
    one = claim(compared(), [0.246, 0.363])
    assert verdict(one, {"outcome": outcome, "seeds": 1}) == "underpowered"
    assert verdict(one, {"outcome": outcome, "gain_high": 0.1}) != "underpowered"
    assert verdict(one, {"outcome": "equal", "seeds": 1, "same_as": "none"}) == "not reproduced"


def test_claims_are_listed_by_verdict_with_where_it_is_another() -> None:
    claims = [claim(compared()).model_copy(update={"id": name, "title": name.upper()}) for name in ("a", "b", "c")]
    rows = [
        ("a", "", "", "not run"),
        ("b", "", "", "partly reproduced"),
        ("b", "beauty", "paper", "partly reproduced"),
        ("b", "beauty", "strong", "underpowered"),
        ("c", "", "", "not run"),
    ]
    columns = ["claim", c.DATASET, c.PROTOCOL, "verdict"]
    found = list_by_verdict(claims, pd.DataFrame(rows, columns=columns))
    assert [row["verdict"] for row in found] == ["partly reproduced", "not run"], "in the order of `LISTED`"
    strong = {"dataset": "", "protocol": "strong", "verdict": "underpowered"}
    assert found[0]["claims"] == [{"title": "B", "elsewhere": [strong]}]
    assert [one["title"] for one in found[1]["claims"]] == ["A", "C"]
    more = pd.DataFrame([*rows, ("b", "toys", "strong", "opposite")], columns=columns)
    told = list_by_verdict(claims, more)[0]["claims"][0]["elsewhere"]
    assert [one["dataset"] for one in told] == ["beauty", "toys"], "named where there are several"


def test_every_verdict_is_listed() -> None:
    assert sorted(LISTED) == sorted(VERDICTS)


def test_a_claim_says_what_would_decide_it() -> None:
    needed = {claim.id: claim.needed for claim in load_claims(CONFIG_FOLDER).claims}
    assert needed["over_the_best_rival"] == "iadsr vs adt or iadsr vs adt_reweighted or iadsr vs hsd"
    assert needed["by_choosing"] == "iadsr vs random_mask or iadsr vs random_mask_matched"
    assert needed["theta"] == "experiment theta"
    assert needed["gate"] == "iadsr"


def test_a_rival_that_lacks_runs_is_not_the_best_one() -> None:
    """Its mean is over fewer backbones; it is chosen where every rival lacks some."""
    rule = compared(pairs=[["iadsr", "adt"], ["iadsr", "hsd"]], against="best")
    whole = {"baseline_method": "adt", "baseline_mean": 0.10, "outcome": "loss"}
    part = {"baseline_method": "hsd", "baseline_mean": 0.11, "outcome": "gain", "status": "missing"}
    assert verdict(claim(rule), whole, part) == "opposite"
    found = one_row(judge(claim(rule), whole | {"outcome": "gain"}, part), protocol="paper")
    assert (found["verdict"], found["against"], found["lost"]) == ("partly reproduced", "adt", 1), "it may be the best"
    assert one_row(judge(claim(rule), whole | {"status": "missing"}, part), protocol="paper")["against"] == "hsd"


def test_no_title_of_the_paper_says_more_than_its_verdicts() -> None:
    """A title for a claim that holds partly says so, one for an open claim that it is open."""
    for one in load_claims(CONFIG_FOLDER).titles:
        verdicts = {verdict for among in one.when.values() for verdict in among}
        assert ("part" in one.title.replace("paper", "")) == ("partly reproduced" in verdicts), one.title
        assert any(word in one.title for word in ("open", "Too few")) == ("underpowered" in verdicts), one.title


def test_one_set_of_runs_counts_once_over_experiments_and_only_beside_its_twin() -> None:
    rule = compared(experiments=["main", "budget"], pairs=[["iadsr*", "none"], ["iadsr", "random_mask"]])
    again = {c.EXPERIMENT: "budget"}
    assert one_row(judge(claim(rule), {}, again), protocol="paper")["judged"] == 1
    twin = {c.METHOD: "iadsr-b", "same_as": "iadsr", "outcome": "loss"}
    other = {"baseline_method": "random_mask"}
    assert one_row(judge(claim(rule), twin, other), protocol="paper")["judged"] == 2, "its twin is not among them"
    assert one_row(judge(claim(rule), {}, twin, other), protocol="paper")["judged"] == 2


def test_of_one_comparison_in_several_experiments_the_one_with_most_seeds_counts() -> None:
    """Be it the second; one with as many, or with none, is passed over. The best rival is sought over all of them."""
    rule = compared(experiments=["main", "more"], pairs=[["iadsr", "*"]], against="best")
    few = {"baseline_method": "hsd", "outcome": "underpowered", "gain_high": 0.5, "baseline_mean": 0.2}
    many = few | {c.EXPERIMENT: "more", "outcome": "equal", "seeds": 11}
    rival = {"baseline_method": "adt"}
    for rows in ([few, many, rival], [few, rival, many]):
        row = one_row(judge(claim(rule), *rows), protocol="paper")
        assert (row["verdict"], row["against"], row["judged"], row["seeds"]) == ("not reproduced", "hsd", 1, 11)
    for again in ({"seeds": 3}, {"seeds": 0, "outcome": "missing"}):
        row = one_row(judge(claim(rule), few, many | again, rival), protocol="paper")
        assert (row["verdict"], row["judged"], row["lost"]) == ("underpowered", 1, 0)


def test_an_unfinished_plan_of_more_seeds_decides_nothing() -> None:
    """Neither does it hide that the rival is the best one."""
    rule = compared(experiments=["main", "more"], pairs=[["iadsr", "*"]], against="best")
    few = {"baseline_method": "hsd", "outcome": "underpowered", "gain_high": 0.5, "baseline_mean": 0.2}
    part = few | {c.EXPERIMENT: "more", "outcome": "equal", "seeds": 10, "status": "ok, without hsd seed 7: missing"}
    for rows in ([few, part], [part, few]):
        row = one_row(judge(claim(rule), *rows, {"baseline_method": "adt"}), protocol="paper")
        assert (row["verdict"], row["against"], row["seeds"], row["lost"]) == ("underpowered", "hsd", 3, 0)


def test_a_mean_over_more_backbones_counts_before_one_over_more_seeds() -> None:
    """By itself, a backbone that has more seeds takes its own place."""
    mean = {"kind": "backbones", c.BACKBONE: "all", "backbones": 3}
    alone = {c.EXPERIMENT: "more", "seeds": 11, "outcome": "equal"}
    rule = {"experiments": ["main", "more"]}
    for other in (alone, alone | mean | {"backbones": 2}):
        row = one_row(judge(claim(compared(**rule)), mean, other), protocol="paper")
        assert (row["verdict"], row["judged"], row["seeds"]) == ("reproduced", 1, 3), other
    lost = mean | {"seeds": 0, "outcome": "missing"}
    assert one_row(judge(claim(compared(**rule)), lost, alone), protocol="paper")["verdict"] == "not reproduced"
    row = one_row(judge(claim(compared(**rule, unit="each")), mean, {}, {c.BACKBONE: "caser"}, alone), protocol="paper")
    assert (row["verdict"], row["judged"]) == ("partly reproduced", 2)


def test_protocols_keep_their_order_whichever_experiment_decides() -> None:
    rows = [{}, {c.PROTOCOL: "strong"}, {c.EXPERIMENT: "more", "seeds": 11}]
    found = judge(claim(compared(experiments=["main", "more"])), *rows)
    assert found[[c.PROTOCOL, "seeds"]].fillna(0).to_numpy().tolist() == [["", 0], ["paper", 11], ["strong", 3]]


def test_baselines_are_named_in_the_order_of_the_comparisons() -> None:
    rows = [{"baseline_method": name, "seeds": seeds} for name, seeds in (("b", 3), ("a", 5), ("c", 2))]
    rows += [row | {c.EXPERIMENT: "again"} for row in rows]
    row = one_row(judge(claim(compared(experiments=["main", "again"])), *rows), protocol="paper")
    assert (row["against"], row["judged"]) == ("b, a, c", 3)


def test_the_very_same_runs_are_counted() -> None:
    rows = [{"outcome": "none", "same_as": "none", c.METRIC: name} for name in ("HR@5", "MRR")]
    row = one_row(
        judge(claim(compared(metrics=["HR@5", "MRR", "HR@10"])), *rows, {c.METRIC: "HR@10"}), protocol="paper"
    )
    assert row["same"] == 2


def test_cold_targets_are_asked_for_in_the_own_grid() -> None:
    with pytest.raises(ValueError, match="own grid alone"):
        compared(group="cold", experiments=["texts"])


def test_what_is_significant_the_other_way_is_counted() -> None:
    rows = [{"outcome": "loss"}, {"outcome": "equal", c.METRIC: "MRR"}]
    row = one_row(judge(claim(compared(metrics=["HR@5", "MRR"])), *rows), protocol="paper")
    assert (row["verdict"], row["contrary"], row["judged"]) == ("not reproduced", 1, 2)


def test_a_claim_on_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"claim 'one': unknown metric 'HR@55'; did you mean 'HR@5'"):
        judge(claim(compared(metrics=["HR@55"])), {})
    with pytest.raises(ConfigError, match=r"the paper: unknown metric 'NDCG@55'"):
        check_metrics(["HR@5", "NDCG@55"], "the paper")
