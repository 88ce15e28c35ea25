"""Seconds and memory of an epoch against users, history, window and catalogue, and a cost model fitted to them.

    python -m benchmarks.scaling            # measure, fit, write results/scaling.{csv,md,svg}
    python -m benchmarks.scaling FOLDER     # fit to results/scaling.csv, check against the runs of a results folder

Each point is a process of its own, so that its peak memory is its own: an epoch of training and one of validation on
synthetic sequences, on one thread.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator
from scipy.optimize import nnls
from tqdm import tqdm

from benchmarks.workloads import BEAUTY, CONFIG, MOVIELENS, Size, Training, batches_of, cell, compute_as_a_job
from iadsr.config.cell import Cell
from iadsr.config.fields import Objective
from iadsr.config.options import known_backbones, scope_under
from iadsr.config.run import load_run
from iadsr.core.files import atomic_path
from iadsr.training.schedule import epochs_of
from iadsr.training.score import _BLOCK as BLOCK
from iadsr.training.score import Scorer

START_SECONDS = 4.0  # a job's start: imports, the workflow's own work, writing
RESULTS = CONFIG.parents[1] / "results"
BACKBONES = [name for name, model in known_backbones().items() if model.causal]  # “strong” has objective `all`
SERIES = [(backbone, method) for method in ("none", "iadsr") for backbone in BACKBONES]
SIZES = {
    size.dataset: size
    for size in (
        BEAUTY,
        MOVIELENS,
        Size("sports", 35_598, 18_357, 296_337, 5),
        Size("toys", 19_412, 11_924, 167_597, 5),
    )
}
AXES: dict[str, tuple[dict[str, Any], list[int]]] = {  # Amazon's users (short, one sample a prefix), then MovieLens's
    "users": (
        {"history": 9, "items": 1_000, "max_length": 50, "objective": "prefix", "batch_size": 512},
        [1_000, 3_000, 9_000],
    ),
    "history": (
        {"users": 200, "items": 1_000, "max_length": 50, "objective": "all", "batch_size": 32},
        [50, 150, 450],
    ),
    "max_length": (
        {"users": 100, "history": 500, "items": 1_000, "objective": "all", "batch_size": 32},
        [50, 100, 200],
    ),
    "items": (
        {"users": 32, "history": 50, "max_length": 50, "objective": "all", "batch_size": 32},
        [1_000, 10_000, 100_000, 1_000_000],
    ),
}
TRAINING = ["steps", "time_steps", "slots", "products", "updates"]
SCORING = ["score_blocks", "score_slots", "scores"]


@dataclass(frozen=True)
class Point:
    """One measurement; `axis` is the size that varies."""

    axis: str
    users: int
    history: int
    items: int
    max_length: int
    objective: Objective
    batch_size: int
    backbone: str
    method: str

    @property
    def size(self) -> Size:
        return Size("synthetic", self.users, self.items, self.users * self.history, min(20, self.history // 2 + 1))

    @property
    def cell(self) -> Cell:
        """The strong protocol's cell at this size."""
        found = cell(self.size, self.backbone, self.method)
        options = dict(found.method_options)
        if "scope" in options:
            options["scope"] = scope_under(self.objective)
        changes = {name: getattr(self, name) for name in ("max_length", "objective", "batch_size")}
        settings = found.settings.model_copy(update=changes)
        return found.model_copy(update={"settings": settings, "method_options": options})


def points() -> list[Point]:
    """Every series along every axis."""
    return [
        Point(axis=axis, backbone=backbone, method=method, **{**fixed, axis: value})
        for axis, (fixed, values) in AXES.items()
        for backbone, method in SERIES
        for value in values
    ]


def features(size: Size, cell: Cell) -> dict[str, float]:
    """What an epoch's cost is made of, counted from its batches.

    `time_steps` is what a recurrent network cannot share between the samples of a batch; `products` counts scores
    computed for the loss, `updates` parameters touched by the optimiser.
    """
    settings = cell.settings
    samples, cut = batches_of(size, settings.objective, settings.max_length, settings.batch_size)
    widths = [int(samples.length[chosen].max()) for chosen in cut]
    targets = int(samples.length.sum()) if samples.every_position else len(samples)
    blocks = [*range(0, size.users, BLOCK)]
    lengths = np.minimum(size.sequences().lengths - 2, settings.max_length)
    return {
        "steps": len(cut),
        "time_steps": sum(widths),
        "slots": sum(len(chosen) * width for chosen, width in zip(cut, widths, strict=True)),
        "products": targets * size.items,
        "updates": len(cut) * size.items,
        "score_blocks": len(blocks),
        "score_slots": sum(int(lengths[low : low + BLOCK].max()) * len(lengths[low : low + BLOCK]) for low in blocks),
        "scores": size.users * size.items,
    }


