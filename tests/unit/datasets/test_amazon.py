"""Readers of the Amazon files."""

import errno
import gzip
import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from iadsr.core.errors import DataError
from iadsr.datasets import amazon, raw
from iadsr.datasets.amazon import clean_title, read_reviews, read_titles


def packed(path: Path, lines: list[str]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def review(user: str, item: str, time: int, **more: object) -> str:
    return json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": time, **more})


def test_reviews_keep_the_order_and_only_three_fields(tmp_path: Path) -> None:
    lines = [
        review("B", "0002", 9, reviewText='quote " and \n newline \u2603', helpful=[1, 2], overall=4.0),
        review("A", "0001", 7, reviewTime="01 1, 2013"),
        review("B", "0001", 9),
    ]
    table = read_reviews(packed(tmp_path / "r.json.gz", lines))
    assert list(table.columns) == ["user", "item", "timestamp"]
    assert table.to_numpy().tolist() == [["B", "0002", 9], ["A", "0001", 7], ["B", "0001", 9]]


def test_reviews_longer_than_a_small_block_are_read(tmp_path: Path) -> None:
    lines = [review(f"u{number}", "i", number, reviewText="x" * 60_000) for number in range(200)]
    assert read_reviews(packed(tmp_path / "r.json.gz", lines))["timestamp"].tolist() == list(range(200))


def test_a_review_without_a_field_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "r.json.gz", [review("A", "1", 1), '{"reviewerID": "A", "unixReviewTime": 1}'])
    with pytest.raises(DataError, match="1 of 2 lines lack 'asin'"):
        read_reviews(path)


def test_damaged_reviews_are_refused(tmp_path: Path) -> None:
    whole = packed(tmp_path / "r.json.gz", [review(f"u{n}", f"i{n * n}", n) for n in range(2000)])
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(whole.read_bytes()[:-500])
    html = tmp_path / "page.json.gz"
    html.write_text("<html>please log in</html>")
    for path in (cut, html, packed(tmp_path / "literal.json.gz", ["{'reviewerID': 'A'}"])):
        with pytest.raises(DataError, match="delete it to fetch it again"):
            read_reviews(path)


def test_titles_are_unescaped_and_missing_ones_absent(tmp_path: Path) -> None:
    lines = [
        "{'asin': '1', 'title': 'Salt &amp; Pepper  Shaker', 'related': {'also_bought': ['2']}}",
        "{'asin': '2', 'categories': [['Beauty']]}",
        "{'asin': '3', 'title': ' '}",
        "{'title': \"Men's\", 'asin': '4'}",
    ]
    path = packed(tmp_path / "m.json.gz", lines)
    assert read_titles(path) == {"1": "Salt & Pepper Shaker", "4": "Men's"}
    assert read_titles(path, wanted={"4"}) == {"4": "Men's"}


def test_code_in_metadata_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = packed(tmp_path / "m.json.gz", [f"{{'asin': open({str(trap)!r}, 'w').name}}"])
    with pytest.raises(DataError, match="line 1: not a Python literal"):
        read_titles(path)
    assert not trap.exists()


def test_damaged_metadata_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "m.json.gz", [f"{{'asin': '{n}', 'title': 't{n * n}'}}" for n in range(3000)])
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="is damaged after line"):
        read_titles(path)


def test_clean_title_of_nothing() -> None:
    assert clean_title(None) == ""


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", ""])
def test_an_id_is_a_string_whatever_it_says(name: str, tmp_path: Path) -> None:
    table = read_reviews(packed(tmp_path / "r.json.gz", [review(name, "1", 5), review("A", name, 6)]))
    assert table.to_numpy().tolist() == [[name, "1", 5], ["A", name, 6]]
    titles = read_titles(packed(tmp_path / "m.json.gz", [f"{{'asin': {name!r}, 'title': 'NA'}}"]))
    assert titles == {name: "NA"}


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "SLACK", 1000)
    monkeypatch.setattr(amazon, "_BLOCK_BYTES", 10_000)
    lines = packed(tmp_path / "lines.gz", [review("A", "1", 5)] * 20_000)
    titles = packed(tmp_path / "titles.gz", ["{'asin': '1', 'title': 'x'}"] * 50_000)
    line = tmp_path / "line.gz"
    line.write_bytes(gzip.compress(b" " * 1_000_000))
    for read, path in ((read_reviews, lines), (read_reviews, line), (read_titles, titles), (read_titles, line)):
        with pytest.raises(DataError, match=r"is damaged.*(it unpacks to|straddling object).*delete it to fetch it"):
            read(path)  # type: ignore[operator]


def test_a_damaged_stream_is_one_line(tmp_path: Path) -> None:
    """Each byte in turn; the header's name and time (bytes 4 to 9) mean nothing."""
    whole = packed(
        tmp_path / "a.gz", [f"{{'asin': '{n * n}', 'title': 'Thing {n * 7}'}}" for n in range(30)]
    ).read_bytes()
    for place in (0, 2, *range(10, len(whole))):
        (tmp_path / "b.gz").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        for read in (read_reviews, read_titles):
            with pytest.raises(DataError, match=r"b\.gz.*; delete it to fetch it again$") as refused:
                read(tmp_path / "b.gz")  # type: ignore[operator]
            assert "\n" not in str(refused.value) and refused.value.path == tmp_path / "b.gz"


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "m.gz", ["{'asin': '1'}"])
    monkeypatch.setattr(gzip, "open", Mock(side_effect=PermissionError(errno.EACCES, "denied")))
    with pytest.raises(PermissionError):
        read_titles(path)
