"""What is checked before any job."""

from pathlib import Path

import pytest

from iadsr.config.identity import PACKAGE
from iadsr.config.run import load_run
from iadsr.core.errors import DataError
from iadsr.plan import check_folders

ADDRESS = "planted/paper/gru4rec/none/seed0"


@pytest.mark.parametrize("name", ["data", "sequences/planted", "runs", f"runs/{ADDRESS}", "logs", "report"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path, name: str) -> None:
    smoke = load_run(PACKAGE.parent / "workflow/config/smoke.yaml")
    run = smoke.model_copy(update={"results": str(tmp_path)})
    check_folders(run, [ADDRESS])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name} is a file where a folder belongs"):
        check_folders(run, [ADDRESS])
