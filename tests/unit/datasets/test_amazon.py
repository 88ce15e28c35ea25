"""Readers of the Amazon files."""

import gzip
import json
from pathlib import Path

import pytest

from iadsr.core.errors import DataError
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
