"""The section of the experiments, on a tree with one of each view."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iadsr.core.errors import ConfigError
from iadsr.reporting.experiment import Experiment, experiments_of
from iadsr.reporting.experiment_tables import spread_of
from iadsr.reporting.experiments import can_answer, findings, released_sentences, spread_sentences
from iadsr.reporting.load import load_all
from iadsr.reporting.page import build_report
from iadsr.reporting.words import NOTHING, fixed, percent, signed
from tests.unit.reporting.reading import read, rows_of, section_of
from tests.unit.reporting.synthetic import SETTINGS, TEMPLATES, experiment, grid, make_tree

ML, SEEDS, ONE = "movielens-100k", (1, 2), ["gru4rec"]
MAIN = grid(backbones=["gru4rec", "sasrec"], methods=["none", "iadsr"], seeds=SEEDS)
THETA = {"iadsr-theta=0.5": 0.5, "iadsr-theta=-0.5": -0.5, "iadsr-theta=0.0": 0.0}
DEFECTS = [f"iadsr-defects={name}" for name in ("R2", "R4", "R9", "R10")]
LADDER, TIES = ["paper", "ladder_all", "strong"], ["strong", "paper_ties1", "paper_ties2"]
EXPERIMENTS = {
    "defects": experiment(
        "table", grid(protocols=["paper"], backbones=ONE, methods=[*DEFECTS, "iadsr"], seeds=SEEDS), baseline="iadsr"
    ),
    "theta": experiment(
        "sweep",
        grid(protocols=["paper"], backbones=["gru4rec", "sasrec"], methods=["none", *THETA], seeds=SEEDS),
        points=THETA,
        option="theta",
    ),
    "ladder": experiment("ladder", grid(protocols=LADDER, backbones=ONE, methods=["none", "iadsr"], seeds=SEEDS)),
    "ties": experiment("spread", grid(protocols=TIES, backbones=ONE, methods=["none", "iadsr"], seeds=SEEDS)),
    "planted": experiment(
        "table", grid(["planted"], ["paper"], backbones=ONE, methods=["none", "iadsr", "random_drop"], seeds=SEEDS)
    ),
}
BAD = [
    *((ML, "paper", "gru4rec", "iadsr-defects=R9", seed) for seed in SEEDS),
    (ML, "paper", "gru4rec", "iadsr-defects=R2", 2),
    *((ML, "paper", "sasrec", "iadsr-theta=0.0", seed) for seed in SEEDS),
    *((ML, "ladder_all", "gru4rec", "iadsr", seed) for seed in SEEDS),
]
GONE = [
    *((ML, "paper", "gru4rec", "iadsr-defects=R10", seed) for seed in SEEDS),
    (ML, "paper_ties1", "gru4rec", "none", 2),
]
RUNGS = {
    "ladder_all": {
        "description": "Every “position” a target.",
        "ranking": "excluded",
        "objective": "all",
        "length": 31,
    },
    **{name: {"ranking": "excluded", "objective": "all", "length": 50} for name in TIES[1:]},
}
DESCRIBED = {**SETTINGS, "protocols": {**SETTINGS["protocols"], **RUNGS}}  # type: ignore[dict-item]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_tree(tmp_path_factory.mktemp("results"), MAIN, BAD, GONE, epochs=4, experiments=EXPERIMENTS)
    build_report(root, MAIN, DESCRIBED, TEMPLATES, root / "report" / "index.html", EXPERIMENTS)
    return root


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def part(text: str) -> str:
    return section_of(text, "experiments")


@pytest.fixture(scope="module")
def metric(root: Path) -> Callable[..., pd.Series]:
    """A metric of all users by seed, straight from metrics.parquet."""
    frame = pd.read_parquet(root / "evaluation" / "metrics.parquet")
    frame = frame[frame["group"] == "all"].dropna(subset=["value"])
    names = ["protocol", "backbone", "method", "metric", "ranking"]
    indexed = frame[frame["dataset"] == ML].set_index([*names, "seed"])["value"].sort_index()

    def found(protocol: str, backbone: str, method: str, name: str, ranking: str) -> pd.Series:
        return indexed.loc[(protocol, backbone, method, name, ranking)]

    return found


def table(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / "report" / "tables" / f"experiment-{name}.csv")


def comparison(root: Path, name: str, **where: str) -> pd.Series:
    frame = pd.read_parquet(root / "statistics" / "comparisons.parquet")
    frame = frame[frame["experiment"] == name]
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_the_page_stays_well_formed_and_its_references_whole(text: str, root: Path) -> None:
    reader = read(text)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for _, _, link in reader.links if link.startswith("#")} <= set(reader.ids)
    local = [link for tag, _, link in reader.links if tag == "a" and not link.startswith(("#", "https:"))]
    assert all((root / "report" / link).is_file() for link in local)
    assert len(local) == len(set(local))


def test_contents_list_each_experiment(text: str) -> None:
    contents = text[text.index("<nav") : text.index("</nav>")]
    for name in EXPERIMENTS:
        assert f'<a href="#experiment-{name}">A ' in contents
    assert "A table &lt;of&gt; things" in contents
    assert "What &amp; why? Baseline: IADSR. 5 of 10 runs done; 3 diverged; 2 missing; 2 of them belong" in text


def test_every_figure_and_table_says_what_made_it(part: str) -> None:
    drawn = [attributes for tag, attributes in read(part).tags if tag == "svg"]
    assert len(drawn) > 12
    assert all(attributes.get("role") == "img" and len(attributes.get("aria-label") or "") > 40 for attributes in drawn)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", part, flags=re.DOTALL)
    assert all(
        re.search(r"[Dd]ataset (movielens-100k|planted).*encoder (minilm|none)", caption) for caption in captions
    )


def test_failures_stay_with_their_reasons(part: str) -> None:
    shown = {row[0].split("\n")[0]: row for row in rows_of(part, f"experiment-defects-methods-{ML}-paper-gru4rec")}
    assert [name.split(" ")[0] for name in shown] == ["IADSR"] * 5
    rows = list(shown.items())
    assert rows[0][0] == "IADSR"
    by_defect = {key.split("with ")[1].split(" ")[0]: row for key, row in rows[1:]}
    assert by_defect["R9"][1:] == ["seeds 1 and 2 diverged: loss is NaN at epoch 3", "0/2"]
    assert by_defect["R10"][1:] == ["seeds 1 and 2 missing: no run record in the results tree", "0/2"]
    assert by_defect["R2"][-1] == "1/2; seed 2 diverged: loss is NaN at epoch 3"
    assert "padding can be recommended" in by_defect["R9"][0]


def test_a_table_holds_the_metrics_and_the_tests_against_its_baseline(root: Path, metric: Any, part: str) -> None:
    stored = table(root, f"defects-methods-{ML}-paper-gru4rec").set_index("method")
    assert list(stored.index) == ["iadsr", *DEFECTS]
    values = metric("paper", "gru4rec", "iadsr-defects=R4", "HR@20", "kept")
    row = stored.loc["iadsr-defects=R4"]
    assert row["HR@20 mean"] == pytest.approx((values[1] + values[2]) / 2, rel=1e-12)
    assert row["HR@20 sd"] == pytest.approx(abs(values[1] - values[2]) / 2**0.5, rel=1e-9)
    for name in ("HR@5", "NDCG@10"):
        test = comparison(root, "defects", method="iadsr-defects=R4", ranking="kept", metric=name)
        assert row[f"{name} relative_gain"] == test["relative_gain"]
        assert row[f"{name} p_holm"] == test["p_holm"]
        assert row[f"{name} family"] == f"experiment | defects | {ML} | paper | kept | {name}"
    rows = rows_of(part, f"experiment-defects-methods-{ML}-paper-gru4rec")
    shown = next(cells for cells in rows if "R4" in cells[0])
    test = comparison(root, "defects", method="iadsr-defects=R4", ranking="kept", metric="HR@5")
    assert shown[1].startswith(fixed(metric("paper", "gru4rec", "iadsr-defects=R4", "HR@5", "kept").mean()))
    assert shown[5].startswith(percent(test["relative_gain"]))


def test_noise_columns_appear_where_noise_is_known(part: str) -> None:
    def heads(name: str) -> str:
        start = part.index(f't-experiment-{name}"')
        return part[part.index("<thead>", start) : part.index("</thead>", start)]

    planted = heads("planted-methods-planted-paper-gru4rec")
    assert "Noise AUC" in planted and "Drop precision" in planted and "Drop recall" in planted
    assert "in training</th>" not in planted.replace("Kept in training</th>", "")
    assert "Noise AUC" not in heads(f"defects-methods-{ML}-paper-gru4rec")
    assert "About the data: planted" in part


def test_a_forest_has_a_row_a_method_and_both_metrics(part: str) -> None:
    panels = re.findall(r'aria-label="((?:NDCG@10|HR@5), paper\. [^"]*with R2[^"]*)"', part)
    assert [label.split(",")[0] for label in panels] == ["NDCG@10", "HR@5"]
    for label in panels:
        assert "GRU4Rec, with R9: diverged" in label
        assert "GRU4Rec, with R10: missing" in label
    assert "Defects: R2: no denoising at test time; R4: one-sided Gumbel noise; R9:" in part


def test_a_sweep_shows_values_shares_and_what_failed(part: str, metric: Any) -> None:
    label = re.search(r'aria-label="(HR@5 by theta[^"]*)"', part)
    assert label
    said = {piece.split(": ")[0]: piece for piece in label.group(1).split(". ", 1)[1].split("; ")}
    means = [metric("paper", "gru4rec", name, "HR@5", "kept").mean() for name in THETA]
    none = metric("paper", "gru4rec", "none", "HR@5", "kept").mean()
    assert said["GRU4Rec"].startswith(f"GRU4Rec: {fixed(min(means))} to {fixed(max(means))}, past the gate 97.0")
    assert f"none {fixed(none)}" in said["GRU4Rec"]
    assert "at 0 no value (seeds 1 and 2 diverged: loss is NaN at epoch 3)" in said["SASRec"]


def test_a_sweep_s_table_is_folded_and_holds_the_swept_values(root: Path, part: str) -> None:
    stored = table(root, f"theta-sweep-{ML}-paper").set_index(["backbone", "method"])
    for method, value in THETA.items():
        assert stored.loc[("gru4rec", method), "theta"] == value
    before = part[: part.index(f't-experiment-theta-sweep-{ML}-paper"')]
    assert before.count("<details>") == before.count("</details>") + 1


def test_a_sweep_names_points_that_are_the_same_run(root: Path, tmp_path: Path, part: str) -> None:
    assert "same run as" not in part
    frame = pd.read_parquet(root / "statistics" / "comparisons.parquet")
    own = (frame["experiment"] == "theta") & (frame["backbone"] == "gru4rec") & (frame["method"] == "iadsr-theta=0.0")
    frame["same_as"] = ""
    frame.loc[own, "same_as"] = "iadsr-theta=-0.5"
    for name in ("evaluation", "data", "runs"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "statistics").mkdir()
    frame.to_parquet(tmp_path / "statistics" / "comparisons.parquet", index=False)
    out = tmp_path / "report" / "index.html"
    build_report(tmp_path, MAIN, DESCRIBED, TEMPLATES, out, {"theta": EXPERIMENTS["theta"]})
    text = out.read_text(encoding="utf-8")
    assert re.search(r"HR@5 against none: [^.]* \(1 further with the very same runs\)\.", text)
    shown = rows_of(text, f"experiment-theta-sweep-{ML}-paper")
    heads = [cells[1] for cells in shown if "same run" in cells[1]]
    assert heads == ["IADSR, theta 0.0 same run as theta \u22120.5"]
    stored = table(tmp_path, f"theta-sweep-{ML}-paper").set_index(["backbone", "method"])
    assert stored.loc[("gru4rec", "iadsr-theta=0.0"), "same_as"] == "iadsr-theta=-0.5"
    assert pd.isna(stored.loc[("sasrec", "iadsr-theta=0.0"), "same_as"])


def test_a_mean_in_a_csv_is_that_of_the_runs_and_not_of_a_comparison(root: Path, metric: Any) -> None:
    stored = table(root, f"defects-methods-{ML}-paper-gru4rec").set_index("method")
    for name in ("iadsr", "iadsr-defects=R4"):
        for measure in ("HR@5", "NDCG@5"):
            expected = metric("paper", "gru4rec", name, measure, "kept").mean()
            assert stored.loc[name, f"{measure} mean"] == pytest.approx(expected), (name, measure)
    rungs = table(root, f"ladder-ladder-{ML}").set_index(["protocol", "method"])
    expected = metric("strong", "gru4rec", "iadsr", "NDCG@10", "excluded").mean()
    assert rungs.loc[("strong", "iadsr"), "NDCG@10 mean"] == pytest.approx(expected)


def test_a_ladder_goes_up_in_the_order_given(root: Path, part: str) -> None:
    rows = rows_of(part, f"experiment-ladder-rungs-{ML}")
    assert rows == [
        ["1", "paper", NOTHING],
        ["2", "ladder_all", "Every “position” a target."],
        ["3", "strong", NOTHING],
    ]
    shown = rows_of(part, f"experiment-ladder-ladder-{ML}")
    assert [row[1] for row in shown] == [f"{rung}. {name}" for rung, name in enumerate(LADDER, 1) for _ in range(2)]
    assert shown[3][3:] == ["seeds 1 and 2 diverged: loss is NaN at epoch 3", "0/2"]
    assert set(table(root, f"ladder-ladder-{ML}")["ranking"]) == {"excluded"}, "the last rung's rule, on every rung"
    assert "all ranked by one rule, history excluded" in part and "of each protocol its own" not in part
    label = re.search(r'aria-label="(NDCG@10 from rung to rung, GRU4Rec[^"]*)"', part)
    assert label and "ladder_all no value (seeds 1 and 2 diverged" in label.group(1)


def test_rung_factor_is_ratio_of_baselines_under_one_ranking_rule(root: Path, metric: Any) -> None:
    stored = table(root, f"ladder-ladder-{ML}").set_index(["protocol", "method"])
    before = metric("paper", "gru4rec", "none", "NDCG@10", "excluded").mean()
    for protocol in ("ladder_all", "strong"):
        here = metric(protocol, "gru4rec", "none", "NDCG@10", "excluded").mean()
        assert stored.loc[(protocol, "none"), "NDCG@10 times the rung before"] == pytest.approx(here / before, rel=1e-9)
        before = here
    assert pd.isna(stored.loc[("paper", "none"), "NDCG@10 times the rung before"])
    test = comparison(root, "ladder", protocol="strong", method="iadsr", ranking="excluded", metric="HR@5")
    assert stored.loc[("strong", "iadsr"), "HR@5 relative_gain"] == test["relative_gain"]


def test_a_ladder_says_what_the_protocol_adds_and_what_a_method_does(part: str, metric: Any) -> None:
    none = {name: metric(name, "gru4rec", "none", "HR@5", "excluded") for name in LADDER}
    gains = {
        rung: (metric(name, "gru4rec", "iadsr", "HR@5", "excluded") - none[name]).mean()
        for rung, name in enumerate(LADDER, 1)
        if name != "ladder_all"  # there it diverged
    }
    begin, end = none["paper"].mean(), none["strong"].mean()
    most = max(gains, key=lambda rung: gains[rung])
    assert (
        f"{ML}, GRU4Rec, HR@5: from rung 1 to rung 3, none goes from {fixed(begin)} to {fixed(end)}, a difference of "
        f"{signed(end - begin)} that no method made. Against none on the same rung, at most and at last: "
        f"IADSR {signed(gains[most])} on rung {most} and {signed(gains[3])} on rung 3."
    ) in " ".join(part.split())


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "cannot answer"), (9.0, "can answer")])
def test_the_release_is_judged_only_above_the_most_popular_items(
    root: Path, tmp_path: Path, factor: float, verdict: str
) -> None:
    """`none` under `paper` reaches about .016 here, the most popular items .0301."""
    networks = {"cells": {f"{ML}/gru4rec": {"networks": "released", "ranking": "kept"}}}
    described = {**DESCRIBED, "protocols": {**DESCRIBED["protocols"], "paper": networks}}
    _, grids = load_all(scaled(root, tmp_path, factor, "paper", "none"), MAIN, {"theta": EXPERIMENTS["theta"]["cells"]})
    one = experiments_of({"theta": EXPERIMENTS["theta"]}, grids, described)[0]
    said = released_sentences(one)
    values = one.values(ML, "paper", "gru4rec", "none", "NDCG@10")
    mean = fixed(sum(values.values()) / len(values))
    assert said[0].startswith(f"{ML}, “paper”, GRU4Rec {verdict}: none reaches NDCG@10 {mean}, the most popular items")
    assert all(can_answer(one, ML, "paper", name) == (factor > 1) for name in one.backbones(ML))
    counted = " ".join(findings(one, load_all(root, MAIN, {})[0]))
    assert ("significant" in counted) == (factor > 1), "what cannot answer is not counted"
    assert released_sentences(experiments_of({"theta": EXPERIMENTS["theta"]}, grids, DESCRIBED)[0]) == []


def test_a_release_without_a_result_cannot_answer(root: Path) -> None:
    lost = experiment("table", [(ML, "other", "gru4rec", "iadsr_released", 1)], baseline="iadsr_released")
    described = {**DESCRIBED, "protocols": {"other": {"networks": "released"}}}
    _, grids = load_all(root, MAIN, {"lost": lost["cells"]})
    one = experiments_of({"lost": lost}, grids, described)[0]
    assert released_sentences(one) == [f"{ML}, “other”, GRU4Rec cannot answer: IADSR as released has no result."]


def test_the_overall_tables_open_with_the_most_popular_items(text: str, root: Path) -> None:
    row = rows_of(text, f"overall-{ML}-paper-kept")[0]
    assert row == [NOTHING, "most popular", *["0.0301"] * 7, *[NOTHING] * 4]
    stored = pd.read_csv(root / "report" / "tables" / f"overall-{ML}-paper-kept.csv").iloc[0]
    assert (stored["method"], stored["HR@5 mean"]) == ("most_popular", 0.0301)


def test_a_ladder_shows_the_most_popular_items(part: str) -> None:
    assert part.count("most popular</text>") == 2, "a line in either panel"


def test_protocols_are_told_apart_by_what_differs(part: str) -> None:
    shown = {row[0]: row[1:] for row in rows_of(part, "experiment-ladder-protocols")}
    assert shown["objective"] == ["last", "all", "all"]
    assert shown["length"] == ["31", "31", "50"]
    shown = {row[0]: row[1:] for row in rows_of(part, "experiment-ties-protocols")}
    assert "objective" not in shown


def ties_experiment(root: Path) -> tuple[Experiment, Any]:
    main, grids = load_all(root, MAIN, {name: one["cells"] for name, one in EXPERIMENTS.items()})
    return experiments_of({"ties": EXPERIMENTS["ties"]}, grids, DESCRIBED)[0], main


def test_the_spread_is_over_protocols_of_means_over_seeds(root: Path, metric: Any, part: str) -> None:
    means = pd.Series({name: metric(name, "gru4rec", "none", "HR@5", "excluded").mean() for name in TIES})
    inner = [metric(name, "gru4rec", "none", "HR@5", "excluded") for name in ("strong", "paper_ties2")]
    pooled = (sum(series.std() ** 2 for series in inner) / 2) ** 0.5
    row = table(root, f"ties-spread-{ML}").query("metric == 'HR@5' and method == 'none'").iloc[0]
    assert row["mean"] == pytest.approx(means.mean())
    assert row["sd"] == pytest.approx(means.std())
    assert row["max"] - row["min"] == pytest.approx(means.max() - means.min())
    assert row["seed_sd"] == pytest.approx(pooled)
    shown = rows_of(part, f"experiment-ties-spread-{ML}")[0]
    assert shown[3:5] == [fixed(means.mean()), fixed(means.std())]
    assert shown[-1].endswith("paper_ties1: seed 2 missing: no run record in the results tree")


def test_a_difference_s_spread_is_taken_within_each_protocol(root: Path, metric: Any) -> None:
    experiment_, _ = ties_experiment(root)
    found = spread_of(experiment_, ML, "gru4rec", "iadsr", "HR@5", minus="none")
    own, base = (metric("paper_ties1", "gru4rec", name, "HR@5", "excluded") for name in ("iadsr", "none"))
    assert found.means["paper_ties1"] == pytest.approx(own[1] - base[1])


def scaled(root: Path, tmp_path: Path, factor: float, protocol: str = "strong", method: str = "iadsr") -> Path:
    """A copy of the tree's metrics in which a method under a protocol has `factor` times its values."""
    frame = pd.read_parquet(root / "evaluation" / "metrics.parquet")
    rows = (frame["protocol"] == protocol) & (frame["method"] == method)
    frame.loc[rows, "value"] *= factor
    for name in ("statistics", "data", "runs"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "evaluation").mkdir()
    for path in (root / "evaluation").iterdir():
        if path.name != "metrics.parquet":
            (tmp_path / "evaluation" / path.name).symlink_to(path)
    frame.to_parquet(tmp_path / "evaluation" / "metrics.parquet", index=False)
    return tmp_path


