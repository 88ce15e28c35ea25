"""Reading tables, and a new dataset that is a YAML file and nothing else."""

import errno
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from iadsr import cli
from iadsr.config.datasets import TablesSpec
from iadsr.core.errors import DataError
from iadsr.datasets import raw, table
from iadsr.datasets.table import read_tables


def read(path: Path, items: Path | None = None, **spec: Any) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table of interactions, described by `spec`, and perhaps one of items."""
    tables: dict[str, Any] = {"interactions": {"file": path.name, **spec}}
    paths = {path.name: path}
    if items is not None:
        tables["items"] = {"file": items.name}
        paths[items.name] = items
    return read_tables(TablesSpec.model_validate(tables), paths)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_default_column_names_need_no_description(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.csv", "time,user,rating,item\n5,b,1,9\n4,a,1,10\n")
    items = write(tmp_path / "items.csv", 'item,title\n9," A, ""quoted"" name"\n10,\n')
    interactions, titles = read(rows, items)
    assert interactions.to_numpy().tolist() == [["b", "9", 5], ["a", "10", 4]]
    assert list(interactions) == ["user", "item", "timestamp"]
    assert titles == {"9": 'A, "quoted" name'}


def test_columns_separators_and_headers_are_described(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.dat", "1::9::5::978300760\n2::10::3::978302109\n")
    interactions, titles = read(rows, separator="::", header=["u", "i", "rating", "t"], user="u", item="i", time="t")
    assert interactions.to_numpy().tolist() == [["1", "9", 978300760], ["2", "10", 978302109]]
    assert titles == {}


@pytest.mark.parametrize("packed", [False, True])
def test_json_lines(tmp_path: Path, packed: bool) -> None:
    records = (
        '{"user": "a", "item": 9, "time": 5, "name": "Nine", "more": {}}',
        '{"user": "b", "item": 10, "time": 6, "name": null}',
    )
    text = "\n\n".join(records)
    path = tmp_path / ("rows.jsonl.gz" if packed else "rows.jsonl")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    interactions, titles = read(path, type="json", title="name")
    assert interactions.to_numpy().tolist() == [["a", "9", 5], ["b", "10", 6]]
    assert titles == {"9": "Nine"}


def test_json_lines_as_long_as_reviews_are_read(tmp_path: Path) -> None:
    text = "x" * 60_000
    lines = (f'{{"user": "u{number}", "item": "i", "time": {number}, "text": "{text}"}}\n' for number in range(200))
    assert read(write(tmp_path / "rows.json", "".join(lines)), type="json")[0]["timestamp"].tolist() == [*range(200)]


def test_titles_in_python_literals_are_unescaped_and_missing_ones_absent(tmp_path: Path) -> None:
    """As Amazon's metadata; lines of items without interactions are not parsed."""
    lines = [
        "{'asin': '1', 'title': 'Salt &amp; Pepper  Shaker', 'related': {'also_bought': ['2']}}",
        "{'asin': '2', 'categories': [['Beauty']]}",
        "{'asin': '3', 'title': ' '}",
        "{'asin': '5', no literal at all}",
        "{'title': \"Men's\", 'asin': 4}",
    ]
    rows = write(tmp_path / "rows.csv", "user,item,time\n" + "".join(f"a,{item},5\n" for item in "1234"))
    items = write(tmp_path / "items.txt", "\n".join(lines))
    tables = {"interactions": {"file": rows.name}, "items": {"file": items.name, "type": "python", "item": "asin"}}
    _, titles = read_tables(TablesSpec.model_validate(tables), {rows.name: rows, items.name: items})
    assert titles == {"1": "Salt & Pepper Shaker", "4": "Men's"}


