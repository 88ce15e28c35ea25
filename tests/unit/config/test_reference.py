"""Schemas and the tables of keys are what `iadsr schemas` writes."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from iadsr.cli import CONFIG_FOLDER, write_reference
from iadsr.config.methods import load_method
from iadsr.config.reference import all_models, fill_tables, schemas
from iadsr.config.yaml_files import files_in, load_yaml

README = (CONFIG_FOLDER / "README.md").read_text()


def test_schemas_are_in_step(tmp_path: Path) -> None:
    write_reference(tmp_path)
    shipped = {path.name: path.read_text() for path in (CONFIG_FOLDER.parent / "schemas").glob("*.json")}
    assert shipped == {path.name: path.read_text() for path in tmp_path.iterdir()}, "run `iadsr schemas`"


def test_tables_of_keys_are_in_step() -> None:
    assert fill_tables(README) == README, "run `iadsr schemas`"


def test_every_key_is_described_and_in_the_readme() -> None:
    regions = re.findall(r"<!-- keys: (\S+) -->", README)
    for name, model in all_models().items():
        assert all(field.description for field in model.model_fields.values()), name
        assert any(fnmatch(name, region) for region in regions), name


@pytest.mark.parametrize("label", files_in(CONFIG_FOLDER / "methods"))
def test_a_schema_of_methods_knows_the_keys_of_their_files(label: str) -> None:
    schema = schemas()[f"method-{load_method(CONFIG_FOLDER, label).kind}"]
    assert set(load_yaml(CONFIG_FOLDER / "methods" / f"{label}.yaml")) <= set(schema["properties"])
