"""Whatever a stage reads may be damaged: one line then names the file and the command that makes it anew."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pyarrow import parquet

from iadsr import cli
from iadsr.core.errors import DataError
from iadsr.core.files import file_digest
from iadsr.formats.statistics import FINDINGS, STATISTICS
from tests.helpers import full_disk

RUN = {
    "name": "damage",
    "description": "a grid of three runs",
    "results": "results",
    "datasets": ["planted"],
    "encoder": {"kind": "tfidf"},
    "protocols": ["paper"],
    "backbones": ["gru4rec"],
    "methods": ["none", "iadsr", "random_drop"],
    "seeds": [0],
    "max_epochs": 8,
    "device": "cpu",
}
CELLS = {method: f"planted/paper/gru4rec/{method}/seed0" for method in ("none", "iadsr", "random_drop")}
CONFIG = Path("run.yaml")

STAGES: dict[str, Callable[[], None]] = {
    "embeddings": lambda: cli.embeddings("planted", "tfidf", CONFIG),
    "sequences": lambda: cli.sequences("planted", CONFIG),
    "train": lambda: cli.train(CELLS["none"], CONFIG),
    "train iadsr": lambda: cli.train(CELLS["iadsr"], CONFIG),
    "train matched": lambda: cli.train(CELLS["random_drop"], CONFIG),
    "evaluate": lambda: cli.evaluate(CONFIG),
    "statistics": lambda: cli.decide(CONFIG),
    "report": lambda: cli.report(CONFIG),
}
READS = {
    "embeddings": ["data/planted/items.parquet"],
    "sequences": ["data/planted/items.parquet", "data/planted/interactions.parquet"],
    "train": ["sequences/planted/sequences.npz"],
    "train iadsr": ["data/planted/items.parquet", "embeddings/planted/tfidf.safetensors"],
    "train matched": [f"runs/{CELLS['iadsr']}/{name}" for name in ("record.json", "curve.csv")],
    "evaluate": [
        "data/planted/items.parquet",
        "sequences/planted/sequences.npz",
        *(f"runs/{CELLS['iadsr']}/{name}" for name in ("record.json", "ranks.parquet", "curve.csv")),
    ],
    "statistics": [
        *(f"runs/{CELLS['iadsr']}/{name}" for name in ("record.json", "ranks.parquet")),
        *(f"evaluation/{name}.parquet" for name in ("runs", "metrics", "curves", "keep", "popularity", "inputs")),
        "data/planted/summary.json",
    ],
    "report": [
        *(f"statistics/{name}.parquet" for name in STATISTICS),
        f"statistics/{FINDINGS}",
        "evaluation/curves.parquet",
        "data/planted/summary.json",
    ],
}
STAGE_METHODS = {"train": "none", "train iadsr": "iadsr", "train matched": "random_drop"}
OTHER = pd.DataFrame({"other": [1, 2]})


def _files(folder: Path) -> dict[str, str]:
    """Digest every file below a folder, by name."""
    return {str(path): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _other_content(path: Path) -> None:
    """A sound file of the same format which holds something else."""
    if path.suffix == ".parquet":
        OTHER.to_parquet(path)
    elif path.suffix == ".csv":
        OTHER.to_csv(path)
    elif path.suffix == ".npz":
        with path.open("wb") as stream:
            np.savez(stream, other=np.arange(3))
    else:
        path.write_text('{"other": []}')


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "a page": lambda path: path.write_text("<!doctype html>\n<p>Log in, please.\n"),
    "a list": lambda path: path.write_text("[]"),
    "other content": _other_content,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run file and every file of its results."""
    folder = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        CONFIG.write_text(yaml.safe_dump(RUN))
        cli.datasets("planted", CONFIG)
        for name in ("embeddings", "sequences", "train"):
            STAGES[name]()
        for method in ("iadsr", "random_drop"):
            cli.train(CELLS[method], CONFIG)
        for name in ("evaluate", "statistics", "report"):
            STAGES[name]()
    return folder


