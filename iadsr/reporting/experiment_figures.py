"""The figures of the experiments, one kind a view."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from iadsr.core.columns import DONE
from iadsr.reporting.answer import cell_notes
from iadsr.reporting.drawing import (
    Figure,
    Frame,
    Look,
    Panel,
    draw_legend,
    draw_panel,
    extent_of,
    forest_panel,
    gain_bar,
    line_frame,
    scale_note,
    shared_extents,
    styles,
)
from iadsr.reporting.experiment import Experiment
from iadsr.reporting.experiment_tables import RUNG_METRICS, TEST_METRICS, Spread, spread_of
from iadsr.reporting.load import done_only, mean_and_sd, select
from iadsr.reporting.words import POPULAR, compared, fixed, is_number, label, percent, percent_interval, share, titled

_BAD = "#8a1c1c"
_GREY = "#667"
_SLANT = 0.042  # inches that a character of a slanted tick label takes, either way
_LOG_FROM = 20  # a positive setting that varies by this factor is drawn on a log scale


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def forest_figure(experiment: Experiment, dataset: str, protocol: str, number: int) -> Figure:
    """The relative gain of every method over the baseline, by backbone, a panel a metric."""
    short = experiment.short()
    groups = [
        [
            gain_bar(label(backbone), short[method], experiment.against(dataset, protocol, backbone, method, metric))
            for backbone in experiment.backbones(dataset, protocol=protocol)
            for method in experiment.methods(dataset=dataset, protocol=protocol, backbone=backbone)
            if method != experiment.baseline
        ]
        for metric in RUNG_METRICS
    ]
    extents = shared_extents([extent_of(group) for group in groups])
    panels = [
        forest_panel(
            f"f{number}-{i}",
            f"{metric}, {protocol}",
            group,
            f"Relative gain over {titled(experiment.baseline)[0]}",
            extents[i],
        )
        for i, (metric, group) in enumerate(zip(RUNG_METRICS, groups, strict=True))
        if group
    ]
    caption = _joined(experiment.context(dataset, [protocol]), experiment.key(), scale_note(extents))
    title = f"Gain over {titled(experiment.baseline)[0]}: {dataset}, {protocol}"
    return Figure("forest", f"figure-{number}", title, caption, panels)


@dataclass(frozen=True)
class Point:
    """One backbone at one place of an x axis: value, interval or deviation, and what the mask did."""

    x: float
    value: float
    low: float = math.nan
    high: float = math.nan
    gate: float = math.nan
    keep: float = math.nan
    note: str = ""


def sweep_figure(experiment: Experiment, dataset: str, number: int) -> Figure:
    """HR@5 against the swept setting, a panel a protocol and a colour a backbone; beneath it what the mask did."""
    panels = [
        _sweep_panel(experiment, dataset, protocol, f"f{number}-{i}")
        for i, protocol in enumerate(experiment.protocols(dataset))
    ]
    title = f"HR@5 by {_option(experiment)}: {dataset}"
    caption = experiment.context(dataset, experiment.protocols(dataset))
    return Figure("sweep", f"figure-{number}", title, _joined(caption, experiment.key()), panels)


def _option(experiment: Experiment) -> str:
    return experiment.option.replace("_", " ") or "swept setting"


def _places(experiment: Experiment) -> dict[str, float]:
    """Where each method of the sweep stands on the x axis."""
    names = experiment.ordered_points()
    return {
        name: float(experiment.points[name]) if experiment.numeric() else float(place)
        for place, name in enumerate(names)
    }


def _sweep_points(experiment: Experiment, dataset: str, protocol: str, backbone: str) -> list[Point]:
    points = []
    for method, x in _places(experiment).items():
        cells = select(experiment.results.cells, dataset=dataset, protocol=protocol, backbone=backbone, method=method)
        if cells.empty:
            continue
        value, _ = mean_and_sd(experiment.values(dataset, protocol, backbone, method, "HR@5").values())
        row = experiment.against(dataset, protocol, backbone, method, "HR@5")
        low, high = math.nan, math.nan
        if method != experiment.baseline and compared(row):
            # the interval of the difference, laid around the value: it leaves out the baseline where it leaves out zero
            low, high = (value + float(row[end]) - float(row["difference"]) for end in ("ci_low", "ci_high"))
        gate, keep = (mean_and_sd(done_only(cells)[name].dropna())[0] for name in ("gate_share", "train_keep_rate"))
        bad = cells[cells["status"] != DONE]
        points.append(Point(x, value, low, high, gate, keep, cell_notes(bad) if len(bad) == len(cells) else ""))
    return points


def _sweep_panel(experiment: Experiment, dataset: str, protocol: str, name: str) -> Panel:
    backbones = experiment.backbones(dataset, protocol=protocol)
    look = styles(backbones)
    found = {backbone: _sweep_points(experiment, dataset, protocol, backbone) for backbone in backbones}
    none = {
        backbone: mean_and_sd(experiment.values(dataset, protocol, backbone, "none", "HR@5").values())[0]
        for backbone in backbones
    }
    keys = [Line2D([], [], label=label(backbone), **_line(look[backbone])) for backbone in backbones]
    if any(is_number(value) for value in none.values()):
        keys.append(Line2D([], [], color=_GREY, linestyle="--", linewidth=1, label="none"))
    keys += [
        Line2D([], [], color=_GREY, linestyle="-", linewidth=1.4, label="below: kept in training"),
        Line2D([], [], color=_GREY, linestyle=":", linewidth=1.8, label="below: past the gate"),
    ]

    def values(axes: Axes) -> None:
        for backbone, points in found.items():
            style = look[backbone]
            xs = [point.x for point in points]
            axes.plot(xs, [point.value for point in points], **_line(style))
            axes.fill_between(
                xs,
                [point.low for point in points],
                [point.high for point in points],
                color=style["color"],
                alpha=0.16,
                linewidth=0,
            )
            if is_number(none[backbone]):
                axes.axhline(none[backbone], color=style["color"], linestyle="--", linewidth=1)
            _crosses(axes, [point.x for point in points if point.note], style)
        axes.set_ylabel("HR@5")
        _sweep_axis(axes, experiment)
        draw_legend(axes, keys)

    def shares(axes: Axes) -> None:
        for backbone, points in found.items():
            colour, xs = look[backbone]["color"], [point.x for point in points]
            axes.plot(xs, [point.keep for point in points], color=colour, linewidth=1.4)
            axes.plot(xs, [point.gate for point in points], color=colour, linestyle=":", linewidth=1.8)
        axes.set_ylim(-0.03, 1.05)
        axes.set_ylabel("Share")
        _sweep_axis(axes, experiment)

    said = "; ".join(_sweep_said(label(backbone), found[backbone], none[backbone]) for backbone in backbones)
    title = f"{dataset}, {protocol}"
    alt = f"HR@5 by {_option(experiment)}, {title}. {said}."
    return draw_panel(name, alt, title, line_frame([str(key.get_label()) for key in keys], 1.8, 0.9), values, shares)


def _line(style: Mapping[str, Any]) -> dict[str, Any]:
    """A solid line in a style's colour, with its marker: dashes mean something else in these panels."""
    return {"color": style["color"], "marker": style["marker"], "markersize": 3.5, "linewidth": 1.5}


