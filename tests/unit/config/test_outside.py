"""Methods and backbones from a module of the user's own."""

import shutil
import sys
from pathlib import Path

import pytest

from iadsr.config.identity import source_digest, sources
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig, pick
from iadsr.core.errors import ConfigError
from iadsr.plan import outside_folders
from tests.unit.config.test_run import FOLDER, RUN

pytestmark = pytest.mark.usefixtures("untuned", "own_module")

CODE = """
from pydantic import Field

from iadsr.config.options import BackboneOptions, MethodOptions


class MyOptions(MethodOptions):
    rate: float = Field(0.5, description="share")


class MyMethod:
    Options = MyOptions


class AloneOptions(MethodOptions):
    own_backbone = True


class Alone:
    Options = AloneOptions


class Bare:
    pass


class WidthOptions(BackboneOptions):
    width: int = Field(3, description="width")


class MyBackbone:
    Options = WidthOptions
"""
METHOD, BACKBONE = "own_package.mine:MyMethod", "own_package.mine:MyBackbone"
DOTTED = "own_package.mine.MyMethod"


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `own_package` with a module `mine`, on the path."""
    module = tmp_path / "own_package" / "mine.py"
    module.parent.mkdir()
    module.write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_package", "own_package.mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return module


def run(**changes: object) -> RunConfig:
    return parse(RunConfig, {**RUN, "methods": ["none", METHOD], **changes}, "test")


def test_a_method_by_its_module_path_is_a_kind_of_method() -> None:
    sweeps = [{"method": METHOD, "option": "rate", "values": [0.25]}]
    cells = run(sweeps=sweeps).cells(FOLDER)
    plain = pick(cells, f"movielens-100k/strong/gru4rec/{DOTTED}/seed0")
    swept = pick(cells, f"movielens-100k/strong/gru4rec/{DOTTED}-rate=0.25/seed0")
    assert plain.kind == swept.kind == DOTTED
    assert (plain.method_options, swept.method_options) == ({"rate": 0.5}, {"rate": 0.25})
    assert plain.modules == {"models": "gru4rec", "methods": METHOD}


def test_settings_as_the_workflow_writes_them_lead_to_the_same_cells() -> None:
    given = {"title": "t", "question": "q", "baseline": METHOD}
    first = run(backbones=[BACKBONE], experiments={"x": given})
    again = RunConfig.model_validate(first.model_dump())
    assert again.grids(FOLDER) == first.grids(FOLDER)


def test_a_backbone_takes_its_options_from_protocols(tmp_path: Path) -> None:
    (cell,) = run(backbones=[BACKBONE], methods=["none"]).cells(FOLDER)
    assert cell.backbone == "own_package.mine.MyBackbone"
    assert (cell.backbone_options, cell.modules["models"]) == ({"width": 3}, BACKBONE)
    with pytest.raises(ConfigError, match=r"the release has no own_package\.mine\.MyBackbone"):
        run(backbones=[BACKBONE], methods=["none"], protocols=["released"]).cells(FOLDER)


def test_a_method_with_a_backbone_of_its_own_runs_with_no_other() -> None:
    alone = ["own_package.mine:Alone"]
    (cell,) = run(backbones=["own"], methods=alone).cells(FOLDER)
    assert (cell.backbone, cell.modules["models"]) == ("own", "backbone")
    with pytest.raises(ConfigError, match="brings its own backbone: `backbones` must hold `own`"):
        run(methods=alone).cells(FOLDER)
    with pytest.raises(ConfigError, match="method 'none' needs one other than `own`"):
        run(backbones=["own"], methods=["none"]).cells(FOLDER)
    both = run(backbones=["gru4rec", "own"], methods=["none", *alone]).cells(FOLDER)
    assert [(cell.backbone, cell.method) for cell in both] == [("gru4rec", "none"), ("own", "own_package.mine.Alone")]


def test_a_control_matches_no_method_that_runs_with_another_backbone(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    mine = tmp_path / "config/methods/mine.yaml"
    mine.write_text("kind: random_drop\nmatch: own_package.mine:Alone\n")
    with pytest.raises(
        ConfigError, match=r"'mine' cannot match 'own_package\.mine\.Alone', which brings its own backbone"
    ):
        run(backbones=["gru4rec", "own"], methods=["mine", "own_package.mine:Alone"]).cells(tmp_path / "config")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["own_package.mine:Bare"]}, "lacks a class `Options` that is a subclass of .*MethodOptions"),
        ({"methods": [BACKBONE]}, "subclass of .*MethodOptions"),
        ({"methods": ["own_package.mine:MyMethd"]}, "has no attribute 'MyMethd'"),
        ({"methods": ["own_package.theirs:MyMethod"]}, "No module named 'own_package.theirs'"),
        ({"backbones": [METHOD]}, "subclass of .*BackboneOptions"),
        ({"methods": ["own package:MyMethod"]}, "a name has up to 100 letters"),
        ({"methods": [METHOD, DOTTED]}, "listed twice"),
    ],
)
def test_what_is_no_method_is_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        run(**changes).cells(FOLDER)
    assert "\n" not in str(refusal.value)


def test_a_module_that_raises_is_one_line(own_module: Path) -> None:
    own_module.with_name("broken.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"own_package\.broken\.MyMethod': division by zero"):
        run(methods=["own_package.broken:MyMethod"]).cells(FOLDER)


def test_an_edit_of_the_module_changes_the_source_digest(own_module: Path, tmp_path: Path) -> None:
    cells = run().cells(FOLDER)
    cell = next(cell for cell in cells if cell.kind == DOTTED)
    files = sources("training", **cell.modules)
    assert own_module in files
    assert set(sources("training", models="gru4rec")) < set(files), "it can build on any method of ours"
    assert outside_folders(cells) == [tmp_path]
    before = source_digest(files)
    own_module.write_text(CODE.replace("0.5", "0.6"))
    source_digest.cache_clear()
    from iadsr.config import identity

    identity._syntax_digest.cache_clear()
    assert source_digest(files) != before
