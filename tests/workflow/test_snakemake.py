"""The DAG as a user drives it: dry runs of every shipped run file, and a small grid from end to end."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from iadsr.formats.statistics import STATISTICS

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "workflow" / "config").glob("*.yaml"))


# Packages that rules' jobs need, and planning does not.
HEAVY = ("pandas", "numpy", "torch", "scipy", "sklearn", "pyarrow", "matplotlib", "typer", "pooch", "safetensors")


def environment(foreign: Path) -> dict[str, str]:
    """A shell set up for other programs: their packages, their plots, their threads, and no environment of ours."""
    foreign.mkdir(exist_ok=True)
    (foreign / "typer.py").write_text("raise ImportError('a cluster module shadows typer')")
    path = [folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "snakemake").exists()]
    other = {
        "PYTHONPATH": str(foreign),
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "default",
        "MPLBACKEND": "module://of_a_notebook",
        "OMP_NUM_THREADS": "7",
    }
    return {**os.environ, "PATH": os.pathsep.join(path), **other}


def command(folder: Path, *arguments: str, checkout: Path = ROOT) -> list[str]:
    """Snakemake on a checkout's rules, with everything it makes below `folder`."""
    start = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile")]
    return [*start, "--directory", str(folder), "--cores", "2", *arguments]


