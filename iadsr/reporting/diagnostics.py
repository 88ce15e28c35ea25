"""What a mask does and what may go wrong with it, for the main grid and for experiments alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from iadsr.core.columns import BACKBONE, COLD_LIMIT, DATASET, GROUP, METHOD, PROTOCOL, SEED
from iadsr.reporting.answer import Comparisons, cell_notes
from iadsr.reporting.drawing import MOST_LINES, Figure, Look, Panel, draw_legend, draw_panel, line_frame, styles
from iadsr.reporting.layout import Cell, Row, Table, columns_of, row_heads
from iadsr.reporting.load import (
    CURVE_EXTRAS,
    Results,
    Scores,
    done_only,
    mean_and_sd,
    own_ranking,
    relative,
    seeds_left_out,
    select,
)
from iadsr.reporting.tables import GROUPS, encoder_text, gain_cell, group_label
from iadsr.reporting.words import (
    NOTHING,
    compared,
    counted,
    defect_key,
    fixed,
    integer,
    is_number,
    label,
    percent,
    share,
    short_labels,
    signed,
    slug,
    spread,
    titled,
)

_SIGNATURE = ("HR@5", "HR@20")
RELEASED_RANKING = "kept"
STAGES = {"train": "training", "test": "test"}
_MOST_EPOCHS = 60  # a longer curve is thinned to about so many points


@dataclass(frozen=True)
class Quantity:
    """One small multiple: the columns of the curves that it draws, and its axis (shares run from 0 to 1)."""

    title: str
    columns: tuple[str, ...]
    scale: str = "linear"


QUANTITIES = (
    Quantity("Alignment\nloss", ("loss_alignment",)),
    Quantity("Cosine", ("cosine_matched", "cosine_unmatched")),
    Quantity("Kept", ("keep_rate",), "share"),
    Quantity("Gradient\ninto mask", ("mask_gradient",), "log"),
)
_COLUMNS = [column for quantity in QUANTITIES for column in quantity.columns]


def traced_methods(results: Results, dataset: str, methods: Sequence[str]) -> list[str]:
    """Those of `methods` whose curves tell of a mask; none at all if only the older columns do."""
    curves = select(results.curves, dataset=dataset)
    if not curves[list(CURVE_EXTRAS)].notna().to_numpy().any():
        return []
    told = set(curves.loc[curves[_COLUMNS].notna().any(axis=1), METHOD])
    return [name for name in methods if name in told]


def _groups(methods: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """At most as many methods at a time as there are colours, and what to add to the panel's title."""
    count = math.ceil(len(methods) / MOST_LINES)
    for number in range(count):
        part = methods[number * MOST_LINES : (number + 1) * MOST_LINES]
        yield part, f" ({number + 1} of {count})" if count > 1 else ""


def _note(results: Results, dataset: str, methods: Sequence[str]) -> str:
    """The part of a figure's caption that says what made the numbers."""
    found = defect_key(methods)
    return f"Dataset {dataset}; encoder {encoder_text(results, dataset)}.{f' Defects: {found}.' if found else ''}"


def curves_figure(results: Results, dataset: str, number: int, methods: Sequence[str], look: Look) -> Figure:
    """Alignment loss, cosines, keep rate and gradient by epoch: a panel a protocol and backbone, a line a method."""
    curves = select(results.curves, dataset=dataset)
    curves = curves.assign(**{name: curves[name].where(np.isfinite(curves[name])) for name in _COLUMNS})
    panels: list[Panel] = []
    for protocol in results.values(PROTOCOL, dataset=dataset):
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol):
            frame = select(curves, protocol=protocol, backbone=backbone)
            cells = select(results.cells, dataset=dataset, protocol=protocol, backbone=backbone)
            for method, own in cells.groupby(METHOD):
                frame = frame[~((frame[METHOD] == method) & frame[SEED].isin(seeds_left_out(own)))]
            present = set(frame[METHOD])
            for part, which in _groups([name for name in methods if name in present]):
                title = f"{label(backbone)}, {protocol}{which}"
                panels += _traces(f"f{number}-{len(panels)}", title, _means(frame, part), look)
    title = f"Mask and alignment while training: {dataset}"
    return Figure("diagnostics", f"figure-{number}", title, _note(results, dataset, methods), panels)