def test_the_spread_is_set_against_the_main_grid_s_gains(root: Path, tmp_path: Path, metric: Any, part: str) -> None:
    sentences = spread_sentences(*ties_experiment(root))
    assert len(sentences) == 2
    gain = (
        metric("strong", "gru4rec", "iadsr", "HR@5", "excluded")
        - metric("strong", "gru4rec", "none", "HR@5", "excluded")
    ).mean()
    stored = table(root, f"ties-spread-{ML}").query("metric == 'HR@5' and minus != minus").set_index("method")
    spread, seeds = stored.loc[["none", "iadsr"], "sd"].max(), stored.loc[["none", "iadsr"], "seed_sd"].max()
    assert f"is {fixed(spread)} over 3 protocols, {fixed(seeds)} over seeds" in sentences[0]
    assert "(protocol “strong”)" in sentences[0]
    verdict = "1 of 1 gain (GRU4Rec) is" if gain > 2 * spread else "none of 1 gain is"
    assert f"{verdict} larger than twice the spread over protocols" in sentences[0]
    assert sentences[0] in part
    large = spread_sentences(*ties_experiment(scaled(root, tmp_path, 3.0)))[0]
    assert "1 of 1 gain (GRU4Rec) is larger than twice the spread over seeds" in large


def test_shuffled_ties_of_data_without_any_are_no_spread_of_zeros(root: Path, tmp_path: Path) -> None:
    for name in ("statistics", "evaluation", "runs"):
        (tmp_path / name).symlink_to(root / name)
    path = tmp_path / "data" / ML / "summary.json"
    path.parent.mkdir(parents=True)
    summary = json.loads((root / "data" / ML / "summary.json").read_text())
    path.write_text(json.dumps({**summary, "tied_share": 0.0}))
    shuffled = {name: {**RUNGS[name], "tie_break": number} for number, name in enumerate(TIES[1:], start=1)}
    described = {**DESCRIBED, "protocols": {**DESCRIBED["protocols"], **shuffled}}
    out = tmp_path / "report" / "index.html"
    build_report(tmp_path, MAIN, described, TEMPLATES, out, {"ties": EXPERIMENTS["ties"]})
    part = section_of(out.read_text(encoding="utf-8"), "experiments")
    assert f"{ML} cannot answer: no two interactions of a user share a time, so there is no order to shuffle" in part
    assert "the standard deviation of a backbone is" not in part
    assert f"experiment-ties-spread-{ML}" not in part and "Sd over protocols" not in part


