"""The report's figures on the main grid: which numbers go into which panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from iadsr.core.columns import BACKBONE, METHOD, PROTOCOL, SEED
from iadsr.reporting.answer import Comparisons, compared_backbones
from iadsr.reporting.drawing import (
    CLAIM,
    MOST_LINES,
    Bar,
    Figure,
    Look,
    Panel,
    draw_legend,
    draw_panel,
    extent_of,
    forest_frame,
    forest_lines,
    forest_panel,
    gain_bar,
    lay_out,
    line_frame,
    scale_note,
    shared_extents,
    styles,
)
from iadsr.reporting.load import Results, own_ranking, seeds_left_out, select
from iadsr.reporting.tables import GROUPS, group_label, shown_pairs
from iadsr.reporting.words import CLAIM_HIGH, CLAIM_METRICS, TIMES, fixed, label


def main_methods(results: Results, dataset: str) -> list[str]:
    """The methods that figures draw: all, unless a sweep makes too many lines; then those without a swept setting."""
    methods = results.methods(dataset=dataset)
    return methods if len(methods) <= MOST_LINES else [name for name in methods if "=" not in name][:MOST_LINES]


def answer_figure(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str, number: int
) -> Figure:
    """IADSR against its backbone in the claim's two metrics, a panel a protocol, with the claimed range as a band."""
    protocols = results.values(PROTOCOL, dataset=dataset)
    bars = [
        [
            gain_bar(
                label(backbone),
                metric,
                compared.method(dataset, protocol, backbone, own_ranking(protocol, settings), metric, "iadsr", "none"),
            )
            for backbone in compared_backbones(results, dataset, protocol)
            for metric in CLAIM_METRICS
        ]
        for protocol in protocols
    ]
    extents = shared_extents([extent_of(group, CLAIM_HIGH) for group in bars])
    panels = [
        forest_panel(
            f"f{number}-{i}",
            f"{dataset}, {protocol}",
            group,
            "Relative gain of IADSR over none",
            extents[i],
            CLAIM,
        )
        for i, (protocol, group) in enumerate(zip(protocols, bars, strict=True))
    ]
    return Figure("answer", f"figure-{number}", f"IADSR against its backbone: {dataset}", scale_note(extents), panels)


def effect_figure(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str, number: int
) -> Figure:
    """Method effects in NDCG@10, a panel a protocol, and the protocol effect on a log scale beside them."""
    protocols = results.values(PROTOCOL, dataset=dataset)
    groups = [
        [
            gain_bar(
                label(backbone),
                f"{label(method)} vs {label(baseline)}",
                compared.method(
                    dataset, protocol, backbone, own_ranking(protocol, settings), "NDCG@10", method, baseline
                ),
            )
            for backbone in compared_backbones(results, dataset, protocol)
            for method, baseline in shown_pairs(results, dataset, protocol)
        ]
        for protocol in protocols
    ]
    drawn = [(protocol, group) for protocol, group in zip(protocols, groups, strict=True) if group]
    extents = shared_extents([extent_of(group) for _, group in drawn]) if drawn else []
    panels = [
        forest_panel(
            f"f{number}-{i}",
            f"Method effect, {protocol}",
            group,
            "Relative gain in NDCG@10",
            extents[i],
        )
        for i, (protocol, group) in enumerate(drawn)
    ]
    for i, (protocol, baseline) in enumerate(compared.protocol_pairs(dataset)):
        bars = [
            gain_bar(
                label(backbone),
                label(ranking),
                compared.protocol(dataset, backbone, ranking, "NDCG@10", protocol, baseline),
            )
            for backbone in results.values(BACKBONE, dataset=dataset)
            for ranking in ("excluded", "kept")
        ]
        panels.append(_ratios(f"f{number}-p{i}", f"Protocol effect, {protocol} vs {baseline}", bars))
    return Figure(
        "effects",
        f"figure-{number}",
        f"Method effect beside protocol effect: {dataset}",
        scale_note(extents),
        panels,
    )


def _ratios(name: str, title: str, bars: Sequence[Bar]) -> Panel:
    """Protocol effects as ratios on a log scale; an interval that reaches zero is cut at the panel's edge."""
    lines = forest_lines(bars)
    ratios = [1 + x for bar in bars for x in (bar.value, bar.low, bar.high) if math.isfinite(x) and x > -0.99]
    low, high = min([0.8, *ratios]) / 1.1, max([1.25, *ratios]) * 1.1

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        lay_out(axes, lines, lambda gain: max(1 + gain, low))
        axes.set_xlim(low, high)
        axes.xaxis.set_minor_locator(NullLocator())
        ticks = _ratio_ticks(low, high)
        axes.set_xticks(ticks, [f"{tick:g}{TIMES}" for tick in ticks])
        axes.set_xlabel("Ratio of NDCG@10, no denoiser (log scale)")

    said = "; ".join(
        f"{bar.heading}, {bar.name}: " + (f"{fixed(1 + bar.value, 2)} times" if math.isfinite(bar.value) else bar.note)
        for bar in bars
    )
    return draw_panel(name, f"{title}. {said}.", title, forest_frame(lines), draw)


