"""What is checked before any job."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iadsr.config.identity import PACKAGE
from iadsr.config.run import RunConfig, load_run
from iadsr.core.errors import ConfigError, DataError
from iadsr.plan import KILLED, check_folders, plan, shell_prefix

ADDRESS = "planted/paper/gru4rec/none/seed0"


@pytest.mark.parametrize("name", ["data", "sequences/planted", "runs", f"runs/{ADDRESS}", "logs", "report"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path, name: str) -> None:
    smoke = load_run(PACKAGE.parent / "workflow/config/smoke.yaml")
    run = smoke.model_copy(update={"results": str(tmp_path)})
    check_folders(run, [ADDRESS])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name} is a file where a folder belongs"):
        check_folders(run, [ADDRESS])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped configuration."""
    return Path(shutil.copytree(PACKAGE.parent / "workflow/config", tmp_path / "config"))


def small_run() -> RunConfig:
    smoke = load_run(PACKAGE.parent / "workflow/config/smoke.yaml")
    sweep = {"method": "hsd", "option": "temperature", "values": [0.5, 1.0]}
    changes = {"methods": ["none", "iadsr"], "compare": [["*", "none"], ["iadsr", "steam"]], "experiments": {}}
    return RunConfig.model_validate({**smoke.model_dump(), **changes, "sweeps": [sweep]})


def test_a_title_is_one_line(folder: Path) -> None:
    (folder / "methods/hsd.yaml").write_text('kind: hsd\ntitle: "a\\nb"\n')
    with pytest.raises(ConfigError, match=r"hsd\.yaml: title"):
        plan(small_run(), folder)


KILL = f"{sys.executable} -c 'import os; os.kill(os.getpid(), 9)'"


@pytest.mark.parametrize(
    ("rule", "status", "told"),
    [
        (f"{KILL} 2>&1 | tee log >&2", 137, 1),
        (f"{KILL} > log 2>&1 || {{ tail -n 5 log >&2; exit 1; }}", 1, 1),
        ("false > log 2>&1 || { tail -n 5 log >&2; exit 1; }", 1, 0),
        ("true", 0, 0),
    ],
)
def test_a_job_that_the_system_killed_is_told_about_memory(rule: str, status: int, told: int, tmp_path: Path) -> None:
    command = shell_prefix(tmp_path, []).format() + rule
    variables = {**os.environ, "IADSR_KILLED": KILLED}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert done.stderr.count("unless somebody did that, memory ran out: run fewer jobs at once") == told
