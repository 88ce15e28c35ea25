"""Unknown keys, impossible combinations, and how a cell is resolved."""

import shutil
from pathlib import Path

import pytest

from iadsr.core.config import RunConfig, load_run, parse, pick
from iadsr.core.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
RUN = {
    "name": "t",
    "description": "d",
    "datasets": ["movielens-100k"],
    "encoder": {"kind": "minilm"},
    "protocols": ["strong"],
    "backbones": ["gru4rec"],
    "methods": ["none", "iadsr", "random_drop"],
    "seeds": [0],
}


def run(**changes: object) -> RunConfig:
    return parse(RunConfig, {**RUN, **changes}, "test")


def test_unknown_key_is_named_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'seeds'"):
        run(seed=[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": ["gru4rek"]}, "did you mean 'gru4rec'"),
        ({"methods": ["non"]}, "did you mean 'none'"),
        ({"protocols": ["strongg"]}, "did you mean 'strong'"),
        ({"methods": ["random_drop"]}, "does not train"),
        ({"sweeps": [{"method": "iadsr", "option": "thetta", "values": [0.1]}]}, "did you mean 'theta'"),
        ({"sweeps": [{"method": "iadsr", "option": "temperature", "values": [-1]}]}, "greater than 0"),
    ],
)
def test_bad_grid_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**changes).cells(FOLDER)


def test_a_method_that_would_see_its_target_is_refused() -> None:
    sweep = [{"method": "iadsr", "option": "scope", "values": ["sequence"]}]
    with pytest.raises(ConfigError, match="would see its target"):
        run(sweeps=sweep).cells(FOLDER)
    assert run(sweeps=sweep, protocols=["paper"]).cells(FOLDER)


def test_scope_follows_the_objective() -> None:
    scopes = {
        cell.settings.objective: cell.method_options["scope"]
        for cell in run(protocols=["paper", "strong"]).cells(FOLDER)
        if cell.kind == "iadsr"
    }
    assert scopes == {"last": "sequence", "all": "causal"}


def test_a_protocol_gives_what_a_method_leaves_open_and_nothing_else() -> None:
    sweep = [{"method": "iadsr", "option": "alignment", "values": [0.5]}]
    weights = {
        (cell.protocol, cell.method): cell.method_options["alignment"]
        for cell in run(sweeps=sweep, protocols=["paper", "strong"]).cells(FOLDER)
        if cell.kind == "iadsr"
    }
    assert weights == {
        ("paper", "iadsr"): 1.0,
        ("strong", "iadsr"): 0.1,
        ("paper", "iadsr-alignment=0.5"): 0.5,
        ("strong", "iadsr-alignment=0.5"): 0.5,
    }


def test_an_unknown_method_in_a_protocol_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    strong = tmp_path / "config/protocols/strong.yaml"
    strong.write_text(strong.read_text().replace("  iadsr: {", "  iadrs: {"))
    with pytest.raises(ConfigError, match="did you mean 'iadsr'"):
        run().cells(tmp_path / "config")


def test_sweep_names_and_matched_addresses() -> None:
    cells = run(sweeps=[{"method": "iadsr", "option": "theta", "values": [-0.5]}]).cells(FOLDER)
    swept = pick(cells, "movielens-100k/strong/gru4rec/iadsr-theta=-0.5/seed0")
    assert (swept.kind, swept.method_options["theta"]) == ("iadsr", -0.5)
    control = pick(cells, "movielens-100k/strong/gru4rec/random_drop/seed0")
    assert control.matched == "movielens-100k/strong/gru4rec/iadsr/seed0"
    assert control.encoder is None
    with pytest.raises(ConfigError, match="no cell"):
        pick(cells, "movielens-100k/strong/gru4rec/iadsr/seed9")


def test_max_epochs_caps_and_every_setting_changes_the_digest() -> None:
    plain, capped = run().cells(FOLDER)[0], run(max_epochs=2).cells(FOLDER)[0]
    assert capped.settings.epochs == 2
    assert plain.digest != capped.digest


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'laptop'"):
        load_run(FOLDER / "laptob.yaml")
    broken = tmp_path / "x.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_run(broken)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="mapping"):
        load_run(broken)
