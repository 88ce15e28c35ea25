"""The command line, apart from its stages."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import typer

from iadsr import cli
from iadsr.core.errors import DataError


def test_settings_for_other_programs_do_not_reach_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = {"MPLBACKEND": "module://of_a_notebook", "OMP_NUM_THREADS": "7", "IADSR_MIRROR": "kept"}
    seen: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", shell)
    monkeypatch.setattr(cli, "app", lambda: seen.update(os.environ))
    cli.main()
    assert seen["MPLBACKEND"] == "Agg"
    assert {value for name, value in seen.items() if name.endswith("_NUM_THREADS")} == {"1"}
    assert seen["IADSR_MIRROR"] == "kept"


def test_the_archive_agrees_with_itself_and_not_with_runs_that_rank_backwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "movielens-100k.parquet"
    shutil.copy(cli.ARCHIVE / name, tmp_path / name)
    with pytest.raises(typer.Exit) as ended:
        cli.compare(tmp_path, cli.ARCHIVE)
    said = capsys.readouterr().out.splitlines()
    cells = sum(not line.startswith(" ") for line in said) - 1
    assert ended.value.exit_code == 0
    assert said[-1].startswith(f"{cells} of {cells} cells agree")
    assert not any("nan" in line for line in said)
    table = pd.read_parquet(tmp_path / name)
    table["record"] = table["record"].str.replace('"ranks.parquet": "', '"ranks.parquet": "other')
    for column in ("rank_kept", "rank_excluded"):
        table[column] = [2 * 1682 + 2 - ranks for ranks in table[column]]
    table.to_parquet(tmp_path / name)
    with pytest.raises(typer.Exit) as ended:
        cli.compare(tmp_path, cli.ARCHIVE)
    assert ended.value.exit_code == 3
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"0 of {cells} cells agree")
    with pytest.raises(DataError, match="neither a results folder with runs nor an archive"):
        cli.compare(tmp_path / "absent", cli.ARCHIVE)


def test_a_comparison_tells_encoders_apart_and_counts_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "movielens-100k.parquet"
    table = pd.read_parquet(cli.ARCHIVE / name)
    one = table[(table["method"] == "iadsr") & (table["backbone"] == "caser")]
    other = one.assign(record=one["record"].str.replace('"pooling": "mean"', '"pooling": "first"'))
    for folder, rows in (("first", [one, other, table[table["method"] == "none"]]), ("second", [one, other])):
        (tmp_path / folder).mkdir()
        pd.concat(rows).to_parquet(tmp_path / folder / name)
    with pytest.raises(typer.Exit):
        cli.compare(tmp_path / "first", tmp_path / "second")
    said = capsys.readouterr().out.splitlines()
    protocols = one["protocol"].nunique()
    assert said[-1].startswith(f"{2 * protocols} of {2 * protocols} cells agree")
    assert len([line for line in said if "caser/iadsr with encoder" in line]) == 2 * protocols
    assert "first only and not compared" in said[-2]
