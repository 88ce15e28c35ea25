"""What the report is told of a run file: its methods, protocols, tuned values and experiments, in names and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from iadsr.config.cell import Cell
from iadsr.config.claims import load_claims
from iadsr.config.datasets import PROSE, dataset_file, load_spec
from iadsr.config.encoders import changed_options
from iadsr.config.methods import load_method
from iadsr.config.options import find_backbone
from iadsr.config.protocol import load_protocol, load_tuned, resolve_settings
from iadsr.config.run import EVERY_METHOD, Experiment, RunConfig, distinct
from iadsr.core.columns import BACKBONE, DATASET, MAIN, METHOD, PROTOCOL
from iadsr.core.errors import ConfigError
from iadsr.reporting.format import plain

CONTROL, OWN, RIVAL = "control", "own", "rival"


def describe_run(run: RunConfig, grids: Mapping[str, Sequence[Cell]], folder: Path) -> dict[str, object]:
    """Describe a run: its own settings, its methods, and each protocol's settings by dataset and backbone."""
    cells, main = distinct(grids), grids[MAIN]
    with_tuned = {(cell.protocol, cell.dataset, cell.backbone) for cell in cells if cell.tuned}
    protocols = {}
    for name in dict.fromkeys(cell.protocol for cell in cells):
        protocol = load_protocol(folder, name)
        described = {}
        for dataset, backbone in dict.fromkeys(
            (cell.dataset, cell.backbone) for cell in cells if cell.protocol == name
        ):
            settings, options = resolve_settings(protocol, backbone, dataset, run.max_epochs)
            values = {**settings.model_dump(), **options}
            if (name, dataset, backbone) in with_tuned:
                values |= dict.fromkeys(protocol.searched, "tuned, by method")
            described[f"{dataset}/{backbone}"] = values
        protocols[name] = {"description": protocol.description, **_facts(described)}
    methods: dict[str, dict[str, object]] = {}
    for cell in main:
        read = {"encoder": cell.embeddings, "warm_start": cell.warm_start} if cell.encoder else {}
        options = {"kind": cell.kind, **cell.method_options, **(cell.items or {}), **read}
        methods[f"{cell.protocol}, {cell.backbone}, {cell.method}"] = options
    files = {name: dataset_file(folder, name, run.where) for name in run.all_datasets}
    notes = {name: load_spec(path).model_dump(include=set(PROSE)) for name, path in files.items()}
    return {
        "name": run.name,
        "description": run.description,
        "baseline": run.baseline,
        "encoder": {"kind": run.encoder.kind, **changed_options(run.encoder.options())},
        "seeds": run.seeds,
        "protocols": protocols,
        "methods": methods,
        "backbones": {cell.backbone: _backbone_title(cell) for cell in cells},
        "method_files": describe_methods(run, grids, folder),
        "datasets": notes,
        "claims": [
            {
                **claim.model_dump(include={"id", "title", "sentence", "source", "published"}),
                "rule": claim.judged.rule,
                "group": getattr(claim.judged, "group", ""),
                "needed": claim.needed,
            }
            for claim in load_claims(folder).claims
        ],
        "tuned": _tuned_values({cell.folder: cell for cell in main if cell.tuned}.values(), folder),
    }


def _backbone_title(cell: Cell) -> str:
    found = find_backbone(cell.backbone, cell.settings.networks, cell.address)
    return found.title or cell.backbone


def _facts(described: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Say each setting in words; where the cells (dataset/backbone) differ, each value with those that have it."""
    found: dict[str, dict[str, list[str]]] = {}
    for cell, values in described.items():
        for key, value in values.items():
            found.setdefault(key, {}).setdefault(plain(value), []).append(cell)
    return {
        key: "; ".join(
            value if cells == [*described] else f"{value} ({', '.join(cells)})" for value, cells in by_value.items()
        )
        for key, by_value in found.items()
    }


def _tuned_values(cells: Iterable[Cell], folder: Path) -> list[dict[str, object]]:
    """Describe the tuned values of cells for the report: those of each one's set that it really has."""
    rows: list[dict[str, object]] = []
    sets: dict[tuple[str, str], dict[str, dict[str, object]]] = {}
    for cell in cells:
        if (cell.dataset, cell.protocol) not in sets:
            protocol = load_protocol(folder, cell.protocol)
            sets[cell.dataset, cell.protocol] = load_tuned(folder, cell.dataset, protocol)
        chosen = sets[cell.dataset, cell.protocol][f"{cell.backbone}/{cell.tuned}"]
        has = {**cell.settings.model_dump(), **cell.method_options, **(cell.items or {})}
        values = {name: value for name, value in chosen.items() if has.get(name) == value}
        place = {name: getattr(cell, name) for name in (DATASET, PROTOCOL, BACKBONE, METHOD)}
        rows.append({**place, "like": cell.tuned, "values": values})
    return rows


def describe_methods(run: RunConfig, grids: Mapping[str, Sequence[Cell]], folder: Path) -> dict[str, dict[str, str]]:
    """Describe each method that a run trains, sweeps, compares or takes tuned values from: its title and its role.

    A control chooses nothing, a form of the paper's method is its own, every other one a rival: a competing denoiser.
    Nothing of it reaches a training run.

    Raises:
        ConfigError: see `load_method`; two methods have one title, so that no reader could tell them apart.
    """
    parts: list[RunConfig | Experiment] = [run, *run.experiments.values()]
    named = [name for part in parts for name in (*(part.methods or ()), *(sweep.method for sweep in part.sweeps))]
    named += [cell.tuned for grid in grids.values() for cell in grid if cell.tuned]
    compared = [name for grid in grids for pair in run.compared(grid) for name in pair]
    named += [name for name in compared if name != EVERY_METHOD and "=" not in name]  # points are named by their method
    paper = load_claims(folder).paper
    for name in paper.copies:
        load_method(folder, name)  # there must be such a file
    own = load_method(folder, paper.method).kind
    described: dict[str, dict[str, str]] = {}
    titles: dict[str, str] = {}
    for name in dict.fromkeys(named):
        method = load_method(folder, name)
        if titles.setdefault(method.title, name) != name:
            raise ConfigError(
                f"{run.where}: methods '{titles[method.title]}' and '{name}' have one title, "
                f"'{method.title}': change one of them"
            )
        role = CONTROL if method.control else OWN if method.kind == own else RIVAL
        described[name] = {"title": method.title, "role": role}
    return described


def describe_experiments(run: RunConfig) -> list[dict[str, object]]:
    """Describe the further experiments, in order."""
    return [
        {
            "name": name,
            **experiment.model_dump(include={"title", "question", "view", "baseline"}),
            "points": {label: value for sweep in experiment.sweeps for label, value in sweep.points.items()},
            "option": experiment.sweeps[0].option if experiment.sweeps else "",
        }
        for name, experiment in run.experiments.items()
    ]
