import re
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as MatplotlibFigure

from iadsr.reporting import drawing, figures
from iadsr.reporting.drawing import Bar, Frame


def forest(name: str = "f1-0", note: str = "diverged") -> drawing.Panel:
    nan = float("nan")
    bars = [Bar("A <&>", "x vs $y$", 0.1, -0.05, 0.2), Bar("B", "x vs $y$", nan, nan, nan, note)]
    return drawing.forest_panel(name, 'T "quoted" <&>', bars, "gain", (-0.2, 0.4), drawing.CLAIM)


def test_panels_are_deterministic() -> None:
    assert forest().svg == forest().svg


def test_panels_are_xml_without_addresses_or_dates() -> None:
    svg = forest().svg
    ElementTree.fromstring(svg)
    assert "http" not in svg
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", svg)
    assert "metadata" not in svg


def test_ids_of_two_panels_differ() -> None:
    first, second = (set(re.findall(r'id="([^"]+)"', forest(name).svg)) for name in ("f1-0", "f1-1"))
    assert first
    assert not first & second


def test_text_stays_text_and_failures_are_said() -> None:
    panel = forest()
    assert "A &lt;&amp;&gt;" in panel.svg
    assert "x vs $y$" in panel.svg
    assert ">diverged" in panel.svg.replace("> ", ">")
    assert "B, x vs $y$: diverged" in panel.alt


def test_styles_differ_in_more_than_colour() -> None:
    looks = list(drawing.styles([str(n) for n in range(7)]).values())
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks}) == 7


def test_more_styles_than_colours_are_still_told_apart() -> None:
    looks = drawing.styles([str(n) for n in range(20)]).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == 20


def test_stacked_axes_fill_their_panel_from_the_top_down() -> None:
    (_, height), boxes = Frame(left=1.0, top=0.5, heights=(2.0, 1.0), bottom=0.5, gap=0.25).place()
    assert height == 4.25
    assert [box[1] * height for box in boxes] == pytest.approx([1.75, 0.5])
    assert [box[3] * height for box in boxes] == pytest.approx([2.0, 1.0])


@pytest.mark.parametrize(
    "name", ["IADSR as released: kept", "IADSR as released: past gate", "IADSR threshold=quantile, long"]
)
def test_no_legend_is_cut_off(name: str) -> None:
    names = [f"{name} {n}" for n in range(3)]
    size, (box, *_) = drawing.line_frame(names).place()
    figure = MatplotlibFigure(figsize=size)
    FigureCanvasSVG(figure)
    axes = figure.add_axes(box)
    with mpl.rc_context(dict(drawing._RC)):
        for label in names:
            axes.plot([0, 1], [0, 1], label=label)
        drawing.draw_legend(axes)
    legend = axes.get_legend()
    assert legend is not None
    extent = legend.get_window_extent()
    assert extent.x1 <= figure.bbox.x1
    assert extent.y1 <= figure.bbox.y1 - 0.2 * figure.dpi, "and the title stands free above it"


def test_scales_are_shared_unless_one_is_squeezed() -> None:
    assert drawing.shared_extents([(-1.0, 1.0), (-0.3, 0.3)]) == [(-1.0, 1.0)] * 2
    assert drawing.shared_extents([(-1.0, 1.0), (-0.1, 0.1)]) == [(-1.0, 1.0), (-0.1, 0.1)]


def test_curves_keep_seeds_of_different_length() -> None:
    frame = pd.DataFrame({"epoch": [1, 2, 3, 1, 2], "seed": [1, 1, 1, 2, 2], "validation": [0.1, 0.2, 0.3, 0.1, None]})
    table = figures._by_seed(frame, "validation")
    assert table.shape == (3, 2)
    assert table.dropna().index.tolist() == [1]
    assert figures._by_seed(frame.iloc[:0], "validation").empty


def test_log_scale_labels_are_plain_numbers() -> None:
    table = pd.DataFrame({1: [10.0, 1.0, 0.1]}, index=[1, 2, 3])
    look = drawing.styles(["none: recommendation"])["none: recommendation"]
    svg = figures._curves("f", "T", {"none: recommendation": (table, look, set())}, "Loss", float("nan"), log=True).svg
    assert ">0.1<" in svg
    assert "$" not in svg
