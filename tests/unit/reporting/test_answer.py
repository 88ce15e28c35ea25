import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from iadsr.reporting.answer import Answer, Comparisons, answer
from iadsr.reporting.load import load, load_all
from iadsr.reporting.words import MINUS, fixed, label
from tests.unit.reporting.synthetic import SETTINGS, make_tree

CELLS = [("ml", protocol, "sasrec", method, 1) for protocol in ("paper", "strong") for method in ("none", "iadsr")]


@pytest.fixture
def say(tmp_path: Path) -> Callable[[float, float, float], Answer]:
    """The answer when every method comparison has this gain, half-width and Holm p."""
    make_tree(tmp_path, CELLS, epochs=2)
    path = tmp_path / "statistics" / "comparisons.parquet"

    def said(gain: float, half: float, p_holm: float) -> Answer:
        frame = pd.read_parquet(path)
        rows = frame["kind"] == "method"
        base = frame.loc[rows, "baseline_mean"]
        for name, value in (("relative_gain", gain), ("gain_low", gain - half), ("gain_high", gain + half)):
            frame.loc[rows, name] = value
        for name, value in (("difference", gain), ("ci_low", gain - half), ("ci_high", gain + half)):
            frame.loc[rows, name] = base * value
        frame.loc[rows, "p_holm"] = p_holm
        frame.to_parquet(path)
        results = load(tmp_path, CELLS)
        return answer(results, Comparisons(results), SETTINGS)

    return said


def test_both_sides_are_set_against_the_most_popular_items(tmp_path: Path) -> None:
    make_tree(tmp_path, CELLS, epochs=2)
    metrics = pd.read_parquet(tmp_path / "evaluation" / "metrics.parquet")
    means = metrics.query("group == 'all' and metric == 'NDCG@10' and protocol == 'paper' and ranking == 'kept'")
    none, iadsr = (float(means.loc[means["method"] == name, "value"].iloc[0]) for name in ("none", "iadsr"))
    assert none != iadsr
    between = (none + iadsr) / 2
    columns = ["dataset", "ranking", "metric", "value", "users"]
    rows = [("ml", ranking, "NDCG@10", between, 9) for ranking in ("kept", "excluded")]
    pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / "evaluation" / "popularity.parquet")
    results = load(tmp_path, CELLS)
    said = answer(results, Comparisons(results), SETTINGS).points[0]
    assert said.endswith(
        f"The most popular items alone reach NDCG@10 {fixed(between)}; above that are {int(none > between)} of 1 "
        f"backbone without a denoiser and {int(iadsr > between)} of 1 backbone with IADSR."
    )


def test_protocol_and_method_effects_are_under_one_ranking_rule(tmp_path: Path) -> None:
    make_tree(tmp_path, CELLS, epochs=2)
    path = tmp_path / "statistics" / "comparisons.parquet"
    frame = pd.read_parquet(path)
    excluded = (frame["metric"] == "NDCG@10") & (frame["ranking"] == "excluded")
    iadsr = (frame["kind"] == "method") & (frame["method"] == "iadsr")
    frame.loc[iadsr, "difference"] = 0.0001  # under the other rule, which is that of “paper”
    frame.loc[iadsr & excluded, "difference"] = [0.002, -0.004]
    frame.loc[(frame["kind"] == "protocol") & excluded, "difference"] = 0.024
    frame.to_parquet(path)
    results = load(tmp_path, CELLS)
    said = answer(results, Comparisons(results), SETTINGS).lead
    assert "8.0 times the mean size of IADSR's own difference under the same rule (0.0030)" in said


def test_gain(say: Callable[..., Answer]) -> None:
    lead = say(0.1, 0.05, 0.01).lead
    assert "4 significant gains, 0 significant losses and 0 comparisons without a significant difference" in lead
    assert "No interval reaches 24.6\u202f%" in lead