Means = Mapping[str, Mapping[str, pd.Series]]


def _means(frame: pd.DataFrame, methods: Sequence[str]) -> Means:
    """Method -> column -> mean by epoch over the seeds that still train; columns without a number are left out."""
    means = frame.groupby([METHOD, "epoch"])[_COLUMNS].mean()
    found = {method: {column: means[column].xs(method).dropna() for column in _COLUMNS} for method in methods}
    return {method: {name: line for name, line in lines.items() if len(line)} for method, lines in found.items()}


def _traces(name: str, title: str, means: Means, look: Look) -> list[Panel]:
    """One panel with a small multiple for each quantity of which anything is known; none if there is none."""
    drawn = [q for q in QUANTITIES if any(column in found for found in means.values() for column in q.columns)]
    if not drawn:
        return []
    short = short_labels(list(means))
    draws = [_trace(quantity, means, look, short, first=quantity is drawn[0]) for quantity in drawn]
    frame = line_frame([short[method] for method in means], *([0.82] * len(drawn)))
    parts = []
    for method, found in means.items():
        ends = [
            f"{column.replace('_', ' ')} {fixed(series.iloc[0], 3)} to {fixed(series.iloc[-1], 3)}"
            for column, series in found.items()
        ]
        if ends:
            parts.append(f"{label(method)}: {', '.join(ends)}")
    alt = f"From the first to the last epoch, {title}. {'; '.join(parts)}."
    return [draw_panel(name, alt, title, frame, *draws)]


def _trace(
    quantity: Quantity, means: Means, look: Look, short: Mapping[str, str], first: bool
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        if quantity.scale == "log":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=4))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0e}".replace("e-0", "e-")))
        for method, found in means.items():
            style = {"color": look[method]["color"], "marker": look[method]["marker"], "markersize": 3}
            for place, column in enumerate(quantity.columns):
                series = found.get(column, pd.Series(dtype=float))
                series = series.iloc[:: max(1, math.ceil(len(series) / _MOST_EPOCHS))]
                axes.plot(
                    series.index,
                    series,
                    label=short[method] if place == 0 else "",
                    linewidth=1.3,
                    linestyle=("-", ":")[place],
                    markevery=max(1, len(series) // 5),
                    **style,
                )
        if len(quantity.columns) > 1:
            text = "solid: matched, dotted: unmatched"
            axes.text(0.99, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.5, color="#445")
            axes.margins(y=0.22)
        if quantity.scale == "share":
            axes.set_ylim(-0.03, 1.05)
        elif quantity.scale == "linear":
            axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylabel(quantity.title, fontsize=7.5)
        axes.set_xlabel("Epoch")
        if first:
            draw_legend(axes)

    return draw


def kept_methods(results: Results, dataset: str, methods: Sequence[str]) -> list[str]:
    """Those of `methods` whose masks were counted by the input item's popularity."""
    known = set(select(results.keep, dataset=dataset).dropna(subset=["keep"])[METHOD])
    return [name for name in methods if name in known]


def kept_figure(results: Results, dataset: str, number: int, methods: Sequence[str], look: Look) -> Figure:
    """Share kept by popularity of the input item, in training and at test: a panel a protocol and backbone."""
    kept = select(results.keep, dataset=dataset)
    means = kept.groupby([PROTOCOL, BACKBONE, METHOD, "stage", GROUP])["keep"].mean().dropna()
    values: dict[tuple[str, ...], float] = {tuple(key): float(value) for key, value in means.items()}  # type: ignore[arg-type]
    panels: list[Panel] = []
    for protocol in results.values(PROTOCOL, dataset=dataset):
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol):
            known = {key[2] for key in values if key[:2] == (protocol, backbone)}
            for part, which in _groups([name for name in methods if name in known]):
                lines = {
                    (method, stage): [values.get((protocol, backbone, method, stage, g), math.nan) for g in GROUPS]
                    for method in part
                    for stage in STAGES
                }
                title = f"{label(backbone)}, {protocol}{which}"
                panels.append(_kept_panel(f"f{number}-{len(panels)}", title, lines, look))
    title = f"Kept by popularity of the input item: {dataset}"
    return Figure("kept", f"figure-{number}", title, _note(results, dataset, methods), panels)


