"""A table as LaTeX (booktabs), for papers."""

from __future__ import annotations

import pandas as pd

from iadsr.reporting.layout import Cell, Column, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\u2212": r"$-$",
    "\u2013": "--",
    "\u00d7": r"$\times$",
    "<": r"$<$",
    ">": r"$>$",
    "≤": r"$\leq$",
    "\u202f": r"\,",
    "\u00a0": "~",
    "“": "``",
    "”": "''",
}


def escape(text: str) -> str:
    """`text` with every character that LaTeX would interpret made literal."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def to_latex(table: Table) -> str:
    """The table as displayed, with its caption and the label `tab:<name>`. Needs the package booktabs."""
    rows = [[text for cell in row.cells for text in _texts(cell)] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[_title(column) for column in table.columns], dtype=object)
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    return frame.to_latex(
        index=False,
        escape=False,
        caption=escape(table.caption),
        label=f"tab:{table.name}",
        column_format=layout,
        position="htbp",
    )


def _title(column: Column) -> str:
    return escape(f"{column.title} ({column.sub})" if column.sub else column.title)


def _texts(cell: Cell) -> list[str]:
    text = escape(cell.text)
    text = rf"\textbf{{{text}}}" if cell.best else text
    text = f"{text} {escape(cell.sub)}" if cell.sub else text
    return [text, *[""] * (cell.span - 1)]