def test_loss(say: Callable[..., Answer]) -> None:
    assert "0 significant gains, 4 significant losses" in say(-0.1, 0.05, 0.01).lead


def test_no_significant_difference(say: Callable[..., Answer]) -> None:
    lead = say(0.1, 0.2, 0.4).lead
    assert "0 significant gains, 0 significant losses and 4 comparisons without a significant difference" in lead
    assert (
        "4 of 4 intervals reach 24.6\u202f%, the low end of the published claim (4 so wide that they also hold zero)"
        in lead
    )


def test_an_interval_wholly_above_the_claim(say: Callable[..., Answer]) -> None:
    assert "(4 wholly above it)" in say(0.5, 0.1, 0.001).lead


def test_test_and_interval_disagree(say: Callable[..., Answer]) -> None:
    said = say(0.1, 0.2, 0.001)
    assert "0 significant gains" in said.lead
    assert any("the interval, which also covers the seeds, includes zero" in warning for warning in said.warnings)


def test_scope_and_control_are_stated(say: Callable[..., Answer]) -> None:
    said = say(0.1, 0.05, 0.01)
    assert "none of which is in this grid" in said.lead
    assert "not a verdict on the whole claim" in said.lead
    absent = (
        "What a claim about denoising must beat, its losses with a random mask and its losses without a mask, are not "
        "in this grid."
    )
    assert all(absent in point for point in said.points)
    assert said.choices[0] == ("ml, “paper” (history kept): not known, for “IADSR, random mask” is not in this grid.")
    assert any("Only 1 seed" in warning for warning in said.warnings)


def test_means_and_ranges(say: Callable[..., Answer]) -> None:
    assert "mean gain over 1 backbone HR@5 +10.0\u202f% and NDCG@5 +10.0\u202f%" in say(0.1, 0.05, 0.01).points[0]


@pytest.mark.parametrize(("rate", "warned"), [(0.995, True), (0.8, False)])
def test_a_mask_that_keeps_everything_at_test_time_is_said(tmp_path: Path, rate: float, warned: bool) -> None:
    make_tree(tmp_path, CELLS, epochs=2)
    path = tmp_path / "evaluation" / "runs.parquet"
    runs = pd.read_parquet(path)
    runs.loc[runs["method"] == "iadsr", ["test_keep_rate", "train_keep_rate"]] = rate, 0.7
    runs.to_parquet(path)
    results = load(tmp_path, CELLS)
    found = answer(results, Comparisons(results), SETTINGS).warnings
    said = [text for text in found if "ml, strong: at test time IADSR keeps at least 99" in text]
    assert bool(said) == warned
    assert all("(in training 70.0\u202f%), so" in text for text in said)


def test_many_ties_in_time_are_a_warning(tmp_path: Path) -> None:
    make_tree(tmp_path, CELLS, epochs=2)
    path = tmp_path / "data" / "ml" / "summary.json"
    summary = json.loads(path.read_text())
    for tied, expected in ((0.752, True), (0.05, False)):
        path.write_text(json.dumps({**summary, "tied_share": tied}))
        notes = {"ml": {"order_note": "Rows are grouped by product."}}
        results = load_all(tmp_path, CELLS, {}, notes)[0]
        warnings = answer(results, Comparisons(results), SETTINGS).warnings
        assert any("share user and time" in text and "grouped by product" in text for text in warnings) == expected


CONTROLLED = [
    ("ml", "strong", backbone, method, seed)
    for backbone in ("gru4rec", "sasrec")
    for method in ("none", "iadsr", "random_mask", "aux_only")
    for seed in (0, 1, 2)
]
NUMBERS = ["difference", "ci_low", "ci_high", "relative_gain", "gain_low", "gain_high", "p_holm"]