@pytest.fixture
def inside(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The results of `finished`, inside its folder; they are put back afterwards."""
    monkeypatch.chdir(finished)
    backup = finished / "backup"
    shutil.copytree("results", backup)
    yield Path("results")
    shutil.rmtree("results")
    backup.rename("results")


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_file_is_named_with_its_remedy(stage: str, kind: str, inside: Path) -> None:
    for name in READS[stage]:
        path = inside / name
        sound = path.read_bytes()
        DAMAGE[kind](path)
        with pytest.raises(DataError) as refused:
            STAGES[stage]()
        message = str(refused.value)
        assert message.startswith(f"{path} is damaged ("), name
        assert f"snakemake --cores 1 --force {path}" in message
        assert "\n" not in message and len(message) < 500
        path.write_bytes(sound)


def _flip(path: Path) -> None:
    """Change some bits where a Parquet or safetensors file holds its values."""
    content = bytearray(path.read_bytes())
    place = len(content) * 2 // 3
    if path.suffix == ".parquet":
        first = parquet.read_metadata(path).row_group(0).column(0)
        place = first.dictionary_page_offset + first.total_compressed_size - 1
    content[place] ^= 0x55
    path.write_bytes(content)


def _change(column: str, value: object) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        table = pd.read_parquet(path)
        table[column] = table[column].astype(object)
        table.loc[0, column] = value
        table.to_parquet(path, index=False)

    return change


def _copy(name: str) -> Callable[[Path], object]:
    return lambda path: shutil.copyfile(Path("results") / name, path)


def _record(**changes: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _arrays(**changes: object) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        arrays = {**np.load(path)}
        np.savez(path, **{**arrays, **{name: np.full_like(arrays[name], value) for name, value in changes.items()}})

    return change


OTHERS = f"runs/{CELLS['none']}"
OWN = f"runs/{CELLS['iadsr']}"


@pytest.mark.parametrize(
    ("stage", "name", "damage"),
    [
        ("sequences", "data/planted/interactions.parquet", _flip),
        ("statistics", "evaluation/metrics.parquet", _flip),
        ("train iadsr", "embeddings/planted/tfidf.safetensors", _flip),
        ("evaluate", f"{OWN}/ranks.parquet", _copy(f"{OTHERS}/ranks.parquet")),
        ("statistics", f"{OWN}/ranks.parquet", _copy(f"{OTHERS}/ranks.parquet")),
        ("evaluate", f"{OWN}/curve.csv", _copy(f"{OTHERS}/curve.csv")),
        ("train matched", f"{OWN}/curve.csv", _copy(f"{OTHERS}/curve.csv")),
        ("evaluate", f"{OWN}/record.json", _copy(f"{OTHERS}/record.json")),
        ("statistics", f"{OWN}/record.json", _copy(f"{OTHERS}/record.json")),
        ("evaluate", f"{OWN}/record.json", _record(best_validation=10**400)),
        ("evaluate", f"{OWN}/record.json", _record(best_validation=float("nan"))),
        ("evaluate", f"{OWN}/record.json", _record(parameters=10**30)),
        ("evaluate", f"{OWN}/record.json", _record(machine=5)),
        ("train matched", f"{OWN}/record.json", _record(mask={"test_keep_rate": "most"})),
        ("embeddings", "data/planted/items.parquet", _change("text", None)),
        ("train iadsr", "data/planted/items.parquet", _change("text", b"x")),
        ("sequences", "data/planted/items.parquet", _change("item", None)),
        ("evaluate", "data/planted/items.parquet", _change("item", "2")),
        ("train", "sequences/planted/sequences.npz", _arrays(users="same")),
    ],
)
def test_a_file_of_the_right_form_with_other_content_is_refused(
    stage: str, name: str, damage: Callable[[Path], object], inside: Path
) -> None:
    damage(inside / name)
    with pytest.raises(DataError, match="is damaged") as refused:
        STAGES[stage]()
    assert str(refused.value).startswith(f"{inside / name} is damaged (")


@pytest.mark.parametrize("stage", ["sequences", "train", "evaluate"])
def test_a_folder_in_the_place_of_a_stages_own_file_is_told(
    stage: str, inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = inside / "sequences/planted/sequences.npz"
    path.unlink()
    path.mkdir()
    (path / "x").touch()
    monkeypatch.setattr(cli, "app", STAGES[stage])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {path}") and "folder" in said and "delete it" in said


@pytest.mark.parametrize("name", READS["report"])
def test_a_folder_where_a_file_belongs_is_no_missing_table(name: str, inside: Path) -> None:
    (inside / name).unlink()
    (inside / name).mkdir()
    with pytest.raises(DataError, match=f"{name} is a folder, not a file; delete it"):
        STAGES["report"]()


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_file_is_named_with_its_remedy(stage: str, inside: Path) -> None:
    for name in READS[stage]:
        path = inside / name
        sound = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError) as refused:
            STAGES[stage]()
        assert str(path) in str(refused.value) or path.name in str(refused.value)
        assert f"snakemake --cores 1 {path}" in str(refused.value).replace("--force ", "")
        path.write_bytes(sound)


@pytest.mark.parametrize(
    ("stage", "folder", "work"),
    [
        (lambda: cli.datasets("planted", CONFIG), "data", "iadsr.datasets.planted.generate"),
        (lambda: cli.datasets("planted", CONFIG), "raw", "iadsr.datasets.planted.generate"),
        (STAGES["embeddings"], "embeddings", "iadsr.embeddings.store.make_encoder"),
        (lambda: cli.prefixes("planted", "tfidf", CONFIG), "prefixes", "iadsr.embeddings.encoder.make_encoder"),
        (STAGES["train"], "runs", "iadsr.training.run.train"),
        (STAGES["train"], "scratch", "iadsr.training.run.train"),
    ],
)
def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(
    stage: Callable[[], None], folder: str, work: str, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions mean nothing to root, who may run this: a file stands where the folder should be."""
    shutil.rmtree(inside / folder, ignore_errors=True)
    (inside / folder).write_text("in the way")
    monkeypatch.setattr(work, Mock(side_effect=AssertionError("it began to work")))
    with pytest.raises(NotADirectoryError) as refused:
        stage()
    assert refused.value.filename == str(inside / folder)


@pytest.mark.parametrize("stage", ["datasets", "prefixes", *STAGES])
def test_a_disk_that_fills_up_is_one_error_and_loses_nothing(stage: str, inside: Path) -> None:
    """Folders are tried with 4096 bytes; every stage writes a file of more than 5000."""
    others = {
        "datasets": lambda: cli.datasets("planted", CONFIG),
        "prefixes": lambda: cli.prefixes("planted", "tfidf", CONFIG),
    }
    work = (others | STAGES)[stage]
    if stage.startswith("train"):
        shutil.rmtree(inside / "scratch")
        shutil.rmtree(inside / "runs" / CELLS[STAGE_METHODS[stage]])
    before = _files(inside)
    with full_disk(5000), pytest.raises(OSError, match="File too large") as refused:
        work()
    assert str(refused.value.filename).startswith(f"{inside}/")
    left = _files(inside)
    assert {name: left.get(name) for name in before} == before
    assert not [name for name in left if Path(name).name.startswith(".")]
    work()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "x", "results/a"), "results/a: No space left on device; free some space and repeat"),
        (OSError(errno.EDQUOT, "x", "results/a"), "results/a: Disk quota exceeded; free some of your quota and repeat"),
        (
            PermissionError(errno.EACCES, "x", "results"),
            "results: Permission denied; give yourself access to it, or name",
        ),
        (OSError(errno.EROFS, "x", "results"), "results: Read-only file system; give yourself access to it, or name"),
        (OSError(errno.EIO, "x", "results/a"), "results/a: Input/output error"),
        (OSError(errno.EXDEV, "x", "a", None, "b"), "a: b: Invalid cross-device link"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    error: OSError, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", Mock(side_effect=error))
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {line}")


def test_memory_that_runs_out_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for allocate in (lambda: bytearray(1 << 60), lambda: torch.empty(1 << 56)):
        monkeypatch.setattr(cli, "app", allocate)
        with pytest.raises(SystemExit, match="1"):
            cli.main()
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("error: out of memory (")


def test_an_error_of_a_library_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OSError("...")` without a number is not the system's, and may be a fault of ours."""
    monkeypatch.setattr(cli, "app", Mock(side_effect=OSError("what?")))
    with pytest.raises(OSError, match=r"what\?"):
        cli.main()
