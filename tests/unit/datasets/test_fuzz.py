"""Raw files of any content: they are read, or refused in one line, in bounded time."""

import gzip
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iadsr.config.datasets import TablesSpec, load_spec
from iadsr.core.columns import ITEM, TIMESTAMP, USER
from iadsr.core.errors import DataError
from iadsr.datasets.table import read_tables
from tests.helpers import refusal

CONFIGS = Path(__file__).parents[3] / "workflow" / "config" / "datasets"
SECONDS = 5.0  # of processor time, for a file of some KB
fuzzed = settings(
    max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
HOSTILE = [
    "&#" + "9" * 5000 + ";", "&#xD800;", "\\ud800", "\\u0000", "\0", "\x85", "\ufeff", "[" * 3000, "{" * 300, "(" * 150,
    "-" * 3000 + "1", "1" * 5000, "0x" + "f" * 5000, "1e999", "-1e999", "NaN", "nan", "{[]: 1}", "{{}}", "b'x'",
    "f'{x}'", "'%s' % 1", "...", "__import__('os')", "1j", "None", "null", "[]", "{}", '""', '"', "'", "\\", "|" * 99,
    "2001-02-30",
]  # fmt: skip
scalars = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8), st.integers(), st.floats(), st.none(), st.booleans())
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(st.text(max_size=3), scalars, max_size=2))


@st.composite
def edited(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with some places overwritten, cut out or filled in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(whole)))
        end = draw(st.one_of(st.just(start), st.integers(start, min(len(whole), start + 40))))
        piece = draw(st.one_of(st.binary(max_size=8), st.sampled_from(HOSTILE).map(lambda text: text.encode())))
        whole = whole[:start] + piece + whole[end:]
    return whole


def check(tables: TablesSpec, contents: dict[str, bytes], folder: Path) -> None:
    """Write the files and read them."""
    paths = {name: folder / name for name in contents}
    for name, path in paths.items():
        path.write_bytes(contents[name])
    read: list[tuple[pd.DataFrame, dict[str, str]]] = []
    began = time.process_time()
    error = refusal(DataError, lambda: read.append(read_tables(tables, paths)))
    assert time.process_time() - began < SECONDS
    if error is not None:
        assert "\n" not in str(error) and len(str(error)) < 600
        assert error.path in (None, *paths.values())
    for rows, titles in read:
        assert list(rows) == [USER, ITEM, TIMESTAMP] and rows[TIMESTAMP].dtype == "int64"
        assert all(isinstance(text, str) and text for pair in titles.items() for text in pair)
        "".join(map(str, [*rows[USER], *rows[ITEM], *titles.values()])).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def tables_of(name: str) -> TablesSpec:
    tables = load_spec(CONFIGS / f"{name}.yaml").tables
    assert tables is not None
    return tables


REVIEWS = [
    {"reviewerID": f"A{n}", "asin": f"B{n % 3}", "helpful": [0, 1], "unixReviewTime": 10**9 + n, "overall": 5.0}
    for n in range(6)
]
METADATA = [{"asin": f"B{n}", "title": f"Salt &amp; Pepper {n}", "related": {"also": ["B9"]}} for n in range(4)]


@fuzzed
@given(
    reviews=st.lists(st.dictionaries(st.sampled_from(list(REVIEWS[0])), values, max_size=5), max_size=3),
    metadata=st.lists(st.dictionaries(st.sampled_from(list(METADATA[0])), values, max_size=3), max_size=3),
    raw=st.lists(st.sampled_from(HOSTILE), max_size=2),
)
def test_amazon_files_with_lines_of_other_values(
    folder: Path, reviews: list[Any], metadata: list[Any], raw: list[str]
) -> None:
    lines = [json.dumps(line) for line in REVIEWS + reviews] + raw
    literals = [repr(line) for line in metadata + METADATA] + [f"{{'asin': 'B1', 'title': {text}}}" for text in raw]
    first, second = (gzip.compress("\n".join(part).encode("utf-8", "surrogatepass"), 1) for part in (lines, literals))
    tables = tables_of("beauty")
    check(tables, {tables.interactions.file: first, tables.items.file: second}, folder)  # type: ignore[union-attr]


AMAZON = ["\n".join(map(json.dumps, REVIEWS)).encode(), "\n".join(map(repr, METADATA)).encode()]


@fuzzed
@given(edited(AMAZON[0]), edited(AMAZON[1]))
def test_amazon_files_with_edited_bytes(folder: Path, reviews: bytes, metadata: bytes) -> None:
    tables = tables_of("beauty")
    contents = {tables.interactions.file: gzip.compress(reviews, 1)}
    check(tables, contents | {tables.items.file: gzip.compress(metadata, 1)}, folder)  # type: ignore[union-attr]


DATA = b"".join(b"%d\t%d\t5\t88125%04d\n" % (n % 3, n % 4, n) for n in range(9))
ITEMS = b"".join(b"%d|Caf\xe9 %d (1995)|01-Jan-1995||http://x|%s\n" % (n, n, b"|".join([b"0"] * 19)) for n in range(4))


def movielens(data: bytes, items: bytes, how: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        archive.writestr("ml-100k/u.data", data)
        archive.writestr("ml-100k/u.item", items)
    return stream.getvalue()


@fuzzed
@given(edited(DATA), edited(ITEMS))
def test_movielens_tables_with_edited_bytes(folder: Path, data: bytes, items: bytes) -> None:
    check(tables_of("movielens-100k"), {"ml-100k.zip": movielens(data, items)}, folder)


@fuzzed
@given(
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]).flatmap(
        lambda how: edited(movielens(DATA, ITEMS, how))
    )
)
def test_a_zip_with_edited_bytes(folder: Path, whole: bytes) -> None:
    check(tables_of("movielens-100k"), {"ml-100k.zip": whole}, folder)


@fuzzed
@given(edited(gzip.compress(AMAZON[0])), edited(gzip.compress(AMAZON[1])))
def test_a_gz_with_edited_bytes(folder: Path, reviews: bytes, metadata: bytes) -> None:
    tables = tables_of("beauty")
    check(tables, {tables.interactions.file: reviews, tables.items.file: metadata}, folder)  # type: ignore[union-attr]


def test_sound_files_are_read(folder: Path) -> None:
    """Else the tests above would only see refusals."""
    tables = tables_of("beauty")
    names = [tables.interactions.file, tables.items.file]  # type: ignore[union-attr]
    for name, content in zip(names, AMAZON, strict=True):
        (folder / name).write_bytes(gzip.compress(content))
    _, titles = read_tables(tables, {name: folder / name for name in names})
    assert titles == {f"B{n}": f"Salt & Pepper {n}" for n in range(3)}, "of the items that have reviews"
    (folder / "ml-100k.zip").write_bytes(movielens(DATA, ITEMS))
    rows, titles = read_tables(tables_of("movielens-100k"), {"ml-100k.zip": folder / "ml-100k.zip"})
    assert len(rows) == 9 and titles["1"] == "Café 1 (1995)"
