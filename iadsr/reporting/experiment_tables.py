"""The tables of the experiments, one kind a view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from iadsr.core.columns import BACKBONE, DATASET, DONE, METHOD, PROTOCOL
from iadsr.reporting.answer import cell_notes
from iadsr.reporting.experiment import Experiment
from iadsr.reporting.layout import Cell, Column, Row, Table, columns_of, row_heads
from iadsr.reporting.load import done_only, mean_and_sd, relative, select
from iadsr.reporting.tables import (
    DROP_NOTE,
    MASK_COLUMN_TITLES,
    MASK_COLUMNS,
    comparison_numbers,
    gain_cell,
    known_columns,
    seed_note,
)
from iadsr.reporting.words import (
    NOTHING,
    TIMES,
    fixed,
    integer,
    label,
    listed,
    outcome,
    short_labels,
    slug,
    spread,
    titled,
)

VALUE_METRICS = ("HR@5", "NDCG@5", "HR@20", "NDCG@20")
TEST_METRICS = ("HR@5", "NDCG@10")
RUNG_METRICS = ("NDCG@10", "HR@5")
_MASK_BASICS = MASK_COLUMNS[:3]
_At = tuple[str, str, str, str]  # dataset, protocol, backbone, method
TEST_NOTE = (
    "95 % interval: hierarchical bootstrap, seeds then users; p: paired test, Holm-adjusted within this experiment, "
    "dataset, protocol, ranking rule and metric, methods with the very same runs once; n.s.: no significant difference."
)


def method_head(name: str, same_as: str = "") -> Cell:
    """A method as a row header; below it what a defect is, and which method has the very same runs."""
    title, detail = titled(name)
    same = f"same run as {short_labels([same_as])[same_as]}" if same_as else ""
    return Cell(title, sub="; ".join(filter(None, (detail, same))), head=True)


def _numbers(values: Sequence[float], digits: int = 4) -> Cell:
    mean, deviation = mean_and_sd(values)
    return Cell(fixed(mean, digits), sub=spread(deviation, digits))


def methods_table(
    experiment: Experiment, dataset: str, protocol: str, backbones: Sequence[str], what: str = "methods"
) -> Table:
    """Accuracy, gain over the baseline, mask and seeds of every method, the baseline first in each backbone."""
    where = {DATASET: dataset, PROTOCOL: protocol}
    cells = select(experiment.results.cells, **where)
    cells = cells[cells[BACKBONE].isin(backbones)]
    masks = [*_MASK_BASICS, *known_columns(cells, MASK_COLUMNS[3:])]
    several = len(backbones) > 1
    rows, frame = [], []
    for backbone in backbones:
        methods = experiment.methods(**where, backbone=backbone)
        for method in methods:
            own, at = select(cells, backbone=backbone, method=method), (dataset, protocol, backbone, method)
            heads = [*(row_heads(label(backbone)) if several else []), method_head(method, experiment.same_as(*at))]
            body = _method_cells(experiment, at, own, masks)
            rows.append(Row([*heads, *body], opens=several and method == methods[0]))
            frame.append(_method_record(experiment, at, own, masks))
    against = [f"{metric} vs {titled(experiment.baseline)[0]}" for metric in TEST_METRICS]
    titles = [*VALUE_METRICS, *against, *(MASK_COLUMN_TITLES[name] for name in masks)]
    columns = [*columns_of((*(["Backbone"] if several else []), "Method"), titles), Column("Seeds", numeric=False)]
    backbone_text = "" if several else f"{label(backbones[0])}. "
    caption = (
        f"{backbone_text}{experiment.context(dataset, [protocol])} Mean ± standard deviation over seeds. Gains are "
        f"relative to {label(experiment.baseline)}; {TEST_NOTE} Kept: share of inputs that the mask keeps; past the "
        f"gate: share of sequences whose similarity exceeds theta."
    )
    if len(masks) > len(_MASK_BASICS):
        caption += f" {DROP_NOTE}"
    name = slug("experiment", experiment.name, what, dataset, protocol, *([] if several else backbones))
    return Table(name, caption, columns, rows, pd.DataFrame(frame))


def _method_cells(experiment: Experiment, at: _At, own: pd.DataFrame, masks: Sequence[str]) -> list[Cell]:
    """What follows a method's header: the reason alone if no run of it is done."""
    width = len(VALUE_METRICS) + len(TEST_METRICS) + len(masks)
    done = own["status"] == DONE
    if not done.any():
        return [Cell(cell_notes(own), span=width, tone="missing"), Cell(seed_note(own))]
    method = at[-1]
    gains = [
        Cell(NOTHING) if method == experiment.baseline else gain_cell(experiment.against(*at, metric), with_p=True)
        for metric in TEST_METRICS
    ]
    return [
        *(_numbers(list(experiment.values(*at, metric).values())) for metric in VALUE_METRICS),
        *gains,
        *(_numbers(done_only(own)[name].dropna().tolist(), 3) for name in masks),
        Cell(seed_note(own), tone="" if done.all() else "missing"),
    ]


