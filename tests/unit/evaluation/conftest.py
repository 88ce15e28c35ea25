"""Small runs on disk, written as training writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

CURVE = (
    "epoch,loss,loss_recommendation,loss_alignment,loss_reconstruction,validation,keep_rate,gate_share,"
    "cosine_matched,cosine_unmatched,mask_gradient,seconds\n"
    "1,2.0,2.0,,,0.1,,,0.25,-0.5,,0.5\n2,1.5,1.5,,,0.2,,,0.75,-0.25,,0.5\n"
)
OLD_CURVE = (
    "epoch,loss,loss_recommendation,loss_alignment,loss_reconstruction,validation,keep_rate,gate_share,seconds\n"
    "1,2.0,2.0,,,0.1,,,0.5\n2,1.5,1.5,,,0.2,,,0.5\n"
)


def ranks_table(ranks: list[float], counts: list[int], top: list[list[int]] | None = None) -> pd.DataFrame:
    """A ranks.parquet; the second ranking is the first one with every rank one worse."""
    users = len(ranks)
    columns: dict[str, Any] = {
        "user": pd.Series([f"u{i}" for i in range(users)], dtype="str"),
        "target": pd.Series(range(1, users + 1), dtype="int32"),
        "target_train_count": pd.Series(counts, dtype="int32"),
        "history_length": pd.Series([9] * users, dtype="int32"),
    }
    for shift, ranking in enumerate(("excluded", "kept")):
        columns[f"rank_{ranking}"] = pd.Series(ranks, dtype="float64") + shift
        columns[f"ties_{ranking}"] = pd.Series([int(r % 1 > 0) for r in ranks], dtype="int32")
        columns[f"top_{ranking}"] = pd.Series(top or [[1, 2]] * users, dtype="object")
    return pd.DataFrame(columns)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes one run and returns its folder; keywords change its address or its record."""

    def make(ranks: pd.DataFrame, *, method: str = "none", seed: int = 0, **record: Any) -> Path:
        folder = tmp_path / "runs" / "toys" / "paper" / "gru4rec" / method / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        ranks.to_parquet(folder / "ranks.parquet", index=False)
        (folder / "curve.csv").write_text(CURVE)
        cell = {"dataset": "toys", "protocol": "paper", "backbone": "gru4rec", "method": method, "seed": seed}
        whole = {
            "status": "done",
            "reason": None,
            "identity": "abc",
            "cell": {**cell, "encoder": None, "objective": "last", "settings": {}},
            "commit": {"hash": None, "dirty": None},
            "device": "cpu",
            "threads": 1,
            "machine": "x86_64 Linux",
            "seconds": {"total": 1.0, "epoch": 0.5},
            "peak_memory_mb": 100.0,
            "parameters": 10,
            "epochs": 2,
            "best_epoch": 2,
            "best_validation": 0.2,
            "mask": None,
            "inputs": {"sequences": "cd"},
            "source_digest": "5c",
            "versions": {"python": "3.11.7", "torch": "2.9.0"},
            **record,
        }
        (folder / "record.json").write_text(json.dumps(whole))
        return folder

    return make


@pytest.fixture
def old_curve() -> str:
    """A curve.csv from before cosines and the mask's gradient were recorded."""
    return OLD_CURVE


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """`ranks_table`, for tests that cannot import from here."""
    return ranks_table