def _sweep_axis(axes: Axes, experiment: Experiment) -> None:
    places = _places(experiment)
    xs = list(places.values())
    if not experiment.numeric():
        axes.set_xticks(xs, [str(experiment.points[name]) for name in places])
        axes.set_xlim(-0.4, len(xs) - 0.6)
    elif min(xs) > 0 and max(xs) / min(xs) >= _LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(min(xs) / 1.2, max(xs) * 1.2)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
    else:
        margin = 0.04 * ((max(xs) - min(xs)) or 1.0)
        axes.set_xlim(min(xs) - margin, max(xs) + margin)
        axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlabel(_option(experiment).capitalize())


def _crosses(axes: Axes, xs: Sequence[float], style: Mapping[str, Any]) -> None:
    """Where there is no value because no run is done: a cross on the axis."""
    axes.plot(
        xs,
        [0.03] * len(xs),
        transform=axes.get_xaxis_transform(),
        color=style["color"],
        marker="x",
        markersize=5,
        linestyle="none",
    )


def _sweep_said(name: str, points: Sequence[Point], none: float) -> str:
    known = [point for point in points if is_number(point.value)]
    parts = []
    if known:
        values, ends = [point.value for point in known], (known[0], known[-1])
        parts.append(f"{fixed(min(values))} to {fixed(max(values))}")
        parts.append("past the gate " + " to ".join(share(point.gate) for point in ends))
        parts.append("kept in training " + " to ".join(share(point.keep) for point in ends))
    if is_number(none):
        parts.append(f"none {fixed(none)}")
    parts += [f"at {point.x:g} no value ({point.note})" for point in points if point.note]
    return f"{name}: {', '.join(parts) or 'no value'}"