def test_one_seed_takes_the_spread_over_seeds_from_the_main_grid(root: Path, metric: Any) -> None:
    single = {**EXPERIMENTS["ties"], "cells": [cell for cell in EXPERIMENTS["ties"]["cells"] if cell[4] == 1]}
    main, grids = load_all(root, MAIN, {"ties": single["cells"]})
    sentence = spread_sentences(experiments_of({"ties": single}, grids, DESCRIBED)[0], main)[0]
    sds = [metric("strong", "gru4rec", name, "HR@5", "excluded").std() for name in ("none", "iadsr")]
    assert f"over 3 protocols, {fixed(max(sds))} over seeds of the main grid" in sentence


def test_the_main_sections_keep_to_the_main_grid(text: str, root: Path) -> None:
    main = text[: text.index('<section id="experiments"')]
    body = main[main.index("<main") :]
    assert "ladder_all" not in body
    assert "theta \u22120.5" not in body
    runs = pd.read_csv(root / "report" / "tables" / "runs.csv")
    assert len(runs) == len(MAIN)
    tests = pd.read_csv(root / "report" / "tables" / "tests-all.csv")
    assert "experiment" not in tests and set(tests["method"]) == {"iadsr", "none"}
    others = pd.read_csv(root / "report" / "tables" / "tests-experiments.csv")
    assert set(others["experiment"]) == set(EXPERIMENTS)
    assert "left out of this page" not in text


