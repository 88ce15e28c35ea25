import pandas as pd
import pytest

from iadsr.reporting.page import make_environment
from iadsr.reporting.results import Results
from iadsr.reporting.tables import (
    Column,
    Table,
    TableCell,
    escape,
    gain,
    mean,
    named,
    number,
    text,
    to_latex,
    wide,
)
from tests.unit.reporting.synthetic import TEMPLATES

LATEX = (TEMPLATES / "table.tex").read_text(encoding="utf-8")


def latex(made: Table) -> str:
    return to_latex(made, LATEX)


def table(frame: pd.DataFrame, *columns: Column, **options: object) -> Table:
    return Table("x", "A caption.", frame, columns, **options)  # type: ignore[arg-type]


def test_wide_keeps_rows_in_order_and_tells_what_is_missing() -> None:
    long = pd.DataFrame(
        {
            "method": ["b", "a", "a"],
            "metric": ["HR", "HR", "MRR"],
            "mean": [0.3, 0.1, 0.2],
            "outcome": ["gain", "none", "loss"],
        }
    )
    made = wide(long, ["method"], "metric", ["mean", "outcome"])
    assert list(made) == ["method", "HR mean", "HR outcome", "MRR mean", "MRR outcome"]
    assert made["method"].tolist() == ["b", "a"]
    assert made["HR mean"].tolist() == [0.3, 0.1]
    assert pd.isna(made.loc[0, "MRR mean"])
    assert pd.isna(made.loc[0, "MRR outcome"])


def test_a_gain_is_written_by_its_outcome() -> None:
    rows = [
        {
            "gain": 0.25,
            "gain_low": 0.1,
            "gain_high": 0.4,
            "p_holm": 0.01,
            "outcome": "gain",
            "status": "ok",
            "alone": False,
        },
        {
            "gain": -0.1,
            "gain_low": -0.3,
            "gain_high": 0.1,
            "p": 0.03,
            "p_holm": 0.4,
            "outcome": "none",
            "status": "ok",
            "alone": True,
        },
        {"outcome": "missing", "status": "none: not in the grid"},
        {"outcome": "untrained", "status": "iadsr seed 1: untrained (flat)"},
        {"outcome": "", "status": ""},
    ]
    cells = [cells[0] for _, cells in table(pd.DataFrame(rows), gain("g", with_p=True), heads=0).lines()]
    assert cells[0] == TableCell("+25.0\u202f%\u00a0gain", "[+10.0, +40.0]\u202f%, p\u00a00.010", tone="gain")
    assert (cells[1].text, cells[1].tone) == ("\u221210.0\u202f%\u00a0n.s., though alone p\u00a00.030", "none")
    assert cells[2] == TableCell("missing: none: not in the grid", tone="missing")
    assert cells[3] == TableCell("iadsr seed 1: untrained (flat)", tone="missing")
    assert cells[4] == TableCell("\u2013")


def test_a_row_without_results_gives_its_place_to_the_reason() -> None:
    frame = pd.DataFrame(
        {
            "method": ["none", "most_popular"],
            "HR mean": [0.5, None],
            "HR sd": [0.1, None],
            "HR best": [True, None],
            "status": ["done", "diverged"],
            "note": ["", "seed 1 diverged"],
            "seeds": [3, 0],
        }
    )
    made = table(
        frame, named("Method", "method"), mean("HR", "HR", bold="HR best"), number("Seeds", "seeds", str), span=1
    )
    first, second = (cells for _, cells in made.lines())
    assert first == [TableCell("none", head=True), TableCell("0.5000", "±\u202f0.1000", bold=True), TableCell("3")]
    assert second == [
        TableCell("most popular", head=True),
        TableCell("seed 1 diverged", span=1, tone="missing"),
        TableCell("0"),
    ]


def test_rules_are_drawn_where_a_block_begins() -> None:
    frame = pd.DataFrame({"a": ["x", "x", "y"], "share mean": [0.5, 0.25, None], "share sd": [None, 0.1, None]})
    made = table(frame, text("A", "a"), mean("S", "share", 2), opens=["a"])
    assert [opens for opens, _ in made.lines()] == [True, False, True]
    assert [(cells[1].text, cells[1].sub) for _, cells in made.lines()] == [
        ("0.50", ""),
        ("0.25", "±\u202f0.10"),
        ("\u2013", ""),
    ]


