"""What a job costs before it does anything, and what planning the paper's grid costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.conftest import Time

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run to the end, quietly."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([sys.executable, *command], cwd=cwd, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("stage", "modules"),
    [
        ("training", "iadsr.cli, iadsr.training.run"),
        ("statistics", "iadsr.cli, iadsr.statistics.write"),
        ("reporting", "iadsr.cli, iadsr.reporting.page"),
    ],
)
def test_imports(timed: Time, stage: str, modules: str) -> None:
    timed(lambda: run("-c", f"import {modules}"), f"seconds to start a {stage} job", "ours", "seconds", 1.5, rounds=5)


def test_planning_the_papers_grid(timed: Time, tmp_path: Path) -> None:
    command = ("-m", "snakemake", "-n", "--quiet", "--cores", "2", "--snakefile", str(ROOT / "Snakefile"))
    config = ("--configfile", str(ROOT / "workflow/config/paper.yaml"), "--directory", str(tmp_path))
    timed(lambda: run(*command, *config), "seconds to plan the paper's grid", "ours", "seconds", 10.0, rounds=1)
