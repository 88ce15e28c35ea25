import re
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from iadsr.reporting import charts
from iadsr.reporting.charts import Axis, Band, Panel
from tests.unit.reporting.synthetic import TEMPLATES

NAN = float("nan")
BARS = pd.DataFrame(
    {
        "heading": ["A <&>", "B"],
        "name": ["x vs $y$", "x vs $y$"],
        "value": [0.1, NAN],
        "low": [-0.05, NAN],
        "high": [0.2, NAN],
        "note": ["gain", "diverged"],
    }
)
LINES = pd.DataFrame({"series": ["IADSR"] * 3 + ["none"] * 3, "x": [1, 2, 3] * 2, "y": [0.1, 0.2, 0.3, 0.2, NAN, 0.1]})


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    """The style of a page."""
    with mpl.rc_context(fname=TEMPLATES / "figures.mplstyle"):
        yield


def forest(title: str = 'T "quoted" <&>') -> Panel:
    return charts.forest(title, BARS, "gain", (-0.2, 0.4), Band(0.246, 0.363, "claimed"))


def test_panels_are_deterministic() -> None:
    assert forest().svg == forest().svg


def test_panels_are_xml_without_addresses_or_dates() -> None:
    svg = charts.inline(forest(), "f1")
    ElementTree.fromstring(svg)
    assert "http" not in svg
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", svg)
    assert "metadata" not in svg


def test_ids_of_two_panels_differ() -> None:
    first, second = (set(re.findall(r'id="([^"]+)"', charts.inline(forest(), name))) for name in ("f1-0", "f1-1"))
    assert first
    assert not first & second


def test_text_stays_text_and_failures_are_said() -> None:
    panel = forest()
    assert "A &lt;&amp;&gt;" in panel.svg
    assert "x vs $y$" in panel.svg
    assert ">diverged" in panel.svg.replace("> ", ">")
    assert "A <&>, x vs $y$: +10\u202f% from \u22125\u202f% to +20\u202f%" in panel.alt
    assert "B, x vs $y$: diverged" in panel.alt


def test_lines_say_their_ends_and_skip_what_is_missing() -> None:
    panel = charts.lines(
        "T", [Axis("HR@5", LINES), Axis("Kept", LINES.assign(y=NAN), "share")], "Epoch", ["none", "IADSR"]
    )
    assert "HR@5, IADSR: 0.1000 at 1, 0.3000 at 3" in panel.alt
    assert "Kept, none: no value" in panel.alt
    ticks = charts.lines("T", [Axis("HR@5", LINES.assign(x=LINES["x"] - 1))], "", ["none"], ["cold", "D1", "D2"])
    assert "HR@5, none: 0.2000 at cold, 0.1000 at D2" in ticks.alt
    assert "IADSR" not in ticks.alt


def test_log_axes_have_plain_numbers() -> None:
    panel = charts.lines("T", [Axis("Loss", LINES.assign(y=LINES["y"] * 1e-3), "log")], "Epoch", ["none", "IADSR"])
    assert re.search(r">(0\.0003|3e-04|0\.0001|1e-04)<", panel.svg.replace("> ", ">"))


def test_every_part_of_a_stack_is_drawn() -> None:
    parts = [Axis(name, LINES, height=height) for name, height in (("One", 1.5), ("Two", 0.5))]
    one, two = charts.lines("T", parts[:1], "x", ["none"]), charts.lines("T", parts, "x", ["none"])
    heights = [float(re.findall(r'viewBox="0 0 [\d.]+ ([\d.]+)"', panel.svg)[0]) / 72 for panel in (one, two)]
    assert np.isclose(heights[1] - heights[0], 0.5 + 0.16)
    assert "One" in two.svg and "Two" in two.svg


def test_styles_differ_in_more_than_colour() -> None:
    looks = list(charts.styles([str(n) for n in range(7)]).values())
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks}) == 7
    looks = list(charts.styles([str(n) for n in range(20)]).values())
    assert len({(look["color"], look["marker"]) for look in looks}) == 20


def test_scales_are_shared_unless_one_is_squeezed() -> None:
    assert charts.shared([(0.0, 1.0), (-0.5, 0.5)]) == [(-0.5, 1.0)] * 2
    assert charts.shared([(0.0, 0.1), (0.0, 1.0)]) == [(0.0, 0.1), (0.0, 1.0)]


def test_drawing_changes_no_global_settings() -> None:
    before = dict(mpl.rcParams)
    forest()
    assert dict(mpl.rcParams) == before


def test_a_long_name_leaves_room_and_stays_whole_for_listeners() -> None:
    name = "my_package.methods.denoising:" + "Long" * 20
    panel = charts.forest(name, BARS.assign(name=name), "gain")
    assert name in panel.alt
    assert f"{name[:14]}\u2026{name[-15:]}" in panel.svg
    assert name not in panel.svg
    assert name not in charts.lines("t", [Axis("y", LINES.assign(series=name))], "x", [name]).svg


@pytest.mark.filterwarnings("error")
def test_lines_without_any_row_are_an_empty_panel() -> None:
    empty = LINES.iloc[:0].astype(str)
    assert charts.lines("t", [Axis("y", empty)], "x", ["IADSR"]).alt == "t. "


def test_labels_of_a_narrow_scale_do_not_meet() -> None:
    wide = BARS.assign(name="n" * 30, value=5.0, low=-1.0, high=7.0)
    assert len(re.findall(r">\+\d+\u202f%<", charts.forest("t", wide, "gain").svg)) <= 3


def test_a_log_scale_within_a_decade_has_few_labels() -> None:
    data = LINES.assign(y=[0.0034, 0.0042, 0.0012, 0.0037, 0.0016, 0.0013])
    svg = charts.lines("t", [Axis("y", data, "log", height=0.8)], "x", ["IADSR", "none"]).svg
    assert 2 <= len(re.findall(r">0\.00\d+<", svg)) <= 5
