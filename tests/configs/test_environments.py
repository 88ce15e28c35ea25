"""Each conda environment and its lock pin the same versions."""

from __future__ import annotations

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
