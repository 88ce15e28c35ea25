"""From raw files to tables."""

import gzip
import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from iadsr.config.datasets import PROSE, DatasetSpec, load_spec
from iadsr.core.errors import DataError
from iadsr.datasets.prepare import build, sort_ids

CONFIGS = Path(__file__).parents[3] / "workflow" / "config" / "datasets"
ROWS = [("B", "9", 5), ("A", "10", 5), ("A", "9", 5), ("B", "10", 6), ("B", "9", 7), ("C", "11", 1)]


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    reviews = [json.dumps({"u": u, "i": i, "t": t}) for u, i, t in ROWS]
    titles = ["{'asin': '9', 'title': 'Nine'}", "{'asin': '10'}", "{'asin': '77', 'title': 'Elsewhere'}"]
    for name, lines in (("r.json.gz", reviews), ("m.json.gz", titles)):
        (folder / name).write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


def spec(**changes: object) -> DatasetSpec:
    value: dict[str, object] = {
        "name": "tiny",
        "title": "Tiny",
        "files": [{"name": "r.json.gz"}, {"name": "m.json.gz"}],
        "tables": {
            "interactions": {"file": "r.json.gz", "type": "json", "user": "u", "item": "i", "time": "t"},
            "items": {"file": "m.json.gz", "type": "python", "item": "asin"},
        },
        "expected": {"users": 3, "items": 3, "interactions": 6},
        "text_note": "titles",
        "mirror_note": "made up",
        "fallback_text": "unknown item {item}",
    }
    return DatasetSpec.model_validate(value | changes)


def test_tables_and_summary(tmp_path: Path, mirror: Path) -> None:
    out = tmp_path / "data" / "tiny"
    summary = build(spec(min_count=2), out, tmp_path / "data" / "raw", str(mirror))
    interactions, items = (pd.read_parquet(out / f"{name}.parquet") for name in ("interactions", "items"))
    assert interactions.to_numpy().tolist() == [list(row) for row in ROWS[:5]]
    assert items.to_numpy().tolist() == [["9", "Nine", True], ["10", "unknown item 10", False]]
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["counts"] == {"users": 2, "items": 2, "interactions": 5}
    assert summary["length"] == {"mean": 2.5, "min": 2, "max": 3}
    assert summary["density"] == 1.25
    assert summary["tied_share"] == pytest.approx(2 / 5)
    assert (summary["min_count"], summary["items_without_title"]) == (2, 1)
    assert summary["reconstructed"]
    assert not PROSE & summary.keys()
    assert [source["origin"] for source in summary["sources"]] == ["mirror", "mirror"]


def test_unexpected_counts_stop_before_anything_is_written(tmp_path: Path, mirror: Path) -> None:
    wrong = spec(expected={"users": 3, "items": 4, "interactions": 6})
    with pytest.raises(DataError, match=r"items: expected 4, found 3"):
        build(wrong, tmp_path / "data" / "tiny", tmp_path / "raw", str(mirror))
    assert not (tmp_path / "data" / "tiny").exists()


def test_data_that_is_no_k_core_is_refused(tmp_path: Path, mirror: Path) -> None:
    with pytest.raises(DataError, match="tiny should be a 2-core, but 1 of 3 users"):
        build(spec(min_count=2, check_core=True), tmp_path / "tiny", tmp_path / "raw", str(mirror))


