"""What the report is told of a run file."""

import shutil
from pathlib import Path

import pytest

from iadsr import describe
from iadsr.config.identity import PACKAGE
from iadsr.config.run import RunConfig, load_run
from iadsr.core.errors import ConfigError
from iadsr.describe import describe_methods, describe_run
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
        "none": {"title": "none", "role": "control"},
        "iadsr": {"title": "IADSR", "role": "own"},
        "hsd": {"title": "HSD", "role": "rival"},
        "steam": {"title": "STEAM", "role": "rival"},
    }
    path = folder / "methods/iadsr.yaml"
    path.write_text(path.read_text().replace("title: IADSR", "title: Another\ncontrol: true"))
    again = plan(run, folder)
    assert describe_methods(run, again, folder)["iadsr"] == {"title": "Another", "role": "control"}
    assert [cell.digest for cell in again["main"]] == [cell.digest for cell in grids["main"]]


def test_settings_that_differ_between_cells_name_them(folder: Path) -> None:
    run = small_run()
    described = describe_run(run, plan(run, folder), folder)["protocols"]["paper"]
    assert described["objective"] == "last" and described["weight_decay"] == "0.01"
    several = {"a/x": {"steps": 10, "rate": 0.1, "heads": 2}, "a/y": {"steps": 20, "rate": 0.1}, "b/x": {"steps": 10}}
    assert describe._facts(several) == {
        "steps": "10 (a/x, b/x); 20 (a/y)",
        "rate": "0.1 (a/x, a/y)",
        "heads": "2 (a/x)",
    }


def test_titles_tell_methods_apart(folder: Path) -> None:
    run = small_run()
    (folder / "methods/hsd.yaml").write_text("kind: hsd\ntitle: IADSR\n")
    with pytest.raises(ConfigError, match="methods 'iadsr' and 'hsd' have one title, 'IADSR'"):
        describe_methods(run, plan(run, folder), folder)


def test_a_title_is_one_line(folder: Path) -> None:
    (folder / "methods/hsd.yaml").write_text('kind: hsd\ntitle: "a\\nb"\n')
    with pytest.raises(ConfigError, match=r"hsd\.yaml: title"):
        plan(small_run(), folder)