def measure(point: Point) -> dict[str, float]:
    """Seconds of an epoch and of a validation, and the memory that they add to what the imports take, in MiB."""
    compute_as_a_job()
    before = _peak_mib()
    training = Training(point.size, point.cell)
    training.step()
    began = time.perf_counter()
    training.epoch()
    trained = time.perf_counter()
    scorer = Scorer(training.feed, "validation", point.cell)
    scorer.validation(training.model, "excluded", training.noise)
    scored = time.perf_counter()
    return {"training": trained - began, "scoring": scored - trained, "mib": _peak_mib() - before}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def measured() -> pd.DataFrame:
    """One row a point: its sizes, its features and what it took in a process of its own."""
    todo = points()
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        taken = list(tqdm(pool.imap(measure, todo), desc="scaling", unit="point", total=len(todo)))
    return pd.DataFrame(
        [
            {**asdict(point), **features(point.size, point.cell), **found}
            for point, found in zip(todo, taken, strict=True)
        ]
    )


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of log seconds and log memory between an axis's two largest sizes; 1 is linear."""
    rows = []
    for (axis, backbone, method), part in table.groupby(["axis", "backbone", "method"], sort=False):
        low, high = (row for _, row in part.sort_values(str(axis)).tail(2).iterrows())
        span = np.log(high[axis] / low[axis])
        seconds = np.log((high.training + high.scoring) / (low.training + low.scoring)) / span
        rows.append(
            {
                "axis": axis,
                "cell": f"{backbone} {method}",
                "seconds": seconds,
                "memory": np.log(high.mib / low.mib) / span,
            }
        )
    return pd.DataFrame(rows)


