"""`workflow/schemas/` is what `iadsr schemas` writes."""

from pathlib import Path

from iadsr.cli import CONFIG_FOLDER, schemas


def test_schemas_are_in_step(tmp_path: Path) -> None:
    schemas(tmp_path)
    shipped = {path.name: path.read_text() for path in (CONFIG_FOLDER.parent / "schemas").glob("*.json")}
    assert shipped == {path.name: path.read_text() for path in tmp_path.iterdir()}, "run `iadsr schemas`"
