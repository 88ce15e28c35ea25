"""A seeded synthetic results tree: what the earlier stages would have written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ADDRESS = ["dataset", "protocol", "backbone", "method", "seed"]
METRICS = [f"{name}@{k}" for k in (5, 10, 20) for name in ("HR", "NDCG")] + ["MRR"]
GROUPS = ["all", "cold", *(f"decile_{n}" for n in range(1, 11))]
PAIRS = [("iadsr", "none"), ("iadsr", "random_mask"), ("iadsr", "aux_only"), ("random_mask", "none")]
PAIRS += [("aux_only", "none"), ("random_drop", "none")]
SETTINGS = {
    "name": "laptop",
    "protocols": {
        "paper": {
            "objective": "last",
            "loss": "full softmax",
            "length": 31,
            "stopping": {"patience": 10},
            "ranking": "kept",
        },
        "strong": {
            "objective": "all",
            "loss": "full softmax",
            "length": 50,
            "stopping": {"patience": 10},
            "ranking": "excluded",
        },
    },
    "datasets": {
        "beauty": {"title": "Amazon Beauty", "text_note": "Titles & all.", "mirror_note": "A mirror's <copy>."},
    },
    "training": {"batch": 128, "note": "<b>& raw</b>"},
}
TEMPLATES = Path(__file__).parents[3] / "report"


def grid(
    datasets: Sequence[str] = ("movielens-100k",),
    protocols: Sequence[str] = ("paper", "strong"),
    backbones: Sequence[str] = ("gru4rec", "sasrec", "caser"),
    methods: Sequence[str] = ("none", "iadsr", "random_mask"),
    seeds: Sequence[int] = (1, 2, 3),
) -> list[tuple[str, str, str, str, int]]:
    return list(product(datasets, protocols, backbones, methods, seeds))


def make_tree(
    root: Path,
    cells: Sequence[tuple[str, str, str, str, int]],
    diverged: Any = (),
    missing: Any = (),
    epochs: int = 20,
    experiments: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write a tree for `cells` and the experiments' cells; `diverged` and `missing` are sets of cells, or "all".

    Without experiments the tree is one from before there were any: it lacks all that came with them.
    """
    generator = np.random.default_rng(7)
    everything = list(dict.fromkeys([*cells, *(cell for one in (experiments or {}).values() for cell in one["cells"])]))
    diverged = set(everything) if diverged == "all" else set(diverged)
    missing = set(everything) if missing == "all" else set(missing)
    for dataset in dict.fromkeys(cell[0] for cell in everything):
        _dataset(root, dataset)
    runs, metrics, curves = [], [], []
    for cell in everything:
        if cell in missing:
            continue
        address = dict(zip(ADDRESS, cell, strict=True))
        bad = cell in diverged
        runs.append(_run(address, bad, generator))
        _record(root, cell, bad)
        curves += _curve(address, epochs, bad, generator)
        metrics += _metrics(address, bad, generator)
    names = [*ADDRESS, "ranking", "group", "metric", "value", "users"]
    _write(root / "evaluation/metrics.parquet", pd.DataFrame(metrics, columns=names))
    run_names = list(_run(dict.fromkeys(ADDRESS, "x"), False, generator))
    run_table = pd.DataFrame(runs, columns=run_names)
    curve_names = list(_curve(dict.fromkeys(ADDRESS, "x"), 1, False, generator)[0])
    curve_table = pd.DataFrame(curves, columns=curve_names)
    comparisons = _comparisons(cells, diverged, missing, generator)
    if experiments is not None:
        _write(root / "evaluation/keep.parquet", _keep(run_table, generator))
        _write(root / "evaluation/popularity.parquet", _popularity({cell[0] for cell in everything}))
        run_table, curve_table = _with_denoised_target(run_table), _with_diagnostics(curve_table)
        tests = [_experiment_rows(name, one, diverged, missing, generator) for name, one in experiments.items()]
        comparisons = pd.concat([comparisons.assign(experiment=""), *tests], ignore_index=True)
    _write(root / "evaluation/runs.parquet", run_table)
    _write(root / "evaluation/curves.parquet", curve_table)
    _write(root / "statistics/comparisons.parquet", comparisons)
    return root


