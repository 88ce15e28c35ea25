"""Data set configurations: all shipped ones load, and mistakes are explained."""

import re
from pathlib import Path

import pytest
import yaml

from iadsr.config.datasets import DatasetSpec, load_spec
from iadsr.core.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "workflow" / "config" / "datasets"
PLANTED = {
    "name": "tiny",
    "title": "Tiny",
    "text_note": "made up",
    "planted": {
        "users": 10, "items": 30, "clusters": 3, "min_length": 5, "max_length": 10, "noise_rate": 0.2, "seed": 1,
    },
}  # fmt: skip

TABLE = {"planted": None, "files": [{"name": "a.csv"}]}


def write(folder: Path, value: object) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_load(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.stem
    assert spec.planted or spec.expected is not None


def test_the_readme_s_example_is_valid() -> None:
    text = (CONFIGS.parent / "README.md").read_text()
    (example,) = re.findall(r"^```yaml\n(name: songs\n.*?)^```", text, re.M | re.S)
    assert DatasetSpec.model_validate(yaml.safe_load(example)).reader == "table"


def test_every_field_is_described() -> None:
    def missing(schema: dict[str, dict[str, object]]) -> list[str]:
        return [name for name, field in schema.items() if "description" not in field]

    whole = DatasetSpec.model_json_schema()
    assert missing(whole["properties"]) == []
    assert [missing(part["properties"]) for part in whole["$defs"].values()] == [[]] * len(whole["$defs"])


def test_a_misspelt_key_gets_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key 'min_counts', did you mean 'min_count'"):
        load_spec(write(tmp_path, PLANTED | {"min_counts": 5}))


def test_a_misspelt_nested_key_gets_its_neighbour(tmp_path: Path) -> None:
    planted = dict(PLANTED["planted"]) | {"noise_rat": 0.1}  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"unknown key 'planted\.noise_rat', did you mean 'noise_rate'"):
        load_spec(write(tmp_path, PLANTED | {"planted": planted}))


def test_a_misspelt_key_of_a_file_gets_its_neighbour(tmp_path: Path) -> None:
    value = PLANTED | {"files": [{"name": "a.zip", "url": ["x"]}]}
    with pytest.raises(ConfigError, match=r"unknown key 'files\.0\.url', did you mean 'urls'"):
        load_spec(write(tmp_path, value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"planted": None}, "either `tables` or `planted`"),
        ({"tables": {"interactions": {"file": "b.csv"}}}, "either `tables` or `planted`"),
        ({"files": [{"name": "a.csv"}]}, r"read \[\], but `files` has \['a.csv'\]"),
        (TABLE | {"tables": {"interactions": {"file": "b.csv"}}}, r"read \['b.csv'\], but `files` has \['a.csv'\]"),
        (TABLE | {"tables": {"interactions": {"file": "a.csv", "member": "b"}}}, "belongs to .zip files"),
        ({"check_core": True}, "min_count above 0"),
        ({"name": "other"}, "the file's name makes it 'tiny'"),
        ({"planted": dict(PLANTED["planted"]) | {"items": 31}}, "multiple of clusters"),  # type: ignore[call-overload]
        ({"planted": dict(PLANTED["planted"]) | {"max_length": 21}}, "at most 20"),  # type: ignore[call-overload]
    ],
)
def test_inconsistent_settings_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec(write(tmp_path, PLANTED | change))


def test_a_missing_configuration_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, PLANTED)
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        load_spec(tmp_path / "tinyy.yaml")
