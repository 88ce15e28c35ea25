"""Reports of synthetic results trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iadsr.reporting.page import build_report
from iadsr.reporting.results import Results, load
from iadsr.statistics.grids import Grid
from tests.unit.reporting.synthetic import SETTINGS, TEMPLATES, cells_of, experiment_of, grid_of, make_tree

LOST = dict.fromkeys(cells_of(protocols=["paper"], backbones=["caser"], methods=["iadsr"]), "diverged")
MISSING = cells_of(protocols=["strong"], backbones=["caser"], methods=["random_mask"], seeds=[2])
THETA = {f"iadsr-theta={value}": value for value in (-0.5, 0.5)}


@pytest.fixture(scope="session")
def grids() -> list[Grid]:
    """The main grid, and one experiment of each view."""
    one = {"backbones": ["gru4rec"], "methods": ["none", "iadsr"]}
    return [
        grid_of(),
        grid_of("defects", baseline="iadsr", **one | {"methods": ["iadsr", "iadsr-defects=R4"]}),
        grid_of("theta", "sweep", protocols=["paper"], methods=["none", *THETA]),
        grid_of("ladder", "ladder", **one),
        grid_of("ties", "spread", protocols=["paper", "paper_ties1", "paper_ties2"], **one),
        grid_of("budget", "budget", protocols=["paper", "paper_double"], longer=[("paper", "paper_double")], **one),
        grid_of("noise", "detection", protocols=["paper_noise20"], **one),
    ]


@pytest.fixture(scope="session")
def experiments(grids: list[Grid]) -> list[dict[str, Any]]:
    sweep = {"theta": {"points": THETA, "option": "theta"}}
    return [experiment_of(grid, **sweep.get(grid.name, {})) for grid in grids[1:]]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, grids: list[Grid]) -> Path:
    """One method diverged, one run missing."""
    return make_tree(tmp_path_factory.mktemp("results"), grids, LOST | dict.fromkeys(MISSING))


@pytest.fixture(scope="session")
def results(tree: Path, experiments: list[dict[str, Any]]) -> Results:
    return load(tree, SETTINGS, experiments)


@pytest.fixture(scope="session")
def page(tree: Path, experiments: list[dict[str, Any]]) -> Path:
    """The report of `tree`."""
    out = tree / "report" / "index.html"
    build_report(tree, SETTINGS, TEMPLATES, out, experiments)
    return out
