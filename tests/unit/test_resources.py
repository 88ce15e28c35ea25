"""Estimates against the archived runs, and the groups that follow from them."""

import itertools
import math
from pathlib import Path

import pytest
import yaml

from iadsr.config.cell import Cell
from iadsr.config.datasets import Size, load_spec
from iadsr.config.run import load_run
from iadsr.core.errors import IadsrError
from iadsr.evaluation.archive import ArchivedRun, read_archive
from iadsr.plan import plan
from iadsr.resources import (
    ALLOW_DIRTY,
    GROUPS,
    Estimate,
    check_checkout,
    dataset_size,
    estimate_run,
    group_components,
    group_of,
    time_limit,
)

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "workflow" / "config"
PROFILES = ROOT / "workflow" / "profiles"


def size_of(dataset: str) -> Size:
    return dataset_size(load_spec(CONFIG / "datasets" / f"{dataset}.yaml"))


def cells_of(run_file: str) -> dict[str, Cell]:
    run = load_run(CONFIG / run_file)
    return {cell.address: cell for grid in plan(run, CONFIG).values() for cell in grid}


@pytest.fixture(scope="module")
def archived() -> list[tuple[ArchivedRun, Estimate]]:
    """Runs of the archive, with what was estimated for them."""
    cells = cells_of("evidence.yaml")
    runs = [
        run for run in read_archive(ROOT / "results" / "reference", ["movielens-100k"]) if str(run.address) in cells
    ]
    return [(run, estimate_run(cells[str(run.address)], size_of("movielens-100k"))) for run in runs]


def test_no_archived_run_would_have_met_its_limits(archived: list[tuple[ArchivedRun, Estimate]]) -> None:
    """At the latest in its second attempt: some were trained beside others on too few cores."""
    assert len(archived) > 50
    within = [run.record["seconds"]["total"] < 60 * time_limit(found.seconds, 1) for run, found in archived]
    assert sum(within) / len(within) > 0.95
    for run, found in archived:
        assert run.record["peak_memory_mb"] < found.memory_mb
        assert run.record["seconds"]["total"] < 60 * time_limit(found.seconds, 2), run.address


def test_estimates_are_near_the_archived_runs(archived: list[tuple[ArchivedRun, Estimate]]) -> None:
    ratios = sorted(found.seconds / run.record["seconds"]["total"] for run, found in archived)
    assert 0.8 < ratios[len(ratios) // 2] < 1.6
    assert sum(0.5 < ratio < 2 for ratio in ratios) / len(ratios) > 0.85


def test_an_estimate_grows_with_the_data_and_the_work() -> None:
    cells = cells_of("paper.yaml")
    alone, beauty = size_of("movielens-100k"), size_of("beauty")
    none = cells["beauty/strong/sasrec/none/seed0"]
    iadsr = cells["beauty/strong/sasrec/iadsr/seed0"]
    assert estimate_run(none, beauty).memory_mb > estimate_run(none, alone).memory_mb
    assert estimate_run(none, beauty).seconds > estimate_run(none, alone).seconds
    assert estimate_run(iadsr, beauty).seconds > estimate_run(none, beauty).seconds
    twice = none.model_copy(update={"warm_start": True})
    assert estimate_run(twice, beauty).seconds > 1.5 * estimate_run(none, beauty).seconds
    short = none.model_copy(update={"settings": none.settings.model_copy(update={"max_epochs": 1})})
    assert estimate_run(short, beauty).seconds < 0.2 * estimate_run(none, beauty).seconds


def test_a_dataset_without_stated_size_counts_as_a_large_one() -> None:
    spec = load_spec(CONFIG / "datasets" / "beauty.yaml").model_copy(update={"expected": None})
    assert dataset_size(spec) == size_of("sports")
    assert size_of("planted") == Size(400, 300, 9600)


def test_a_retry_asks_for_more_time() -> None:
    assert [time_limit(100, attempt) for attempt in (1, 2, 3)] == [5, 10, 15]
    assert time_limit(0.1, 1) == 1


def test_a_submission_trains_for_20_to_60_minutes() -> None:
    """Where its runs take as long as the group allows, and more than half of that, at least; shorter ones are rare."""
    limits = sorted(GROUPS)
    for shortest, limit in itertools.pairwise(limits):
        assert limit * GROUPS[limit] <= 60
        assert shortest * GROUPS[limit] >= 20
    assert GROUPS[1] <= 60


@pytest.mark.parametrize(
    ("seconds", "group"), [(1, "runs_1min"), (60, "runs_1min"), (61, "runs_2min"), (900, "runs_15min"), (901, None)]
)
def test_a_run_joins_those_of_its_length(seconds: float, group: str | None) -> None:
    assert group_of(seconds) == group


@pytest.mark.parametrize("profile", ["slurm", "cluster"])
def test_a_profile_forms_the_groups_of_the_workflow(profile: str) -> None:
    keys = yaml.safe_load((PROFILES / profile / "config.yaml").read_text())
    assert keys["group-components"] == group_components()
    assert keys["set-resource-scopes"] == {"gpu": "local", "shares": "local"}
    assert keys["retries"] >= 2


def test_slurm_s_profile_is_the_general_one_and_slurm_s_own_keys() -> None:
    slurm, cluster = (yaml.safe_load((PROFILES / name / "config.yaml").read_text()) for name in ("slurm", "cluster"))
    own = {key for key in slurm if key == "executor" or key.startswith("slurm-")}
    assert {key: value for key, value in slurm.items() if key not in own} == cluster
    assert not cluster.keys() & yaml.safe_load((PROFILES / "default" / "config.yaml").read_text()).keys(), (
        "the default profile would win"
    )


def test_the_paper_s_grid_makes_some_hundred_submissions() -> None:
    cells = cells_of("paper.yaml")
    groups: dict[str | None, int] = {}
    for cell in cells.values():
        name = group_of(estimate_run(cell, size_of(cell.dataset)).seconds)
        groups[name] = groups.get(name, 0) + 1
    alone = groups.pop(None, 0)
    submissions = alone + sum(math.ceil(count / group_components()[str(name)]) for name, count in groups.items())
    assert len(cells) > 2500
    assert 200 < submissions < 600


@pytest.mark.parametrize(("dirty", "allowed"), [(False, None), (None, None), (True, "1")])
def test_a_clean_checkout_is_submitted(dirty: bool | None, allowed: str | None) -> None:
    check_checkout({"hash": "0", "dirty": dirty}, allowed)


@pytest.mark.parametrize("allowed", [None, "", "0"])
def test_a_changed_checkout_is_refused(allowed: str | None) -> None:
    with pytest.raises(IadsrError, match=f"uncommitted changes.*{ALLOW_DIRTY}=1"):
        check_checkout({"hash": "0", "dirty": True}, allowed)