def _method_record(experiment: Experiment, at: _At, own: pd.DataFrame, masks: Sequence[str]) -> dict[str, Any]:
    dataset, protocol, backbone, method = at
    record: dict[str, Any] = {
        DATASET: dataset,
        PROTOCOL: protocol,
        "ranking": experiment.ranking(protocol),
        BACKBONE: backbone,
        METHOD: method,
        "baseline_method": experiment.baseline,
        "same_as": experiment.same_as(*at),
    }
    if experiment.view == "sweep" and experiment.points:
        record[experiment.option or "value"] = experiment.points.get(method)
    for metric in VALUE_METRICS:
        numbers = mean_and_sd(experiment.values(*at, metric).values())
        record[f"{metric} mean"], record[f"{metric} sd"] = numbers
    for metric in TEST_METRICS:
        record |= _test_record(experiment, dataset, protocol, backbone, method, metric)
    for name in masks:
        record[f"{name}_mean"], record[f"{name}_sd"] = mean_and_sd(done_only(own)[name].dropna())
    return {**record, **_seed_record(own)}


def _test_record(
    experiment: Experiment, dataset: str, protocol: str, backbone: str, method: str, metric: str
) -> dict[str, Any]:
    """A comparison with the baseline as CSV columns; nothing for the baseline itself.

    Without its `mean`, which is over the seeds that both have, or none: the table's own is over all that are done.
    """
    if method == experiment.baseline:
        return {}
    row = experiment.against(dataset, protocol, backbone, method, metric)
    numbers = {**comparison_numbers(row), "family": row.get("family"), "outcome": outcome(row)}
    return {f"{metric} {key}": value for key, value in numbers.items() if key != "mean"}


def _seed_record(own: pd.DataFrame) -> dict[str, Any]:
    done = int((own["status"] == DONE).sum())
    return {"seeds_done": done, "seeds_expected": len(own), "note": cell_notes(own)}


def rungs_table(experiment: Experiment, dataset: str) -> Table:
    """What each rung of a ladder is, in the order given."""
    described = experiment.settings.get("protocols", {})
    frame = [
        {
            "rung": number,
            PROTOCOL: protocol,
            "ranking": experiment.ranking(protocol),
            "description": str(described.get(protocol, {}).get("description") or ""),
        }
        for number, protocol in enumerate(experiment.protocols(dataset), start=1)
    ]
    rows = [
        Row(
            [
                *row_heads(str(row["rung"]), str(row[PROTOCOL])),
                Cell(str(row["description"]) or NOTHING),
            ]
        )
        for row in frame
    ]
    columns = [Column("Rung"), *columns_of(("Protocol", "What it is"), ())]
    rule = label(experiment.ranking(experiment.protocols(dataset)[-1]))
    caption = f"The rungs of this ladder on {dataset}: protocols in order, all ranked by one rule, {rule}."
    return Table(slug("experiment", experiment.name, "rungs", dataset), caption, columns, rows, pd.DataFrame(frame))


def rung_factor(experiment: Experiment, dataset: str, protocol: str, backbone: str, metric: str) -> float:
    """What a rung does to the baseline: its value there over its value on the rung before, on common seeds."""
    protocols = experiment.protocols(dataset)
    rung = protocols.index(protocol)
    if rung == 0:
        return math.nan
    here, before = (
        experiment.values(dataset, name, backbone, experiment.baseline, metric)
        for name in (protocol, protocols[rung - 1])
    )
    return 1 + relative(here, before)