def _kept_panel(name: str, title: str, lines: Mapping[tuple[str, str], Sequence[float]], look: Look) -> Panel:
    methods = list(dict.fromkeys(method for method, _ in lines))
    short = short_labels(methods)
    # one scale for both stages, down to the tenth below the least that is kept
    bottom = math.floor(10 * min(value for values in lines.values() for value in values if is_number(value))) / 10
    draws = [
        _kept_drawing(
            {method: lines[method, stage] for method in methods}, look, short, STAGES[stage], bottom, place == 0
        )
        for place, stage in enumerate(STAGES)
    ]
    said = "; ".join(
        f"{label(method)} in {STAGES[stage]}: cold {share(values[0])}, D1 {share(values[1])}, D10 {share(values[-1])}"
        for (method, stage), values in lines.items()
    )
    alt = f"Share kept by popularity of the input item, {title}. {said}."
    return draw_panel(name, alt, title, line_frame([short[method] for method in methods], 1.2, 1.2), *draws)


def _kept_drawing(
    lines: Mapping[str, Sequence[float]],
    look: Look,
    short: Mapping[str, str],
    stage: str,
    bottom: float,
    first: bool,
) -> Callable[[Axes], None]:
    places = [-0.8, *range(1, 11)]  # cold items stand apart: they overlap the lowest deciles

    def draw(axes: Axes) -> None:
        for method, values in lines.items():
            style = {**look[method], "linewidth": 1.4, "markersize": 4}
            axes.plot(places[1:], values[1:], label=short[method], **style)
            axes.plot(places[:1], values[:1], **{**style, "linestyle": "none"})
        axes.axvline(0.1, color="#99a", linewidth=0.6)
        axes.set_xticks(places, [group_label(group) for group in GROUPS])
        margin = 0.04 * (1 - bottom) or 0.01
        axes.set_ylim(bottom - margin, 1 + margin)
        axes.set_ylabel(f"Kept, {stage}")
        axes.set_xlabel("Popularity of the input item (D1: least popular tenth)")
        if first:
            draw_legend(axes)

    return draw


