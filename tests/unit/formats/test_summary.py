"""A dataset's summary is read whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from iadsr.core.errors import DataError
from iadsr.formats.summary import read_summary, summary_file
from tests.unit.statistics.frames import SUMMARY


def written(root: Path, summary: Any) -> Path:
    path = summary_file(root, "toys")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(summary))
    return root


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_summary(written(tmp_path, SUMMARY), "toys") == SUMMARY


@pytest.mark.parametrize(
    "changes", [{"density": "high"}, {"counts": {"users": 3}}, {"length": {"mean": 1, "min": "x", "max": 2}}]
)
def test_a_summary_of_other_things_is_damaged(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"toys/summary\.json is damaged"):
        read_summary(written(tmp_path, {**SUMMARY, **changes}), "toys")


def test_a_summary_without_a_part_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it lacks sources"):
        read_summary(written(tmp_path, {name: SUMMARY[name] for name in SUMMARY if name != "sources"}), "toys")
