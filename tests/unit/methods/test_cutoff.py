"""A cut-off knows between which numbers all its comparisons would have come out the same."""

import copy
import math

import numpy as np
import pytest
import torch

from iadsr.config.options import known_methods
from iadsr.methods.cutoff import Cutoff
from iadsr.training.recommender import build_method
from tests.helpers import accepted, inputs_of, small_cell

VALUES = torch.tensor([-0.75, -0.1, 0.1, 0.3, math.nan, 0.9])


def outcomes(number: float, values: torch.Tensor = VALUES) -> list[bool]:
    """Compare as torch does, in single precision."""
    return (values > number).tolist()


@pytest.mark.parametrize("number", [-1.0, -0.75, -0.2, -0.1, 0.1, 0.100000001, 0.2, 0.9, 1.0])
def test_the_limits_are_as_wide_as_they_can_be_and_no_wider(number: float) -> None:
    cutoff = Cutoff(number)
    for part in (VALUES[:2], VALUES[2:]):
        assert cutoff.exceeded_by(part).tolist() == outcomes(number, part)
    low, high = cutoff.same_between
    inside = [value for value in (low, high) if value is not None]
    assert inside and all(outcomes(value) == outcomes(number) for value in inside)
    if low is not None:
        assert outcomes(float(np.nextafter(np.float32(low), np.float32(-2)))) != outcomes(number)
    if high is not None:
        assert outcomes(float(np.nextafter(np.float32(high), np.float32(2)))) != outcomes(number)


def test_a_number_that_is_rounded_up_to_the_next_value_is_outside() -> None:
    """0.3 is less than the next value, 0.3 in single precision, and equals it once it is rounded."""
    cutoff = Cutoff(0.2)
    cutoff.exceeded_by(VALUES)
    _, high = cutoff.same_between
    assert high is not None and high < 0.3 < float(VALUES[3])
    assert outcomes(0.3) != outcomes(0.2)


def test_without_values_on_a_side_there_is_no_limit_there() -> None:
    cutoff = Cutoff(0.0)
    assert cutoff.same_between == (None, None)
    cutoff.exceeded_by(torch.tensor([math.nan]))
    assert cutoff.same_between == (None, None)
    cutoff.exceeded_by(torch.tensor([[0.5]], requires_grad=True))
    low, high = cutoff.same_between
    assert low is None and high == np.nextafter(np.float32(0.5), np.float32(0))


def test_a_copied_model_counts_for_the_same_run() -> None:
    cutoff = Cutoff(0.0)
    copy.deepcopy(cutoff).exceeded_by(VALUES)
    assert cutoff.same_between[0] == pytest.approx(-0.1)


def test_a_method_has_the_cutoff_that_its_options_name() -> None:
    kinds = {kind: (backbone, objective) for backbone, kind, objective in accepted(known_methods())}
    assert kinds.keys() == known_methods().keys()
    for kind, (backbone, objective) in kinds.items():
        cell, option = small_cell(backbone, kind, objective), known_methods()[kind].cutoff
        cutoff = build_method(cell, inputs_of()).cutoff
        assert (cutoff and cutoff.number) == (option and cell.method_options[option]), kind
