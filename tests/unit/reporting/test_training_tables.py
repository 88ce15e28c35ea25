"""Tables about training: what was tuned, what runs cost, how hard losses pull; and whether a mask learned."""

import math
from pathlib import Path

import pandas as pd
import pytest

from iadsr.reporting.experiment import experiments_of
from iadsr.reporting.experiments import auc_sentences
from iadsr.reporting.load import load, load_all
from iadsr.reporting.tables import cost_by_method_table, pulls_table, tuned_table
from tests.unit.reporting.synthetic import SETTINGS, experiment, grid, make_tree

CELLS = grid(datasets=["planted"], protocols=["paper"], backbones=["gru4rec"], methods=["none", "iadsr"], seeds=[1, 2])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path, CELLS, epochs=3, experiments={"noise": experiment("table", CELLS)})


def change(path: Path, **columns: object) -> None:
    table = pd.read_parquet(path)
    table.assign(**columns).to_parquet(path)


def test_pulls_are_those_of_the_kept_epoch_on_average_over_seeds(tree: Path) -> None:
    path = tree / "evaluation" / "curves.parquet"
    curves = pd.read_parquet(path)
    iadsr = curves["method"] == "iadsr"
    size = curves["epoch"] + 10.0 * curves["seed"]
    change(
        path,
        gradient_alignment_project=size.where(iadsr),
        gradient_alignment_my_part=(2 * size).where(iadsr),
        gradient_recommendation_mask=(0 * size).where(iadsr),
    )
    change(tree / "evaluation" / "runs.parquet", best_epoch=1)
    table = pulls_table(load(tree, CELLS))
    assert table is not None
    frame = table.frame.set_index(["method", "loss"])
    assert frame.loc[("iadsr", "alignment"), "project"] == 1 + 15
    assert frame.loc[("iadsr", "alignment"), "my_part"] == 2 * (1 + 15)
    assert math.isnan(frame.loc[("iadsr", "alignment"), "mask"])
    assert frame.loc[("iadsr", "recommendation"), "mask"] == 0
    assert list(frame.index) == [("iadsr", "recommendation"), ("iadsr", "alignment")], (
        "`none` pulls at nothing of its own"
    )
    assert [column.title for column in table.columns][-3:] == ["mask", "project", "my_part"]


def test_without_logged_pulls_there_is_no_table(tree: Path) -> None:
    assert pulls_table(load(tree, CELLS)) is None


def test_costs_stand_beside_those_of_none(tree: Path) -> None:
    runs = pd.read_parquet(tree / "evaluation" / "runs.parquet")
    seconds = runs["method"].map({"none": 10.0, "iadsr": 25.0}) + runs["seed"]
    change(tree / "evaluation" / "runs.parquet", seconds_total=seconds)
    table = cost_by_method_table(load(tree, CELLS).cells)
    frame = table.frame.set_index("method")
    assert frame["seconds_total"].to_dict() == {"none": 11.5, "iadsr": 26.5}
    assert frame["times_none"].to_dict() == pytest.approx({"none": 1.0, "iadsr": 26.5 / 11.5})
    assert f"“paper” {(2 * 11.5 + 2 * 26.5) / 3600:.2f} hours" in table.caption


def test_tuned_values_name_whose_they_are() -> None:
    place = {"dataset": "ml", "protocol": "strong", "backbone": "sasrec"}
    table = tuned_table(
        [
            {**place, "method": "none", "like": "none", "values": {"dropout": 0.3}},
            {**place, "method": "iadsr_tfidf", "like": "iadsr", "values": {"dropout": 0.2, "remove": "pack"}},
        ]
    )
    assert table.frame["like"].tolist() == ["none", "iadsr"]
    assert [cell.text for cell in table.rows[1].cells][-2:] == ["0.2", "pack"]
    assert table.rows[1].cells[3].sub == "as IADSR"


@pytest.mark.parametrize("after", [0.8, 0.4])
def test_whether_training_raises_the_mask_s_auc_is_said_from_the_runs(tree: Path, after: float) -> None:
    runs = pd.read_parquet(tree / "evaluation" / "runs.parquet")
    iadsr = runs["method"] == "iadsr"
    first = runs["seed"] == 1
    known = pd.Series(0.5, runs.index).where(iadsr)
    trained = pd.Series(after, runs.index).where(first, 0.6).where(iadsr)
    change(tree / "evaluation" / "runs.parquet", untrained_auc=known, noise_auc=trained)
    given = {"noise": experiment("table", CELLS)}
    _, grids = load_all(tree, CELLS, {"noise": CELLS})
    (said,) = auc_sentences(experiments_of(given, grids, SETTINGS)[0])
    assert f"from 0.500 to {(after + 0.6) / 2:.3f} with GRU4Rec" in said
    assert f"(raised in {2 if after > 0.5 else 1} of 2 runs)" in said
