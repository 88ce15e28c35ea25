"""An experiment as statistics sees it: its expected cells, and which of their methods are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from iadsr.core import columns as c
from iadsr.evaluation.runs import Address

EVERY = "*"  # in a pair: every method but the other one of the pair


class Grid(NamedTuple):
    """One experiment.

    Attributes:
        name: its name in the run file; `columns.MAIN` for the run file's own grid.
        view: how it is shown: table, sweep, ladder, spread, budget or detection.
        baseline: the method against which gains are given.
        compare: (method, baseline) pairs, either of which may be `EVERY`.
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
            for method in (known if pair[0] == EVERY else [pair[0]])
            for baseline in (known if pair[1] == EVERY else [pair[1]])
            if method != baseline
        ]
        return list(dict.fromkeys(found))