def ladder_figure(experiment: Experiment, dataset: str, number: int) -> Figure:
    """Each method's value from rung to rung, a panel a backbone and metric; beneath it its gain over the baseline."""
    panels = [
        _ladder_panel(experiment, dataset, backbone, metric, f"f{number}-{place}-{i}")
        for place, backbone in enumerate(experiment.backbones(dataset))
        for i, metric in enumerate(RUNG_METRICS)
    ]
    caption = _joined(experiment.context(dataset, experiment.protocols(dataset)), experiment.key())
    return Figure("ladder", f"figure-{number}", f"From rung to rung: {dataset}", caption, panels)


def _ladder_panel(experiment: Experiment, dataset: str, backbone: str, metric: str, name: str) -> Panel:
    protocols = experiment.protocols(dataset)
    methods = experiment.methods(dataset=dataset, backbone=backbone)
    look, short = styles(methods), experiment.short()
    levels = {method: _levels(experiment, dataset, backbone, method, metric) for method in methods}
    gains = {
        method: _rung_gains(experiment, dataset, backbone, method, metric)
        for method in methods
        if method != experiment.baseline
    }
    popular = [experiment.results.popular(dataset, experiment.ranking(name), metric) for name in protocols]
    # side by side within a rung, or their error bars would hide each other
    shift = {method: 0.09 * (place - (len(methods) - 1) / 2) for place, method in enumerate(methods)}

    def values(axes: Axes) -> None:
        for method, points in levels.items():
            _error_line(axes, points, shift[method], look[method], short[method])
            _crosses(axes, [point.x + shift[method] for point in points if point.note], look[method])
        axes.plot(range(len(popular)), popular, color=_GREY, linestyle=":", linewidth=1.2, label=POPULAR)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(metric)
        _rung_axis(axes, protocols)
        draw_legend(axes)

    def relative_gains(axes: Axes) -> None:
        axes.axhline(0, color="#334", linewidth=0.9)
        for method, points in gains.items():
            _error_line(axes, points, shift[method], {**look[method], "linestyle": "none"}, "")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(y, 0) if abs(y) > 1e-9 else "0"))
        axes.set_ylabel(f"Gain over {short[experiment.baseline]}", fontsize=7.5)
        _rung_axis(axes, protocols)

    longest = max(len(_rung_label(number, protocol)) for number, protocol in enumerate(protocols, start=1))
    title = f"{label(backbone)}: {metric}"
    frame = line_frame([*(short[method] for method in methods), POPULAR], 1.5, 1.1, bottom=0.2 + _SLANT * longest)
    frame = replace(frame, left=max(frame.left, _SLANT * len(_rung_label(1, protocols[0]))))
    said = "; ".join(
        _ladder_said(label(method), protocols, points, gains.get(method)) for method, points in levels.items()
    )
    return draw_panel(
        name, f"{metric} from rung to rung, {label(backbone)}, {dataset}. {said}.", title, frame, values, relative_gains
    )


def _levels(experiment: Experiment, dataset: str, backbone: str, method: str, metric: str) -> list[Point]:
    """Mean and standard deviation over seeds, rung by rung."""
    points = []
    for place, protocol in enumerate(experiment.protocols(dataset)):
        mean, deviation = mean_and_sd(experiment.values(dataset, protocol, backbone, method, metric).values())
        cells = select(experiment.results.cells, dataset=dataset, protocol=protocol, backbone=backbone, method=method)
        failed = not cells.empty and not (cells["status"] == DONE).any()
        note = cell_notes(cells) if failed else ""
        points.append(Point(place, mean, mean - deviation, mean + deviation, note=note))
    return points


def _rung_gains(experiment: Experiment, dataset: str, backbone: str, method: str, metric: str) -> list[Point]:
    points = []
    for place, protocol in enumerate(experiment.protocols(dataset)):
        row = experiment.against(dataset, protocol, backbone, method, metric)
        if compared(row) and is_number(row["relative_gain"]):
            gain, low, high = (float(row[name]) for name in ("relative_gain", "gain_low", "gain_high"))
            points.append(Point(place, gain, low, high))
    return points


