"""An experiment as statistics sees it: its expected cells, and which of their methods are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from iadsr.config.cell import Cell
from iadsr.config.protocol import budget_pairs
from iadsr.config.run import EVERY_METHOD, RunConfig
from iadsr.core import columns as c
from iadsr.evaluation.runs import Address


class Grid(NamedTuple):
    """One experiment.

    Attributes:
        name: its name in the run file; `columns.MAIN` for the run file's own grid.
        view: how it is shown: table, sweep, ladder, spread, budget or detection.
        baseline: the method against which gains are given.
        compare: (method, baseline) pairs, either of which may be `EVERY_METHOD`: all but the other.
        cells: the expected runs, in the order given.
        rankings: ranking rule that each protocol prescribes.
        longer: pairs of a protocol and one that extends it by a larger budget.
        released: protocols that have the networks of the release.
    """

    name: str
    view: str
    baseline: str
    compare: Sequence[tuple[str, str]]
    cells: Sequence[Address]
    rankings: Mapping[str, str]
    longer: Sequence[tuple[str, str]] = ()
    released: Sequence[str] = ()

    @property
    def protocols(self) -> list[str]:
        """Its protocols, in the order given."""
        return list(dict.fromkeys(cell.protocol for cell in self.cells))

    def headline(self, protocol: str) -> str:
        """Return the ranking rule under which a protocol is shown.

        A ladder compares protocols, so all of its rungs have the rule of the last one.
        """
        return self.rankings[self.protocols[-1] if self.view == "ladder" else protocol]

    def mark_headline(self, table: pd.DataFrame) -> pd.Series:
        """Mark the rows of a table with protocol and ranking that are under the headline rule."""
        return table[c.RANKING] == table[c.PROTOCOL].map({name: self.headline(name) for name in self.protocols})

    def pairs(self, methods: Iterable[str]) -> list[tuple[str, str]]:
        """List the (method, baseline) pairs among `methods`, wildcards filled in, each once, in the order of both."""
        known = list(dict.fromkeys(methods))
        found = [
            (method, baseline)
            for pair in self.compare
            for method in (known if pair[0] == EVERY_METHOD else [pair[0]])
            for baseline in (known if pair[1] == EVERY_METHOD else [pair[1]])
            if method != baseline
        ]
        return list(dict.fromkeys(found))


def grids_of(run: RunConfig, planned: Mapping[str, Sequence[Cell]], folder: Path) -> list[Grid]:
    """Describe the experiments of a run.

    Args:
        planned: the cells of each, by name, as `RunConfig.grids` resolves them.
        folder: of the configuration.
    """
    grids = []
    for name, cells in planned.items():
        part = run if name == c.MAIN else run.experiments[name]
        grid = Grid(
            name=name,
            view="table" if isinstance(part, RunConfig) else part.view,
            baseline=part.baseline,
            compare=run.compared(name),
            cells=[Address(*(getattr(cell, name) for name in c.ADDRESS)) for cell in cells],
            rankings={cell.protocol: cell.settings.ranking for cell in cells},
            longer=budget_pairs(folder, list(dict.fromkeys(cell.protocol for cell in cells))),
            released=list(dict.fromkeys(cell.protocol for cell in cells if cell.settings.networks == "released")),
        )
        grids.append(grid)
    return grids