def _ratio_ticks(low: float, high: float) -> list[float]:
    wide = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    ticks = [tick for tick in wide if low <= tick <= high]
    return (
        ticks if len(ticks) >= 3 else [tick for tick in (0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2, 3) if low <= tick <= high]
    )


def popularity_figure(results: Results, settings: Mapping[str, Any], dataset: str, number: int) -> Figure:
    """NDCG@10 for cold targets and by popularity decile, a panel a protocol and backbone."""
    methods = main_methods(results, dataset)
    look = styles(methods)
    panels: list[Panel] = []
    for protocol in results.values(PROTOCOL, dataset=dataset):
        ranking = own_ranking(protocol, settings)
        values = select(results.metrics, dataset=dataset, protocol=protocol, ranking=ranking, metric="NDCG@10")
        values = values[values["group"].isin(GROUPS)].dropna(subset=["value"])
        table = values.groupby([BACKBONE, METHOD, "group"])["value"].mean().unstack().reindex(columns=list(GROUPS))
        top = float(np.nanmax(table.to_numpy(dtype=float))) if len(table) else 1.0
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol):
            means = {name: table.loc[(backbone, name)] for name in methods if (backbone, name) in table.index}
            means = {name: series for name, series in means.items() if series.notna().any()}
            if means:
                panels.append(
                    _popularity(f"f{number}-{len(panels)}", f"{label(backbone)}, {protocol}", means, look, top)
                )
    return Figure("popularity", f"figure-{number}", f"Cold and popular targets: {dataset}", "", panels)


def _popularity(name: str, title: str, means: Mapping[str, pd.Series], look: Look, top: float) -> Panel:
    places = [-0.8, *range(1, 11)]

    def draw(axes: Axes) -> None:
        for method, series in means.items():
            values = series.to_numpy(dtype=float)
            style = {**look[method], "linewidth": 1.4, "markersize": 4}
            axes.plot(places[1:], values[1:], label=label(method), **style)
            axes.plot(places[:1], values[:1], **{**style, "linestyle": "none"})
        axes.axvline(0.1, color="#99a", linewidth=0.6)
        axes.set_xticks(places, [group_label(group) for group in GROUPS])
        axes.set_xlabel("Popularity of the target (D1: least popular tenth)")
        axes.set_ylabel("NDCG@10")
        axes.set_ylim(0, (top or 1.0) * 1.08)
        draw_legend(axes)

    said = "; ".join(
        f"{label(method)}: cold {fixed(series.iloc[0])}, D1 {fixed(series.iloc[1])}, D10 {fixed(series.iloc[-1])}"
        for method, series in means.items()
    )
    return draw_panel(
        name, f"NDCG@10 by popularity, {title}. {said}.", title, line_frame([label(method) for method in look]), draw
    )


def validation_figure(results: Results, dataset: str, number: int) -> Figure:
    """Validation NDCG@10 by epoch."""
    methods = main_methods(results, dataset)
    panels = curve_panels(results, dataset, f"f{number}", "validation", "Validation NDCG@10", methods)
    return Figure("validation", f"figure-{number}", f"Training curves: {dataset}", "", panels)


def curve_panels(
    results: Results, dataset: str, name: str, column: str, ylabel: str, methods: Sequence[str]
) -> list[Panel]:
    """`column` of the curves by epoch: a panel a protocol and backbone, a line a method; one scale a protocol."""
    look = styles(main_methods(results, dataset))
    panels: list[Panel] = []
    for protocol in results.values(PROTOCOL, dataset=dataset):
        frame = select(results.curves, dataset=dataset, protocol=protocol)
        values = pd.to_numeric(frame[column], errors="coerce")
        top = float(values[np.isfinite(values)].max()) if np.isfinite(values).any() else math.nan
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol):
            lines = {}
            for method in methods:
                table = _by_seed(select(frame, backbone=backbone, method=method), column)
                if not table.empty:
                    cells = select(results.cells, dataset=dataset, protocol=protocol, backbone=backbone, method=method)
                    lines[label(method)] = (table, look[method], seeds_left_out(cells))
            if lines:
                panels.append(
                    _curves(
                        f"{name}-{len(panels)}",
                        f"{label(backbone)}, {protocol}",
                        lines,
                        ylabel,
                        top,
                        log=False,
                    )
                )
    return panels


LOSS_PARTS = {
    "loss_recommendation": "recommendation",
    "loss_alignment": "alignment",
    "loss_reconstruction": "reconstruction",
}


