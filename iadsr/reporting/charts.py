"""Two kinds of charts as inline SVG: forests (points with intervals) and lines, in small panels laid side by side.

Text stays text (readable, searchable), colours are Okabe and Ito's (told apart by colour-blind readers) and never the
only sign: every series also has its own marker and dash. The same input gives the same bytes. What is drawn has the
style in force, for a page that of `figures.mplstyle` among its sources.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from iadsr.reporting.format import fixed, is_number, percent

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_BAD = "#8a1c1c"
_WIDTH = 4.1  # inches; panels are scaled to their column, so this sets the size of the text against the panel
_CHARACTER = 0.072  # inches
_TICK = 0.55  # inches that a label of the scale needs
_FOREST_NAME = 30  # characters of a name at the left of a forest
_LEGEND_NAME = 26  # characters that half of a panel holds beside a line's sample
_MOST_POINTS = 60  # a longer line is thinned to about so many points
MOST_LINES = len(_COLOURS)


@dataclass(frozen=True)
class Panel:
    """One SVG; `alt` says in words what it shows."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Figure:
    """Panels under one caption; none if there was nothing to draw. `kind` names the caption."""

    kind: str
    title: str
    caption: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Band:
    """A range of a forest's scale that stands out."""

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class Axis:
    """One of the axes of a panel of lines.

    Attributes:
        data: columns series, x, y and, where there are intervals, low and high.
        scale: linear, log, share (0 to 1) or zero (from 0).
        bars: draw intervals as error bars instead of bands, and no line between points.
        line: a y value that is marked across.
    """

    title: str
    data: pd.DataFrame
    scale: str = "linear"
    bars: bool = False
    height: float = 1.5
    line: float = math.nan


def styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Choose colour, dash and marker by name, in the order given; more names than colours share the colours."""
    return {
        name: {
            "color": _COLOURS[i % MOST_LINES],
            "linestyle": _DASHES[(i + i // MOST_LINES) % MOST_LINES],
            "marker": _MARKS[(i + i // MOST_LINES) % MOST_LINES],
        }
        for i, name in enumerate(names)
    }


def forest(
    title: str,
    rows: pd.DataFrame,
    xlabel: str,
    extent: tuple[float, float] | None = None,
    band: Band | None = None,
    form: Callable[[float], str] = lambda x: percent(x, 0),
    origin: float = 0.0,
) -> Panel:
    """Draw points with intervals from the top down, the `origin` as a line.

    Args:
        rows: columns heading, name, value, low, high and note, which says why where there is no value.
        extent: ends of the scale; by default it holds the rows.
    """
    lines: list[tuple[str, Any]] = []
    for heading, block in rows.groupby("heading", sort=False):
        lines += [(str(heading), None), *((str(row["name"]), row) for row in block.to_dict("records"))]
    look = styles(list(dict.fromkeys(name for name, row in lines if row is not None)))
    low, high = extent or extent_of(rows)

    def draw(axes: Axes) -> None:
        if band and band.low < high:
            end = min(band.high, high)
            axes.axvspan(band.low, end, color="#F0E442", alpha=0.35, linewidth=0)
            axes.text((band.low + end) / 2, -0.55, band.name, ha="center", va="bottom", fontsize=7.5, color="#665c00")
        axes.axvline(origin, color="#334", linewidth=0.9)
        for y, (name, row) in enumerate(lines):
            if row is None:
                continue
            if not is_number(row["value"]):
                axes.text(origin, y, f" {row['note']}", va="center", fontstyle="italic", color=_BAD)
                continue
            style = look[name]
            axes.plot([row["low"], row["high"]], [y, y], color=style["color"], linewidth=1.8, solid_capstyle="butt")
            axes.plot([row["value"]], [y], **{**style, "linestyle": "none"}, markersize=5)
        axes.set_yticks(range(len(lines)), [_fitted(name, _FOREST_NAME) for name, _ in lines])
        for tick, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
            tick.set_fontweight("bold" if row is None else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(int((_WIDTH - left) / _TICK)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: form(x) if abs(x) > 1e-9 else "0"))
        axes.set_xlabel(xlabel)

    def told(row: Any) -> str:
        ends = f"{form(row['value'])} from {form(row['low'])} to {form(row['high'])}" if is_number(row["value"]) else ""
        return f"{row['heading']}, {row['name']}: {ends or row['note']}"

    said = "; ".join(map(told, rows.to_dict("records")))
    longest = max((len(name) for name, _ in lines), default=0)
    left = 0.2 + _CHARACTER * min(max(longest, 8), _FOREST_NAME)
    return _panel(title, f"{title}. {said}.", left, 0.42, [(0.21 * len(lines), draw)])


def _fitted(name: str, most: int) -> str:
    """Shorten a name of at most so many characters: of a longer one the beginning and the end."""
    half = most // 2
    return name if len(name) <= most else f"{name[: half - 1]}\u2026{name[-half:]}"


def extent_of(rows: pd.DataFrame, *always: float) -> tuple[float, float]:
    """Choose a scale that holds the rows of a forest, zero and what must `always` be seen."""
    found = rows[["value", "low", "high"]].to_numpy(dtype=float)
    values = [*always, 0.0, *found[np.isfinite(found)]]
    margin = 0.06 * ((max(values) - min(values)) or 1.0)
    return min(values) - margin, max(values) + margin


def shared(extents: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Choose one scale for all panels, unless a panel would be squeezed into less than a fifth of it."""
    low, high = min(one[0] for one in extents), max(one[1] for one in extents)
    fits = all((end - start) * 5 >= high - low for start, end in extents)
    return [(low, high)] * len(extents) if fits else list(extents)


