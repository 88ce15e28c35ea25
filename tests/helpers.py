"""Small cells and sequences that several tests share."""

from __future__ import annotations

from iadsr.config.cell import Cell
from iadsr.conformance.examples import (
    N_ITEMS,
    USERS,
    feed_of,
    inputs_of,
    joined_sequences,
    small_cell,
    small_sequences,
)

__all__ = ["N_ITEMS", "USERS", "diverging", "feed_of", "inputs_of", "joined_sequences", "small_cell", "small_sequences"]


def diverging(made: Cell) -> Cell:
    """The cell with a learning rate that no file may ask for."""
    return made.model_copy(update={"settings": made.settings.model_copy(update={"learning_rate": 1e30})})
