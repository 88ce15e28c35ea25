"""How figures are drawn: inline SVG, small panels that the page lays side by side or one below the other, at any width.

Text stays text (readable, searchable), colours are Okabe and Ito's (told apart by colour-blind readers) and never the
only sign: every method also has its own marker and dash. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from iadsr.reporting.words import CLAIM_HIGH, CLAIM_LOW, is_number, lost_word, outcome, percent, percent_interval

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
_LEGEND_NAME = 26  # characters that half of a panel holds beside a line's sample
MOST_LINES = len(_COLOURS)


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
    """The inches around a panel's axes, or around several, one below the other with `gap` between.

    Fixed by rule, for a layout engine costs half of the drawing time.
    """

    left: float
    top: float
    heights: Sequence[float]
    right: float = 0.24  # half of the widest label of a tick that stands at the edge
    bottom: float = 0.48
    gap: float = 0.16

    def place(self) -> tuple[tuple[float, float], list[tuple[float, float, float, float]]]:
        """Size of the panel in inches, and its axes in fractions of it, from the top down."""
        total = self.top + sum(self.heights) + self.gap * (len(self.heights) - 1) + self.bottom
        inner = _WIDTH - self.left - self.right
        boxes, base = [], self.bottom
        for height in reversed(self.heights):
            boxes.append((self.left / _WIDTH, base / total, inner / _WIDTH, height / total))
            base += height + self.gap
        return (_WIDTH, total), boxes[::-1]


def draw_panel(name: str, alt: str, title: str, frame: Frame, *draws: Callable[[Axes], None]) -> Panel:
    """A panel with one drawing for each of the frame's heights; of stacked ones only the lowest shows its x labels."""
    with mpl.rc_context(dict(_RC)):
        size, boxes = frame.place()
        canvas = Canvas(figsize=size)
        FigureCanvasSVG(canvas)
        for place, (box, draw) in enumerate(zip(boxes, draws, strict=True)):
            axes = canvas.add_axes(box)
            draw(axes)
            if place < len(boxes) - 1:
                axes.tick_params(axis="x", labelbottom=False)
                axes.set_xlabel("")
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
    """Colour, dash and marker by name, in the order given; more names than colours share those, not the markers."""
    return {
        name: {
            "color": _COLOURS[i % len(_COLOURS)],
            "linestyle": _DASHES[(i + i // len(_COLOURS)) % len(_DASHES)],
            "marker": _MARKS[(i + i // len(_COLOURS)) % len(_MARKS)],
        }
        for i, name in enumerate(names)
    }


@dataclass(frozen=True)
class Bar:
    """A point with its interval in a forest plot (fractions); no number means that `note` says why."""

    heading: str
    name: str
    value: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Band:
    """A range of a forest plot's scale that stands out (fractions)."""

    low: float
    high: float
    name: str


CLAIM = Band(CLAIM_LOW, CLAIM_HIGH, "claimed")


def gain_bar(heading: str, name: str, row: Mapping[str, Any]) -> Bar:
    """The relative gain of a comparison."""
    if outcome(row) == "missing" or not is_number(row["relative_gain"]):
        return Bar(heading, name, math.nan, math.nan, math.nan, lost_word(row))
    return Bar(heading, name, float(row["relative_gain"]), float(row["gain_low"]), float(row["gain_high"]))


def extent_of(bars: Sequence[Bar], *always: float) -> tuple[float, float]:
    """A scale that holds the bars, zero and what must `always` be seen."""
    values = [*always, 0.0, *(x for bar in bars for x in (bar.value, bar.low, bar.high) if math.isfinite(x))]
    low, high = min(values), max(values)
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin


def shared_extents(extents: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """One scale for all panels, unless a panel would be squeezed into less than a fifth of it."""
    widest = (min(low for low, _ in extents), max(high for _, high in extents))
    fits = all((high - low) * 5 >= widest[1] - widest[0] for low, high in extents)
    return [widest] * len(extents) if fits else list(extents)


Look = Mapping[str, Mapping[str, Any]]


def forest_lines(bars: Sequence[Bar]) -> list[Bar | str]:
    """The lines of a forest plot from the top down: each heading, then its bars."""
    lines: list[Bar | str] = []
    for heading in dict.fromkeys(bar.heading for bar in bars):
        lines += [heading, *(bar for bar in bars if bar.heading == heading)]
    return lines


def forest_frame(lines: Sequence[Bar | str]) -> Frame:
    """Room for the longest name and for every line of a forest plot."""
    longest = max(len(line.name if isinstance(line, Bar) else line) for line in lines)
    return Frame(left=0.2 + 0.072 * max(longest, 8), top=0.42, heights=(0.21 * len(lines),))


def line_frame(names: Collection[str], *heights: float, bottom: float = 0.48) -> Frame:
    """Room for a legend of `names` between title and axes, where it hides no data."""
    top = 0.36 + 0.19 * math.ceil(len(names) / _legend_columns(names))
    return Frame(left=0.74, top=top, heights=heights or (1.9,), bottom=bottom)


def _legend_columns(names: Collection[str]) -> int:
    """Two, unless a name would be cut off."""
    return 2 if max(map(len, names), default=0) <= _LEGEND_NAME else 1


def draw_legend(axes: Axes, handles: Sequence[Line2D] | None = None) -> None:
    """The legend of `line_frame`, of what is drawn or of `handles`."""
    drawn = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    axes.legend(
        handles=drawn,
        loc="lower left",
        bbox_to_anchor=(-0.2, 1.0),
        ncols=_legend_columns([str(handle.get_label()) for handle in drawn]),
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=2.6,
    )


def lay_out(axes: Axes, lines: Sequence[Bar | str], place: Callable[[float], float]) -> None:
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


def forest_panel(
    name: str,
    title: str,
    bars: Sequence[Bar],
    xlabel: str,
    extent: tuple[float, float],
    band: Band | None = None,
) -> Panel:
    """Bars grouped by heading, top down; zero as a line."""
    lines = forest_lines(bars)

    def draw(axes: Axes) -> None:
        if band:
            high = min(band.high, extent[1])
            axes.axvspan(band.low, high, color="#F0E442", alpha=0.35, linewidth=0)
            axes.text(
                (band.low + high) / 2,
                -0.55,
                band.name,
                ha="center",
                va="bottom",
                fontsize=7.5,
                color="#665c00",
            )
        lay_out(axes, lines, lambda gain: gain)
        axes.set_xlim(extent)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percent(x, 0) if abs(x) > 1e-9 else "0"))
        axes.set_xlabel(xlabel)

    alt = f"{title}. " + "; ".join(_said(bar) for bar in bars) + "."
    return draw_panel(name, alt, title, forest_frame(lines), draw)


def _said(bar: Bar) -> str:
    if not math.isfinite(bar.value):
        return f"{bar.heading}, {bar.name}: {bar.note}"
    return f"{bar.heading}, {bar.name}: {percent(bar.value)} {percent_interval(bar.low, bar.high)}"


def scale_note(extents: Sequence[tuple[float, float]]) -> str:
    """What a caption says of its panels' scales."""
    return "" if len(set(extents)) == 1 else "The panels' scales differ."
