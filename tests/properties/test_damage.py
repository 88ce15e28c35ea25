"""Whatever a stage reads may be damaged: one line then names the file and the command that makes it anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from iadsr import cli
from iadsr.core.errors import DataError

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
    "max_epochs": 1,
    "device": "cpu",
}
CELLS = {method: f"planted/paper/gru4rec/{method}/seed0" for method in ("none", "iadsr", "random_drop")}
CONFIG = Path("run.yaml")

STAGES: dict[str, Callable[[], None]] = {
    "embeddings": lambda: cli.embeddings("planted", "tfidf", CONFIG),
    "sequences": lambda: cli.sequences("planted", CONFIG),
    "train": lambda: cli.train(CELLS["none"], CONFIG),
    "train matched": lambda: cli.train(CELLS["random_drop"], CONFIG),
    "evaluate": lambda: cli.evaluate(CONFIG),
    "compare": lambda: cli.compare(CONFIG),
    "report": lambda: cli.report(CONFIG),
}
READS = {
    "embeddings": ["data/planted/items.parquet"],
    "sequences": ["data/planted/items.parquet", "data/planted/interactions.parquet"],
    "train": ["sequences/planted/sequences.npz"],
    "train matched": [f"runs/{CELLS['iadsr']}/{name}" for name in ("record.json", "curve.csv")],
    "evaluate": [
        "data/planted/items.parquet",
        "sequences/planted/sequences.npz",
        *(f"runs/{CELLS['iadsr']}/{name}" for name in ("record.json", "ranks.parquet", "curve.csv")),
    ],
    "compare": [f"runs/{CELLS['iadsr']}/{name}" for name in ("record.json", "ranks.parquet")],
    "report": [
        *(f"evaluation/{name}.parquet" for name in ("runs", "metrics", "curves", "keep", "popularity")),
        "statistics/comparisons.parquet",
        "data/planted/summary.json",
        "embeddings/planted/tfidf.safetensors",
        f"runs/{CELLS['iadsr']}/record.json",
    ],
}
OTHER = pd.DataFrame({"other": [1, 2]})


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
        for name in ("evaluate", "compare", "report"):
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


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_file_is_named_with_its_remedy(stage: str, inside: Path) -> None:
    optional = {"evaluation/keep.parquet", "evaluation/popularity.parquet", READS["report"][-1], READS["report"][-2]}
    for name in READS[stage]:
        if stage == "report" and name in optional:
            continue
        path = inside / name
        sound = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError) as refused:
            STAGES[stage]()
        assert str(path) in str(refused.value) or path.name in str(refused.value)
        assert f"snakemake --cores 1 {path}" in str(refused.value).replace("--force ", "")
        path.write_bytes(sound)
