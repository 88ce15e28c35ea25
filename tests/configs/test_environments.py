"""Each conda environment and its lock pin the same versions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ENVS = Path(__file__).resolve().parents[2] / "envs"


def _pins(lock: Path) -> list[str]:
    return [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["core", "llm2vec"])
def test_the_conda_file_holds_the_lock_s_pins(name: str) -> None:
    conda = yaml.safe_load((ENVS / f"{name}.yaml").read_text())
    assert conda["dependencies"][-1] == {"pip": _pins(ENVS / f"{name}.lock")}


def test_every_pin_is_a_plain_version_in_order() -> None:
    pins = _pins(ENVS / "llm2vec.lock")
    assert pins == sorted(pins, key=str.lower)
    assert all(pin.count("==") == 1 and "@" not in pin and "+" not in pin for pin in pins)
    assert "llm2vec==0.2.3" in pins


ONLY = """
import importlib.metadata, re, sys
allowed = {re.sub("[-_.]+", "-", name).lower() for name in sys.argv[1:]}
owners = importlib.metadata.packages_distributions()
class Refuse:
    def find_spec(self, name, path=None, target=None):
        found = [re.sub("[-_.]+", "-", one).lower() for one in owners.get(name.split(".")[0], [])]
        if found and not {*found} & {*allowed, "iadsr"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Refuse())
import iadsr.cli, iadsr.evaluation.archive, iadsr.evaluation.collect, iadsr.statistics.write, iadsr.reporting.page
"""


def test_the_archive_is_read_without_torch() -> None:
    """What `iadsr recompute` imports is in the small lock, whose pins are the large one's."""
    pins = _pins(ENVS / "evidence.lock")
    assert {*pins} < {*_pins(ENVS / "core.lock")}
    names = [pin.split("==")[0] for pin in pins]
    assert not {"torch", "transformers"} & {*names}
    done = subprocess.run([sys.executable, "-c", ONLY, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-c", ONLY, *names[:-9]], capture_output=True, text=True, check=False)
    assert done.returncode == 1, "a package that is missing is noticed"