def fit(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Non-negative seconds per feature of each backbone and method, by least relative squares."""
    model = {}
    for (backbone, method), part in table.groupby(["backbone", "method"], sort=False):
        costs: dict[str, float] = {}
        for names, column in ((TRAINING, "training"), (SCORING, "scoring")):
            relative = part[names].to_numpy(float) / part[[column]].to_numpy(float)
            costs.update(zip(names, nnls(relative, np.ones(len(part)))[0].tolist(), strict=True))
        model[f"{backbone} {method}"] = costs
    return model


def epoch_seconds(model: dict[str, dict[str, float]], cell: Cell) -> float:
    """Seconds of an epoch with its validation; a method without a series of its own costs what `none` does."""
    costs = model[f"{cell.backbone} {'iadsr' if cell.kind == 'iadsr' else 'none'}"]
    return sum(costs[name] * count for name, count in features(SIZES[cell.dataset], cell).items())


def recorded(cell: dict[str, Any]) -> Cell:
    """The cell that a run record describes."""
    settings = dict(cell["settings"])
    options = {name: settings.pop(name) for name in ("backbone_options", "method_options")}
    names = ("dataset", "protocol", "backbone", "method", "seed", "kind", "encoder")
    return Cell(**{name: cell[name] for name in names}, settings=settings, **options)


def check(model: dict[str, dict[str, float]], results: Path) -> pd.DataFrame:
    """Every finished run of a folder: measured and predicted seconds of an epoch."""
    rows = []
    for path in sorted((results / "runs").glob("*/*/*/*/*/record.json")):
        run = recorded(json.loads(path.read_text())["cell"])
        curve = pd.read_csv(path.with_name("curve.csv"))
        if run.dataset in SIZES and len(curve):
            rows.append(
                {
                    "protocol": run.protocol,
                    "backbone": run.backbone,
                    "method": run.method,
                    "measured": curve["seconds"].mean(),
                    "predicted": epoch_seconds(model, run),
                }
            )
    return pd.DataFrame(rows)


def grid_hours(model: dict[str, dict[str, float]]) -> tuple[int, float]:
    """Runs of the paper's grid, and its core-hours."""
    cells = load_run(CONFIG / "paper.yaml").cells(CONFIG)
    known: dict[str, float] = {}
    total = 0.0
    for one in cells:
        key = f"{one.dataset} {one.protocol} {one.backbone} {one.kind}"
        if key not in known:
            known[key] = epochs_of(one.settings, SIZES[one.dataset].sequences()) * epoch_seconds(model, one)
        total += known[key] + START_SECONDS
    return len(cells), total / 3600


def picture(table: pd.DataFrame, path: Path) -> None:
    """Seconds above, memory below, one column an axis; the dotted line is linear."""
    figure, axes = plt.subplots(2, len(AXES), figsize=(3.2 * len(AXES), 6), sharey="row")
    for column, axis in enumerate(AXES):
        part = table[table["axis"] == axis]
        for (backbone, method), one in part.groupby(["backbone", "method"], sort=False):
            style = "-o" if method == "none" else "--s"
            axes[0, column].plot(
                one[axis], one["training"] + one["scoring"], style, markersize=3, label=f"{backbone} {method}"
            )
            axes[1, column].plot(one[axis], one["mib"], style, markersize=3)
        ends = np.array([part[axis].min(), part[axis].max()], dtype=float)
        for row, name in ((0, "training"), (1, "mib")):
            axes[row, column].plot(ends, part[name].max() * ends / ends[1], ":", color="grey", linewidth=1)
            axes[row, column].set(xscale="log", yscale="log")
            axes[row, column].set_xticks(AXES[axis][1], [f"{value:,}" for value in AXES[axis][1]], fontsize=7)
            axes[row, column].xaxis.set_minor_locator(NullLocator())
        axes[1, column].set_xlabel({"history": "interactions a user", "max_length": "window"}.get(axis, axis))
    axes[0, 0].set_ylabel("seconds, epoch + validation")
    axes[1, 0].set_ylabel("MiB above the imports")
    axes[0, 0].legend(fontsize=6)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg")


def summary(table: pd.DataFrame, model: dict[str, dict[str, float]], results: Path) -> str:
    """Exponents, the model's error, and the grid's cost, as Markdown."""
    wide = exponents(table).pivot(index="cell", columns="axis", values=["seconds", "memory"])
    lines = ["# Scaling", "", "Slope of log seconds (log memory) at the large end of each axis; 1 is linear.", ""]
    lines += ["| | " + " | ".join(AXES) + " |", "|---|" + "--:|" * len(AXES)]
    for name, row in wide.iterrows():
        lines.append(
            f"| {name} | " + " | ".join(f"{row['seconds', a]:.2f} ({row['memory', a]:.2f})" for a in AXES) + " |"
        )
    largest = table.loc[table["items"].idxmax()]
    lines += ["", f"Most memory: {table['mib'].max():,.0f} MiB, with {int(largest['items']):,} items.", ""]
    runs = check(model, results)
    if not runs.empty:
        ratio = runs["predicted"] / runs["measured"]
        lines += [
            f"Cost model against {len(runs)} training runs that it was not fitted to: predicted over measured "
            f"{ratio.mean():.2f} on average, mean absolute error {(ratio - 1).abs().mean():.0%}, "
            f"worst {(ratio - 1).abs().max():.0%}.",
            "",
        ]
    count, hours = grid_hours(model)
    lines.append(
        f"The paper's grid ({count:,} runs): {hours:,.0f} core-hours: {hours / 8:,.0f} hours on 8 cores, "
        f"{hours / 2:,.0f} on 2. Embeddings are not in it."
    )
    return "\n".join(lines) + "\n"


def main(results: Path | None) -> None:
    """Measure unless there is only a results folder to check; then fit, draw and print."""
    source = RESULTS / "scaling.csv"
    if results is None:
        RESULTS.mkdir(exist_ok=True)
        with atomic_path(source) as temporary:
            measured().to_csv(temporary, index=False)
    table = pd.read_csv(source)
    text = summary(table, fit(table), results or RESULTS)
    picture(table, source.with_suffix(".svg"))
    with atomic_path(source.with_suffix(".md")) as temporary:
        temporary.write_text(text)
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
