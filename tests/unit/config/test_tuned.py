"""Tuned values: whose a method takes, what they win over, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from iadsr.config.cell import Cell
from iadsr.config.options import known_methods
from iadsr.config.protocol import load_protocol
from iadsr.config.run import TUNING_SEED, RunConfig
from iadsr.config.search import search_ranges
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
DATASET = "movielens-100k"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped configuration without its tuned values."""
    copy = tmp_path / "config"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("tuned"))
    (copy / "tuned" / DATASET).mkdir(parents=True)
    return copy


def tune(folder: Path, entries: dict[str, Any], name: str = "paper") -> Path:
    path = folder / "tuned" / DATASET / f"{name}.yaml"
    path.write_text(yaml.safe_dump(entries))
    return path


def run(**changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "name": "t",
        "description": "d",
        "datasets": [DATASET],
        "encoder": {"kind": "tfidf"},
        "protocols": ["paper"],
        "backbones": ["gru4rec"],
        "methods": ["none", "iadsr"],
        "seeds": [0],
        **changes,
    }
    return RunConfig.model_validate(values)


def cells(folder: Path, **changes: Any) -> dict[str, Cell]:
    return {cell.method: cell for cell in run(**changes).cells(folder)}


def test_tuned_settings_win_over_every_part_of_a_protocol(folder: Path) -> None:
    paper = folder / "protocols/paper.yaml"
    pair = {"datasets": {DATASET: {"dropout": 0.5}, f"{DATASET}/gru4rec": {"dropout": 0.6}}}
    paper.write_text(yaml.safe_dump({**yaml.safe_load(paper.read_text()), **pair}))
    assert cells(folder)["none"].settings.dropout == 0.6
    before = cells(folder)["none"]
    tune(folder, {"gru4rec/none": {"dropout": 0.25, "weight_decay": 1}})
    after = cells(folder)["none"]
    assert (after.settings.dropout, after.settings.weight_decay) == (0.25, 1.0)
    assert after.settings.learning_rate == before.settings.learning_rate
    assert (before.tuned, after.tuned) == (None, "none")
    assert before.digest != after.digest


def test_tuned_options_win_over_the_protocol_and_lose_to_file_and_sweep(folder: Path) -> None:
    tune(folder, {"gru4rec/iadsr": {"alignment": 0.3, "reconstruction": 0.7}}, "strong")
    swept = [{"method": "iadsr", "option": "alignment", "values": [0.5]}]
    (folder / "methods/mine.yaml").write_text("kind: iadsr\nalignment: 0.9\n")
    made = cells(folder, protocols=["strong"], methods=["none", "iadsr", "mine"], sweeps=swept)
    weights = {name: (cell.method_options["alignment"], cell.method_options["reconstruction"], cell.tuned)
               for name, cell in made.items() if cell.kind == "iadsr"}  # fmt: skip
    assert weights == {
        "iadsr": (0.3, 0.7, "iadsr"),
        "mine": (0.9, 0.7, "iadsr"),
        "iadsr-alignment=0.5": (0.5, 0.7, "iadsr"),
    }


def test_a_method_takes_its_own_values_else_those_of_its_kin(folder: Path) -> None:
    (folder / "methods/mine.yaml").write_text("kind: iadsr\ntuned_as: aux_only\n")
    entries = {f"gru4rec/{label}": {"dropout": rate} for label, rate in
               {"none": 0.11, "iadsr": 0.12, "aux_only": 0.13, "mine": 0.14}.items()}  # fmt: skip
    labels = ["none", "iadsr", "aux_only", "iadsr_tfidf", "mine", "random_drop"]
    expected = {"none": "none", "iadsr": "iadsr", "aux_only": "aux_only", "iadsr_tfidf": "iadsr", "mine": "mine",
                "random_drop": "none"}  # fmt: skip
    for gone, changed in [
        ("mine", {"mine": "aux_only"}),
        ("aux_only", {"mine": "iadsr", "aux_only": "iadsr"}),
        ("iadsr", dict.fromkeys(("mine", "aux_only", "iadsr", "iadsr_tfidf"), "none")),
        ("none", dict.fromkeys(labels)),
    ]:
        tune(folder, entries)
        assert {name: cell.tuned for name, cell in cells(folder, methods=labels).items()} == expected
        del entries[f"gru4rec/{gone}"]
        expected |= changed
    tune(folder, entries)
    assert {cell.tuned for cell in cells(folder, methods=labels).values()} == {None}