def ladder_table(experiment: Experiment, dataset: str) -> Table:
    """Each rung's values, each method's gain on it, and what the rung itself does to the baseline."""
    rows, frame = [], []
    for backbone in experiment.backbones(dataset):
        protocols = experiment.results.values(PROTOCOL, dataset=dataset, backbone=backbone)
        for protocol in protocols:
            methods = experiment.methods(dataset=dataset, protocol=protocol, backbone=backbone)
            for method in methods:
                at = (dataset, protocol, backbone, method)
                own = select(
                    experiment.results.cells, dataset=dataset, protocol=protocol, backbone=backbone, method=method
                )
                rung = experiment.protocols(dataset).index(protocol) + 1
                heads = [*row_heads(label(backbone), f"{rung}. {protocol}"), method_head(method)]
                opens = method == methods[0]
                rows.append(Row([*heads, *_rung_cells(experiment, *at, own)], opens=opens))
                frame.append({"rung": rung, **_rung_record(experiment, *at, own)})
    base = titled(experiment.baseline)[0]
    titles = [title for metric in RUNG_METRICS for title in (metric, f"vs {base}, same rung", f"{base} vs rung before")]
    columns = [*columns_of(("Backbone", "Rung", "Method"), titles), Column("Seeds", numeric=False)]
    caption = (
        f"{experiment.context(dataset, experiment.protocols(dataset))} Mean ± standard deviation over seeds, every "
        f"rung under the same ranking rule. Gains over {base} are within a rung; {TEST_NOTE} {base} vs rung before: "
        "what the protocol itself changes, a ratio of means without an interval."
    )
    return Table(slug("experiment", experiment.name, "ladder", dataset), caption, columns, rows, pd.DataFrame(frame))


def _rung_cells(
    experiment: Experiment, dataset: str, protocol: str, backbone: str, method: str, own: pd.DataFrame
) -> list[Cell]:
    done = own["status"] == DONE
    if not done.any():
        return [Cell(cell_notes(own), span=3 * len(RUNG_METRICS), tone="missing"), Cell(seed_note(own))]
    cells = []
    for metric in RUNG_METRICS:
        base = method == experiment.baseline
        values = experiment.values(dataset, protocol, backbone, method, metric)
        gain = experiment.against(dataset, protocol, backbone, method, metric)
        factor = rung_factor(experiment, dataset, protocol, backbone, metric) if base else math.nan
        cells += [
            _numbers(list(values.values())),
            Cell(NOTHING) if base else gain_cell(gain, with_p=True),
            Cell(f"{TIMES}{fixed(factor, 2)}" if math.isfinite(factor) else NOTHING),
        ]
    return [*cells, Cell(seed_note(own), tone="" if done.all() else "missing")]


def _rung_record(
    experiment: Experiment, dataset: str, protocol: str, backbone: str, method: str, own: pd.DataFrame
) -> dict[str, Any]:
    record: dict[str, Any] = {
        DATASET: dataset,
        PROTOCOL: protocol,
        "ranking": experiment.ranking(protocol),
        BACKBONE: backbone,
        METHOD: method,
        "baseline_method": experiment.baseline,
    }
    for metric in RUNG_METRICS:
        values = experiment.values(dataset, protocol, backbone, method, metric).values()
        record[f"{metric} mean"], record[f"{metric} sd"] = mean_and_sd(values)
        record |= _test_record(experiment, dataset, protocol, backbone, method, metric)
        if method == experiment.baseline:
            record[f"{metric} times the rung before"] = rung_factor(experiment, dataset, protocol, backbone, metric)
    return {**record, **_seed_record(own)}


@dataclass(frozen=True)
class Spread:
    """A metric over protocols that differ by chance: `means` holds each protocol's mean over seeds.

    `seed_sd` is the standard deviation over seeds within a protocol, pooled.
    """

    means: Mapping[str, float]
    mean: float
    sd: float
    low: float
    high: float
    seed_sd: float