def _error_line(axes: Axes, points: Sequence[Point], shift: float, style: Mapping[str, Any], name: str) -> None:
    xs = [point.x + shift for point in points]
    axes.plot(xs, [point.value for point in points], linewidth=1.2, markersize=4, label=name, **style)
    for x, point in zip(xs, points, strict=True):
        if is_number(point.low) and is_number(point.high):
            axes.plot([x, x], [point.low, point.high], color=style["color"], linewidth=1.3, solid_capstyle="butt")


def _rung_label(number: int, protocol: str) -> str:
    return f"{number}. {protocol.replace('_', ' ')}"


def _rung_axis(axes: Axes, protocols: Sequence[str]) -> None:
    names = [_rung_label(number, protocol) for number, protocol in enumerate(protocols, start=1)]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7.5)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(visible=False, axis="x")


def _ladder_said(name: str, protocols: Sequence[str], levels: Sequence[Point], gains: Sequence[Point] | None) -> str:
    by_place = {point.x: point for point in gains or ()}
    parts = []
    for protocol, point in zip(protocols, levels, strict=True):
        if not is_number(point.value):
            parts.append(f"{protocol} no value{f' ({point.note})' if point.note else ''}")
            continue
        gain = by_place.get(point.x)
        over = f" ({percent(gain.value)} {percent_interval(gain.low, gain.high)})" if gain else ""
        parts.append(f"{protocol} {fixed(point.value)}{over}")
    return f"{name}: {', '.join(parts)}"


def spread_figure(experiment: Experiment, dataset: str, number: int) -> Figure:
    """A dot for each protocol's mean over seeds, a line a method, a panel a metric."""
    panels = [_spread_panel(experiment, dataset, metric, f"f{number}-{i}") for i, metric in enumerate(TEST_METRICS)]
    caption = _joined(experiment.context(dataset, experiment.protocols(dataset)), experiment.key())
    return Figure("spread", f"figure-{number}", f"Spread over protocols: {dataset}", caption, panels)


def _spread_panel(experiment: Experiment, dataset: str, metric: str, name: str) -> Panel:
    short, look = experiment.short(), styles(experiment.methods(dataset=dataset))
    lines: list[tuple[str, str, Spread | None]] = []
    for backbone in experiment.backbones(dataset):
        lines.append((label(backbone), "", None))
        for method in experiment.methods(dataset=dataset, backbone=backbone):
            lines.append((short[method], method, spread_of(experiment, dataset, backbone, method, metric)))
    longest = max(len(text) for text, _, _ in lines)
    frame = Frame(left=0.2 + 0.072 * max(longest, 8), top=0.42, heights=(0.24 * len(lines),))
    said, heading = [], ""
    for text, _, found in lines:
        heading = text if found is None else heading
        if found is not None:
            what = f"{fixed(found.low)} to {fixed(found.high)}, sd {fixed(found.sd)}" if found.means else "no value"
            said.append(f"{heading}, {text}: {what}")
    alt = f"{metric} over {len(experiment.protocols(dataset))} protocols, {dataset}. {'; '.join(said)}."
    return draw_panel(name, alt, metric, frame, _spread_drawing(lines, look, metric))


def _spread_drawing(lines: Sequence[tuple[str, str, Spread | None]], look: Look, metric: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for y, (_, method, found) in enumerate(lines):
            if found is None:
                continue
            if not found.means:
                axes.text(0.01, y, "no value", transform=axes.get_yaxis_transform(), va="center", color=_BAD)
                continue
            style = {"color": look[method]["color"], "marker": look[method]["marker"]}
            axes.plot([found.low, found.high], [y, y], color=style["color"], linewidth=0.8)
            axes.plot(
                list(found.means.values()),
                [y] * len(found.means),
                markersize=4.5,
                alpha=0.65,
                linestyle="none",
                **style,
            )
            axes.plot([found.mean], [y], color="#111", marker="|", markersize=11, linestyle="none")
        axes.set_yticks(range(len(lines)), [text for text, _, _ in lines])
        for tick, (_, _, found) in zip(axes.get_yticklabels(), lines, strict=True):
            tick.set_fontweight("bold" if found is None else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{metric}, mean over seeds")

    return draw
