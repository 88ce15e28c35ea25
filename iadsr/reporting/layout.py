"""What the page is laid out from: sections of blocks, and tables that know their display cells and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from iadsr.reporting.drawing import Figure


@dataclass(frozen=True)
class Column:
    """A column's title with a second, smaller line; numeric columns are set flush right."""

    title: str
    sub: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """One displayed cell; `sub` is its second, smaller line.

    `head` makes it a row header; `tone` is gain, loss, none, missing or empty.
    """

    text: str
    sub: str = ""
    head: bool = False
    best: bool = False
    span: int = 1
    tone: str = ""


@dataclass(frozen=True)
class Row:
    """Cells whose spans add up to the number of columns; `opens` draws a rule above."""

    cells: Sequence[Cell]
    opens: bool = False


@dataclass(frozen=True)
class Table:
    """`frame` is what the CSV holds: plain names, full precision."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    frame: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Block:
    """One thing in a section: a heading, a paragraph, a table or a figure.

    A `folded` block opens on request. A heading with an `anchor` begins a part of the section and is listed under it in
    the contents.
    """

    heading: str = ""
    text: str = ""
    table: Table | None = None
    figure: Figure | None = None
    folded: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Section:
    """A numbered section of the page."""

    name: str
    title: str
    intro: str
    blocks: Sequence[Block]

    @property
    def parts(self) -> list[Block]:
        """The headings of its parts."""
        return [block for block in self.blocks if block.anchor]


def row_heads(*texts: str) -> list[Cell]:
    """Row headers."""
    return [Cell(text, head=True) for text in texts]


def text_cells(*texts: str) -> list[Cell]:
    """Plain cells."""
    return [Cell(text) for text in texts]


def columns_of(text: Sequence[str], numeric: Sequence[str]) -> list[Column]:
    """Columns of text, then columns of numbers."""
    return [*(Column(title, numeric=False) for title in text), *(Column(title) for title in numeric)]
