"""What a run file costs before it is started, from the records of runs that were: seconds, memory and disk.

The seconds of a run are modelled as a sum of products: the positions that a backbone encodes, the steps, once more
those of a method that reads texts, the scores of the loss and of validation, and a start. The factors of the products
are known from the configuration and the size of the dataset; their prices are fitted to the records, none below 0, by
least absolute relative error, so that the few runs that shared their core with others do not decide. Where a record
tells how slow its core was (see `iadsr.machine.yardstick`), its seconds are what the core would have needed at its
fastest. Prices are seconds of one core of the device that most records are of; how much slower another device is, is
fitted beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from iadsr.config.cell import Cell
from iadsr.config.datasets import Size
from iadsr.config.reuse import earlier_runs
from iadsr.config.run import backbone_alone
from iadsr.config.settings import Settings
from iadsr.core import columns as c
from iadsr.core.errors import DataError

Floats = npt.NDArray[np.float64]
_TURNS = 5  # of prices and speeds of devices
# Upper bounds: of ranks.parquet two lists of 20 items and ten further numbers, uncompressed; of curve.csv a line of 30
# numbers, and of record.json all.
BYTES_PER_USER, BYTES_PER_EPOCH, BYTES_PER_RECORD = 200, 600, 10_000


@dataclass(frozen=True)
class Model:
    """Prices in seconds by name of the product, and what they were fitted to.

    Attributes:
        error: median relative error on runs of a dataset, protocol and backbone that the prices were not fitted to;
            `worst` is that which a tenth of these runs exceeds.
        known: datasets, protocols, backbones and kinds of methods that the records hold.
    """

    prices: Mapping[str, float]
    runs: int
    error: float
    worst: float
    memory_mb: float
    known: Mapping[str, frozenset[str]]
    machines: tuple[str, ...]

    def seconds(self, record: Mapping[str, Any], size: Size) -> float:
        """Estimate a run's seconds from its record's `cell`.

        A backbone without records costs as much as the dearest of the others.
        """
        total, dearest = 0.0, max((price for name, price in self.prices.items() if "encode " in name), default=0.0)
        for name, amount in products(record, size).items():
            total += amount * self.prices.get(name, dearest if name.startswith("encode ") else 0.0)
        return total

    def unknown(self, cells: Iterable[Cell]) -> dict[str, list[str]]:
        """Name the datasets, protocols, backbones and kinds of methods of cells of which there is no record."""
        wanted = {name: sorted({getattr(cell, name) for cell in cells}) for name in self.known}
        lacking = {name: [one for one in values if one not in self.known[name]] for name, values in wanted.items()}
        return {name: values for name, values in lacking.items() if values}


@dataclass(frozen=True)
class Cost:
    """What a number of runs costs.

    Attributes:
        longest_hours: the longest chain of runs that wait for each other, if none of a sweep is a copy.
        wall_hours: no less than this on the given slots, and at most `longest_hours` more.
    """

    runs: int
    core_hours: float
    longest_hours: float
    wall_hours: float
    memory_mb: float
    disk_mb: float


def products(record: Mapping[str, Any], size: Size) -> dict[str, float]:
    """Multiply out what a run computes, in millions, by the name of its price; `record` is a record's `cell`."""
    settings = Settings.model_construct(**record["settings"])
    in_epoch = settings.estimated_samples(size)
    epochs = settings.epochs(in_epoch)
    samples = epochs * in_epoch
    positions = samples * settings.max_length
    targets = positions if settings.objective == "all" else samples
    twice = 2.0 if record["warm_start"] else 1.0
    steps = samples / settings.batch_size
    return {
        "start": 1.0,
        f"encode {record['backbone']}": twice * positions / 1e6,
        "step": twice * steps / 1e6,
        "read texts": steps / 1e6 if record["encoder"] else 0.0,
        "loss": twice * targets * size.items / 1e6,
        "validate": twice * min(epochs, settings.validations) * size.users * size.items / 1e6,
    }


def fit(records: Sequence[Mapping[str, Any]], sizes: Mapping[str, Size]) -> Model:
    """Fit prices to the records of finished runs, and measure the error on parts that were left out.

    Args:
        records: of runs on CPUs; others are left out, as are copies.
        sizes: by dataset.

    Raises:
        DataError: too few of them can be used.
    """
    usable = [record for record in records if record["status"] == c.DONE and not record.get("reused_from")]
    usable = [record for record in usable if record["cell"][c.DATASET] in sizes and record["device"].startswith("cpu")]
    used = _least_disturbed(_undisturbed(usable))
    groups = [tuple(record["cell"][name] for name in (c.DATASET, c.PROTOCOL, c.BACKBONE)) for record in used]
    if len(set(groups)) < 3:
        raise DataError("costs are estimated from records of at least 3 settings of dataset, protocol and backbone")
    rows = [products(record["cell"], sizes[record["cell"][c.DATASET]]) for record in used]
    seconds = np.array([record["seconds"]["total"] for record in used])
    devices = [str(record["device"]) for record in used]
    kept = (c.DATASET, c.PROTOCOL, c.BACKBONE, "kind")
    known = {name: frozenset(str(record["cell"][name]) for record in usable) for name in kept}
    usual = _commonest(devices)
    machines = tuple(sorted({f"{usual}, {record['machine']}" for record in usable if record["device"] == usual}))
    memory = max(record["peak_memory_mb"] for record in usable)
    errors: list[float] = []
    for group in dict.fromkeys(groups):
        inside = [place for place, other in enumerate(groups) if other == group]
        others = [place for place, other in enumerate(groups) if other != group]
        prices, slowness = _fitted([rows[place] for place in others], seconds[others], [devices[at] for at in others])
        part = Model(prices, len(others), 0.0, 0.0, memory, known, machines)
        for place in inside:
            record = used[place]["cell"]
            told = part.seconds(record, sizes[record[c.DATASET]]) * slowness.get(devices[place], 1.0)
            errors.append(abs(told / seconds[place] - 1))
    return Model(
        _fitted(rows, seconds, devices)[0],
        len(usable),
        float(np.median(errors)),
        float(np.quantile(errors, 0.9)),
        memory,
        known,
        machines,
    )