def test_a_page_without_experiments_has_no_such_section(tmp_path: Path) -> None:
    cells = grid(protocols=["paper"], backbones=ONE, methods=["none", "iadsr"], seeds=SEEDS)
    make_tree(tmp_path, cells, epochs=2)
    for name, experiments in (("one", None), ("two", {})):
        build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / name / "index.html", experiments)
    one, two = ((tmp_path / name / "index.html").read_text(encoding="utf-8") for name in ("one", "two"))
    assert one == two
    assert "xperiment" not in section_of(one, "masks") + one[one.index("<nav") : one.index("</nav>")]
    assert section_of(one, "experiments") == ""


def test_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    experiments = {
        "a": experiment("table", grid(protocols=["paper"], backbones=ONE, methods=["none", *DEFECTS[:2]], seeds=[1])),
        "b": experiment(
            "sweep", grid(protocols=["paper"], backbones=ONE, methods=list(THETA), seeds=[1]), points=THETA
        ),
    }
    experiments["b"]["baseline"] = "iadsr-theta=0.0"
    cells = grid(protocols=["paper"], backbones=ONE, methods=["none"], seeds=[1])
    make_tree(tmp_path, cells, epochs=2, experiments=experiments)
    built = []
    for name in ("one", "two"):
        build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / name / "index.html", experiments)
        folder = tmp_path / name
        built.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")})
    assert built[0] == built[1]
    assert len(built[0]) > 20


