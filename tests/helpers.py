"""Small cells and sequences that several tests share."""

from __future__ import annotations

import contextlib
import itertools
import resource
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from iadsr.config.cell import Cell
from iadsr.config.options import OwnBackboneOptions, known_backbones
from iadsr.conformance.examples import (
    N_ITEMS,
    USERS,
    feed_of,
    inputs_of,
    joined_sequences,
    small_cell,
    small_sequences,
)
from iadsr.core.errors import ConfigError

__all__ = [
    "CAUSAL",
    "N_ITEMS",
    "OBJECTIVES",
    "USERS",
    "accepted",
    "diverging",
    "feed_of",
    "full_disk",
    "inputs_of",
    "joined_sequences",
    "objective_of",
    "refusal",
    "small_cell",
    "small_sequences",
]
ErrorT = TypeVar("ErrorT", bound=Exception)
OBJECTIVES = ("last", "prefix", "all")
CAUSAL = [name for name, model in known_backbones().items() if model.causal]


def accepted(kinds: Iterable[str], objectives: Iterable[str] = OBJECTIVES) -> list[tuple[str, str, str]]:
    """List every (backbone, kind of method, objective) that the configuration accepts."""
    found = []
    backbones = (*known_backbones(), OwnBackboneOptions.name)
    for backbone, kind, objective in itertools.product(backbones, kinds, objectives):
        try:
            small_cell(backbone, kind, objective)
        except ConfigError:
            continue
        found.append((backbone, kind, objective))
    return found


def objective_of(backbone: str) -> str:
    """Return the objective with the most targets that a backbone can have."""
    return "all" if backbone in CAUSAL else "prefix"


def diverging(made: Cell) -> Cell:
    """The cell with a learning rate that no file may ask for."""
    return made.model_copy(update={"settings": made.settings.model_copy(update={"learning_rate": 1e30})})


def refusal(kind: type[ErrorT], work: Callable[[], object]) -> ErrorT | None:
    """Do the work; returns the error of this kind that it raised, if it did."""
    try:
        work()
    except kind as error:
        return error
    return None


@contextlib.contextmanager
def full_disk(limit: int = 100) -> Iterator[None]:
    """Let no file grow beyond `limit` bytes: the system then refuses a write as it does on a full disk.

    Around the write alone: pytest's own output may go to a longer file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
