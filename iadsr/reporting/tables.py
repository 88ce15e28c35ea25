"""A table is written once: a frame and its columns, from which HTML, LaTeX and CSV follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from string import Template
from textwrap import wrap
from typing import Any

import pandas as pd

from iadsr.core.columns import DONE
from iadsr.formats.latex import escape
from iadsr.reporting import format as f

Row = Mapping[str, Any]
Text = Callable[[Row], str]
GAIN, LOSS = "gain", "loss"
OUTCOME_WORDS = {GAIN: "gain", LOSS: "loss", "equal": "equal", "none": "n.s.", "underpowered": "n.s., underpowered"}
VERDICT_TONES = {  # in the order in which a page lists them
    "reproduced": "holds",
    "partly reproduced": "mixed",
    "depends on the protocol": "mixed",
    "not reproduced": "fails",
    "opposite": "fails",
    "underpowered": "open",
    "not run": "open",
}


@dataclass(frozen=True)
class Column:
    """A column: its title, a smaller line below, and how a row's cell is written. Numbers are set flush right.

    `bold` names a column of the frame that marks cells, `tone` one with their outcome, `verdict` one with a verdict.
    `group` is what a reader of the page can choose to see alone, such as a metric.
    """

    title: str
    text: Text
    sub: Text | None = None
    note: str = ""
    numeric: bool = True
    bold: str = ""
    tone: str = ""
    verdict: str = ""
    group: str = ""


@dataclass(frozen=True)
class TableCell:
    """One displayed cell; `sub` is its second, smaller line. `tone` is an outcome, of a verdict, or `missing`."""

    text: str
    sub: str = ""
    head: bool = False
    bold: bool = False
    span: int = 1
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table to display; its CSV is `frame`: plain names, full precision.

    Attributes:
        heads: how many columns are row headers.
        opens: columns of the frame; a rule is drawn above a row in which one of them changes.
        span: columns of the display from `heads` on that a row without results gives to its `note`.
    """

    name: str
    caption: str
    frame: pd.DataFrame = field(repr=False)
    columns: Sequence[Column]
    heads: int = 1
    opens: Sequence[str] = ()
    span: int = 0

    @property
    def groups(self) -> list[str]:
        """The distinct groups of its columns, in order."""
        return list(dict.fromkeys(column.group for column in self.columns if column.group))

    def lines(self) -> Iterator[tuple[bool, list[TableCell]]]:
        """Yield each row: whether a rule is drawn above it, and its cells, with spans that fill the columns."""
        previous = None
        for row in self.frame.astype(object).where(self.frame.notna(), None).to_dict("records"):
            place = tuple(row[name] for name in self.opens)
            yield place != previous and bool(self.opens), self._cells({str(key): value for key, value in row.items()})
            previous = place

    def _cells(self, row: Row) -> list[TableCell]:
        heads = [_cell(column, row, head=True) for column in self.columns[: self.heads]]
        rest = self.columns[self.heads :]
        if self.span and row["status"] != DONE:
            heads.append(TableCell(str(row["note"] or "not recorded"), span=self.span, tone="missing"))
            rest = rest[self.span :]
        return [*heads, *(_cell(column, row, head=False) for column in rest)]


def _cell(column: Column, row: Row, head: bool) -> TableCell:
    tone = str(row.get(column.tone) or "")
    if column.verdict:
        tone = VERDICT_TONES.get(str(row.get(column.verdict)), "")
    elif column.tone and tone not in OUTCOME_WORDS:
        why = str(row.get(column.tone.removesuffix("outcome") + "status") or "")
        if not why:
            return TableCell(f.NOTHING)
        return TableCell(why if tone in why else f"{tone}: {why}", tone="missing")
    sub = column.sub(row) if column.sub else ""
    return TableCell(column.text(row), sub, head, row.get(column.bold) is True, tone=tone)


def named(title: str, column: str) -> Column:
    """Make a column of names as readers know them."""
    return Column(title, lambda row: f.label(str(row[column])), numeric=False)


def text(title: str, column: str, sub: str = "") -> Column:
    """Make a column of text as it is."""
    return Column(title, lambda row: f.plain(row[column]), (lambda row: str(row[sub])) if sub else None, numeric=False)


def number(title: str, column: str, form: Callable[[Any], str] = f.fixed, note: str = "") -> Column:
    """Make a column of numbers."""
    return Column(title, lambda row: form(row.get(column)), note=note)


def mean(title: str, column: str, digits: int = 4, bold: str = "", note: str = "") -> Column:
    """Make `<column> mean` over `± <column> sd`."""
    return Column(
        title,
        lambda row: f.fixed(row.get(f"{column} mean"), digits),
        lambda row: f.plus_minus(row.get(f"{column} sd"), digits),
        note=note,
        bold=bold,
    )