def _rows_of(results: Results, dataset: str, methods: Sequence[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Protocol, backbone, method and whether it opens a block, for every expected one of `methods`."""
    for protocol in results.values(PROTOCOL, dataset=dataset):
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol):
            expected = set(results.values(METHOD, dataset=dataset, protocol=protocol, backbone=backbone))
            for place, method in enumerate(name for name in methods if name in expected):
                yield protocol, backbone, method, place == 0


def _method_heads(protocol: str, backbone: str, method: str) -> list[Cell]:
    title, detail = titled(method)
    return [*row_heads(protocol, label(backbone)), Cell(title, sub=detail, head=True)]


def _reason(cells: pd.DataFrame, span: int) -> Cell:
    """Why a method has no numbers."""
    return Cell(cell_notes(cells) or "not recorded by these runs", span=span, tone="missing")


def kept_table(results: Results, dataset: str, methods: Sequence[str], name: str) -> Table:
    """Does a mask drop cold items more often than popular ones? By seed: the share kept of both, and its difference."""
    kept = select(results.keep, dataset=dataset)
    keys = zip(*(kept[column] for column in (PROTOCOL, BACKBONE, METHOD, "stage", GROUP)), strict=True)
    shares: dict[tuple[str, ...], dict[int, float]] = {}
    inputs: dict[tuple[str, ...], int] = {}
    for key, seed, value, count in zip(keys, kept[SEED], kept["keep"], kept["inputs"], strict=True):
        inputs[key] = max(int(count), inputs.get(key, 0))
        if is_number(value):
            shares.setdefault(key, {})[int(seed)] = float(value)
    rows, frame = [], []
    for protocol, backbone, method, opens in _rows_of(results, dataset, methods):
        heads = _method_heads(protocol, backbone, method)
        if not any((protocol, backbone, method, stage, group) in shares for stage in STAGES for group in GROUPS):
            own = select(results.cells, dataset=dataset, protocol=protocol, backbone=backbone, method=method)
            rows.append(Row([*heads, _reason(own, 7)], opens))
            continue
        for stage, stage_name in STAGES.items():
            at = (protocol, backbone, method, stage)
            found = {group: shares.get((*at, group), {}) for group in GROUPS}
            cold, popular = found["cold"], found["decile_10"]
            gaps = [cold[seed] - popular[seed] for seed in sorted(cold.keys() & popular.keys())]
            mean, deviation = mean_and_sd(gaps)
            known = {group: mean_and_sd(values.values())[0] for group, values in found.items()}
            cells = [
                Cell(stage_name),
                *(Cell(share(known[group])) for group in ("cold", "decile_1", "decile_10")),
                Cell(_points(mean), sub=f"±\u202f{fixed(100 * deviation, 1)}" if is_number(deviation) else ""),
                Cell(_more_often(gaps)),
                Cell(integer(inputs.get((*at, "cold")))),
            ]
            rows.append(Row([*heads, *cells], opens and stage == "train"))
            frame.append(
                {
                    DATASET: dataset,
                    PROTOCOL: protocol,
                    BACKBONE: backbone,
                    METHOD: method,
                    "stage": stage,
                    **{f"keep {group}": value for group, value in known.items()},
                    "cold minus decile_10": mean,
                    "cold minus decile_10 sd": deviation,
                    "seeds dropping cold more often": sum(gap < 0 for gap in gaps),
                    "seeds": len(gaps),
                    "cold inputs": inputs.get((*at, "cold")),
                }
            )
    titles = ("Kept of cold", "Kept of D1", "Kept of D10", "Cold minus D10", "Drops cold more often", "Cold inputs")
    caption = (
        f"{_note(results, dataset, [])} Share of inputs that the mask keeps by popularity of the input item, mean over "
        f"seeds; training: the best epoch. Cold: at most {COLD_LIMIT} training interactions; D1 and D10: the least and "
        "the most popular tenth of the inputs. Cold minus D10 in percentage points, ± standard deviation over seeds; "
        "below zero, the mask drops cold items more often than popular ones."
    )
    columns = columns_of(("Protocol", "Backbone", "Method", "Stage"), titles)
    return Table(name, caption, columns, rows, pd.DataFrame(frame))


def _points(difference: float) -> str:
    return NOTHING if not is_number(difference) else signed(100 * difference, 1)


def _more_often(gaps: Sequence[float]) -> str:
    """Whether cold items are dropped more often than popular ones, and in how many seeds."""
    if not gaps:
        return "no cold inputs"
    times = sum(gap < 0 for gap in gaps)
    return f"{'yes' if sum(gaps) < 0 else 'no'}, in {times} of {counted(len(gaps), 'seed')}"


def signature_table(
    results: Results,
    tests: Comparisons,
    scores: Scores,
    settings: Mapping[str, Any],
    dataset: str,
    methods: Sequence[str],
    name: str,
) -> Table:
    """HR@5 up while HR@20 goes down against `none`: the head of the list bought with its tail."""
    rows, frame = [], []
    for protocol, backbone, method, opens in _rows_of(results, dataset, [m for m in methods if m != "none"]):
        ranking = own_ranking(protocol, settings)
        values = {
            metric: tuple(scores.of(dataset, protocol, backbone, side, ranking, metric) for side in (method, "none"))
            for metric in _SIGNATURE
        }
        seeds = set.intersection(*(set(side) for pair in values.values() for side in pair))
        hits = [_up_and_down(*(own[seed] - base[seed] for own, base in values.values())) for seed in sorted(seeds)]
        gains = {metric: relative(own, base) for metric, (own, base) in values.items()}
        shows = _up_and_down(*gains.values())
        cells = []
        for metric, gain in gains.items():
            row = tests.method(dataset, protocol, backbone, ranking, metric, method, "none")
            cells.append(gain_cell(row) if compared(row) or not is_number(gain) else Cell(percent(gain)))
        text = f"{'yes' if shows else 'no'}, in {sum(hits)} of {counted(len(hits), 'seed')}" if hits else NOTHING
        rows.append(Row([*_method_heads(protocol, backbone, method), *cells, Cell(text)], opens))
        frame.append(
            {
                DATASET: dataset,
                PROTOCOL: protocol,
                "ranking": ranking,
                BACKBONE: backbone,
                METHOD: method,
                **{f"{metric} gain over none": value for metric, value in gains.items()},
                "signature": bool(shows),
                "seeds with it": sum(hits),
                "seeds": len(hits),
            }
        )
    caption = (
        f"{_note(results, dataset, [])} Each protocol under its own ranking rule. A failure's signature: "
        "against none, HR@5 rises while HR@20 falls, so that the head of the list is bought with its tail. Judged by "
        "the signs of the mean gains and, seed by seed, of each seed's own; a sign alone is no test."
    )
    columns = columns_of(("Protocol", "Backbone", "Method"), ("HR@5 vs none", "HR@20 vs none", "HR@5 up, HR@20 down"))
    return Table(name, caption, columns, rows, pd.DataFrame(frame))


def _up_and_down(up: float, down: float) -> bool:
    return up > 0 > down


def inflated_methods(results: Results, dataset: str, methods: Sequence[str]) -> list[str]:
    """The methods with runs that were also evaluated on their denoised targets."""
    cells = select(results.cells, dataset=dataset)
    known = set(cells.loc[cells["denoised_hr5"].notna(), METHOD])
    return [name for name in methods if name in known]


def inflated_table(results: Results, scores: Scores, dataset: str, methods: Sequence[str], name: str) -> Table:
    """The honest evaluation beside the one whose target is the last item that the mask kept.

    Both with the history kept in the ranking, whatever the protocol's own rule: the defect was released so.
    """
    rows, frame = [], []
    for protocol, backbone, method, opens in _rows_of(results, dataset, methods):
        own = select(results.cells, dataset=dataset, protocol=protocol, backbone=backbone, method=method)
        judged = done_only(own[own["denoised_hr5"].notna()])
        if judged.empty:
            rows.append(Row([*_method_heads(protocol, backbone, method), _reason(own, 7)], opens))
            continue
        cells: list[Cell] = []
        record: dict[str, Any] = {}
        for metric, column in (("HR@5", "denoised_hr5"), ("NDCG@5", "denoised_ndcg5")):
            honest = scores.of(dataset, protocol, backbone, method, RELEASED_RANKING, metric)
            inflated = dict(zip(judged[SEED].astype(int), judged[column].astype(float), strict=True))
            for what, values in (("honest", honest), ("denoised target", inflated)):
                mean, deviation = mean_and_sd(values[seed] for seed in sorted(honest.keys() & inflated.keys()))
                cells.append(Cell(fixed(mean), sub=spread(deviation)))
                record[f"{metric} {what} mean"], record[f"{metric} {what} sd"] = mean, deviation
            cells.append(Cell(percent(relative(inflated, honest))))
            record[f"{metric} inflation"] = relative(inflated, honest)
        changed, changed_sd = mean_and_sd(judged["denoised_changed"])
        cells.append(Cell(share(changed)))
        rows.append(Row([*_method_heads(protocol, backbone, method), *cells], opens))
        address = {
            DATASET: dataset,
            PROTOCOL: protocol,
            "ranking": RELEASED_RANKING,
            BACKBONE: backbone,
            METHOD: method,
        }
        frame.append({**address, **record, "changed mean": changed, "changed sd": changed_sd, "seeds": len(judged)})
    titles = [
        title
        for metric in ("HR@5", "NDCG@5")
        for title in (f"{metric}, honest", f"{metric}, denoised target", f"{metric}, inflation")
    ]
    caption = (
        f"{_note(results, dataset, [])} History kept in the ranking in both; mean ± standard deviation over "
        "seeds. An evaluation defect of the release (R2), which never feeds a verdict: the target is the last item "
        "that the mask kept, not the user's last item. Target changed: share of users for whom that is another item."
    )
    columns = columns_of(("Protocol", "Backbone", "Method"), [*titles, "Target changed"])
    return Table(name, caption, columns, rows, pd.DataFrame(frame))


def table_name(prefix: str, what: str, dataset: str) -> str:
    """A diagnostic table's name; `prefix` is an experiment's, empty for the main grid."""
    return slug(*filter(None, (prefix and f"experiment-{prefix}", what, dataset)))


def look_of(methods: Sequence[str]) -> Look:
    """Styles for many methods: each group of lines that shares a panel starts with the first colour."""
    return {name: styles(part)[name] for part, _ in _groups(methods) for name in part}
