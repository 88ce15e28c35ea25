"""A reader sees a whole file or none."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from iadsr.config.identity import PACKAGE
from iadsr.core.errors import DataError
from iadsr.core.files import atomic_path, file_digest, read_json, reading, value_digest, write_json, write_text
from iadsr.embeddings.encoder import make_encoder
from iadsr.embeddings.random_options import RandomSpec
from iadsr.embeddings.store import embed_with
from iadsr.formats.embeddings import texts_digest
from iadsr.formats.tables import write_csv, write_parquet
from iadsr.machine.disk import check_writable
from iadsr.sequences.split import Sequences, save_sequences
from iadsr.training.state import write_checkpoint
from tests.helpers import full_disk


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_digests_know_boundaries_and_order(tmp_path: Path) -> None:
    assert texts_digest(["ab", "c"]) != texts_digest(["a", "bc"])
    assert value_digest({"a": 1, "b": 2}) == value_digest({"b": 2, "a": 1})
    write_text(tmp_path / "x", "abc")
    # the published SHA-256 of "abc" (FIPS 180-2, appendix B.1)
    assert file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "n.json", {"x": float("nan")})
    assert not (tmp_path / "n.json").exists()
    write_json(tmp_path / "n.json", {"x": 1.5})
    assert read_json(tmp_path / "n.json") == {"x": 1.5}


def test_bytes_are_on_the_disk_before_a_file_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut after the rename can leave an empty file under the final name."""
    path = tmp_path / "a.txt"
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: seen.append((os.readlink(f"/proc/self/fd/{handle}"), path.exists()))
    )
    write_text(path, "new")
    (temporary, replaced), folder = seen
    assert temporary.startswith(str(tmp_path / ".a.txt.")) and not replaced
    assert folder == (str(tmp_path), True)


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def refuses_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", refuses_folders)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_an_error_of_the_system_is_not_taken_for_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {})
    for error in (PermissionError(errno.EACCES, "denied"), OSError(errno.EIO, "input/output error"), MemoryError()):
        with pytest.raises(type(error)), reading(path):
            raise error


def test_a_remedy_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(DataError, match=r"a.json is damaged \(.*\); delete it$"):
        read_json(path, remedy="delete it")
    write_json(path, {"a": 1})
    for needs, message in (({"b": int}, "it lacks b"), ({"a": str}, "a is 1")):
        with pytest.raises(DataError, match=message):
            read_json(path, needs)
    assert read_json(path, {"a": int | None}) == {"a": 1}


NUMBERS = pd.DataFrame({"a": np.random.default_rng(0).random(10_000)})
SEQUENCES = Sequences(np.arange(1, 10_001, dtype=np.int32), np.array([0, 10_000]), np.array(["u"]), 10_000)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "x" * 1000),
        lambda path: write_json(path, ["x" * 1000]),
        lambda path: write_parquet(path, NUMBERS),
        lambda path: write_csv(path, NUMBERS),
        lambda path: save_sequences(path, SEQUENCES),
        lambda path: write_checkpoint(path, {"weight": torch.ones(1000)}),
        lambda path: embed_with(["a", "b"], make_encoder(RandomSpec(dimension=64), "cpu"), path, {}),
    ],
    ids=["text", "json", "parquet", "csv", "npz", "checkpoint", "embeddings"],
)
def test_a_refused_write_names_the_file_and_leaves_nothing(write: Callable[[Path], object], tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="File too large") as refused:
        write(tmp_path / "out")
    assert str(refused.value.filename).startswith(str(tmp_path)) and "out" in refused.value.filename
    assert "/.out.tmp" not in refused.value.filename
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("limit", [0, 3000, 20_000])
def test_a_disk_that_fills_up_within_a_checkpoint_is_no_other_error(limit: int, tmp_path: Path) -> None:
    """Where torch has begun to write, it ends the file with an error of its own."""
    state = {"bias": torch.ones(300), "weight": torch.ones(5000)}
    with full_disk(limit), pytest.raises(OSError, match="File too large") as refused:
        write_checkpoint(tmp_path / "a.pt", state)
    assert refused.value.filename == str(tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_writable(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="File too large") as refused:
        check_writable(tmp_path / "not" / "yet")
    assert refused.value.filename == str(tmp_path)


def test_a_linked_folder_stays_a_link(tmp_path: Path) -> None:
    """Results on another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to("disk")
    check_writable(tmp_path / "results" / "runs")
    write_text(tmp_path / "results" / "runs" / "a", "x")
    assert (tmp_path / "results").is_symlink()
    assert (tmp_path / "disk" / "runs" / "a").read_text() == "x"


def test_a_folder_is_tried_without_a_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing, atomic_path(tmp_path / "a"):
        (tmp_path / "b").read_text()
    assert missing.value.filename == str(tmp_path / "b")
    (tmp_path / "c").write_text("a file")
    with pytest.raises(OSError, match="c") as refused:
        write_text(tmp_path / "c" / "d", "x")
    assert refused.value.filename == str(tmp_path / "c")


def test_a_killed_writer_s_file_goes_and_a_living_one_s_stays(tmp_path: Path) -> None:
    path, other = tmp_path / "a[1].json", tmp_path / "a[1].json.json"
    code = "import sys, time; from iadsr.core.files import atomic_path; "
    code += "c = atomic_path(sys.argv[1]); c.__enter__(); print(flush=True); time.sleep(60)"

    def writer(path: Path) -> subprocess.Popen[bytes]:
        made = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=PACKAGE.parent)
        assert made.stdout is not None and made.stdout.readline() == b"\n"
        return made

    living = writer(path)
    try:
        (held,) = tmp_path.iterdir()
        write_text(path, "x")
        assert held.exists()
    finally:
        living.kill()
        living.communicate()
    write_text(other, "y")
    assert held.exists(), "another file's"
    write_text(path, "x")
    assert sorted(tmp_path.iterdir()) == [path, other]