def gain(title: str, prefix: str = "", with_p: bool = False) -> Column:
    """Make a comparison's relative gain and outcome, its interval and, if wanted, the adjusted p below.

    Its columns begin with `prefix`. A dash where nothing is compared, as in a baseline's own row.
    """

    def first(row: Row) -> str:
        said = f"{f.percent(row[f'{prefix}gain'])}\u00a0{OUTCOME_WORDS[row[f'{prefix}outcome']]}"
        return f"{said}, though alone p\u00a0{f.p_value(row[f'{prefix}p'])}" if row[f"{prefix}alone"] else said

    def second(row: Row) -> str:
        below = f.percent_interval(row[f"{prefix}gain_low"], row[f"{prefix}gain_high"])
        return f"{below}, p\u00a0{f.p_value(row[f'{prefix}p_holm'])}" if with_p else below

    return Column(title, first, second, tone=f"{prefix}outcome")


def wide(table: pd.DataFrame, keys: Sequence[str], across: str, values: Sequence[str]) -> pd.DataFrame:
    """Return one row per group of `keys`, in order; for each value v of `across` the columns `v <value>`."""
    pivoted = table.pivot(index=list(keys), columns=across, values=list(values))
    names = [(value, name) for name in dict.fromkeys(table[across]) for value in values]
    shown = pd.DataFrame({f"{name} {value}": pivoted[value, name] for value, name in names}, index=pivoted.index)
    return table[list(keys)].drop_duplicates().merge(shown.reset_index(), on=list(keys), how="left")


# In \footnotesize: characters of a page, of a table that fits one of two columns, and at least of a cell's longest line
# and of a column's title; lines of a page
_PAGE, _NARROW, _CELL, _TITLE, _LINES = 108, 48, 14, 9, 40


def to_latex(table: Table, source: str) -> str:
    """Write the table as displayed, for a paper of two columns. Needs the packages booktabs and graphicx.

    Long cells are wrapped. A table too wide for one column spans both, and is scaled down if still too wide. One
    higher than a page becomes several, labelled `tab:<name>`, `tab:<name>-2` and so on.

    Args:
        source: LaTeX of a table, with places for `string.Template`: kind, caption, label, sides, titles and rows.
    """
    sides = "".join("r" if column.numeric else "l" for column in table.columns)
    titles = [TableCell(f"{column.title} ({column.note})" if column.note else column.title) for column in table.columns]
    rows = list(table.lines())
    widths = [_TITLE] * len(sides)
    for at, cell in (placed for _, cells in rows for placed in _placed(cells)):
        widths[at] = max(widths[at], len(f"{cell.text} {cell.sub}") if cell.span == 1 else 0)
    # the longest lines with which all columns fit, columns of short cells keep what they need
    limit = next((n for n in range(_PAGE, _CELL, -1) if sum(2 + min(n, width) for width in widths) <= _PAGE), _CELL)
    widths = [min(limit, width) for width in widths]
    parts: list[list[str]] = [[]]
    height = 0
    for opens, cells in rows:
        pieces = [_latex_cell(cell, sides[at], sum(widths[at : at + cell.span])) for at, cell in _placed(cells)]
        height += (lines := 1 + max(piece.count(r"\\") for piece in pieces))
        if height > _LINES:
            parts.append([])
            height = lines
        rule = "\\addlinespace\n" if opens and parts[-1] else ""
        parts[-1].append(f"{rule}{' & '.join(pieces)} \\\\")
    heads = [_latex_cell(cell, sides[at], widths[at], "b") for at, cell in _placed(titles)]
    caption = escape(table.caption)
    return "\n".join(
        Template(source).substitute(
            kind="table" if sum(2 + width for width in widths) <= _NARROW else "table*",
            caption=f"{caption} Part {number} of {len(parts)}." if len(parts) > 1 else caption,
            label=f"{table.name}-{number}" if number > 1 else table.name,
            sides=sides,
            titles=" & ".join(heads),
            rows="\n".join(part),
        )
        for number, part in enumerate(parts, 1)
    )


def _placed(cells: Sequence[TableCell]) -> Iterator[tuple[int, TableCell]]:
    """Yield each cell with the number of its first column."""
    return zip(accumulate((cell.span for cell in cells), initial=0), cells, strict=False)


def _latex_cell(cell: TableCell, side: str, limit: int, place: str = "t") -> str:
    """Write a cell in lines of at most `limit` characters, its second line beside the first if both fit."""
    side = side if cell.span == 1 else "l"
    lines = [rf"\textbf{{{escape(line)}}}" if cell.bold else escape(line) for line in wrap(cell.text, limit)]
    if len(cell.text) + 1 + len(cell.sub) <= limit:
        lines = [" ".join(filter(None, [*lines, escape(cell.sub)]))]
    else:
        lines += [rf"\scriptsize {escape(line)}" for line in wrap(cell.sub, limit * 5 // 4)]
    text = r"\\ ".join(lines)
    if len(lines) > 1:
        text = rf"\begin{{tabular}}[{place}]{{@{{}}{side}@{{}}}}{text}\end{{tabular}}"
    return rf"\multicolumn{{{cell.span}}}{{{side}}}{{{text}}}" if cell.span > 1 else text
