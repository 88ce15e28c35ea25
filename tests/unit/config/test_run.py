"""Unknown keys, impossible combinations, and how a cell is resolved."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from iadsr.config.cell import Cell
from iadsr.config.options import known_backbones
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig, load_run, pick
from iadsr.core.errors import ConfigError
from iadsr.models.gru4rec_options import GRU4RecOptions

pytestmark = pytest.mark.usefixtures("untuned")

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
        ({"sweeps": [{"method": "iadsr", "option": "temperature", "values": [-1]}]}, "greater than or equal to 0.001"),
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


def test_a_line_for_dataset_and_backbone_wins_over_both(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    shutil.copytree(FOLDER, folder)
    lines = "backbones: {gru4rec: {steps: 5}}\n"
    lines += "datasets: {movielens-100k: {steps: 6}, movielens-100k/gru4rec: {steps: 7}}\n"
    mine = folder / "protocols/mine.yaml"
    mine.write_text(f"name: mine\nextends: paper\ndescription: d\n{lines}")
    cells = run(protocols=["mine"], backbones=["gru4rec", "sasrec"]).cells(folder)
    assert {(cell.backbone, cell.settings.steps) for cell in cells} == {("gru4rec", 7), ("sasrec", 6)}
    mine.write_text(mine.read_text().replace("movielens-100k/gru4rec", "movielens-100k/gru4re"))
    with pytest.raises(ConfigError, match="did you mean 'gru4rec'"):
        run(protocols=["mine"]).cells(folder)


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
    assert (plain.settings.max_epochs, capped.settings.max_epochs) == (None, 2)
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


def iadsr_cells(method: dict[str, object], protocol: str = "paper", backbone: str = "gru4rec") -> list[Cell]:
    sweeps = [{"method": "iadsr", "option": option, "values": [value]} for option, value in method.items()]
    made = run(protocols=[protocol], backbones=[backbone], methods=["iadsr", "iadsr_released"], sweeps=sweeps)
    return made.cells(FOLDER)


@pytest.mark.parametrize(
    ("backbone", "defects", "alignment"),
    [
        ("gru4rec", ["R1", "R2", "R3", "R4", "R5"], 1.0),
        ("sasrec", ["R1", "R2", "R3", "R4", "R5", "R6"], 1.0),
        ("caser", ["R1", "R2", "R3", "R4", "R5", "R6", "R7"], 0.0),
    ],
)
def test_the_released_variant_has_the_defects_of_its_backbone(
    backbone: str, defects: list[str], alignment: float
) -> None:
    paper, released = iadsr_cells({}, backbone=backbone)
    assert paper.method_options["defects"] == []
    assert released.method_options["defects"] == defects
    assert released.method_options["alignment"] == alignment
    assert released.settings == paper.settings


@pytest.mark.parametrize(
    ("defect", "change"), [("R8", {"bounded": True}), ("R9", {"rank_padding": True}), ("R10", {"stopping": "training"})]
)
def test_a_defect_of_training_is_a_setting_of_that_method_alone(defect: str, change: dict[str, object]) -> None:
    plain, _, defective = iadsr_cells({"defects": defect})
    assert defective.settings == plain.settings.model_copy(update=change)
    assert {**defective.method_options} == plain.method_options
    released, _, repaired = iadsr_cells({"repaired": defect}, protocol="released")
    ((name, _),) = change.items()
    assert getattr(repaired.settings, name) != getattr(released.settings, name) == change[name]


def test_a_repair_takes_one_defect_away() -> None:
    made = run(
        protocols=["paper"],
        methods=["iadsr_released"],
        sweeps=[{"method": "iadsr_released", "option": "repaired", "values": ["R4"]}],
    )
    assert made.cells(FOLDER)[1].method_options["defects"] == ["R1", "R2", "R3", "R5"]


@pytest.mark.parametrize(
    ("method", "message"),
    [({"defects": "R7"}, "Caser alone"), ({"defects": "R12"}, "R1"), ({"texts": "upside down"}, "shuffled")],
)
def test_impossible_defects_and_texts_are_refused(method: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        iadsr_cells(method)


def test_what_a_method_reads_and_how_it_starts_is_the_cells_business() -> None:
    cells = iadsr_cells({"texts": "shuffled", "warm_start": True, "semantic": False})
    found = {cell.method: (cell.embeddings, cell.warm_start) for cell in cells}
    assert found == {
        "iadsr": ("minilm", False),
        "iadsr_released": ("minilm", False),
        "iadsr-texts=shuffled": ("minilm-shuffled", False),
        "iadsr-warm_start=True": ("minilm", True),
        "iadsr-semantic=False": (None, False),
    }
    assert not {"texts", "encoder", "warm_start", "variant", "repaired"} & set(cells[0].method_options)


def test_a_protocol_extends_another_key_by_key(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    folder = tmp_path / "config/protocols"
    (folder / "mine.yaml").write_text(
        "name: mine\nextends: strong\ndescription: d\nsettings: {validations: 3}\nbackbones: {gru4rec: {hidden: 9}}\n"
    )
    mine = run(protocols=["mine"]).cells(tmp_path / "config")[0]
    strong = run().cells(FOLDER)[0]
    assert mine.settings == strong.settings.model_copy(update={"validations": 3})
    assert mine.backbone_options == {**strong.backbone_options, "hidden": 9}
    (folder / "mine.yaml").write_text("name: mine\nextends: mine\ndescription: d\n")
    with pytest.raises(ConfigError, match="extends itself"):
        run(protocols=["mine"]).cells(tmp_path / "config")


def test_networks_that_look_ahead_are_refused_where_every_position_is_a_target(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    (tmp_path / "config/protocols/mine.yaml").write_text(
        "name: mine\nextends: released\ndescription: d\nsettings: {objective: all}\n"
    )
    assert run(protocols=["mine"], methods=["none"]).cells(tmp_path / "config")
    for backbone in ("sasrec", "caser"):
        with pytest.raises(ConfigError, match="would see its target"):
            run(protocols=["mine"], methods=["none"], backbones=[backbone]).cells(tmp_path / "config")


EXPERIMENT = {"title": "t", "question": "q", "baseline": "iadsr", "methods": ["iadsr", "none"], "protocols": ["paper"]}


def test_experiments_are_grids_of_their_own_and_each_run_is_trained_once() -> None:
    made = run(
        seeds=[0, 1], experiments={"parts": {**EXPERIMENT, "seeds": [1]}, "same": {**EXPERIMENT, "protocols": None}}
    )
    grids = made.grids(FOLDER)
    assert {name: len(grid) for name, grid in grids.items()} == {"main": 6, "parts": 2, "same": 4}
    assert {cell.protocol for cell in grids["same"]} == {"strong"}
    assert len(made.cells(FOLDER)) == 6 + 2
    assert run(experiments={"x": {**EXPERIMENT, "datasets": ["planted"]}}).all_datasets == ["movielens-100k", "planted"]


def test_an_experiment_needs_its_baseline() -> None:
    with pytest.raises(ConfigError, match="lacks its own baseline"):
        run(experiments={"parts": {**EXPERIMENT, "methods": ["none"]}}).grids(FOLDER)


def test_compared_pairs_are_the_ones_given_else_all_against_the_baseline() -> None:
    made = run(
        compare=[["iadsr", "none"], ["*", "iadsr"]],
        experiments={"parts": EXPERIMENT, "same": {**EXPERIMENT, "compare": [["none", "iadsr"]]}},
    )
    made.grids(FOLDER)
    assert made.compared("main") == [("iadsr", "none"), ("*", "iadsr")]
    assert made.compared("parts") == [("*", "iadsr")]
    assert made.compared("same") == [("none", "iadsr")]
    assert run(baseline="iadsr").compared("main") == [("*", "iadsr")]


@pytest.mark.parametrize("compare", [[["iadsr"]], [["iadsr", "none", "none"]], [["iadsr", "nonne"]]])
def test_a_pair_has_two_known_methods(compare: list[list[str]]) -> None:
    with pytest.raises(ConfigError, match="compare"):
        run(compare=compare).grids(FOLDER)
    with pytest.raises(ConfigError, match=r"parts.*compare"):
        run(experiments={"parts": {**EXPERIMENT, "compare": compare}}).grids(FOLDER)


def test_no_experiment_has_the_name_of_the_main_grid() -> None:
    with pytest.raises(ConfigError, match="'main' is the name of the run file's own grid"):
        run(experiments={"main": EXPERIMENT})


@pytest.mark.parametrize(("repaired", "protocol"), [("R6", "paper"), ("R8", "paper"), ("R7", "released")])
def test_only_what_is_there_can_be_mended(repaired: str, protocol: str) -> None:
    with pytest.raises(ConfigError, match=f"mends {repaired}, which it does not have"):
        run(
            protocols=[protocol],
            methods=["iadsr_released"],
            sweeps=[{"method": "iadsr_released", "option": "repaired", "values": [repaired]}],
        ).cells(FOLDER)


def test_two_encoders_never_share_a_file(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    other = tmp_path / "config/methods/other.yaml"

    def files(options: str) -> dict[str, str | None]:
        other.write_text(f"kind: iadsr\nencoder: {options}\n")
        cells = run(methods=["none", "iadsr_tfidf", "other"]).cells(tmp_path / "config")
        return {cell.method: cell.embeddings for cell in cells}

    assert files("{kind: tfidf, seed: 0}") == {"none": None, "iadsr_tfidf": "tfidf", "other": "tfidf"}
    names = {files(f"{{kind: tfidf, {option}}}")["other"] for option in ("seed: 3", "seed: 4", "dimension: 3")}
    assert len(names) == 3
    assert all(re.fullmatch(r"tfidf-[0-9a-f]{8}", str(name)) for name in names)
    with pytest.raises(ConfigError, match=r"other\.yaml: encoder\.kind: this key is missing"):
        files("{seed: 3}")


def test_a_cell_has_every_option_of_its_encoder() -> None:
    """A changed default changes what the cell is, and so its digest."""
    (cell,) = run(methods=["iadsr_tfidf"], seeds=[0]).cells(FOLDER)
    assert cell.encoder == {"kind": "tfidf", "dimension": 384, "seed": 0}


@pytest.mark.parametrize(
    ("options", "protocol", "message"),
    [
        ({"mask": "soft", "remove": "pack"}, "paper", "a soft mask removes nothing"),
        ({"quantile": 0.2}, "paper", "`quantile` needs `threshold: quantile`"),
        ({"mask": "none", "remove": "pack"}, "paper", "without a mask nothing is removed"),
        ({"semantic": False, "texts": "shuffled"}, "paper", "no text is read: leave out `texts`"),
        ({"semantic": False, "encoder": {"kind": "tfidf"}, "long": "max"}, "paper", "`encoder` and `long`"),
        ({"interest_text": "prefixes", "short": "window"}, "paper", "leave out `short`"),
        ({"interest_text": "prefixes", "long": "max"}, "paper", "leave out `long`"),
        ({"interest_text": "prefixes"}, "paper_noise10", "no text for `injected_noise`"),
        ({"interest_text": "prefixes"}, "paper_ties1", "no text for `injected_noise` or `tie_break`"),
        ({"defects": "R11"}, "strong", "R11"),
        ({"defects": "R11", "scope": "causal"}, "paper", "R11 .* scope 'causal'"),
        ({"defects": "R5"}, "ladder_prefix", "R5 .* objective 'prefix'"),
        ({"variant": "released", "repaired": "R1"}, "strong", "R5 .* objective 'all'"),
        ({"remove": "pack"}, "released", "networks: ours"),
    ],
)
def test_contradictory_options_are_refused(
    options: dict[str, object], protocol: str, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "config"
    shutil.copytree(FOLDER, folder)
    (folder / "methods/mine.yaml").write_text(yaml.safe_dump({"kind": "iadsr", **options}))
    with pytest.raises(ConfigError, match=message):
        run(protocols=[protocol], methods=["mine"]).cells(folder)


def test_a_backbone_that_the_release_lacks_needs_no_twin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(known_backbones(), "fourth", GRU4RecOptions)
    assert {cell.backbone for cell in run(backbones=["fourth"]).cells(FOLDER)} == {"fourth"}
    with pytest.raises(ConfigError, match="the release has no fourth"):
        run(backbones=["fourth"], protocols=["released"]).cells(FOLDER)


def test_the_seed_of_the_searches_is_no_grid_s() -> None:
    with pytest.raises(ConfigError, match="seeds: 1000 is the seed of the searches"):
        run(seeds=[0, 1000]).grids(FOLDER)
    given = {"title": "t", "question": "q", "seeds": [1000]}
    with pytest.raises(ConfigError, match="experiment 'x'"):
        run(experiments={"x": given}).grids(FOLDER)
