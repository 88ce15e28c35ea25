"""The DAG as a user drives it: dry runs of every shipped run file, and a small grid from end to end."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "workflow" / "config").glob("*.yaml"))


def snakemake(folder: Path, *arguments: str, checkout: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on a checkout's rules, with everything it makes below `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile")]
    return subprocess.run(
        [*command, "--directory", str(folder), "--cores", "2", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def planned_rules(dry_run: str) -> set[str]:
    """Rules in a dry run's table of job counts; none if there is nothing to do."""
    _, found, table = dry_run.partition("Job stats:")
    rows = table.strip().split("\n\n")[0].splitlines()[2:] if found else []
    return {row.split()[0] for row in rows} - {"all", "total"}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_dry_run_of_every_run_file(path: Path, tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "--quiet", "rules", "--configfile", str(path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Run '{path.stem}'" in done.stderr
    assert "workflow/config/paper.yaml" in done.stderr, "it says how to run the whole grid"


def test_a_bad_configuration_stops_before_any_job(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "--config", "devise=cpu")
    assert done.returncode != 0
    assert "did you mean 'device'" in done.stdout + done.stderr
    assert "is missing" not in done.stdout + done.stderr, "overrides alone are laid over the default"


@pytest.mark.parametrize(("line", "message"), [("", "needs a `name`"), ("name: a\nseeds: [0, 0]", "0 is listed twice")])
def test_a_given_run_file_is_never_merged_with_the_default(tmp_path: Path, line: str, message: str) -> None:
    """The default fills nothing in, and Snakemake refuses what `iadsr cells` refuses."""
    (tmp_path / "mine.yaml").write_text(f"{line}\nbackbones: [gru4rec]\n")
    done = snakemake(tmp_path, "-n", "--configfile", "mine.yaml")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    cells = subprocess.run(
        [sys.executable, "-m", "iadsr", "cells", "--config", str(tmp_path / "mine.yaml")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert cells.returncode == 1
    assert message in cells.stderr


def test_overrides_and_additions_are_laid_over(tmp_path: Path) -> None:
    run = yaml.safe_load((ROOT / "workflow" / "config" / "smoke.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**run, "name": "mine", "results": "my run"}))
    (tmp_path / "addition.yaml").write_text("backbones: [gru4rec]\nmethods: [none]\n")
    files = ["--configfile", "mine.yaml", "addition.yaml"]
    done = snakemake(tmp_path, "-n", *files, "--config", "seeds=[0,1]", "max_epochs=1e1", "device=cpu")
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert "Run 'mine'" in done.stderr
    assert "4 training runs: planted x paper, strong x gru4rec x 1 methods x 2 seeds" in done.stderr


@dataclass(frozen=True)
class Grid:
    """A run in a folder that is a copy of the checkout, so that a test may edit its sources."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def snakemake(self, *arguments: str) -> str:
        """What Snakemake says of the grid."""
        done = snakemake(self.folder, "--configfile", "grid.json", *arguments, checkout=self.folder)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """A finished run of one backbone on the planted data, for a few epochs."""
    folder = tmp_path_factory.mktemp("grid") / "checkout"
    for name in ("iadsr", "workflow", "report", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", folder)
    run = yaml.safe_load((ROOT / "workflow" / "config" / "smoke.yaml").read_text())
    run |= {
        "name": "grid",
        "results": "results",
        "backbones": ["gru4rec"],
        "max_epochs": 2,
        "encoder": {"kind": "tfidf"},
        "experiments": {
            "texts": {
                "title": "Text quality",
                "question": "Does it matter what the item names say?",
                "baseline": "iadsr",
                "protocols": ["paper"],
                "methods": ["iadsr", "iadsr_released", "iadsr_prefixes"],
                "sweeps": [{"method": "iadsr", "option": "texts", "values": ["shuffled"]}],
            }
        },
    }
    (folder / "grid.json").write_text(json.dumps(run))
    made = Grid(folder)
    made.snakemake()
    return made


def test_the_report_and_every_record_are_there(grid: Grid) -> None:
    results = grid.results
    page = (results / "report" / "index.html").read_text()
    assert "random_drop" in page
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/*/*/*/*/record.json")]
    assert len(records) == 6 + 3, "what the experiment shares with the main grid is trained once"
    assert {record["status"] for record in records} == {"done"}
    aucs = [record["mask"]["noise_auc"] for record in records if record["cell"]["kind"] == "iadsr"]
    assert all(0 <= auc <= 1 for auc in aucs)
    metrics = pd.read_parquet(results / "evaluation" / "metrics.parquet")
    assert set(metrics["ranking"]) == {"excluded", "kept"}
    assert len(pd.read_parquet(results / "evaluation" / "runs.parquet")) == 9
    assert "Text quality" in page
    compared = pd.read_parquet(results / "statistics" / "comparisons.parquet")
    assert set(compared.loc[compared["experiment"] == "texts", "method"]) == {
        "iadsr-texts=shuffled",
        "iadsr_prefixes",
        "iadsr_released",
    }
    assert (results / "embeddings/planted/tfidf-shuffled.safetensors").is_file()
    assert not list((results / "scratch").glob("*.pt")), "finished runs leave no state behind"


def test_nothing_is_left_to_do(grid: Grid) -> None:
    assert "Nothing to be done" in grid.snakemake("-n")


@pytest.mark.parametrize(
    ("changed", "again", "spared"),
    [
        ("report/style.css", {"reporting"}, {"training", "evaluation"}),
        ("workflow/config/protocols/strong.yaml", {"reporting"}, {"training", "evaluation"}),
        ("iadsr/statistics/paired.py", {"statistics", "reporting"}, {"training", "evaluation"}),
        ("iadsr/evaluation/metrics.py", {"evaluation", "statistics", "reporting"}, {"training"}),
        ("iadsr/methods/iadsr.py", {"training"}, {"datasets", "embeddings"}),
        ("iadsr/models/caser.py", set(), {"training", "evaluation"}),
        ("iadsr/models/released.py", set(), {"training", "evaluation"}),
    ],
)
def test_an_edit_repeats_what_it_can_change_and_nothing_else(
    grid: Grid, changed: str, again: set[str], spared: set[str]
) -> None:
    target = grid.folder / changed
    before, times = target.read_text(), target.stat()
    target.write_text(before + "\n")
    try:
        rules = planned_rules(grid.snakemake("-n"))
    finally:
        target.write_text(before)
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert again <= rules
    assert not spared & rules


def test_a_changed_run_file_is_carried_out_in_one_call(grid: Grid) -> None:
    """One seed more: its runs, and everything that reads them, are planned at once."""
    plan = grid.snakemake("-n", "--config", "seeds=[0,1]")
    assert planned_rules(plan) == {"training", "evaluation", "statistics", "reporting"}


def test_a_lost_run_is_made_again_to_the_same_ranks(grid: Grid) -> None:
    results = grid.results
    folder = results / "runs/planted/strong/gru4rec/none/seed0"
    before = pd.read_parquet(folder / "ranks.parquet")
    shutil.rmtree(folder)
    for stage in ("evaluation", "report"):
        shutil.rmtree(results / stage)
    grid.snakemake()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "ranks.parquet"), before)