def _undisturbed(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give runs the seconds that their core would have needed at its fastest, where they tell how slow it was."""
    fastest: dict[str, float] = {}
    for record in records:
        own = record["seconds"].get("yardstick", math.inf)
        fastest[record["device"]] = min(own, fastest.get(record["device"], math.inf))

    def corrected(record: Mapping[str, Any]) -> Mapping[str, Any]:
        seconds = record["seconds"]
        factor = fastest[record["device"]] / seconds["yardstick"] if "yardstick" in seconds else 1.0
        return {**record, "seconds": {**seconds, "total": factor * seconds["total"]}}

    return [corrected(record) for record in records]


def _least_disturbed(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Keep, of runs that differ in seed and budget alone, those of the smallest budget, and of them the fastest.

    Whatever else a machine does makes a run slower, and older records do not tell. A larger budget has the same steps.
    """

    def length(record: Mapping[str, Any]) -> tuple[float, float]:
        return record["cell"]["settings"]["budget"], record["seconds"]["total"]

    kept: dict[str, Mapping[str, Any]] = {}
    for record in sorted(records, key=length):
        alike = {**record["cell"], c.SEED: None, c.PROTOCOL: None}
        alike["settings"] = {**alike["settings"], "budget": None}
        kept.setdefault(json.dumps(alike, sort_keys=True), record)
    return list(kept.values())


def _commonest(devices: Sequence[str]) -> str:
    """Find the device that most runs are of, the first of equals; its core is that of the prices."""
    return max(dict.fromkeys(devices), key=devices.count)


def _fitted(
    rows: Sequence[Mapping[str, float]], seconds: Floats, devices: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Find prices on the device of most runs, and how many times as long each device takes, in turns."""
    slowness = dict.fromkeys(devices, 1.0)
    usual = _commonest(devices)
    for _ in range(_TURNS if len(slowness) > 1 else 1):
        prices = _prices(rows, seconds / np.array([slowness[device] for device in devices]))
        told = np.array([sum(prices.get(name, 0.0) * amount for name, amount in row.items()) for row in rows])
        ratios = seconds / np.maximum(told, 1e-9)
        own = {device: float(np.median(ratios[[other == device for other in devices]])) for device in slowness}
        slowness = {device: ratio / own[usual] for device, ratio in own.items()}
    return prices, slowness


def _prices(rows: Sequence[Mapping[str, float]], seconds: Floats) -> dict[str, float]:
    """Find the prices >= 0 with the least sum of absolute relative errors, a linear programme."""
    # what no row computes has no price, as where all records are of backbones alone
    names = list(dict.fromkeys(name for row in rows for name, amount in row.items() if amount))
    amounts = np.array([[row.get(name, 0.0) for name in names] for row in rows]) / seconds[:, None]
    scale = amounts.max(axis=0)
    scaled, each = amounts / scale, np.eye(len(rows))
    solved = linprog(
        np.concatenate([np.zeros(len(names)), np.ones(2 * len(rows))]),
        A_eq=np.hstack([scaled, each, -each]),
        b_eq=np.ones(len(rows)),
    )
    assert solved.x is not None, solved.message  # prices of 0 are always allowed, so there is a solution
    return dict(zip(names, (solved.x[: len(names)] / scale).tolist(), strict=True))


def cost_of(
    model: Model, cells: Sequence[Cell], sizes: Mapping[str, Size], slots: int, threads: int = 1, times: int = 1
) -> Cost:
    """Add up the cost of cells, each run `times` (trials of a search), with `slots` runs side by side."""
    seconds = {cell.address: times * model.seconds(cell.record, sizes[cell.dataset]) for cell in cells}
    earlier = earlier_runs(cells)
    chains: dict[str, float] = {}

    def chain(address: str) -> float:
        if address not in chains:
            before = [other.address for other in earlier.get(address, ())[-1:]]
            alone = backbone_alone(by_address[address], cells) if times > 1 else None
            before += [alone.address] if alone else []
            before += [matched] if (matched := by_address[address].matched) in by_address else []
            chains[address] = seconds[address] + max(map(chain, before), default=0.0)
        return chains[address]

    by_address = {cell.address: cell for cell in cells}
    longest = max(map(chain, by_address), default=0.0)
    total = sum(seconds.values())
    disk = sum(_bytes(cell, sizes[cell.dataset]) for cell in cells)
    return Cost(
        runs=times * len(cells),
        core_hours=threads * total / 3600,
        longest_hours=longest / 3600,
        wall_hours=max(longest, total / slots) / 3600,
        memory_mb=model.memory_mb,
        disk_mb=disk / 1e6,
    )


def _bytes(cell: Cell, size: Size) -> float:
    """Bound the size of a run's files."""
    epochs = cell.settings.epochs(cell.settings.estimated_samples(size))
    return BYTES_PER_RECORD + BYTES_PER_USER * size.users + BYTES_PER_EPOCH * epochs


def as_json(model: Model, costs: Mapping[str, Cost], lacking: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Make an object with every number, for JSON."""
    fitted = {**asdict(model), "known": {name: sorted(values) for name, values in model.known.items()}}
    return {"model": fitted, "costs": {name: asdict(cost) for name, cost in costs.items()}, "unknown": dict(lacking)}
