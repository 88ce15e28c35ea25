"""Tables: damage is noticed, and no spreadsheet executes a text."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iadsr.core.errors import DataError
from iadsr.formats.tables import read_parquet, write_csv, write_parquet


def test_a_changed_value_in_a_table_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, pd.DataFrame({"x": np.random.default_rng(0).integers(2**62, size=1000)}))
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet is damaged \(.*checksum"):
        read_parquet(path)


def test_no_control_character_reaches_a_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"x": ["a\0b\x07\tc\nd"]}))
    assert (tmp_path / "t.csv").read_text() == 'x\n"a\ufffdb\ufffd\tc\nd"\n'


def test_a_spreadsheet_takes_no_text_of_a_csv_for_a_formula(tmp_path: Path) -> None:
    numbers = ["-0.5", "+3", "-1e-9", "-inf"]
    texts = ["=cmd|'/c calc'!A1", "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "-"]
    plain = ["iadsr", "a=b", "1-2", "", None]
    cells = [*numbers, *texts, *plain]
    table = pd.DataFrame({"=name": cells, "value": np.linspace(-1, 1, len(cells)), "flag": [True] * len(cells)})
    write_csv(tmp_path / "t.csv", table)
    with (tmp_path / "t.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["'=name", "value", "flag"]
    assert [row[0] for row in rows] == [*numbers, *("'" + text.replace("\r", "\n") for text in texts), *plain[:-1], ""]
    assert [float(row[1]) for row in rows] == table["value"].tolist()
    assert table.columns[0] == "=name" and table["=name"][4] == texts[0], "the table itself is as it was"


def test_columns_of_the_same_name_are_kept(tmp_path: Path) -> None:
    table = pd.DataFrame([["=a", "=b"]], columns=["x", "x"])
    write_csv(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == "x,x\n'=a,'=b\n"
