"""Finds runs that ended without having learned anything; they are recorded as `untrained`."""

from __future__ import annotations

from iadsr.training.curve import GUESSING
from iadsr.training.state import Outcome

MARGIN = 0.02  # a loss no further than this below that of guessing has not left its starting plateau
FIRST = 2  # a kept epoch among so many first validated ones says that validation never rose afterwards
FEWEST = 5  # with fewer validated epochs, as in a quick trial, the kept one says nothing


def why_untrained(outcome: Outcome) -> str | None:
    """Say in one sentence why a finished run learned nothing; None if it learned something.

    The loss is compared with that of equal scores: ln(candidates), where candidates are all items, or with the in-batch
    loss a step's own targets. With scores bounded by tanh the loss can fall at most 2 below that.
    """
    kept = next((row for row in outcome.curve if row.epoch == outcome.best_epoch), None)
    if kept is None or GUESSING not in kept.figures:  # nothing to train on
        return None
    loss, guessing = kept.figures["loss_recommendation"], kept.figures[GUESSING]
    if loss >= (1 - MARGIN) * guessing:
        return (
            f"at the kept epoch {kept.epoch} the recommendation loss is {loss:.3f}: no more than {MARGIN:.0%} below "
            f"that of guessing, {guessing:.3f}"
        )
    validated = [row.epoch for row in outcome.curve if row.validation is not None]
    if len(validated) >= FEWEST and kept.epoch <= validated[FIRST - 1]:
        return f"the kept epoch {kept.epoch} is among the first {FIRST} of {len(validated)} validated epochs"
    return None
