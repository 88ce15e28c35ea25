"""An epoch (every training target once, full softmax, one thread) against RecBole 1.2.1's on the same interactions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.conftest import Time
from benchmarks.workloads import BEAUTY, MOVIELENS, Size, Training, cell

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".venv-peers" / "bin" / "python"
TIMED_BATCHES = 1
GOALS = [
    (MOVIELENS, "gru4rec", "GRU4Rec", 60),
    (MOVIELENS, "sasrec", "SASRec", 200),
    (MOVIELENS, "caser", "Caser", 300),
    (BEAUTY, "gru4rec", "GRU4Rec", 15),
    (BEAUTY, "sasrec", "SASRec", 40),
    (BEAUTY, "caser", "Caser", 40),
]


@pytest.fixture(scope="module")
def atomic_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sizes' sequences as RecBole reads them."""
    folder = tmp_path_factory.mktemp("recbole")
    for size in (MOVIELENS, BEAUTY):
        sequences = size.sequences()
        users = np.repeat(np.arange(size.users), sequences.lengths)
        lines = (
            f"{user}\t{item}\t{time}" for time, (user, item) in enumerate(zip(users, sequences.items, strict=True))
        )
        target = folder / size.dataset / f"{size.dataset}.inter"
        target.parent.mkdir()
        target.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n")
    return folder


@pytest.mark.skipif(not PEER.exists(), reason="needs `make setup-peers`")
@pytest.mark.parametrize(("size", "backbone", "model", "goal"), GOALS)
def test_epoch_against_recbole(
    timed: Time, atomic_files: Path, size: Size, backbone: str, model: str, goal: float
) -> None:
    command = [str(PEER), str(ROOT / "benchmarks" / "recbole_peer.py"), str(atomic_files / size.dataset), model]
    done = subprocess.run([*command, str(TIMED_BATCHES)], capture_output=True, text=True, cwd=atomic_files)
    assert done.returncode == 0, done.stderr[-2000:]
    reference = json.loads(done.stdout.splitlines()[-1])["seconds"]
    training = Training(size, cell(size, backbone))
    training.step()
    timed(
        training.epoch, f"RecBole over an epoch: {backbone}, {size.dataset}", "ours", "speedup", goal,
        rounds=1, reference=reference,
    )  # fmt: skip