def lines(
    title: str, axes: Sequence[Axis], xlabel: str, names: Sequence[str], ticks: Sequence[str] = (), log: bool = False
) -> Panel:
    """Draw axes one below the other over one x axis, a line per series.

    Args:
        names: every series of the figure, in the order that gives each its style.
        ticks: labels of the positions 0, 1, 2, ...; none: x is a number.
        log: draw x on a log scale.
    """
    present = [name for name in names if any((axis.data["series"] == name).any() for axis in axes)]
    look = {name: style for name, style in styles(names).items() if name in present}
    longest = max(map(len, ticks), default=0)
    slanted = longest > 4
    columns = 2 if max(map(len, present), default=0) <= _LEGEND_NAME else 1
    top = 0.36 + 0.19 * math.ceil(len(present) / columns)
    bottom = 0.48 if not slanted else 0.2 + 0.042 * longest

    whole = all((axis.data["x"].astype(float) % 1 == 0).all() for axis in axes)

    def drawing(axis: Axis, first: bool) -> Callable[[Axes], None]:
        def draw(at: Axes) -> None:
            for name, style in look.items():
                _draw_series(at, axis, name, style, shift=0.09 * (present.index(name) - (len(present) - 1) / 2))
            if is_number(axis.line):
                at.axhline(axis.line, color="#334", linewidth=0.9)
            _scale(at, axis)
            if ticks:
                slant: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
                at.set_xticks(range(len(ticks)), ticks, fontsize=7.5, **slant)
                at.set_xlim(-0.5, len(ticks) - 0.5)
            elif log:
                at.set_xscale("log")
                at.xaxis.set_minor_locator(NullLocator())
            else:
                at.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
            at.set_ylabel(axis.title, fontsize=7.5)
            at.set_xlabel(xlabel)
            if first and look:
                at.legend(loc="lower left", bbox_to_anchor=(-0.2, 1.0), ncols=columns)

        return draw

    parts = [(axis.height, drawing(axis, place == 0)) for place, axis in enumerate(axes)]
    alt = f"{title}. " + "; ".join(_said(axis, name, ticks) for axis in axes for name in present)
    return _panel(title, alt, 0.84, top, parts, bottom)


