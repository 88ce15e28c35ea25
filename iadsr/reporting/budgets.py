"""Was training long enough? Each protocol beside the same one with a larger budget of optimiser steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from iadsr.core.columns import BACKBONE, DATASET, METHOD, SEED
from iadsr.reporting.answer import cell_notes
from iadsr.reporting.drawing import Band, Bar, Figure, extent_of, forest_panel
from iadsr.reporting.experiment import Experiment
from iadsr.reporting.layout import Cell, Column, Row, Table, columns_of, row_heads, text_cells
from iadsr.reporting.load import done_only, mean_and_sd, relative, select
from iadsr.reporting.words import NOTHING, counted, fixed, is_number, label, listed, percent, share, slug, spread

TOLERANCE = 0.02  # a budget is large enough if a larger one raises validation NDCG@10 by at most so much
_MARKS = {True: "yes", False: "no", None: NOTHING}


@dataclass(frozen=True)
class BudgetSide:
    """One method under one of the two protocols.

    Attributes:
        values: validation NDCG@10 of the kept epoch, by seed.
        kept_epoch, epochs: means over seeds.
    """

    values: Mapping[int, float]
    kept_epoch: float
    epochs: float


@dataclass(frozen=True)
class BudgetRow:
    """One method under a protocol and under the one with a larger budget, on the seeds that are done under both.

    Attributes:
        note: seeds that are not done, with reasons.
    """

    dataset: str
    protocols: tuple[str, str]
    backbone: str
    method: str
    usual: BudgetSide
    larger: BudgetSide
    note: str

    @property
    def change(self) -> float:
        """Relative change of the mean over seeds; NaN without a seed."""
        return relative(self.larger.values, self.usual.values)

    @property
    def changes(self) -> list[float]:
        """Relative change of each seed."""
        return [self.larger.values[seed] / value - 1 for seed, value in self.usual.values.items() if value]

    @property
    def enough(self) -> bool | None:
        """Whether the budget is large enough; None where that is not known, as where both trained equally long."""
        if self.usual.epochs == self.larger.epochs:
            return None
        return round(self.change, 9) <= TOLERANCE if is_number(self.change) else None


def budget_rows(experiment: Experiment, dataset: str, protocols: tuple[str, str]) -> list[BudgetRow]:
    """Every backbone and method of the experiment under both protocols."""
    rows = []
    for backbone in experiment.backbones(dataset, protocol=protocols[0]):
        for method in experiment.methods(dataset=dataset, protocol=protocols[0], backbone=backbone):
            cells = [
                select(experiment.results.cells, dataset=dataset, protocol=name, backbone=backbone, method=method)
                for name in protocols
            ]
            done = [done_only(own) for own in cells]
            seeds = set(done[0][SEED]) & set(done[1][SEED])
            usual, larger = (_side(own[own[SEED].isin(seeds)]) for own in done)
            notes = [
                f"“{name}”: {note}" for name, own in zip(protocols, cells, strict=True) if (note := cell_notes(own))
            ]
            rows.append(BudgetRow(dataset, protocols, backbone, method, usual, larger, "; ".join(notes)))
    return rows


def _side(cells: pd.DataFrame) -> BudgetSide:
    values = dict(zip(cells[SEED].astype(int), cells["best_validation"].astype(float), strict=True))
    return BudgetSide(values, *(float(cells[name].astype(float).mean()) for name in ("best_epoch", "epochs")))


def all_rows(experiment: Experiment) -> list[list[BudgetRow]]:
    """The rows of each dataset and pair of protocols."""
    return [budget_rows(experiment, dataset, pair) for dataset in experiment.datasets() for pair in experiment.pairs]


def budget_sentences(experiment: Experiment) -> list[str]:
    """For each dataset and pair: where more steps still help, and by how much."""
    return [_sentence(rows) for rows in all_rows(experiment)]


def _sentence(rows: Sequence[BudgetRow]) -> str:
    first = rows[0]
    usual, larger = first.protocols
    where = f"{first.dataset}, “{usual}” against “{larger}”"
    known = [row for row in rows if row.enough is not None]
    unknown = len(rows) - len(known)
    rest = f" {counted(unknown, 'pair')} could not be compared." if unknown else ""
    if not known:
        return f"{where}:{rest}"
    short = [row for row in known if not row.enough]
    most = max(known, key=lambda row: row.change)
    if not short:
        raised = f"by {percent(most.change)} at most ({_who(most)})" if most.change > 0 else "for none"
        return (
            f"{where}: the budget is large enough for {counted(len(known), 'pair')} of backbone and method; a larger "
            f"one raises validation NDCG@10 {raised}.{rest}"
        )
    who = [f"{_who(row)} {percent(row.change)}" for row in sorted(short, key=lambda row: -row.change)]
    return (
        f"{where}: the budget is too small for {len(short)} of {counted(len(known), 'pair')} of backbone and method, "
        f"whose validation NDCG@10 rises by more than {share(TOLERANCE, 0)}: {listed(who)}.{rest}"
    )


def _who(row: BudgetRow) -> str:
    return f"{label(row.method)} with {label(row.backbone)}"


def budget_warnings(experiments: Sequence[Experiment]) -> list[str]:
    """What the top of the page must say: budgets that are too small."""
    return [
        f"Training budget: {_sentence(rows)}"
        for experiment in experiments
        for rows in (all_rows(experiment) if experiment.view == "budget" else [])
        if any(row.enough is False for row in rows)
    ]


def budget_table(experiment: Experiment, dataset: str, protocols: tuple[str, str]) -> Table:
    """Validation NDCG@10 and kept epoch at both budgets."""
    rows, frame, previous = [], [], ""
    for row in budget_rows(experiment, dataset, protocols):
        opens, previous = row.backbone != previous, row.backbone
        rows.append(Row([*row_heads(label(row.backbone), label(row.method)), *_cells(row)], opens))
        frame.append(_record(row))
    usual, larger = protocols
    columns = [
        *columns_of(
            ("Backbone", "Method"),
            (f"NDCG@10, {usual}", f"NDCG@10, {larger}", "Change", f"Kept epoch, {usual}", f"Kept epoch, {larger}"),
        ),
        *(Column(title, numeric=False) for title in ("Large enough", "Seeds")),
    ]
    caption = (
        f"{experiment.context(dataset, protocols)} Validation NDCG@10 of the kept epoch, mean ± standard deviation "
        "over the seeds that are done under both protocols, which differ in the number of optimiser steps alone. A "
        f"budget is large enough if the larger one raises it by at most {share(TOLERANCE, 0)}. Kept epoch: mean over "
        "seeds, of how many."
    )
    name = slug("experiment", experiment.name, "budget", dataset, usual)
    return Table(name, caption, columns, rows, pd.DataFrame(frame))


def _cells(row: BudgetRow) -> list[Cell]:
    """What follows the backbone and the method."""
    if not row.usual.values:
        return [Cell(row.note or "no seed is done under both", span=7, tone="missing")]
    deviation = mean_and_sd(row.changes)[1]
    return [
        *(_value(side.values) for side in (row.usual, row.larger)),
        Cell(percent(row.change), sub=f"±\u202f{share(deviation)}" if is_number(deviation) else ""),
        *text_cells(*(f"{fixed(side.kept_epoch, 1)} of {fixed(side.epochs, 1)}" for side in (row.usual, row.larger))),
        Cell(_MARKS[row.enough], tone="loss" if row.enough is False else ""),
        Cell(str(len(row.usual.values)), sub=row.note, tone="missing" if row.note else ""),
    ]


def _record(row: BudgetRow) -> dict[str, object]:
    """One line of the CSV."""
    record: dict[str, object] = {DATASET: row.dataset, BACKBONE: row.backbone, METHOD: row.method}
    for name, side in zip(row.protocols, (row.usual, row.larger), strict=True):
        mean, deviation = mean_and_sd(side.values.values())
        record |= {f"{name} mean": mean, f"{name} sd": deviation}
        record |= {f"{name} kept_epoch": side.kept_epoch, f"{name} epochs": side.epochs}
    change = {"relative_change": row.change, "relative_change_sd": mean_and_sd(row.changes)[1]}
    return {**record, **change, "enough": row.enough, "seeds": len(row.usual.values), "note": row.note}


def _value(values: Mapping[int, float]) -> Cell:
    mean, deviation = mean_and_sd(values.values())
    return Cell(fixed(mean), sub=spread(deviation))


def budget_figure(experiment: Experiment, dataset: str, number: int) -> Figure:
    """What a larger budget changes: one panel per pair of protocols, the range over seeds as a line."""
    panels = []
    for place, pair in enumerate(experiment.pairs):
        bars = [_bar(row) for row in budget_rows(experiment, dataset, pair)]
        extent = extent_of(bars, 2 * TOLERANCE)
        band = Band(TOLERANCE, math.inf, "budget too small")
        xlabel = "Relative change of validation NDCG@10"
        panels.append(forest_panel(f"f{number}-{place}", " to ".join(pair), bars, xlabel, extent, band))
    protocols = list(dict.fromkeys(name for pair in experiment.pairs for name in pair))
    caption = experiment.context(dataset, protocols)
    return Figure("budget", f"figure-{number}", f"What a larger budget changes: {dataset}", caption, panels)


def _bar(row: BudgetRow) -> Bar:
    ends = (min(row.changes), max(row.changes)) if row.changes else (math.nan, math.nan)
    return Bar(label(row.backbone), label(row.method), row.change, *ends, "" if row.changes else "no seed")
