"""`make` under a shell that is set up for other programs, and under a Python that is too old; hooks and commits."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make setup` reads, without an environment."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "envs", folder / "envs")
    (folder / "iadsr" / "machine").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "iadsr/machine/cpus.py"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def make(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make` as from a shell: below `make test` it would take itself for a part of that call and say so."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", ["setup", "setup-llm2vec", "reproduce"])
def test_an_old_python_is_refused_at_once(checkout: Path, target: str) -> None:
    """Before the environment is made and torch is fetched."""
    old = checkout / "python3"
    code = "import sys; sys.version_info = (3, 10, 13); sys.version = '3.10.13 (main)'; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{code}" "$2"\necho "$@" >> called\n')
    old.chmod(0o755)
    done = make(checkout, target, PATH=f"{checkout}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed; python3 is 3.10.13" in done.stderr
    assert not (checkout / "called").exists()


FOREIGN = {
    "PYTHONPATH": "/cluster/lib",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PIP_TARGET": "x",
    "PIP_DRY_RUN": "1",
    "PIP_PYTHON": "/usr/bin/python3",
}
SHOW = f"show: ; @printenv PIP_USER PYTHONNOUSERSITE MPLBACKEND; printenv {' '.join(FOREIGN)} || echo unset"


def test_settings_for_other_programs_do_not_count(checkout: Path) -> None:
    done = make(checkout, "--eval", SHOW, "show", **FOREIGN, PIP_USER="1", MPLBACKEND="module://of_a_notebook")
    assert done.stdout.split() == ["0", "1", "Agg", "unset"], done.stderr


@pytest.mark.parametrize(("home", "cache"), [("/dev/null/home", ".snakemake/cache"), ("{}", "theirs")])
def test_caches_leave_a_home_that_cannot_be_written(checkout: Path, home: str, cache: str) -> None:
    done = make(
        checkout, "--eval", "show: ; @printenv XDG_CACHE_HOME", "show",
        HOME=home.format(checkout), XDG_CACHE_HOME=str(checkout / "theirs"),
    )  # fmt: skip
    assert done.stdout.strip() == str(checkout / cache)


def test_cores_are_those_allotted(checkout: Path) -> None:
    done = make(checkout, "--eval", "show: ; @echo $(CORES)", "show", f"PYTHON={sys.executable}", NSLOTS="1")
    assert done.stdout.strip() == "1"


def test_help_lists_every_target(checkout: Path) -> None:
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    listed = [line.split(maxsplit=1) for line in make(checkout, "help").stdout.splitlines()]
    assert {target for target, _ in listed} == set(phony.split()[1:])


def test_hooks_run_the_linters_of_make_lint(checkout: Path) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = make(checkout, "--dry-run", "--assume-old=setup", "lint").stdout.splitlines()
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks if "stages" not in hook] == lint


def test_commit_subjects_are_short() -> None:
    """Since the commit from which the rule holds."""
    since = "0190c18d"
    command = ["git", "log", "--format=%s", f"{since}..HEAD"]
    log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if log.returncode:
        pytest.skip("no git history here")
    assert [subject for subject in log.stdout.splitlines() if len(subject) > 60] == []