def _draw_series(at: Axes, axis: Axis, name: str, style: dict[str, Any], shift: float) -> None:
    own = axis.data[axis.data["series"] == name]
    own = own.iloc[:: max(1, math.ceil(len(own) / _MOST_POINTS))].astype({"x": float, "y": float})
    x = own["x"] + (shift if axis.bars else 0.0)
    look = {**style, "linewidth": 1.4, "markersize": 3.8, "markevery": max(1, len(own) // 6)}
    at.plot(x, own["y"], label=_fitted(name, 2 * _LEGEND_NAME), **(look | ({"linestyle": "none"} if axis.bars else {})))
    if "low" not in own or own["low"].isna().all():
        return
    if axis.bars:
        at.vlines(x, own["low"].astype(float), own["high"].astype(float), color=style["color"], linewidth=1.3)
    else:
        at.fill_between(x, own["low"].astype(float), own["high"].astype(float), color=style["color"], alpha=0.16, lw=0)


def _scale(at: Axes, axis: Axis) -> None:
    if axis.scale == "log":
        at.set_yscale("log")
        low, high = at.get_ylim()
        at.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=4) if high > 10 * low else MaxNLocator(4))
        at.yaxis.set_minor_locator(NullLocator())
        at.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    elif axis.scale == "share":
        at.set_ylim(-0.03, 1.05)
    elif axis.scale == "zero":
        at.set_ylim(bottom=0)
    elif axis.scale == "percent":
        at.yaxis.set_major_locator(MaxNLocator(4))
        at.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(y, 0) if abs(y) > 1e-9 else "0"))


def _said(axis: Axis, name: str, ticks: Sequence[str]) -> str:
    own = axis.data[(axis.data["series"] == name) & axis.data["y"].notna()]
    if own.empty:
        return f"{axis.title}, {name}: no value"

    def where(x: float) -> str:
        return ticks[round(x)] if ticks else f"{x:g}"

    ends = own.iloc[[0, -1]]
    first, last = (f"{fixed(y)} at {where(x)}" for x, y in zip(ends["x"], ends["y"], strict=True))
    return f"{axis.title}, {name}: {first}{f', {last}' if len(own) > 1 else ''}".replace("\n", " ")


def _panel(
    title: str,
    alt: str,
    left: float,
    top: float,
    parts: Sequence[tuple[float, Callable[[Axes], None]]],
    bottom: float = 0.48,
) -> Panel:
    """Draw `parts`, heights in inches and what to draw, from the top down; only the lowest shows its x labels.

    Distances are fixed by rule, for a layout engine costs half of the drawing time.
    """
    gap, right = 0.16, 0.24
    total = top + sum(height for height, _ in parts) + gap * (len(parts) - 1) + bottom
    canvas = Canvas(figsize=(_WIDTH, total))
    FigureCanvasSVG(canvas)
    edge = total - top
    for place, (height, draw) in enumerate(parts):
        edge -= height + (gap if place else 0)
        box = (left / _WIDTH, edge / total, (_WIDTH - left - right) / _WIDTH, height / total)
        axes = canvas.add_axes(box)
        draw(axes)
        if place < len(parts) - 1:
            axes.tick_params(axis="x", labelbottom=False)
            axes.set_xlabel("")
    style: dict[str, Any] = {"va": "top", "fontsize": 9.5, "fontweight": "bold", "color": "#1a1e26"}
    canvas.text(0.1 / _WIDTH, 1 - 0.08 / total, _fitted(title, 2 * _LEGEND_NAME), **style)
    stream = io.StringIO()
    canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return Panel(stream.getvalue(), alt)


def inline(panel: Panel, name: str) -> str:
    """Return the <svg> element alone, with ids made unique by `name`, an accessible name and no addresses."""
    svg = panel.svg[panel.svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    svg = re.sub(r'(\bid="|\bhref="#|\burl\(#)', rf"\1{name}-", svg)
    opening = svg[: svg.index(">") + 1]
    box = re.search(r'viewBox="[^"]*"', opening)
    quoted = panel.alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg {box[0] if box else ""} role="img" aria-label="{quoted}">{svg[len(opening) :]}'