@pytest.mark.parametrize("fate", ["diverged", "missing"])
def test_nothing_worked(tmp_path: Path, fate: str) -> None:
    make_tree(tmp_path, MAIN, epochs=2, experiments=EXPERIMENTS, **{fate: "all"})
    build_report(tmp_path, MAIN, DESCRIBED, TEMPLATES, tmp_path / "index.html", EXPERIMENTS)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    read(text)
    for name, one in EXPERIMENTS.items():
        told = text[text.index(f'id="experiment-{name}"') :]
        assert f"0 of {len(one['cells'])} runs done; {len(one['cells'])} {fate}" in told
    assert all(fate in row[1] for row in rows_of(text, f"experiment-defects-methods-{ML}-paper-gru4rec"))


def test_an_unknown_view_and_an_empty_grid_are_config_errors(root: Path) -> None:
    odd = {"x": {**EXPERIMENTS["ties"], "view": "ladders"}}
    with pytest.raises(ConfigError, match="'x' has an unknown view 'ladders'; did you mean 'ladder'"):
        build_report(root, MAIN, DESCRIBED, TEMPLATES, root / "x" / "index.html", odd)
    with pytest.raises(ConfigError, match="experiment 'x' needs at least one"):
        build_report(root, MAIN, DESCRIBED, TEMPLATES, root / "x" / "index.html", {"x": experiment("table", [])})


def test_torch_is_never_loaded() -> None:
    code = "import sys, iadsr.reporting.page, iadsr.reporting.experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