def loss_figure(results: Results, dataset: str, number: int) -> Figure:
    """IADSR's loss parts by epoch on a log scale, with the recommendation loss of `none` beside them."""
    wanted = [("none", "loss_recommendation"), *(("iadsr", part) for part in LOSS_PARTS)]
    look = styles([f"{label(method)}: {LOSS_PARTS[part]}" for method, part in wanted])
    panels = part_panels(results, dataset, f"f{number}", wanted, LOSS_PARTS, look, "Loss (log scale)", log=True)
    return Figure("losses", f"figure-{number}", f"Loss parts: {dataset}", "", panels)


def part_panels(
    results: Results,
    dataset: str,
    name: str,
    wanted: Sequence[tuple[str, str]],
    parts: Mapping[str, str],
    look: Look,
    ylabel: str,
    log: bool,
) -> list[Panel]:
    """Several columns of the curves (method, column) in one panel a protocol and backbone; shares run from 0 to 1."""
    panels: list[Panel] = []
    for protocol in results.values(PROTOCOL, dataset=dataset):
        for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol):
            frame = select(results.curves, dataset=dataset, protocol=protocol, backbone=backbone)
            cells = select(results.cells, dataset=dataset, protocol=protocol, backbone=backbone)
            lines = {}
            for method, part in wanted:
                table = _by_seed(select(frame, method=method), part)
                table = table.where(table > 0).dropna(how="all") if log else table
                if not table.empty:
                    text = f"{label(method)}: {parts[part]}"
                    lines[text] = (table, look[text], seeds_left_out(select(cells, method=method)))
            if lines:
                top = math.nan if log else 1.0
                panels.append(
                    _curves(f"{name}-{len(panels)}", f"{label(backbone)}, {protocol}", lines, ylabel, top, log)
                )
    return panels


def _by_seed(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Epochs x seeds, finite values only."""
    values = pd.to_numeric(frame[column], errors="coerce")
    frame = frame.assign(**{column: values.where(np.isfinite(values))}).dropna(subset=[column])
    return frame.pivot_table(index="epoch", columns=SEED, values=column)


Lines = Mapping[str, tuple[pd.DataFrame, Mapping[str, Any], set[int]]]


def _curves(name: str, title: str, lines: Lines, ylabel: str, top: float, log: bool) -> Panel:
    """The mean and the range over seeds while all of them train; each seed alone, faint, from there on.

    Lost seeds are faint from their first epoch on.
    """

    def draw(axes: Axes) -> None:
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        for text, (table, look, lost) in lines.items():
            whole = _averaged(table, lost).dropna()
            line = {"color": look["color"], "linestyle": look["linestyle"]}
            mark = {"marker": look["marker"], "markersize": 3.5, "markevery": max(1, len(whole) // 6)}
            axes.plot(whole.index, whole.mean(axis=1), label=text, linewidth=1.6, **line, **mark)
            if whole.shape[1] > 1 and len(whole):
                axes.fill_between(
                    whole.index,
                    whole.min(axis=1),
                    whole.max(axis=1),
                    color=look["color"],
                    alpha=0.16,
                    linewidth=0,
                )
            last = whole.index.max() if len(whole) else 0
            for seed, values in table.items():
                tail = values.dropna()
                tail = tail if seed in lost else tail[tail.index >= last]
                axes.plot(tail.index, tail, linewidth=0.7, alpha=0.6, **line)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("Epoch")
        axes.set_ylabel(ylabel)
        if math.isfinite(top):
            axes.set_ylim(0, (top or 1.0) * 1.05)
        draw_legend(axes)

    means = {text: _averaged(table, lost).mean(axis=1).dropna() for text, (table, _, lost) in lines.items()}
    said = "; ".join(
        f"{text}: {fixed(mean.iloc[0])} at epoch {mean.index[0]}, {fixed(mean.iloc[-1])} at epoch {mean.index[-1]}"
        for text, mean in means.items()
        if len(mean)
    )
    return draw_panel(name, f"{ylabel} by epoch, {title}. {said}.", title, line_frame(lines), draw)


def _averaged(table: pd.DataFrame, lost: set[int]) -> pd.DataFrame:
    return table.drop(columns=list(lost), errors="ignore")


MASK_PARTS = {"keep_rate": "kept", "gate_share": "past the gate"}


def mask_figure(results: Results, dataset: str, number: int) -> Figure:
    """Keep rate and share of sequences past the gate by epoch, a panel a protocol and backbone."""
    wanted = [(method, part) for method in main_methods(results, dataset) if method != "none" for part in MASK_PARTS]
    look = styles([f"{label(method)}: {MASK_PARTS[part]}" for method, part in wanted])
    panels = part_panels(results, dataset, f"f{number}", wanted, MASK_PARTS, look, "Share", log=False)
    return Figure("masks", f"figure-{number}", f"Masks while training: {dataset}", "", panels)