def test_options_that_a_method_switches_off_are_left_out(folder: Path) -> None:
    options = {"remove": "pack", "threshold": "quantile", "quantile": 0.3, "alignment": 0.2}
    tune(folder, {"gru4rec/iadsr": options})
    swept = [{"method": "iadsr", "option": "threshold", "values": ["mean"]}]
    made = cells(folder, methods=["none", "iadsr", "aux_only"], sweeps=swept)
    assert options.items() <= made["iadsr"].method_options.items()
    default = known_methods()["iadsr"]().model_dump()
    for label, name in (("aux_only", "remove"), ("aux_only", "quantile"), ("iadsr-threshold=mean", "quantile")):
        assert made[label].method_options[name] == default[name]
    assert made["aux_only"].method_options["alignment"] == 0.2


def test_a_protocol_inherits_its_set_and_can_switch_it_off(folder: Path) -> None:
    tune(folder, {"gru4rec/none": {"dropout": 0.25}})
    assert cells(folder, protocols=["paper_ties1"])["none"].settings.dropout == 0.25
    mine = folder / "protocols/mine.yaml"
    mine.write_text("name: mine\nextends: paper\ndescription: d\ntuned: null\n")
    assert cells(folder, protocols=["mine"])["none"].tuned is None
    mine.write_text("name: mine\nextends: paper\ndescription: d\nsettings: {dropout: 0.1}\n")
    with pytest.raises(ConfigError, match=r"settings.dropout: the tuned values of 'paper'.* add `tuned: null`"):
        cells(folder, protocols=["mine"])


WRONG = {
    "unknown backbone": ({"gru4re/none": {}}, "did you mean 'gru4rec'"),
    "unknown method": ({"gru4rec/iadrs": {}}, "gru4rec/iadrs: unknown method 'iadrs'; did you mean 'iadsr'"),
    "unknown key": ({"gru4rec/none": {"droput": 0.1}}, "unknown key 'gru4rec/none.droput', did you mean 'dropout'"),
    "a fixed setting": ({"gru4rec/none": {"batch_size": 8}}, "unknown key 'gru4rec/none.batch_size'"),
    "another method's option": ({"gru4rec/none": {"alignment": 0.1}}, "unknown key 'gru4rec/none.alignment'"),
    "a wrong value": ({"gru4rec/none": {"dropout": 2}}, "gru4rec/none.dropout: Input should be less than 1"),
    "text": ({"gru4rec/iadsr": {"alignment": "x"}}, "gru4rec/iadsr.alignment: "),
    "no mapping": ({"gru4rec/none": 3}, "gru4rec/none must hold a mapping"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_error_that_names_file_and_key(folder: Path, case: str) -> None:
    entries, message = WRONG[case]
    path = tune(folder, entries)
    with pytest.raises(ConfigError) as raised:
        cells(folder)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[learning_rate,", "[learning_rat,", "did you mean 'learning_rate'"),
        ("searched: [learning_rate, dropout, weight_decay]\n", "", "`tuned` needs `searched`"),
        ("[learning_rate,", "[batch_size,", "unknown setting 'batch_size'"),
    ],
)
def test_what_a_protocol_cannot_search_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    paper = folder / "protocols/paper.yaml"
    assert old in paper.read_text()
    paper.write_text(paper.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_protocol(folder, "paper")


def test_a_set_is_searched_once_for_every_method_from_the_protocol_s_own_values(folder: Path) -> None:
    tune(folder, {"gru4rec/none": {"dropout": 0.25}})
    shared = run(protocols=["paper", "paper_ties1", "released"], seeds=[0, 1])
    searches = shared.searches(folder)
    assert [cell.address for cell in searches] == [
        f"{DATASET}/paper/gru4rec/{label}/seed{TUNING_SEED}" for label in ("none", "iadsr")
    ]
    assert {cell.tuned for cell in searches} == {None}
    assert searches[0].settings.dropout != 0.25
    assert run(protocols=["released"]).searches(folder) == []


def test_a_trial_s_cell_is_what_the_file_of_its_values_makes(folder: Path) -> None:
    values = {"dropout": 0.25, "alignment": 0.3, "threshold": "mean"}
    tried = run().searches(folder, {"gru4rec/iadsr": values})[1]
    tune(folder, {"gru4rec/iadsr": values})
    found = cells(folder, seeds=[0])["iadsr"]
    assert tried.digest == found.model_copy(update={"seed": TUNING_SEED}).digest != found.digest


def test_a_searched_option_is_no_setting_and_ranges_are_legal() -> None:
    for model in known_methods().values():
        assert not set(search_ranges(model)) & set(Settings.model_fields)
    for model in (Settings, *known_methods().values()):
        for name, search in search_ranges(model).items():
            for value in search.choices or (search.low, search.high):
                model.__pydantic_validator__.validate_assignment(model.model_construct(), name, value)
