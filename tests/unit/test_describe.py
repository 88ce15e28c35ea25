"""What the report is told of a run file."""

import shutil
from pathlib import Path

import pytest

from iadsr.config.identity import PACKAGE
from iadsr.config.run import RunConfig, load_run
from iadsr.core.errors import ConfigError
from iadsr.describe import describe_methods
from iadsr.plan import plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped configuration."""
    return Path(shutil.copytree(PACKAGE.parent / "workflow/config", tmp_path / "config"))


def small_run() -> RunConfig:
    smoke = load_run(PACKAGE.parent / "workflow/config/smoke.yaml")
    sweep = {"method": "hsd", "option": "temperature", "values": [0.5, 1.0]}
    changes = {"methods": ["none", "iadsr"], "compare": [["*", "none"], ["iadsr", "steam"]], "experiments": {}}
    return RunConfig.model_validate({**smoke.model_dump(), **changes, "sweeps": [sweep]})


def test_titles_reach_the_report_and_retrain_nothing(folder: Path) -> None:
    run = small_run()
    grids = plan(run, folder)
    described = describe_methods(run, grids, folder)
    assert described == {
        "none": {"kind": "none", "title": "none", "control": True},
        "iadsr": {"kind": "iadsr", "title": "IADSR", "control": False},
        "hsd": {"kind": "hsd", "title": "HSD", "control": False},
        "steam": {"kind": "steam", "title": "STEAM", "control": False},
    }
    path = folder / "methods/iadsr.yaml"
    path.write_text(path.read_text().replace("title: IADSR", "title: Another\ncontrol: true"))
    again = plan(run, folder)
    assert describe_methods(run, again, folder)["iadsr"] == {"kind": "iadsr", "title": "Another", "control": True}
    assert [cell.digest for cell in again["main"]] == [cell.digest for cell in grids["main"]]


def test_titles_tell_methods_apart(folder: Path) -> None:
    run = small_run()
    (folder / "methods/hsd.yaml").write_text("kind: hsd\ntitle: IADSR\n")
    with pytest.raises(ConfigError, match="methods 'iadsr' and 'hsd' have one title, 'IADSR'"):
        describe_methods(run, plan(run, folder), folder)


def test_a_title_is_one_line(folder: Path) -> None:
    (folder / "methods/hsd.yaml").write_text('kind: hsd\ntitle: "a\\nb"\n')
    with pytest.raises(ConfigError, match=r"hsd\.yaml: title"):
        plan(small_run(), folder)
