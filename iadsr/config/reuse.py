"""Finds runs of a sweep that may turn out identical, so that one is trained and the others are copied from it.

An option that is nothing but a cut-off (`MethodOptions.cutoff`) leaves a run as it is, bit for bit, as long as every
comparison with it comes out the same. A finished run records between which values that is so; runs at these values are
copied from it (`iadsr.training.reuse`).

Which runs are trained does not depend on which of them finish first: each waits for those that `earlier_runs` names,
its ancestors in a search tree over the option's values. Runs that are the same lie side by side in the order of values,
so the topmost of them is an ancestor of all the others, and the only one that is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iadsr.config.cell import Cell
from iadsr.config.options import find_method
from iadsr.core.files import value_digest


def cutoff_of(cell: Cell) -> str | None:
    """Name the option of a cell that is a cut-off, if it has one.

    Code outside of this package can do anything with its options: none of its runs is taken for another.
    """
    if any(":" in module for module in cell.modules.values()):
        return None
    return find_method(cell.kind, cell.address).cutoff


def earlier_runs(cells: Iterable[Cell]) -> dict[str, tuple[Cell, ...]]:
    """List, by address, the runs that each cell of a sweep waits for, the topmost first; others have no entry.

    A method's own run comes before the points of sweeps over it: no run of a main grid waits for a sweep.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if (option := cutoff_of(cell)) is not None:
            groups.setdefault(_digest_without(cell, option), []).append(cell)
    earlier: dict[str, tuple[Cell, ...]] = {}
    for group in groups.values():
        _descend(sorted(group, key=lambda cell: (_value(cell), cell.method)), (), earlier)
    return earlier


def earlier_than(cell: Cell, cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return what `earlier_runs` lists of one cell among all `cells`, without looking at the whole grid."""

    def place(other: Cell) -> tuple[str | int, ...]:
        return other.dataset, other.protocol, other.backbone, other.kind, other.seed

    return earlier_runs(other for other in cells if place(other) == place(cell)).get(cell.address, ())


def holds_for(cell: Cell, record: Mapping[str, Any]) -> bool:
    """Tell from a finished run's record whether the cell's run, which differs at most in the cut-off, equals it."""
    option = cutoff_of(cell)
    limits = (record.get("same_between") or {}).get(option)
    if option is None or limits is None:
        return False
    low, high = limits
    value = _value(cell)
    if value == record["cell"]["settings"]["method_options"][option]:
        return True
    return (low is None or low <= value) and (high is None or value <= high)


def _descend(group: Sequence[Cell], above: tuple[Cell, ...], earlier: dict[str, tuple[Cell, ...]]) -> None:
    """Build the search tree of a group in order of values: fill in the ancestors of each of its cells."""
    if not group:
        return
    own = [place for place, cell in enumerate(group) if f"-{cutoff_of(cell)}=" not in cell.method]
    root = own[len(own) // 2] if own else len(group) // 2
    if above:
        earlier[group[root].address] = above
    for part in (group[:root], group[root + 1 :]):
        _descend(part, (*above, group[root]), earlier)


def _value(cell: Cell) -> float:
    return float(cell.method_options[str(cutoff_of(cell))])


def _digest_without(cell: Cell, option: str) -> str:
    """Digest everything that decides a run's outcome but one option, whatever the method's label is."""
    settings = cell.model_dump(exclude={"tuned", "method"})
    del settings["method_options"][option]
    return value_digest(settings)
