"""What is checked before any job."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iadsr.config.identity import PACKAGE
from iadsr.config.run import load_run
from iadsr.core.errors import DataError
from iadsr.plan import KILLED, check_folders, shell_prefix

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