def test_repeated_pairs_are_kept_and_logged(tmp_path: Path, mirror: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(spec(), tmp_path / "tiny", tmp_path / "raw", str(mirror))
    assert "1 interactions repeat an earlier (user, item) pair" in caplog.text


JUNK = {
    "login page": lambda whole: b"<!doctype html><p>Please log in",
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[:-20],
    "cut in the trailer": lambda whole: whole[:-1],
    "other data": lambda whole: gzip.compress(b'{"u": "A", "i": "1", "t": 1}\n'),
}


@pytest.mark.parametrize("name", ["r.json.gz", "m.json.gz"])
@pytest.mark.parametrize("kind", JUNK)
def test_junk_is_set_aside_and_the_next_run_asks_again(tmp_path: Path, mirror: Path, name: str, kind: str) -> None:
    """Whatever came first, the same command succeeds as soon as the source gives the right file."""
    out, raw = tmp_path / "data" / "tiny", tmp_path / "raw"
    whole = (mirror / name).read_bytes()
    junk = JUNK[kind](whole)
    (mirror / name).write_bytes(junk)
    for _ in range(2):
        with pytest.raises(DataError, match=rf"moved to .*{name}\.damaged.*: repeat the command") as refused:
            build(spec(), out, raw, str(mirror))
        assert "\n" not in str(refused.value) and "delete" not in str(refused.value)
        assert (raw / "mirror" / f"{name}.damaged").read_bytes() == junk
        assert not (raw / "mirror" / name).exists() and not out.exists()
        assert not (out.parent / "digests").exists()
    (mirror / name).write_bytes(whole)
    assert build(spec(), out, raw, str(mirror))["counts"]["interactions"] == 6
    digests = json.loads((out.parent / "digests" / "tiny.json").read_text())
    assert digests[name] == {"mirror": hashlib.sha256(whole).hexdigest()} and len(digests) == 2


def test_a_sound_file_beside_junk_is_not_fetched_twice(tmp_path: Path, mirror: Path) -> None:
    whole = (mirror / "m.json.gz").read_bytes()
    (mirror / "m.json.gz").write_bytes(b"junk")
    with pytest.raises(DataError):
        build(spec(), tmp_path / "data" / "tiny", tmp_path / "raw", str(mirror))
    (mirror / "m.json.gz").write_bytes(whole)
    (mirror / "r.json.gz").unlink()
    build(spec(), tmp_path / "data" / "tiny", tmp_path / "raw", str(mirror))


def test_a_file_that_was_accepted_before_stays(tmp_path: Path, mirror: Path) -> None:
    """Another `expected`, not another file: nothing is moved."""
    build(spec(), tmp_path / "data" / "tiny", tmp_path / "raw", str(mirror))
    wrong = spec(expected={"users": 3, "items": 4, "interactions": 6})
    with pytest.raises(DataError, match="items: expected 4, found 3") as refused:
        build(wrong, tmp_path / "data" / "tiny", tmp_path / "raw", str(mirror))
    assert "moved" not in str(refused.value)
    assert (tmp_path / "raw" / "mirror" / "r.json.gz").is_file()


def test_ids_of_digits_sort_as_numbers() -> None:
    assert sort_ids(["10", "9", "1"]) == ["1", "9", "10"]
    assert sort_ids(["10", "9", "B1"]) == ["10", "9", "B1"]


def test_planted_data_carries_its_noise(tmp_path: Path) -> None:
    planted = load_spec(CONFIGS / "planted.yaml")
    summary = build(planted, tmp_path / "planted", tmp_path / "raw", None)
    table = pd.read_parquet(tmp_path / "planted" / "interactions.parquet")
    assert table.dtypes.astype(str).to_dict()["noise"] == "bool"
    assert (summary["counts"]["users"], summary["counts"]["items"]) == (planted.planted.users, planted.planted.items)
    assert (summary["sources"], summary["reconstructed"]) == ([], False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["movielens-100k", "beauty", "sports", "toys"])
def test_published_datasets_have_their_counts(tmp_path: Path, name: str) -> None:
    mirror = os.environ.get("IADSR_MIRROR")
    if not mirror:
        pytest.skip("IADSR_MIRROR is not set")
    published = load_spec(CONFIGS / f"{name}.yaml")
    summary = build(published, tmp_path / name, tmp_path / "raw", mirror)
    assert published.expected is not None
    assert summary["counts"] == published.expected.model_dump()


def test_what_a_killed_download_left_is_removed(tmp_path: Path, mirror: Path) -> None:
    raw = tmp_path / "raw" / "upstream"
    (raw / "tmp_wheel_0").mkdir(parents=True)
    (raw / "tmpabcd1234").touch()
    (raw / "tmpabcd1234.gz").touch()
    build(load_spec(CONFIGS / "planted.yaml"), tmp_path / "data" / "x", tmp_path / "raw", None)
    assert [path.name for path in raw.iterdir()] == ["tmpabcd1234.gz"], "a name that no temporary file has"
