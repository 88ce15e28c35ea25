"""Figures as inline SVG: small panels that the page lays side by side or one below the other, whatever its width.

Text stays text (readable, searchable), colours are Okabe and Ito's (told apart by colour-blind readers) and never the
only sign: every method also has its own marker and dash. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from iadsr.core.columns import BACKBONE, METHOD, PROTOCOL, SEED
from iadsr.reporting.answer import Comparisons
from iadsr.reporting.load import Results, own_ranking, select
from iadsr.reporting.tables import GROUPS, group_label, shown_pairs
from iadsr.reporting.words import (
    CLAIM_HIGH,
    CLAIM_LOW,
    CLAIM_METRICS,
    fixed,
    is_number,
    label,
    outcome,
    percent,
    percent_interval,
)

_RC: Mapping[str, Any] = {
    "svg.hashsalt": "iadsr",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667",
    "axes.labelcolor": "#223",
    "xtick.color": "#445",
    "ytick.color": "#445",
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "text.parse_math": False,
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_WIDTH = 4.1  # inches; panels are scaled to their column, so this sets the size of the text against the panel
TIMES = "\u00d7"
_LEGEND_COLUMNS = 2
_MOST_LINES = len(_COLOURS)


@dataclass(frozen=True)
class Panel:
    """One SVG; `alt` says in words what it shows."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Figure:
    """Panels under one caption; none if there was nothing to draw. `kind` names the caption, `name` is the anchor."""

    kind: str
    name: str
    title: str
    caption: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Frame:
    """The inches around a panel's axes. Fixed by rule, for a layout engine costs half of the drawing time."""

    left: float
    top: float
    height: float
    right: float = 0.12
    bottom: float = 0.48

    def place(self) -> tuple[tuple[float, float], tuple[float, float, float, float]]:
        """Size of the panel in inches, and its axes in fractions of it."""
        total = self.top + self.height + self.bottom
        inner = _WIDTH - self.left - self.right
        return (_WIDTH, total), (self.left / _WIDTH, self.bottom / total, inner / _WIDTH, self.height / total)


def _panel(name: str, alt: str, title: str, frame: Frame, draw: Callable[[Axes], None]) -> Panel:
    with mpl.rc_context(dict(_RC)):
        size, box = frame.place()
        canvas = Canvas(figsize=size)
        FigureCanvasSVG(canvas)
        draw(canvas.add_axes(box))
        canvas.text(
            0.1 / _WIDTH,
            1 - 0.08 / size[1],
            title,
            va="top",
            fontsize=9.5,
            fontweight="bold",
            color="#1a1e26",
        )
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return Panel(_inline(stream.getvalue(), name, alt), alt)


def _inline(svg: str, name: str, alt: str) -> str:
    """The <svg> element alone, its ids made unique on the page, no namespace addresses, with an accessible name."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    opening = svg[: svg.index(">") + 1]
    box = re.search(r'viewBox="[^"]*"', opening)
    quoted = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg {box.group(0) if box else ""} role="img" aria-label="{quoted}">' + svg[len(opening) :]


def styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, dash and marker by name, in the order given; more names than colours share them from the start."""
    return {
        name: {
            "color": _COLOURS[i % len(_COLOURS)],
            "linestyle": _DASHES[i % len(_DASHES)],
            "marker": _MARKS[i % len(_MARKS)],
        }
        for i, name in enumerate(names)
    }


def main_methods(results: Results, dataset: str) -> list[str]:
    """The methods that figures draw: all, unless a sweep makes too many lines; then those without a swept setting."""
    methods = results.methods(dataset=dataset)
    return methods if len(methods) <= _MOST_LINES else [name for name in methods if "=" not in name][:_MOST_LINES]


@dataclass(frozen=True)
class Bar:
    """A point with its interval in a forest plot (fractions); no number means that `note` says why."""

    heading: str
    name: str
    value: float
    low: float
    high: float
    note: str = ""


def _bar(heading: str, name: str, row: Mapping[str, Any]) -> Bar:
    if outcome(row) == "missing" or not is_number(row["relative_gain"]):
        reason = str(row["status"])
        return Bar(heading, name, math.nan, math.nan, math.nan, "diverged" if "diverged" in reason else "missing")
    return Bar(heading, name, float(row["relative_gain"]), float(row["gain_low"]), float(row["gain_high"]))


def _extent(bars: Sequence[Bar], *always: float) -> tuple[float, float]:
    values = [*always, 0.0, *(x for bar in bars for x in (bar.value, bar.low, bar.high) if math.isfinite(x))]
    low, high = min(values), max(values)
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin


def _shared(extents: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """One scale for all panels, unless a panel would be squeezed into less than a fifth of it."""
    widest = (min(low for low, _ in extents), max(high for _, high in extents))
    fits = all((high - low) * 5 >= widest[1] - widest[0] for low, high in extents)
    return [widest] * len(extents) if fits else list(extents)


Look = Mapping[str, Mapping[str, Any]]


def _rows(bars: Sequence[Bar]) -> list[Bar | str]:
    """The lines of a forest plot from the top down: each heading, then its bars."""
    lines: list[Bar | str] = []
    for heading in dict.fromkeys(bar.heading for bar in bars):
        lines += [heading, *(bar for bar in bars if bar.heading == heading)]
    return lines


def _forest_frame(lines: Sequence[Bar | str]) -> Frame:
    longest = max(len(line.name if isinstance(line, Bar) else line) for line in lines)
    return Frame(left=0.2 + 0.072 * max(longest, 8), top=0.42, height=0.21 * len(lines))


def _line_frame(entries: int) -> Frame:
    """Room for a legend of `entries` between title and axes, where it hides no data."""
    return Frame(left=0.74, top=0.36 + 0.19 * math.ceil(entries / _LEGEND_COLUMNS), height=1.9)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.2, 1.0),
        ncols=_LEGEND_COLUMNS,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=2.6,
    )


def _lay_out(axes: Axes, lines: Sequence[Bar | str], place: Callable[[float], float]) -> None:
    """Draw the lines of a forest plot; `place` turns a relative gain into a position on the x axis."""
    look = styles(list(dict.fromkeys(line.name for line in lines if isinstance(line, Bar))))
    axes.axvline(place(0.0), color="#334", linewidth=0.9)
    for y, line in enumerate(lines):
        if isinstance(line, Bar) and math.isfinite(line.value):
            style = look[line.name]
            axes.plot(
                [place(line.low), place(line.high)],
                [y, y],
                color=style["color"],
                linewidth=1.8,
                solid_capstyle="butt",
            )
            axes.plot(
                [place(line.value)],
                [y],
                color=style["color"],
                marker=style["marker"],
                markersize=5,
                linestyle="none",
            )
        elif isinstance(line, Bar):
            axes.text(place(0.0), y, f" {line.note}", va="center", fontstyle="italic", color="#8a1c1c")
    axes.set_yticks(range(len(lines)), [line.name if isinstance(line, Bar) else line for line in lines])
    for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if isinstance(line, Bar) else "bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _forest(name: str, title: str, bars: Sequence[Bar], xlabel: str, extent: tuple[float, float], claim: bool) -> Panel:
    """Bars grouped by heading, top down; zero as a line, the claimed range as a band."""
    lines = _rows(bars)

    def draw(axes: Axes) -> None:
        if claim:
            axes.axvspan(CLAIM_LOW, CLAIM_HIGH, color="#F0E442", alpha=0.35, linewidth=0)
            axes.text(
                (CLAIM_LOW + CLAIM_HIGH) / 2,
                -0.55,
                "claimed",
                ha="center",
                va="bottom",
                fontsize=7.5,
                color="#665c00",
            )
        _lay_out(axes, lines, lambda gain: gain)
        axes.set_xlim(extent)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percent(x, 0) if abs(x) > 1e-9 else "0"))
        axes.set_xlabel(xlabel)

    alt = f"{title}. " + "; ".join(_said(bar) for bar in bars) + "."
    return _panel(name, alt, title, _forest_frame(lines), draw)


def _said(bar: Bar) -> str:
    if not math.isfinite(bar.value):
        return f"{bar.heading}, {bar.name}: {bar.note}"
    return f"{bar.heading}, {bar.name}: {percent(bar.value)} {percent_interval(bar.low, bar.high)}"


def answer_figure(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str, number: int
) -> Figure:
    """IADSR against its backbone in the claim's two metrics, a panel a protocol, with the claimed range as a band."""
    protocols = results.values(PROTOCOL, dataset=dataset)
    bars = [
        [
            _bar(
                label(backbone),
                metric,
                compared.method(dataset, protocol, backbone, own_ranking(protocol, settings), metric, "iadsr", "none"),
            )
            for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol)
            for metric in CLAIM_METRICS
        ]
        for protocol in protocols
    ]
    extents = _shared([_extent(group, CLAIM_HIGH) for group in bars])
    panels = [
        _forest(
            f"f{number}-{i}",
            f"{dataset}, {protocol}",
            group,
            "Relative gain of IADSR over none",
            extents[i],
            claim=True,
        )
        for i, (protocol, group) in enumerate(zip(protocols, bars, strict=True))
    ]
    return Figure("answer", f"figure-{number}", f"IADSR against its backbone: {dataset}", _scale_note(extents), panels)


def _scale_note(extents: Sequence[tuple[float, float]]) -> str:
    return "" if len(set(extents)) == 1 else "The panels' scales differ."