def test_every_character_becomes_balanced_ascii() -> None:
    for code in (*range(0x20, 0xD800), *range(0xE000, 0x11000), *range(0x1F300, 0x1F700)):
        made = escape(f"a{chr(code)}b")
        assert made.isascii() and made.isprintable(), hex(code)
        bare = made.replace(r"\{", "").replace(r"\}", "")
        assert bare.count("{") == bare.count("}"), hex(code)


@pytest.mark.parametrize(
    ("raw", "made"),
    [
        ("50 % of a_b & #1 $x$", r"50 \% of a\_b \& \#1 \$x\$"),
        ("θ ≥ 0.5", r"\ensuremath{\theta} \ensuremath{\geq} 0.5"),
        ("± 1", r"\ensuremath{\pm} 1"),
        ("--cores |c| [a]", r"-{}-cores {\textbar}c{\textbar} {[}a{]}"),
        ("two\nlines\tand\u200b nothing", "two lines and nothing"),
        ("1\u202f000\u00a0km", r"1\,000~km"),
    ],
)
def test_characters_are_set_literally(raw: str, made: str) -> None:
    assert escape(raw) == made


def test_latex_has_what_is_displayed() -> None:
    frame = pd.DataFrame({"method": ["a_b"], "HR mean": [0.5], "HR sd": [0.1], "HR best": [True]})
    made = latex(table(frame, text("Method", "method"), mean("HR@5", "HR", bold="HR best", note="n=3")))
    assert r"a\_b & \textbf{0.5000} \ensuremath{\pm}\,0.1000" in made
    assert "HR@5 (n=3)" in made
    assert r"\label{tab:x}" in made and r"\begin{tabular}{lr}" in made


def test_latex_wraps_what_is_long_and_sets_its_second_line_below() -> None:
    frame = pd.DataFrame({"why": ["to be or not to be, " * 10], "sub": ["that is it"]})
    made = latex(table(frame, text("Why", "why", "sub")))
    assert made.startswith(r"\begin{table*}")
    lines = made[made.index(r"\begin{tabular}[t]{@{}l@{}}") :].split("\n")[0].split(r"\\ ")
    assert len(lines) == 3 and all(len(line) < 160 for line in lines)
    assert lines[2].startswith(r"\scriptsize that is it\end{tabular}")


def test_latex_gives_a_reason_the_columns_that_it_spans() -> None:
    frame = pd.DataFrame({"a": ["x"], "HR": [None], "MRR": [None], "status": ["missing"], "note": ["seeds 0, 1 and 2"]})
    made = latex(table(frame, text("A", "a"), number("HR", "HR"), number("MRR", "MRR"), span=2))
    assert made.startswith(r"\begin{table}[htbp]")
    assert r"x & \multicolumn{2}{l}{seeds 0, 1 and 2} \\" in made


def test_latex_of_many_rows_is_several_tables() -> None:
    frame = pd.DataFrame({"a": ["x"] * 60 + ["y"] * 40})
    made = latex(table(frame, text("A", "a"), opens=["a"]))
    assert [made.count(part) for part in (r"\begin{table}", r"\label{tab:x}", r"\label{tab:x-3}")] == [3, 1, 1]
    assert "A caption. Part 3 of 3." in made
    assert made.count(r"x \\") == 60 and made.count(r"y \\") == 40
    assert made.count(r"\addlinespace") == 1


def test_markdown_has_what_is_displayed_but_the_smaller_lines_of_headers(results: Results) -> None:
    frame = pd.DataFrame({"method": ["a|b*"], "sub": ["below"], "HR mean": [0.5], "HR sd": [0.1], "HR best": [True]})
    made = (
        make_environment(TEMPLATES, results.label, results=results, defects={})
        .get_template("claims.md.j2")
        .render(table=table(frame, text("Method", "method", "sub"), mean("HR", "HR", bold="HR best")), title="A")
    )
    assert made == "**A.**\n\n| Method | HR |\n| --- | --- |\n| a\\|b\\* | **0.5000**<br><sub>±\u202f0.1000</sub> |\n"