def test_titles_of_other_items_alone_are_refused(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.csv", "user,item,time\na,1,5\n")
    with pytest.raises(DataError, match=r"items\.csv has the title of none of the 1 items in .*rows\.csv"):
        read(rows, write(tmp_path / "items.csv", "item,title\n2,Two\n"))


@pytest.mark.parametrize(
    ("times", "stored"),
    [
        (["9007199254740993", "2"], [9007199254740993, 2]),
        (["881250949.0", "2"], [881250949, 2]),
        (["2001-01-01", "2001-01-02"], [978307200, 978393600]),
        (["2001-01-01T00:00:01+01:00", "2001-01-01 12:00"], [978303601, 978350400]),
    ],
)
def test_times_are_whole_numbers_or_dates(tmp_path: Path, times: list[str], stored: list[int]) -> None:
    rows = write(tmp_path / "rows.csv", "user,item,time\n" + "".join(f"a,b,{time}\n" for time in times))
    assert read(rows)[0]["timestamp"].tolist() == stored


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", "N/A", "", "1e5", "True", "007", '"', "-"])
def test_an_id_is_a_string_whatever_it_says(name: str, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.tsv", f"user\titem\ttime\n{name}\t1\t5\n7\t{name}\t6\n")
    interactions, _ = read(rows, separator="\t", quotes=False)
    assert interactions.to_numpy().tolist() == [[name, "1", 5], ["7", name, 6]]


@pytest.mark.parametrize(
    ("text", "type_", "message"),
    [
        ("user,item,time\n1,1,5\n1,1\n", "csv", "Expected 3 columns, got 2"),
        ("user,item,time\n1,1,5,7\n", "csv", "Expected 3 columns, got 4"),
        ("user,item,when\n1,1,5\n", "csv", "'time' in include_columns does not exist"),
        ("user,item,time\n1,1,later\n", "csv", "later"),
        ("user,item,time\n1,1,5\n1,1,\n", "csv", "a time is missing or no whole number"),
        ("user,item,time\n1,1,2001-01-01\n1,1,\n", "csv", "a row has no time"),
        ("user,item,time\n1,1,5.5\n", "csv", "a time is missing or no whole number"),
        ('{"user": "a", "item": "b"}', "json", "1 of 1 lines lack 'time'"),
        (
            '{"user": "a", "item": "b", "time": 5}\n{"user": "a", "item": null, "time": 5}',
            "json",
            "1 of 2 lines lack 'item'",
        ),
        (
            '{"user": "a", "item": "b", "time": 5}\n{"user": "a", "item": 1, "time": 5}',
            "json",
            "changed from string to num",
        ),
        ('{"user": "a", "item": ["b"], "time": 5}', "json", "line 1 is no JSON object with texts or numbers"),
        ('{"user": "a", ', "json", "property name"),
        ("[1]", "json", "line 1 is no JSON object"),
        ("{'user': 'a'}", "json", "property name"),
        ("{'user': 'a'}", "python", "1 of 1 lines lack 'item'"),
        ("{'user': 'a', 'item': 'b', 'time': 5}\n[1]", "python", "line 2 is no Python literal with fields"),
        ("{'user': open('trap', 'w')}", "python", "line 1 is no Python literal"),
    ],
)
def test_wrong_content_is_refused(tmp_path: Path, text: str, type_: str, message: str) -> None:
    path = write(tmp_path / "rows.txt", text)
    with pytest.raises(DataError, match=rf"rows\.txt is damaged \(.*{message}.*\); delete it") as caught:
        read(path, type=type_)
    assert "\n" not in str(caught.value)


def test_a_title_that_cannot_be_resolved_is_a_damaged_file(tmp_path: Path) -> None:
    """Python refuses numbers of thousands of digits, also in a character reference."""
    line = {"user": "a", "item": "b", "time": 5, "title": f"&#{'9' * 5000};"}
    with pytest.raises(DataError, match=r"rows\.json is damaged"):
        read(write(tmp_path / "rows.json", json.dumps(line)), type="json", title="title")


def archive(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("folder/rows.csv", text)
    return path


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a zip file"):
        read(write(tmp_path / "a.zip", "<html></html>"), member="rows.csv")


def test_an_archive_with_any_damaged_byte_is_refused_in_one_line_or_reads_the_same(tmp_path: Path) -> None:
    sound = archive(tmp_path / "a.zip", "user,item,time\n" + "".join(f"{n},{n % 7},{n * n}\n" for n in range(40)))
    whole, (table, _) = sound.read_bytes(), read(sound, member="folder/rows.csv")
    refused: list[DataError] = []
    for place in range(len(whole)):
        (tmp_path / "b.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            again, _ = read(tmp_path / "b.zip", member="folder/rows.csv")
        except DataError as error:
            refused.append(error)
        else:
            assert again.equals(table), place
    for error in refused:
        assert str(error).startswith(f"{tmp_path / 'b.zip'} is damaged (") and "\n" not in str(error)
    causes = {type(error.__cause__).__name__ for error in refused}
    assert {"error", "BadZipFile", "OSError"} <= causes, (
        "of zlib, of the archive's structure, of a jump out of the file"
    )


@pytest.mark.parametrize("type_", ["csv", "json", "python"])
def test_a_damaged_stream_is_one_line(tmp_path: Path, type_: str) -> None:
    """Each byte in turn; the header's name and time (bytes 4 to 9) mean nothing."""
    lines = [f'{{"user": "{n * n}", "item": "{n * 7}", "time": {n}}}' for n in range(30)]
    text = "\n".join(lines) if type_ != "csv" else "user,item,time\n" + "".join(f"{n * n},{n},{n}\n" for n in range(30))
    whole = gzip.compress(text.encode())
    for place in (0, 2, *range(10, len(whole))):
        (tmp_path / "b.gz").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"b\.gz.*; delete it to fetch it again$") as refused:
            read(tmp_path / "b.gz", type=type_)
        assert "\n" not in str(refused.value) and refused.value.path == tmp_path / "b.gz"


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "rows.csv.gz", "user")
    monkeypatch.setattr(gzip, "open", Mock(side_effect=PermissionError(errno.EACCES, "denied")))
    with pytest.raises(PermissionError):
        read(path)


@pytest.mark.parametrize("type_", ["json", "python"])
def test_bombs_in_lines_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str
) -> None:
    for module in (raw, table):
        monkeypatch.setattr(module, "LONGEST_LINE", 10_000)
    monkeypatch.setattr(raw, "SLACK", 1000)
    for number, bomb in enumerate((b'{"user": "A", "item": "1", "time": 5}\n' * 50_000, b" " * 1_000_000)):
        path = tmp_path / f"{number}.gz"
        path.write_bytes(gzip.compress(bomb))
        with pytest.raises(DataError, match=r"is damaged.*(it unpacks to|straddling object).*delete it to fetch it"):
            read(path, type=type_)


@pytest.mark.parametrize("name", ["a.zip", "a.csv.gz"])
def test_a_bomb_is_refused(tmp_path: Path, name: str) -> None:
    path, bomb = tmp_path / name, b"\n" * (90 << 20)
    if name == "a.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("rows.csv", bomb)
    else:
        path.write_bytes(gzip.compress(bomb, compresslevel=9))
    with pytest.raises(DataError, match="it unpacks to more than"):
        read(path, **({"member": "rows.csv"} if name == "a.zip" else {}))


def test_a_new_dataset_needs_one_yaml_and_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IADSR_MIRROR", raising=False)
    config, mirror = tmp_path / "config", tmp_path / "mirror"
    (config / "datasets").mkdir(parents=True)
    mirror.mkdir()
    write(mirror / "plays.csv", "listener,song,when\n" + "".join(f"u{n},s{n % 3},{n}\n" for n in range(9)))
    write(mirror / "songs.json", '{"song": "s0", "name": "First"}\n{"song": "s1", "name": "Second"}\n')
    dataset = {
        "name": "songs",
        "title": "Songs",
        "files": [{"name": "plays.csv"}, {"name": "songs.json"}],
        "tables": {
            "interactions": {"file": "plays.csv", "user": "listener", "item": "song", "time": "when"},
            "items": {"file": "songs.json", "type": "json", "item": "song", "title": "name"},
        },
        "text_note": "Song titles.",
    }
    write(config / "datasets" / "songs.yaml", yaml.safe_dump(dataset))
    run = {"name": "songs", "datasets": ["songs"], "results": str(tmp_path / "results"), "mirror": str(mirror)}
    shipped = yaml.safe_load((cli.CONFIG_FOLDER / "smoke.yaml").read_text())
    write(tmp_path / "run.yaml", yaml.safe_dump(shipped | run))
    monkeypatch.setattr(cli, "CONFIG_FOLDER", config)
    done = CliRunner().invoke(cli.app, ["datasets", "--dataset", "songs", "--config", str(tmp_path / "run.yaml")])
    assert done.exit_code == 0, done.output
    items = pd.read_parquet(tmp_path / "results" / "data" / "songs" / "items.parquet")
    assert items["text"].tolist() == ["First", "Second", "unknown item"]
    assert len(pd.read_parquet(tmp_path / "results" / "data" / "songs" / "interactions.parquet")) == 9
