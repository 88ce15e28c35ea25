"""A record names the checkout's own commit, or none."""

import platform
import subprocess
from pathlib import Path

import pytest

from iadsr.machine.provenance import commit, cpu_model

NOWHERE = {"hash": None, "dirty": None}


def repository(folder: Path) -> str:
    """Make a repository with one file, and return its commit."""
    folder.mkdir()
    (folder / "file").write_text("a")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "file"], [*author, "commit", "-q", "-m", "A commit"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commit_and_edits_of_a_checkout(tmp_path: Path) -> None:
    made = repository(tmp_path / "a b")
    assert commit(tmp_path / "a b") == {"hash": made, "dirty": False}
    (tmp_path / "a b" / "file").write_text("b")
    assert commit(tmp_path / "a b") == {"hash": made, "dirty": True}


def test_another_repository_is_not_the_checkout_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unpacked archive inside a repository of the user's, and a shell whose `GIT_DIR` is set."""
    made = repository(tmp_path / "checkout")
    repository(tmp_path / "other")
    (tmp_path / "other" / "unpacked").mkdir()
    assert commit(tmp_path / "other" / "unpacked") == NOWHERE
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert commit(tmp_path / "checkout") == {"hash": made, "dirty": False}


def test_no_git_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit(tmp_path) == NOWHERE
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == NOWHERE


def test_a_cpu_has_its_name_or_its_architecture(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(
        "processor\t: 0\nmodel\t\t: 17\nmodel name\t: A CPU @ 2 GHz\nprocessor\t: 1\nmodel name\t: Another\n"
    )
    assert cpu_model(told) == "A CPU @ 2 GHz"
    told.write_text("model name\t:\n")
    for path in (told, tmp_path / "absent"):
        assert cpu_model(path) == (platform.processor() or platform.machine())