def spread_of(experiment: Experiment, dataset: str, backbone: str, method: str, metric: str, minus: str = "") -> Spread:
    """The spread of a method, or of its difference to the method `minus` on the seeds that both have."""
    means, variances = {}, []
    for protocol in experiment.protocols(dataset):
        values = experiment.values(dataset, protocol, backbone, method, metric)
        if minus:
            base = experiment.values(dataset, protocol, backbone, minus, metric)
            values = {seed: values[seed] - base[seed] for seed in values.keys() & base.keys()}
        mean, deviation = mean_and_sd(values[seed] for seed in sorted(values))
        if math.isfinite(mean):
            means[protocol] = mean
        if math.isfinite(deviation):
            variances.append(deviation**2)
    mean, deviation = mean_and_sd(means.values())
    low, high = (min(means.values()), max(means.values())) if means else (math.nan, math.nan)
    pooled = math.sqrt(sum(variances) / len(variances)) if variances else math.nan
    return Spread(means, mean, deviation, low, high, pooled)


def spread_table(experiment: Experiment, dataset: str) -> Table:
    """The spread over protocols that differ by chance, beside the spread over seeds."""
    rows, frame = [], []
    protocols = experiment.protocols(dataset)
    for metric in TEST_METRICS:
        for backbone in experiment.backbones(dataset):
            for place, (method, minus) in enumerate(_spread_rows(experiment, dataset, backbone)):
                found = spread_of(experiment, dataset, backbone, method, metric, minus)
                own = select(experiment.results.cells, dataset=dataset, backbone=backbone, method=method)
                title = Cell(f"{label(method)} minus {label(minus)}", head=True) if minus else method_head(method)
                heads = [*row_heads(metric, label(backbone)), title]
                rows.append(Row([*heads, *_spread_cells(found, own, len(protocols))], opens=place == 0))
                frame.append(
                    {
                        DATASET: dataset,
                        "metric": metric,
                        BACKBONE: backbone,
                        METHOD: method,
                        "minus": minus,
                        "mean": found.mean,
                        "sd": found.sd,
                        "min": found.low,
                        "max": found.high,
                        "seed_sd": found.seed_sd,
                        "protocols": len(found.means),
                        **found.means,
                        "note": _protocol_notes(own),
                    }
                )
    titles = ("Mean", "Sd over protocols", "Least to most", "Range", "Sd over seeds")
    columns = [*columns_of(("Metric", "Backbone", "Method"), titles), Column("Protocols", numeric=False)]
    caption = (
        f"{experiment.context(dataset, protocols)} These protocols differ by chance alone. Each counts with its mean "
        "over seeds; sd over seeds: within a protocol, pooled. A difference of two methods is taken within each "
        "protocol, so what both owe to it cancels."
    )
    return Table(slug("experiment", experiment.name, "spread", dataset), caption, columns, rows, pd.DataFrame(frame))


def _spread_rows(experiment: Experiment, dataset: str, backbone: str) -> list[tuple[str, str]]:
    """Each method, then each method's difference to the baseline."""
    methods = experiment.methods(dataset=dataset, backbone=backbone)
    base = experiment.baseline
    return [*((name, "") for name in methods), *((name, base) for name in methods if name != base)]


def _spread_cells(found: Spread, own: pd.DataFrame, protocols: int) -> list[Cell]:
    notes = _protocol_notes(own)
    if not found.means:
        return [Cell(notes or NOTHING, span=5, tone="missing"), Cell(f"0/{protocols}")]
    return [
        Cell(fixed(found.mean)),
        Cell(fixed(found.sd)),
        Cell(f"{fixed(found.low)} to {fixed(found.high)}"),
        Cell(fixed(found.high - found.low)),
        Cell(fixed(found.seed_sd)),
        Cell(f"{integer(len(found.means))}/{protocols}", sub=notes, tone="missing" if notes else ""),
    ]


def _protocol_notes(own: pd.DataFrame) -> str:
    """The failed seeds of each protocol, protocols that share a note together."""
    found: dict[str, list[str]] = {}
    for protocol, cells in own.groupby(PROTOCOL, sort=False):
        if note := cell_notes(cells):
            found.setdefault(note, []).append(str(protocol))
    return "; ".join(f"{listed(names)}: {note}" for note, names in found.items())