def choose(root: Path, rows: dict[str, tuple[float, ...]], cells: list = CONTROLLED) -> Answer:
    """The answer when IADSR against a random mask has these `NUMBERS` in NDCG@10, by backbone."""
    make_tree(root, cells, epochs=2)
    path = root / "statistics" / "comparisons.parquet"
    frame = pd.read_parquet(path)
    for backbone, numbers in rows.items():
        at = (
            (frame["backbone"] == backbone)
            & (frame["metric"] == "NDCG@10")
            & (frame["baseline_method"] == "random_mask")
        )
        frame.loc[at, NUMBERS] = numbers
    frame.to_parquet(path)
    results = load(root, cells)
    return answer(results, Comparisons(results), SETTINGS)


def test_it_is_said_whether_it_matters_which_items_are_dropped(tmp_path: Path) -> None:
    said = choose(
        tmp_path,
        {
            "gru4rec": (0.002, 0.001, 0.003, 0.03, 0.01, 0.05, 0.01),
            "sasrec": (-0.001, -0.003, 0.001, -0.02, -0.06, 0.02, 0.5),
            "all": (0.0005, -0.001, 0.002, 0.01, -0.02, 0.04, 0.4),
        },
    )
    assert [text.replace(MINUS, "-") for text in said.choices] == [
        "ml, “strong” (history excluded): no significant difference between IADSR's choice of items and a random one. "
        "NDCG@10 with IADSR's mask minus that with a random mask is +0.0005 [-0.0010, +0.0020] with the mean of "
        "GRU4Rec and SASRec; the interval allows anything from -2.0\u202f% to +4.0\u202f% of the random mask's value. "
        "By backbone: GRU4Rec +0.0020 [+0.0010, +0.0030], gain; SASRec -0.0010 [-0.0030, +0.0010], no significant "
        "difference."
    ]
    assert "Against its losses with a random mask: " in said.lead and "not in this grid" not in said.points[0]


@pytest.mark.parametrize(("sign", "word"), [(1, "better"), (-1, "worse")])
def test_a_choice_that_matters(tmp_path: Path, sign: int, word: str) -> None:
    ends = sorted((sign * 0.001, sign * 0.003))
    said = choose(tmp_path, {"all": (sign * 0.002, *ends, sign * 0.03, *ends, 0.001)}).choices[0]
    assert f"which items are dropped matters: IADSR's choice does {word} than a random one" in said
    assert "the interval allows" not in said


def test_one_backbone_needs_no_mean(tmp_path: Path) -> None:
    cells = [cell for cell in CONTROLLED if cell[2] == "sasrec"]
    said = choose(tmp_path, {"sasrec": (0.002, 0.001, 0.003, 0.03, 0.01, 0.05, 0.01)}, cells).choices[0]
    assert said.endswith("minus that with a random mask is +0.0020 [+0.0010, +0.0030] with SASRec.")


def test_a_choice_that_could_not_be_compared(tmp_path: Path) -> None:
    make_tree(tmp_path, CONTROLLED, diverged=[cell for cell in CONTROLLED if cell[3] == "random_mask"], epochs=2)
    results = load(tmp_path, CONTROLLED)
    said = answer(results, Comparisons(results), SETTINGS).choices[0]
    assert "not known, for the comparison could not be made (random_mask seed 1: diverged" in said


@pytest.mark.parametrize("method", ["random_mask", "random_drop"])
def test_a_control_that_drops_less_is_warned_of(tmp_path: Path, method: str) -> None:
    cells = [("ml", "paper", "sasrec", name, 1) for name in ("none", "iadsr", method)]
    make_tree(tmp_path, cells, epochs=2)
    path = tmp_path / "evaluation" / "runs.parquet"
    runs = pd.read_parquet(path)
    runs.loc[runs["method"] == method, "train_keep_rate"] = 0.9
    runs.loc[runs["method"] == "iadsr", "train_keep_rate"] = 0.7
    runs.to_parquet(path)
    results = load(tmp_path, cells)
    found = answer(results, Comparisons(results), SETTINGS).warnings
    assert any(f"{label(method)} keeps 90.0\u202f% in training, IADSR 70.0\u202f%" in text for text in found)