def effect_figure(
    results: Results, compared: Comparisons, settings: Mapping[str, Any], dataset: str, number: int
) -> Figure:
    """Method effects in NDCG@10, a panel a protocol, and the protocol effect on a log scale beside them."""
    protocols = results.values(PROTOCOL, dataset=dataset)
    groups = [
        [
            _bar(
                label(backbone),
                f"{label(method)} vs {label(baseline)}",
                compared.method(
                    dataset, protocol, backbone, own_ranking(protocol, settings), "NDCG@10", method, baseline
                ),
            )
            for backbone in results.values(BACKBONE, dataset=dataset, protocol=protocol)
            for method, baseline in shown_pairs(results, dataset, protocol)
        ]
        for protocol in protocols
    ]
    drawn = [(protocol, group) for protocol, group in zip(protocols, groups, strict=True) if group]
    extents = _shared([_extent(group) for _, group in drawn]) if drawn else []
    panels = [
        _forest(
            f"f{number}-{i}",
            f"Method effect, {protocol}",
            group,
            "Relative gain in NDCG@10",
            extents[i],
            claim=False,
        )
        for i, (protocol, group) in enumerate(drawn)
    ]
    for i, (protocol, baseline) in enumerate(compared.protocol_pairs(dataset)):
        bars = [
            _bar(
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
        _scale_note(extents),
        panels,
    )


def _ratios(name: str, title: str, bars: Sequence[Bar]) -> Panel:
    """Protocol effects as ratios on a log scale; an interval that reaches zero is cut at the panel's edge."""
    lines = _rows(bars)
    ratios = [1 + x for bar in bars for x in (bar.value, bar.low, bar.high) if math.isfinite(x) and x > -0.99]
    low, high = min([0.8, *ratios]) / 1.1, max([1.25, *ratios]) * 1.1

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        _lay_out(axes, lines, lambda gain: max(1 + gain, low))
        axes.set_xlim(low, high)
        axes.xaxis.set_minor_locator(NullLocator())
        ticks = _ratio_ticks(low, high)
        axes.set_xticks(ticks, [f"{tick:g}{TIMES}" for tick in ticks])
        axes.set_xlabel("Ratio of NDCG@10, no denoiser (log scale)")

    said = "; ".join(
        f"{bar.heading}, {bar.name}: " + (f"{fixed(1 + bar.value, 2)} times" if math.isfinite(bar.value) else bar.note)
        for bar in bars
    )
    return _panel(name, f"{title}. {said}.", title, _forest_frame(lines), draw)


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
        _legend(axes)

    said = "; ".join(
        f"{label(method)}: cold {fixed(series.iloc[0])}, D1 {fixed(series.iloc[1])}, D10 {fixed(series.iloc[-1])}"
        for method, series in means.items()
    )
    return _panel(name, f"NDCG@10 by popularity, {title}. {said}.", title, _line_frame(len(look)), draw)


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
            found = {method: _by_seed(select(frame, backbone=backbone, method=method), column) for method in methods}
            lines = {label(method): (table, look[method]) for method, table in found.items() if not table.empty}
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
            lines = {}
            for method, part in wanted:
                table = _by_seed(select(frame, method=method), part)
                table = table.where(table > 0).dropna(how="all") if log else table
                if not table.empty:
                    text = f"{label(method)}: {parts[part]}"
                    lines[text] = (table, look[text])
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


Lines = Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]]


def _curves(name: str, title: str, lines: Lines, ylabel: str, top: float, log: bool) -> Panel:
    """The mean and the range over seeds while all seeds train; each seed alone, faint, from there on."""

    def draw(axes: Axes) -> None:
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        for text, (table, look) in lines.items():
            whole = table.dropna()
            line = {"color": look["color"], "linestyle": look["linestyle"]}
            mark = {"marker": look["marker"], "markersize": 3.5, "markevery": max(1, len(whole) // 6)}
            axes.plot(whole.index, whole.mean(axis=1), label=text, linewidth=1.6, **line, **mark)
            if table.shape[1] > 1 and len(whole):
                axes.fill_between(
                    whole.index,
                    whole.min(axis=1),
                    whole.max(axis=1),
                    color=look["color"],
                    alpha=0.16,
                    linewidth=0,
                )
            last = whole.index.max() if len(whole) else 0
            for seed in table.columns:
                tail = table[seed].dropna()
                axes.plot(tail[tail.index >= last].index, tail[tail.index >= last], linewidth=0.7, alpha=0.6, **line)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("Epoch")
        axes.set_ylabel(ylabel)
        if math.isfinite(top):
            axes.set_ylim(0, (top or 1.0) * 1.05)
        _legend(axes)

    said = "; ".join(
        f"{text}: {fixed(table.iloc[0].mean())} at epoch {table.index[0]}, "
        f"{fixed(table.iloc[-1].mean())} at epoch {table.index[-1]}"
        for text, (table, _) in lines.items()
    )
    return _panel(name, f"{ylabel} by epoch, {title}. {said}.", title, _line_frame(len(lines)), draw)


MASK_PARTS = {"keep_rate": "kept", "gate_share": "users past the gate"}


def mask_figure(results: Results, dataset: str, number: int) -> Figure:
    """Keep rate and share of users past the gate by epoch, a panel a protocol and backbone."""
    wanted = [(method, part) for method in main_methods(results, dataset) if method != "none" for part in MASK_PARTS]
    look = styles([f"{label(method)}: {MASK_PARTS[part]}" for method, part in wanted])
    panels = part_panels(results, dataset, f"f{number}", wanted, MASK_PARTS, look, "Share", log=False)
    return Figure("masks", f"figure-{number}", f"Masks while training: {dataset}", "", panels)
