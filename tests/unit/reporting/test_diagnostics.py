"""What the page tells of the masks, on the main grid."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iadsr.reporting import diagnostics
from iadsr.reporting.load import load
from iadsr.reporting.page import build_report
from iadsr.reporting.words import fixed, percent
from tests.unit.reporting.reading import rows_of, section_of
from tests.unit.reporting.synthetic import SETTINGS, TEMPLATES, grid, make_tree

ML = "movielens-100k"
CELLS = grid(protocols=["paper"], backbones=["gru4rec", "caser"], seeds=[1, 2])
BAD = [(ML, "paper", "caser", "iadsr", seed) for seed in (1, 2)]
WANTED = {  # HR@5 and HR@20 of seeds 1 and 2
    "none": {"HR@5": (0.10, 0.20), "HR@20": (0.40, 0.50)},
    "iadsr": {"HR@5": (0.14, 0.22), "HR@20": (0.35, 0.51)},
    "random_mask": {"HR@5": (0.09, 0.19), "HR@20": (0.30, 0.40)},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in which GRU4Rec's hit rates under the protocol's own ranking are the wanted ones."""
    root = make_tree(tmp_path_factory.mktemp("results"), CELLS, BAD, epochs=4, experiments={})
    path = root / "evaluation" / "metrics.parquet"
    frame = pd.read_parquet(path)
    for method, by_metric in WANTED.items():
        for metric, values in by_metric.items():
            for seed, value in zip((1, 2), values, strict=True):
                at = (frame["backbone"] == "gru4rec") & (frame["method"] == method) & (frame["seed"] == seed)
                at &= (frame["ranking"] == "kept") & (frame["group"] == "all") & (frame["metric"] == metric)
                frame.loc[at, "value"] = value
    frame.to_parquet(path, index=False)
    build_report(root, CELLS, SETTINGS, TEMPLATES, root / "report" / "index.html")
    return root


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "report" / "index.html").read_text(encoding="utf-8")


def shown(text: str, name: str) -> dict[tuple[str, ...], list[str]]:
    return {tuple(row[1:3]): row[3:] for row in rows_of(text, name)}


def test_curves_are_small_multiples_with_what_they_end_on(text: str) -> None:
    part = section_of(text, "masks")
    label = re.search(r'aria-label="(From the first to the last epoch, GRU4Rec[^"]*)"', part)
    assert label
    for piece in ("loss alignment 4.800 to", "cosine matched 0.109 to", "keep rate 0.700 to", "mask gradient 0.010 to"):
        assert piece in label.group(1)
    assert "none" not in label.group(1)


def test_the_signature_is_judged_by_means_and_by_seeds(text: str, root: Path) -> None:
    rows = shown(text, f"signature-{ML}")
    assert rows["GRU4Rec", "IADSR"][2] == "yes, in 1 of 2 seeds"
    assert rows["GRU4Rec", "IADSR, random mask"][2] == "no, in 0 of 2 seeds"
    assert "diverged" in rows["Caser", "IADSR"][0]
    stored = pd.read_csv(root / "report" / "tables" / f"signature-{ML}.csv").set_index(["backbone", "method"])
    row = stored.loc[("gru4rec", "iadsr")]
    assert row["HR@5 gain over none"] == pytest.approx(0.36 / 0.30 - 1)
    assert row["HR@20 gain over none"] == pytest.approx(0.86 / 0.90 - 1)
    assert bool(row["signature"])


def test_the_inflated_evaluation_stands_beside_the_honest_one(text: str) -> None:
    rows = shown(text, f"denoised-target-{ML}")
    cells = rows["GRU4Rec", "IADSR"]
    assert cells[0].startswith(fixed(0.18))
    assert cells[1].startswith(fixed(0.2))
    assert cells[2] == percent(0.2 / 0.18 - 1)
    assert cells[6] == "25.0\u202f%"
    assert rows["Caser", "IADSR"] == ["seeds 1 and 2 diverged: loss is NaN at epoch 3"]
    assert "which never feeds a verdict" in text


def test_the_honest_side_is_ranked_as_the_inflated_one(tmp_path: Path) -> None:
    """With the history kept, also where the protocol's own rule excludes it."""
    cells = grid(protocols=["strong"], backbones=["gru4rec"], seeds=[1, 2])
    make_tree(tmp_path, cells, epochs=2, experiments={})
    build_report(tmp_path, cells, SETTINGS, TEMPLATES, tmp_path / "report" / "index.html")
    stored = pd.read_csv(tmp_path / "report" / "tables" / f"denoised-target-{ML}.csv").set_index("method")
    metrics = pd.read_parquet(tmp_path / "evaluation" / "metrics.parquet")
    own = metrics.query("method == 'iadsr' and group == 'all' and metric == 'HR@5'")
    by_ranking = own.groupby("ranking")["value"].mean()
    assert by_ranking["kept"] != by_ranking["excluded"]
    assert stored.loc["iadsr", "HR@5 honest mean"] == pytest.approx(by_ranking["kept"])


def test_cold_inputs_are_set_against_popular_ones(text: str, root: Path) -> None:
    keep = pd.read_parquet(root / "evaluation" / "keep.parquet")
    keep = keep.query("backbone == 'gru4rec' and method == 'iadsr' and stage == 'train'")
    wide = keep.pivot(index="seed", columns="group", values="keep")
    gap = wide["cold"] - wide["decile_10"]
    found = next(row for row in rows_of(text, f"kept-{ML}") if row[1:4] == ["GRU4Rec", "IADSR", "training"])
    assert found[7].startswith(fixed(100 * gap.mean(), 1))
    assert found[7].endswith(fixed(100 * gap.std(), 1))
    assert found[8:] == ["yes, in 2 of 2 seeds", "500"]
    assert found[5] == "\u2013"
    stored = pd.read_csv(root / "report" / "tables" / f"kept-{ML}.csv")
    assert stored.loc[0, "cold minus decile_10"] == pytest.approx(gap.mean())


def test_the_popularity_section_shows_what_is_kept(text: str) -> None:
    part = section_of(text, "popularity")
    label = re.search(r'aria-label="(Share kept by popularity of the input item, GRU4Rec[^"]*)"', part)
    assert label and "IADSR in training: cold" in label.group(1)


def test_an_older_tree_shows_none_of_it(tmp_path: Path) -> None:
    make_tree(tmp_path, CELLS, epochs=2)
    results = load(tmp_path, CELLS)
    methods: Any = results.methods(dataset=ML)
    assert diagnostics.traced_methods(results, ML, methods) == []
    assert diagnostics.kept_methods(results, ML, methods) == []
    assert diagnostics.inflated_methods(results, ML, methods) == []


def test_many_methods_share_a_panel_seven_at_a_time(tmp_path: Path) -> None:
    many = [f"iadsr-theta={number}" for number in range(9)]
    cells = grid(protocols=["paper"], backbones=["gru4rec"], methods=["none", "iadsr", *many], seeds=[1])
    make_tree(tmp_path, cells, epochs=3, experiments={})
    results = load(tmp_path, cells)
    look = diagnostics.look_of(many)
    figure = diagnostics.curves_figure(results, ML, 1, many, look)
    assert [("1 of 2" in panel.alt, "2 of 2" in panel.alt) for panel in figure.panels] == [(True, False), (False, True)]
    assert look[many[0]] == look[many[7]]
    assert all(any(f"theta {number}:" in panel.alt for panel in figure.panels) for number in range(9))