def snakemake(
    folder: Path, *arguments: str, checkout: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `command` in the shell of `environment`."""
    return subprocess.run(
        command(folder, *arguments, checkout=checkout),
        cwd=folder,
        env={**environment(folder / "foreign"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def planned_jobs(dry_run: str) -> dict[str, int]:
    """Jobs by rule in a dry run's table of counts; none if there is nothing to do."""
    _, found, table = dry_run.partition("Job stats:")
    rows = [row.split() for row in table.strip().split("\n\n")[0].splitlines()[2:]] if found else []
    return {name: int(count) for name, count in rows if name not in ("all", "total")}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_dry_run_of_every_run_file(path: Path, tmp_path: Path) -> None:
    """Under a Python that has Snakemake and not what the jobs need."""
    block = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))"
    (tmp_path / "sitecustomize.py").write_text(block)
    done = snakemake(tmp_path, "-n", "--quiet", "rules", "--configfile", str(path), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Run '{path.stem}'" in done.stderr
    assert "workflow/config/paper.yaml" in done.stderr, "it says how to run the whole grid"


def test_a_bad_configuration_stops_before_any_job(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "--config", "devise=cpu")
    assert done.returncode != 0
    assert "did you mean 'device'" in done.stdout + done.stderr
    assert "is missing" not in done.stdout + done.stderr, "overrides alone are laid over the default"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write")
def test_results_that_cannot_be_written_are_said_before_any_job(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--config", "results=/proc/nowhere")
    assert done.returncode != 0
    assert "\n/proc/nowhere: " in done.stderr
    assert "files.py" not in done.stderr, "no traceback"


# Makes a disk of 1 MB, of which others see nothing, at $0, fills it, and runs the rest of its arguments.
ON_A_FULL_DISK = 'mount -t tmpfs -o size=1m none "$0" && { head -c 2m /dev/zero > "$0/x" 2>/dev/null || "$@"; }'
UNSHARE = ["unshare", "--map-root-user", "--mount"]


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode != 0,
    reason="needs a disk of its own",
)
def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    """Of Snakemake's own files, too: it would print pages of tracebacks."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", ON_A_FULL_DISK, str(disk), *command(disk)],
        env=environment(tmp_path / "foreign"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "\n.snakemake: No space left on device; free some space and repeat the command" in done.stderr
    assert "Logging error" not in done.stderr and "Traceback" not in done.stderr


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


def path_with_conda(folder: Path) -> str:
    """A search path on which a conda answers what a dry run asks."""
    conda = folder / "conda"
    facts = {"platform": "linux-64", "conda_prefix": str(folder), "get": {"channel_priority": "strict"}}
    conda.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo conda 26.7.0 || echo '{json.dumps(facts)}'\n")
    conda.chmod(0o755)
    return os.pathsep.join((str(folder), os.environ["PATH"]))


def test_jobs_under_conda(tmp_path: Path) -> None:
    """Under --use-conda they call the environment's Python."""
    smoke = str(ROOT / "workflow" / "config" / "smoke.yaml")
    done = snakemake(tmp_path, "-n", "-p", "--configfile", smoke, "--use-conda", PATH=path_with_conda(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    told = done.stdout + done.stderr
    assert told.count("python -m iadsr") == told.count(": python -m iadsr") == 24 + 6


def test_every_method_of_the_main_grid_is_tuned_under_every_protocol(tmp_path: Path) -> None:
    """By a target of its own: the default run searches nothing."""
    smoke = str(ROOT / "workflow" / "config" / "smoke.yaml")
    searches, default = (
        planned_jobs(done.stdout + done.stderr)
        for done in (snakemake(tmp_path, "-n", *target, "--configfile", smoke) for target in (["tuning_all"], []))
    )
    assert searches["tuning"] == default["training"] == 2 * 3 * 4
    assert "training" not in searches
    assert "tuning" not in default


GPUS = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings
asked = {}
for device in ("cpu", "auto", "cuda"):
    with SnakemakeApi(OutputSettings()) as api:
        settings = ConfigSettings(config={"device": device})
        rules = api.workflow(ResourceSettings(), settings, snakefile=Path(sys.argv[1]))._workflow.rules
        asked[device] = [rule.name for rule in rules if "gpu" in rule.resources and rule.resources["gpu"].value]
print(json.dumps(asked))
"""


def test_jobs_ask_for_the_gpu_that_they_use(tmp_path: Path) -> None:
    """Under `auto` small jobs take what is there: one that asked for a GPU would wait for it where there is none."""
    done = subprocess.run(
        [sys.executable, "-c", GPUS, str(ROOT / "Snakefile")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    llm2vec = ["embeddings_llm2vec", "prefixes_llm2vec"]
    networks = ["embeddings", "embeddings_llm2vec", "prefixes", "prefixes_llm2vec", "training", "tuning"]
    assert json.loads(done.stdout) == {"cpu": [], "auto": llm2vec, "cuda": networks}


RESULTS = 'my run & co\'s $(touch executed) "results"'


@dataclass(frozen=True)
class Grid:
    """A run in a folder that is a copy of the checkout, so that a test may edit its sources."""

    folder: Path
    resumed: str

    @property
    def results(self) -> Path:
        return self.folder / RESULTS

    def snakemake(self, *arguments: str, **variables: str) -> str:
        """What Snakemake says of the grid."""
        done = snakemake(self.folder, "--configfile", "grid.json", *arguments, checkout=self.folder, **variables)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """A finished run of one backbone on the planted data, for a few epochs; Snakemake was killed on its way."""
    folder = tmp_path_factory.mktemp("grid") / "check out"
    for name in ("iadsr", "workflow", "report", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "sitecustomize.py").write_text(  # runs in every job, not in Snakemake's main process
        "import sys\nif sys.flags.optimize or sys.warnoptions:\n    sys.exit('a setting of the shell reaches a job')\n"
    )
    shutil.copy2(ROOT / "Snakefile", folder)
    shutil.copy2(ROOT / "profiles", folder, follow_symlinks=False)
    run = yaml.safe_load((ROOT / "workflow" / "config" / "smoke.yaml").read_text())
    run |= {
        "name": "grid",
        "results": RESULTS,
        "backbones": ["gru4rec"],
        "methods": ["none", "iadsr", "random_drop"],
        "max_epochs": 8,
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
    killed_in_training(folder)
    made = Grid(folder, "")
    return Grid(folder, made.snakemake())


def killed_in_training(folder: Path) -> None:
    """Start the grid and kill Snakemake, and it alone, as soon as a run trains."""
    log = (folder / "log").open("w")
    started = subprocess.Popen(
        command(folder, "--configfile", "grid.json", checkout=folder),
        cwd=folder,
        env=environment(folder / "foreign"),
        stdout=log,
        stderr=log,
    )
    deadline = time.monotonic() + 120
    while not any((folder / RESULTS / "logs").glob("training/**/*.log")):
        assert started.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
        time.sleep(0.1)
    started.kill()
    started.wait()


def test_the_same_command_goes_on_after_snakemake_was_killed(grid: Grid) -> None:
    assert "its lock is removed" in grid.resumed
    assert not (grid.folder / "executed").exists(), "no shell reads the folder's name"


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
    tables = {path.stem: pd.read_parquet(path) for path in (results / "statistics").glob("*.parquet")}
    assert set(tables) == set(STATISTICS)
    for name, table in tables.items():
        path = results / "report" / "tables" / f"all-{name}.csv"
        assert f'href="tables/all-{name}.csv"' in page
        assert table.empty or len(pd.read_csv(path)) == len(table)
    compared = tables["comparisons"]
    assert compared["experiment"].unique().tolist() == ["main", "texts"]
    assert set(compared.loc[compared["experiment"] == "texts", "method"]) == {
        "iadsr-texts=shuffled",
        "iadsr_prefixes",
        "iadsr_released",
    }
    assert (results / "embeddings/planted/tfidf-shuffled.safetensors").is_file()
    assert not list((results / "scratch").glob("*.pt")), "finished runs leave no state behind"


def test_archived_runs_give_the_same_statistics_and_page_without_data_and_torch(grid: Grid, tmp_path: Path) -> None:
    def iadsr(*arguments: str) -> str:
        torch = "atexit.register(lambda: 'torch' in sys.modules and os._exit(9))"
        code = f"import atexit, os, sys; {torch}; from iadsr.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--config", grid.folder / "grid.json", "--archive", tmp_path],
            cwd=grid.folder,
            env={**os.environ, "PYTHONPATH": str(grid.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    records = {f"{RESULTS}/runs/{address}" for address in iadsr("cells").splitlines()}
    lacking = iadsr("cells", "--unarchived").splitlines()
    assert {Path(target).parent.as_posix() for target in lacking} == records
    assert "archived 9 of 9 runs" in iadsr("archive")
    assert iadsr("cells", "--unarchived") == ""
    out = grid.folder / "recomputed"
    iadsr("recompute", "--out", str(out))
    names = sorted(path.relative_to(out).as_posix() for path in (out / "statistics").iterdir())
    linked = sorted(path.relative_to(out).as_posix() for path in out.glob("runs/**/record.json"))
    assert len(linked) == len(records)
    for name in (*names, *linked, "report/index.html"):
        assert (out / name).read_bytes() == (grid.results / name).read_bytes(), name
    shutil.rmtree(out)


def test_nothing_is_left_to_do(grid: Grid) -> None:
    assert "Nothing to be done" in grid.snakemake("-n")


ANEW = {"evaluation": 1, "statistics": 1, "reporting": 1}


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        (["report/style.css", "workflow/config/protocols/strong.yaml", "iadsr/reporting/tables.py"], {"reporting": 1}),
        (["iadsr/statistics/crossed.py"], {"statistics": 1, "reporting": 1}),
        (["iadsr/evaluation/metrics.py"], ANEW),
        (["iadsr/methods/iadsr.py"], {"training": 9 - 2, **ANEW}),  # all but `none`: a control follows its method
        (["iadsr/models/caser.py", "iadsr/models/released.py"], {}),
        (
            [
                "iadsr/datasets/table.py",
                "iadsr/embeddings/llm2vec_encoder.py",
                "workflow/config/datasets/planted.yaml",
            ],
            {},
        ),
    ],
)
def test_an_edit_repeats_what_it_can_change_and_nothing_else(
    grid: Grid, changed: list[str], again: dict[str, int]
) -> None:
    targets = [grid.folder / name for name in changed]
    before = [(path, path.read_text(), path.stat()) for path in targets]
    for path, text, _ in before:
        path.write_text(text + ("\nEDITED = 1\n" if path.suffix == ".py" else "\n"))
    try:
        planned = planned_jobs(grid.snakemake("-n"))
    finally:
        for path, text, times in before:
            path.write_text(text)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert planned == again


@pytest.mark.parametrize("name", ["datasets/planted", "methods/iadsr"])
def test_a_title_redraws_the_page_alone(grid: Grid, name: str) -> None:
    path = grid.folder / f"workflow/config/{name}.yaml"
    text = path.read_text()
    path.write_text(re.sub(r"(?m)^title: .*$", "title: Other words", text))
    try:
        assert planned_jobs(grid.snakemake("-n")) == {"reporting": 1}
    finally:
        path.write_text(text)


def test_conda_does_not_undo_what_was_done_without(grid: Grid, tmp_path: Path) -> None:
    """Nor does a comment in an environment's file."""
    with (grid.folder / "envs" / "core.yaml").open("a") as stream:
        stream.write("# a comment\n")
    assert "Nothing to be done" in grid.snakemake("-n", "--use-conda", PATH=path_with_conda(tmp_path))


def test_comments_and_docstrings_repeat_nothing(grid: Grid) -> None:
    modules = {path: path.read_text() for path in (grid.folder / "iadsr").rglob("*.py")}
    for path, text in modules.items():
        _, _, code = text.partition('"""\n')
        path.write_text(f'# A comment.\n"""Another docstring."""\n\n\n{code}\n# The end.\n')
    try:
        plan = grid.snakemake("-n")
    finally:
        for path, text in modules.items():
            path.write_text(text)
    assert "Nothing to be done" in plan


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("seeds=[0,1]", {"training": 9, **ANEW}),
        ("threads=2", {"training": 9, **ANEW}),
        ("compare=[[iadsr,none]]", {"statistics": 1, "reporting": 1}),
        ("description=other words", {"reporting": 1}),
    ],
)
def test_a_changed_run_file_is_carried_out_in_one_call(grid: Grid, change: str, again: dict[str, int]) -> None:
    """What it changes, and everything that reads that, is planned at once; jobs of a call that still runs with the
    former settings keep theirs."""
    plan = grid.snakemake("-n", "--printshellcmds", "--config", change)
    assert planned_jobs(plan) == again
    former = {path.name for path in (grid.results / "settings").iterdir()}
    named = set(re.findall(r"/settings/(\w+\.json)", plan))
    assert len(former) == len(named) == 1 and not former & named


def test_a_lost_run_is_made_again_to_the_same_ranks(grid: Grid) -> None:
    results = grid.results
    folder = results / "runs/planted/strong/gru4rec/none/seed0"
    before = pd.read_parquet(folder / "ranks.parquet")
    shutil.rmtree(folder)
    for stage in ("evaluation", "report"):
        shutil.rmtree(results / stage)
    grid.snakemake()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "ranks.parquet"), before)
