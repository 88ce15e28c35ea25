"""The search space of one method under one protocol, from the ranges beside its settings and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from iadsr.config.cell import Cell
from iadsr.config.methods import load_method
from iadsr.config.options import MethodOptions
from iadsr.config.protocol import load_protocol
from iadsr.config.search import Search, search_ranges
from iadsr.config.settings import Settings


@dataclass(frozen=True)
class Space:
    """The settings and options that a search varies, and their ranges.

    Attributes:
        ranges: settings that the protocol lets vary, then the method's options that its own file leaves open.
        model: the method's option class, which says what is active.
        start: the resolved values of the protocol itself, of these and of all other options.
    """

    ranges: Mapping[str, Search]
    model: type[MethodOptions]
    start: Mapping[str, Any]

    def draw(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draw a trial's values; numbers have three digits, as in the file of tuned values."""
        return self._collect(lambda name, search: _suggest(trial, name, search))

    def own(self) -> dict[str, Any]:
        """Return the protocol's own values."""
        return self._collect(lambda name, _: self.start[name])

    def nearest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Move `values` into the ranges, for the sampler, without choices that are not searched."""
        moved = {name: _clip(value, self.ranges[name]) for name, value in values.items()}
        return {name: value for name, value in moved.items() if value is not None}

    def _collect(self, choose: Callable[[str, Search], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, search in self.ranges.items():
            if name in Settings.model_fields or self.model.is_active(name, {**self.start, **values}):
                values[name] = choose(name, search)
        return values


def make_space(folder: Path, cell: Cell) -> Space:
    """Make the search space of a cell; `folder` is `workflow/config`."""
    method = load_method(folder, cell.method)
    settings = search_ranges(Settings)
    ranges = {name: settings[name] for name in load_protocol(folder, cell.protocol).searched}
    ranges |= {name: search for name, search in search_ranges(method.model).items() if name not in method.options}
    start = {**cell.settings.model_dump(), **cell.method_options, **(cell.items or {})}
    return Space({name: search for name, search in ranges.items() if name in start}, method.model, start)


def _suggest(trial: optuna.Trial, name: str, search: Search) -> Any:
    if search.choices:
        return trial.suggest_categorical(name, search.choices)
    return float(f"{trial.suggest_float(name, search.low, search.high, log=search.log):.3g}")


def _clip(value: Any, search: Search) -> Any:
    if search.choices:
        return value if value in search.choices else None
    return min(max(value, search.low), search.high)
