"""A seeded synthetic results tree: evaluation's tables by hand, and what the stage `statistics` makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iadsr.config.claims import load_claims
from iadsr.core.columns import MAIN
from iadsr.evaluation.runs import Address
from iadsr.formats.statistics import FINDINGS
from iadsr.statistics.compare import Scores, comparison_tables, tested
from iadsr.statistics.grids import Grid
from iadsr.statistics.write import derive_tables

ADDRESS = ["dataset", "protocol", "backbone", "method", "seed"]
GROUPS = ["all", "cold", *(f"decile_{n}" for n in range(1, 11))]
USERS = 40
RANKINGS = {"paper": "kept", "strong": "excluded"}
COMPARE = [("*", "none"), ("iadsr", "random_mask")]
PROTOCOL = {"objective": "last", "loss": "full softmax", "tie_break": "0"}
CLAIMS = load_claims(Path(__file__).parents[3] / "workflow" / "config")
SETTINGS: dict[str, Any] = {
    "claims": [
        {"id": one.id, "title": one.title, "sentence": one.sentence, "source": one.source, "published": one.published}
        | {"rule": one.judged.rule, "needed": one.needed}
        for one in CLAIMS.claims
    ],
    "name": "laptop",
    "backbones": {"gru4rec": "GRU4Rec", "sasrec": "SASRec", "caser": "Caser"},
    "baseline": "none",
    "protocols": {
        "paper": {"description": "One target <each>.", **PROTOCOL},
        "strong": {"description": "Every target.", **PROTOCOL, "objective": "all"},
    },
    "datasets": {
        "beauty": {
            "title": "Amazon Beauty",
            "text_note": "Titles & all.",
            "mirror_note": "A mirror's <copy>.",
            "order_note": None,
        }
    },
    "method_files": {
        "none": {"title": "none", "role": "control"},
        "iadsr": {"title": "IADSR", "role": "own"},
        "random_mask": {"title": "IADSR, random mask", "role": "control"},
    },
    "training": {"batch": 128, "note": "<b>& raw</b>"},
}
TEMPLATES = Path(__file__).parents[3] / "report"


def cells_of(
    datasets: Sequence[str] = ("beauty",),
    protocols: Sequence[str] = ("paper", "strong"),
    backbones: Sequence[str] = ("gru4rec", "caser"),
    methods: Sequence[str] = ("none", "iadsr", "random_mask"),
    seeds: Sequence[int] = (1, 2),
) -> list[Address]:
    return [Address(*cell) for cell in product(datasets, protocols, backbones, methods, seeds)]


def grid_of(name: str = MAIN, view: str = "table", **parts: Any) -> Grid:
    known = {key: parts.pop(key) for key in ("compare", "baseline", "longer", "released", "cells") if key in parts}
    cells = known.pop("cells", None) or cells_of(**parts)
    rankings = {cell.protocol: RANKINGS.get(cell.protocol.split("_")[0], "kept") for cell in cells}
    compare = known.pop("compare", COMPARE if name == MAIN else [("*", known.get("baseline", "none"))])
    return Grid(name, view, known.pop("baseline", "none"), compare, cells, rankings, **known)


def make_tree(root: Path, grids: Sequence[Grid], lost: Mapping[Address, str | None] | None = None) -> Path:
    """Write a tree; `lost` are runs with another status than done, or None for those without any record."""
    lost = lost or {}
    cells = [
        cell for cell in dict.fromkeys(cell for grid in grids for cell in grid.cells) if lost.get(cell, "") is not None
    ]
    scores = {cell: _scores(cell, lost.get(cell)) for cell in cells}
    evaluated = {
        "runs": pd.DataFrame([_run(cell, lost.get(cell)) for cell in cells]),
        "metrics": pd.concat([_metrics(scores[cell]) for cell in cells]),
        "curves": pd.concat([_curve(cell) for cell in cells]),
        "keep": pd.concat([_keep(cell) for cell in cells]),
        "drops": pd.concat([_drops(cell) for cell in cells]),
        "inputs": pd.DataFrame([{**cell._asdict(), "name": "sequences", "digest": "cd" * 32} for cell in cells]),
        "popularity": pd.DataFrame(
            [(name, *rest, 0.0301, USERS) for name in {cell.dataset for cell in cells} for rest in tested()],
            columns=["dataset", "ranking", "metric", "value", "users"],
        ),
    }
    facts = {cell.dataset: _summary(cell.dataset) for cell in cells}
    tables, findings = derive_tables(
        grids, evaluated, comparison_tables(grids, scores, CLAIMS.paper.sought), facts, CLAIMS
    )
    _write(root / "evaluation/curves.parquet", evaluated["curves"])
    for name, table in tables.items():
        _write(root / "statistics" / f"{name}.parquet", table)
    (root / "statistics" / FINDINGS).write_text(json.dumps(findings | {"unexpected_runs": 0}))
    for name, summary in facts.items():
        (root / "data" / name).mkdir(parents=True)
        (root / "data" / name / "summary.json").write_text(json.dumps(summary))
    for cell in cells:
        (root / "runs" / str(cell)).mkdir(parents=True)
        (root / "runs" / str(cell) / "record.json").write_text("{}")
    return root


def experiment_of(grid: Grid, **changes: Any) -> dict[str, Any]:
    """What the report is told of an experiment."""
    said = {"title": f"A {grid.view} <of> things", "question": "What & why?", "points": {}, "option": ""}
    return {"name": grid.name, "view": grid.view, "baseline": grid.baseline, **said, **changes}


def _write(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


def _masked(cell: Address) -> bool:
    return cell.method.startswith(("iadsr", "random_mask"))


def _scores(cell: Address, status: str | None) -> Scores:
    """Per-user metrics; none of a run that is not done."""
    stream = np.random.default_rng([len(str(cell)), *map(ord, str(cell))])
    users = np.array([f"u{i:03}" for i in range(0 if status else USERS)], dtype=object)
    hits = stream.random((len(tested()), len(users))) < 0.3 + 0.1 * _masked(cell)
    reason = f"{status} (loss is NaN at epoch 3)" if status else None
    cold = np.arange(len(users)) % 3 == 0
    return Scores(cell, users, np.arange(len(users)), hits.astype(float), cold, reason, digest=str(cell))


def _run(cell: Address, status: str | None) -> dict[str, Any]:
    iadsr = cell.method.startswith("iadsr")
    masked = _masked(cell)
    return {
        **cell._asdict(),
        "status": status or "done",
        "reason": "loss is NaN at epoch 3" if status else None,
        "objective": "last" if cell.protocol == "paper" else "all",
        "encoder": "minilm" if iadsr else None,
        "texts": "names",
        "epochs": 20,
        "best_epoch": 3,
        "best_validation": 0.05 + 0.001 * cell.seed,
        "seconds_total": 40.0 + 8 * iadsr,
        "seconds_epoch": 2.4,
        "peak_memory_mb": 812.5,
        "parameters": 193024,
        "device": "cpu",
        "threads": 1,
        "machine": "x86_64 laptop",
        "commit": "c0ffee" * 6,
        "dirty": False,
        "versions": "python 3.11.7; torch 2.9.0",
        "source_digest": "ab" * 32,
        "identity": "0123456789abcdef" * 4,
        "reused_from": None,
        "encoder_kind": "minilm" if iadsr else None,
        "encoder_model": "all-MiniLM-L6-v2" if iadsr else None,
        "encoder_revision": "r1" if iadsr else None,
        "encoder_pooling": "mean" if iadsr else None,
        "encoder_dimension": "4" if iadsr else None,
        "encoder_text_digest": "ef" * 32 if iadsr else None,
        "encoder_options": "max_length 8" if iadsr else None,
        "train_keep_rate": 0.71 if masked else math.nan,
        "test_keep_rate": 0.78 if masked else math.nan,
        "gate_share": 0.97 if iadsr else math.nan,
        "denoised_hr5": 0.6 if iadsr else math.nan,
        "denoised_ndcg5": 0.6 if iadsr else math.nan,
        "denoised_changed": 0.25 if iadsr else math.nan,
        **_noise(cell),
        **dict.fromkeys(("train_drop_precision", "train_drop_recall"), math.nan),
    }


def _noise(cell: Address) -> dict[str, float]:
    """What a mask found, where a protocol injects noise."""
    figures = {"noise_auc": 0.625, "untrained_auc": 0.5, "drop_precision": 0.25, "drop_recall": 0.5, "noise_share": 0.2}
    known = "noise" in cell.protocol and _masked(cell)
    return {name: value if known else math.nan for name, value in figures.items()}


def _metrics(scores: Scores) -> pd.DataFrame:
    """Means of the scores; groups of users have them times their number in the list."""
    rows = []
    for (ranking, metric), values in zip(tested(), scores.values, strict=True):
        mean = float(values.mean()) if len(values) else math.nan
        for place, group in enumerate(GROUPS):
            value = mean if group == "all" else mean * place / 10
            rows.append((*scores.address, ranking, group, metric, value, len(values) // (1 if group == "all" else 4)))
        for extra, value in (("coverage@10", 0.25), ("tied_share", 0.002)):
            if metric == "HR@5":
                value = value * (2 if ranking == "kept" else 1) if len(values) else math.nan
                rows.append((*scores.address, ranking, "all", extra, value, len(values)))
    return pd.DataFrame(rows, columns=[*ADDRESS, "ranking", "group", "metric", "value", "users"])


def _curve(cell: Address) -> pd.DataFrame:
    epochs = np.arange(1, 6)
    iadsr = math.nan if cell.method == "none" else 1.0
    return pd.DataFrame(
        {
            **cell._asdict(),
            "epoch": epochs,
            "loss": 7.2 - np.log(epochs),
            "loss_recommendation": 7.2 - np.log(epochs),
            "loss_alignment": iadsr * 4.8 / epochs,
            "loss_reconstruction": iadsr * 0.02 / epochs,
            "guessing_loss": 7.4,
            "validation": 0.05 * epochs,
            "keep_rate": iadsr * 0.7,
            "gate_share": iadsr * 0.97,
            "cosine_matched": iadsr * 0.1 * epochs,
            "cosine_unmatched": iadsr * 0.01 * epochs,
            "mask_gradient": iadsr * 0.01 / epochs,
            "gradient_alignment_project": iadsr * 0.5,
            "gradient_recommendation_backbone": 0.25,
            "seconds": 2.4,
        }
    )


def _keep(cell: Address) -> pd.DataFrame:
    """Cold inputs are kept less often than popular ones in training, and as often at test."""
    rows = [
        (*cell, stage, group, 0.8 - 0.2 * (group == "cold" and stage == "train"), 500)
        for stage, group in product(("train", "test"), GROUPS[1:] if _masked(cell) else [])
    ]
    return pd.DataFrame(rows, columns=[*ADDRESS, "stage", "group", "keep", "inputs"])


def _drops(cell: Address) -> pd.DataFrame:
    """One item at either end, and the history of one user whose first input is dropped."""
    rows = [
        (*cell, "least", "", 1, 2, "Kite", 0.25, 40, ""),
        (*cell, "most", "", 1, 1, "Yo-yo", 1.0, 20, ""),
        (*cell, "history", "u7", 1, 2, "Kite", 0.0, None, "Ball"),
        (*cell, "history", "u7", 2, 1, "Yo-yo", 1.0, None, "Ball"),
    ]
    names = [*ADDRESS, "part", "user", "place", "item", "name", "keep", "inputs", "target"]
    return pd.DataFrame(rows if _masked(cell) else [], columns=names)


def _summary(name: str) -> dict[str, Any]:
    return {
        "dataset": name,
        "counts": {"users": 943, "items": 1682, "interactions": 100000},
        "length": {"mean": 106.04, "min": 20, "max": 737},
        "density": 0.063,
        "items_without_title": 2,
        "reconstructed": name == "beauty",
        "tied_share": 0.752,
        "min_count": 5,
        "sources": [{"file": "u.data", "origin": "a package", "sha256": "ab" * 32, "bytes": 10}],
    }