def experiment(view: str, cells: Sequence[tuple[str, str, str, str, int]], **changes: Any) -> dict[str, Any]:
    """What the report is told of an experiment."""
    told = {"title": f"A {view} <of> things", "question": "What & why?", "view": view, "baseline": "none"}
    return {**told, "cells": list(cells), "points": {}, "option": "", **changes}


def _keep(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Cold inputs are kept less often than popular ones in training, and as often at test; there are none in D1."""
    rows = []
    for run in runs[runs["train_keep_rate"].notna()].to_dict("records"):
        for stage, group in product(("train", "test"), GROUPS[1:]):
            rare = 0.2 if group == "cold" and stage == "train" else 0.0
            keep = math.nan if group == "decile_1" else 0.8 - rare + generator.normal(0, 0.01)
            address = {name: run[name] for name in ADDRESS}
            inputs = 0 if group == "decile_1" else 500
            rows.append({**address, "stage": stage, "group": group, "keep": keep, "inputs": inputs})
    return pd.DataFrame(rows, columns=[*ADDRESS, "stage", "group", "keep", "inputs"])


def _popularity(datasets: Iterable[str]) -> pd.DataFrame:
    """Popular items do as well under either rule: 0.0301 in every metric."""
    rows = product(sorted(datasets), ("kept", "excluded"), METRICS)
    return pd.DataFrame(
        [(*row, 0.0301, 943) for row in rows], columns=["dataset", "ranking", "metric", "value", "users"]
    )


def _with_denoised_target(runs: pd.DataFrame) -> pd.DataFrame:
    """IADSR's runs were also judged on the last item that they kept, planted data's on known noise."""
    masked = runs["gate_share"].notna()
    planted = masked & (runs["dataset"] == "planted")
    values = {"denoised_hr5": 0.2, "denoised_ndcg5": 0.1, "denoised_changed": 0.25}
    known = {"noise_auc": 0.7, "drop_precision": 0.4, "drop_recall": 0.6}
    nothing = {"train_drop_precision": math.nan, "train_drop_recall": math.nan, "texts": "names"}
    columns = {name: np.where(masked, value, math.nan) for name, value in values.items()}
    return runs.assign(
        **columns, **{name: np.where(planted, value, math.nan) for name, value in known.items()}, **nothing
    )


def _with_diagnostics(curves: pd.DataFrame) -> pd.DataFrame:
    masked = curves["keep_rate"].notna().to_numpy()
    grown = 1 - np.exp(-curves["epoch"] / 5)
    return curves.assign(
        cosine_matched=np.where(masked, 0.6 * grown, math.nan),
        cosine_unmatched=np.where(masked, 0.1 * grown, math.nan),
        mask_gradient=np.where(masked, 0.01 / curves["epoch"], math.nan),
    )


def _experiment_rows(
    name: str, described: Mapping[str, Any], diverged: Any, missing: Any, generator: np.random.Generator
) -> pd.DataFrame:
    rows = []
    base = described["baseline"]
    for dataset, protocol, backbone, method in dict.fromkeys(cell[:4] for cell in described["cells"]):
        if method == base:
            continue
        status = "ok"
        for side in (method, base):
            own = [cell for cell in described["cells"] if cell[:4] == (dataset, protocol, backbone, side)]
            if all(cell in missing for cell in own):
                status = f"{side} is missing"
            elif all(cell in diverged or cell in missing for cell in own):
                status = f"{side} seed {own[0][4]}: diverged (NaN)"
        for ranking, metric in product(("excluded", "kept"), METRICS):
            sides = ((protocol, method), (protocol, base))
            row = _comparison("method", dataset, backbone, ranking, metric, *sides, status, generator)
            family = " | ".join(["experiment", name, dataset, protocol, ranking, metric])
            rows.append({"experiment": name, **row, "family": family})
    return pd.DataFrame(rows)


def _write(path: Path, frame: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)


def _dataset(root: Path, name: str) -> None:
    summary = {
        "dataset": name,
        "counts": {"users": 943, "items": 1682, "interactions": 100000},
        "length": {"mean": 106.04, "min": 20, "max": 737},
        "density": 0.063,
        "items_without_title": 2,
        "reconstructed": name != "movielens-100k",
        "tied_share": 0.752,
        "min_count": 5,
        "sources": [{"file": "u.data", "origin": "a package", "sha256": "ab" * 32, "bytes": 10}],
    }
    folder = root / "data" / name
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))


ENCODER = {
    "encoder": "minilm",
    "model": "all-MiniLM-L6-v2",
    "revision": "r1",
    "pooling": "mean",
    "settings": {"kind": "minilm", "batch_size": 64, "max_length": 256},
    "text_digest": "ef" * 32,
    "dimension": 4,
}


def _run(address: dict[str, Any], bad: bool, generator: np.random.Generator) -> dict[str, Any]:
    masked = address["method"].startswith("iadsr") or address["method"] in ("random_mask", "random_drop")
    iadsr = address["method"].startswith("iadsr")
    return {
        **address,
        "status": "diverged" if bad else "done",
        "reason": "loss is NaN at epoch 3" if bad else None,
        "objective": "last" if address["protocol"] == "paper" else "all",
        "encoder": "minilm" if iadsr else None,
        "epochs": 20,
        "best_epoch": 12,
        "best_validation": math.nan if bad else generator.uniform(0.02, 0.08),
        "seconds_total": 48.2,
        "seconds_epoch": 2.41,
        "peak_memory_mb": 812.5,
        "parameters": 193024,
        "device": "cpu",
        "threads": 1,
        "machine": "x86_64 laptop",
        "commit": "c0ffee" * 6,
        "dirty": False,
        "identity": "0123456789abcdef" * 4,
        "train_keep_rate": generator.uniform(0.7, 0.72) if masked and not bad else math.nan,
        "test_keep_rate": generator.uniform(0.78, 0.8) if masked and not bad else math.nan,
        "gate_share": 0.97 if iadsr and not bad else math.nan,
        "noise_auc": math.nan,
    }


def _record(root: Path, cell: tuple[str, str, str, str, int], bad: bool) -> None:
    dataset, protocol, backbone, method, seed = cell
    path = root / "runs" / dataset / protocol / backbone / method / f"seed{seed}" / "record.json"
    path.parent.mkdir(parents=True)
    iadsr = method.startswith("iadsr")
    record = {
        "status": "diverged" if bad else "done",
        "reason": None,
        "identity": "0123456789abcdef" * 4,
        "cell": {
            **dict(zip(ADDRESS, cell, strict=True)),
            "encoder": {"kind": "minilm"} if iadsr else None,
            "objective": "all",
            "settings": {},
        },
        "encoder_identity": ENCODER if iadsr else None,
        "inputs": {"sequences": "cd" * 32},
        "source_digest": value(backbone),
        "commit": {"hash": "c0ffee" * 6, "dirty": False},
        "versions": {"python": "3.11.7", "torch": "2.9.0"},
        "device": "cpu",
        "threads": 1,
        "machine": "x86_64 laptop",
    }
    path.write_text(json.dumps(record))


def value(text: str) -> str:
    return text.encode().hex().ljust(64, "0")


def _metrics(address: dict[str, Any], bad: bool, generator: np.random.Generator) -> list[dict[str, Any]]:
    base = 0.016 if address["protocol"] == "paper" else 0.064
    rows = []
    for ranking, group, metric in product(("excluded", "kept"), GROUPS, METRICS):
        number = (
            0.0
            if group == "cold"
            else base * generator.uniform(0.8, 1.2) * (1 if group == "all" else GROUPS.index(group) / 6)
        )
        users = 0 if bad else 943 if group == "all" else 94
        number = math.nan if bad else number
        rows.append({**address, "ranking": ranking, "group": group, "metric": metric, "value": number, "users": users})
    for ranking, (metric, number) in product(("excluded", "kept"), (("coverage@10", 0.25), ("tied_share", 0.002))):
        number = math.nan if bad else number * (2 if ranking == "kept" else 1)
        rows.append({**address, "ranking": ranking, "group": "all", "metric": metric, "value": number, "users": 943})
    return rows


def _curve(address: dict[str, Any], epochs: int, bad: bool, generator: np.random.Generator) -> list[dict[str, Any]]:
    iadsr = address["method"].startswith("iadsr")
    length = 3 if bad else max(1, epochs - (int(address["seed"]) if str(address["seed"]).isdigit() else 0))
    return [
        {
            **address,
            "epoch": epoch,
            "loss": math.nan if bad and epoch == 3 else 7.4 - math.log(epoch),
            "loss_recommendation": 7.2 - math.log(epoch),
            "loss_alignment": 4.8 / epoch if iadsr else math.nan,
            "loss_reconstruction": 0.02 / epoch if iadsr else math.nan,
            "validation": 0.05 * (1 - math.exp(-epoch / 6)) + generator.normal(0, 0.001),
            "keep_rate": 0.7 if iadsr else math.nan,
            "gate_share": 0.97 if iadsr else math.nan,
            "seconds": 2.4,
        }
        for epoch in range(1, length + 1)
    ]


def _comparisons(cells: Any, diverged: Any, missing: Any, generator: np.random.Generator) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    cells = list(cells)
    methods = {cell[3] for cell in cells}
    blocks = dict.fromkeys((cell[0], cell[1], cell[2]) for cell in cells)

    def usable(dataset: str, protocol: str, backbone: str, method: str) -> str:
        backbones = {block[2] for block in blocks} if backbone == "all" else {backbone}
        places = {(dataset, protocol, name, method) for name in backbones}
        own = [cell for cell in cells if cell[:4] in places]
        if not own or all(cell in missing for cell in own):
            return f"{method} is missing"
        return f"{method} seed 1: diverged (NaN)" if all(cell in diverged or cell in missing for cell in own) else "ok"

    def add(kind: str, dataset: str, backbone: str, new: tuple[str, str], old: tuple[str, str]) -> None:
        states = [usable(dataset, side[0], backbone, side[1]) for side in (new, old)]
        status = next((state for state in states if state != "ok"), "ok")
        for ranking, metric in product(("excluded", "kept"), METRICS):
            rows.append(_comparison(kind, dataset, backbone, ranking, metric, new, old, status, generator))

    for dataset, protocol, backbone in blocks:
        for method, baseline in PAIRS:
            if {method, baseline} <= methods:
                add("method", dataset, backbone, (protocol, method), (protocol, baseline))
    for dataset, protocol in dict.fromkeys(block[:2] for block in blocks):
        for method, baseline in PAIRS if len({block[2] for block in blocks}) > 1 else ():
            if {method, baseline} <= methods:
                add("backbones", dataset, "all", (protocol, method), (protocol, baseline))
    for dataset, backbone in dict.fromkeys((block[0], block[2]) for block in blocks):
        if (dataset, "paper", backbone) in blocks and (dataset, "strong", backbone) in blocks:
            add("protocol", dataset, backbone, ("strong", "none"), ("paper", "none"))
    return pd.DataFrame(rows)


def _comparison(
    kind: str,
    dataset: str,
    backbone: str,
    ranking: str,
    metric: str,
    new: tuple[str, str],
    old: tuple[str, str],
    status: str,
    generator: np.random.Generator,
) -> dict[str, Any]:
    base = 0.016 if old[0] == "paper" else 0.064
    gain = 3.0 + generator.normal(0, 0.3) if kind == "protocol" else generator.normal(0.02, 0.08)
    half = 0.4 if kind == "protocol" else 0.09
    numbers = {
        "mean": base * (1 + gain),
        "baseline_mean": base,
        "difference": base * gain,
        "relative_gain": gain,
        "ci_low": base * (gain - half),
        "ci_high": base * (gain + half),
        "gain_low": gain - half,
        "gain_high": gain + half,
        "p": 0.0004,
        "p_holm": 0.003 if abs(gain) > half else 0.4,
        "effect": gain / 2,
        "wins": 41.0,
        "ties": 870.0,
        "losses": 32.0,
        "seed_sd": 0.0007,
        "users": 943.0,
        "seeds": 3.0,
    }
    if status != "ok":
        numbers = dict.fromkeys(numbers, math.nan)
    return {
        "kind": kind,
        "dataset": dataset,
        "backbone": backbone,
        "ranking": ranking,
        "metric": metric,
        "protocol": new[0],
        "method": new[1],
        "baseline_protocol": old[0],
        "baseline_method": old[1],
        **numbers,
        "family": f"{kind}-{dataset}",
        "status": status,
    }


DIVERGED = [("movielens-100k", "paper", "caser", "iadsr", seed) for seed in (1, 2, 3)]
MISSING = [("movielens-100k", "strong", "sasrec", "random_mask", 3)]
