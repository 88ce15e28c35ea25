"""`items`: what a cell takes from it, what it refuses, and that cells without it are what they were."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from iadsr.config.cell import Cell
from iadsr.config.identity import PACKAGE, sources
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig
from iadsr.core.errors import ConfigError
from iadsr.core.files import value_digest
from iadsr.tuning.space import make_space

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"


def run(folder: Path = FOLDER, **changes: Any) -> dict[str, Cell]:
    """Resolve the cells of a dataset without tuned values, by method."""
    values = {
        "name": "t", "description": "d", "datasets": ["toys"], "protocols": ["strong"],
        "backbones": ["gru4rec"], "encoder": {"kind": "tfidf"}, "methods": ["none"], "seeds": [0], **changes,
    }  # fmt: skip
    return {cell.method: cell for cell in parse(RunConfig, values, "t").cells(folder)}


def test_a_cell_holds_the_options_that_its_table_uses() -> None:
    sweeps = [{"method": "text_sum", "option": "items_components", "values": [64]}]
    cells = run(methods=["none", "text_init", "text_frozen", "iadsr_text_init"], sweeps=sweeps)
    first = {"items": "text_init", "items_scale": 1.0, "items_reduce": "pca"}
    assert {name: cell.items for name, cell in cells.items()} == {
        "none": None,
        "text_init": first,
        "text_frozen": {"items": "text_frozen", "items_scale": 1.0, "items_components": 512},
        "iadsr_text_init": first,
        "text_sum-items_components=64": {"items": "text_sum", "items_scale": 1.0, "items_components": 64},
    }
    assert {name: cell.embeddings for name, cell in cells.items() if cell.kind == "none"} == {
        "none": None,
        **dict.fromkeys(("text_init", "text_frozen", "text_sum-items_components=64"), "tfidf"),
    }
    assert len({cell.digest for cell in cells.values()}) == len(cells)


@pytest.mark.parametrize("label", ["none", "iadsr", "random_drop"])
def test_a_cell_without_text_in_its_item_vectors_is_what_it_was(label: str) -> None:
    """Its digest and its search are those of before there was the option: finished runs and searches hold."""
    cell = run(methods=["none", "iadsr", "random_drop"])[label]
    before = cell.model_dump(exclude={"tuned", "items"})
    assert not any(name.startswith("items") for name in before["method_options"])
    assert cell.digest == value_digest(before)
    assert "items_scale" not in make_space(FOLDER, cell).ranges
    assert set(cell.modules) == {"models", "methods"}


def test_the_scale_is_searched_where_there_is_a_text() -> None:
    for label in ("text_init", "iadsr_text_init"):
        space = make_space(FOLDER, run(methods=[label])[label])
        assert "items_scale" in space.ranges
        assert space.own()["items_scale"] == 1.0


def test_a_tuned_scale_reaches_its_own_method_alone(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    (tmp_path / "config/tuned/toys").mkdir(parents=True, exist_ok=True)
    values = {"gru4rec/none": {"dropout": 0.3}, "gru4rec/text_init": {"dropout": 0.2, "items_scale": 9.0}}
    (tmp_path / "config/tuned/toys/strong.yaml").write_text(yaml.safe_dump(values))
    cells = run(tmp_path / "config", methods=["none", "text_init", "text_sum"])
    scales = {name: (cell.items or {}).get("items_scale") for name, cell in cells.items()}
    assert scales == {"none": None, "text_init": 9.0, "text_sum": 1.0}


def test_an_edit_of_the_tables_retrains_the_runs_that_have_one() -> None:
    cells = run(methods=["none", "text_sum"])
    files = {name: set(sources("training", **cell.modules)) for name, cell in cells.items()}
    assert files["text_sum"] - files["none"] == {PACKAGE / "models/text_tables.py"}
    assert files["none"] < files["text_sum"]


@pytest.mark.parametrize(
    ("options", "protocol", "message"),
    [
        ({"items": "text_inti"}, "strong", "text_init"),
        ({"items": "text_init"}, "released", "`items: text_init` needs `networks: ours`"),
        ({"items": "text_sum", "texts": "empty"}, "strong", "`texts: empty` is none"),
        ({"items": "text_sum", "items_reduce": "random"}, "strong", "`items_reduce` needs `items: text_init`"),
        ({"items_scale": 0.0, "items": "text_init"}, "strong", "greater than 0"),
        ({"texts": "shuffled", "encoder": {"kind": "random"}}, "strong", "leave out `encoder` and `texts`|`texts` and"),
        ({"kind": "iadsr", "items": "text_sum", "interest_text": "prefixes"}, "strong", "one text per item"),
    ],
)
def test_what_cannot_go_together_is_refused(
    options: dict[str, Any], protocol: str, message: str, tmp_path: Path
) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    (tmp_path / "config/methods/mine.yaml").write_text(yaml.safe_dump({"kind": "none", **options}))
    with pytest.raises(ConfigError, match=message) as refusal:
        run(tmp_path / "config", protocols=[protocol], methods=["mine"])
    assert "\n" not in str(refusal.value)


def test_iadsr_without_text_of_its_own_can_stand_on_item_vectors_from_text(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    mine = {"kind": "iadsr", "semantic": False, "items": "text_init", "texts": "shuffled"}
    (tmp_path / "config/methods/mine.yaml").write_text(yaml.safe_dump(mine))
    assert run(tmp_path / "config", methods=["mine"])["mine"].embeddings == "tfidf-shuffled"
