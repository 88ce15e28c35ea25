"""Budgets in epochs, worked out by hand."""

from __future__ import annotations

import pytest

from iadsr.config.datasets import Size
from iadsr.config.settings import Settings

SIZE = Size(users=10, items=5, interactions=100)


def settings(**changes: object) -> Settings:
    given = {"objective": "all", "max_length": 20, "ranking": "kept", "batch_size": 4, "learning_rate": 0.1, "steps": 7}
    return Settings.model_validate({"dropout": 0.0} | given | changes)


@pytest.mark.parametrize(
    ("changes", "samples", "epochs"),
    [
        ({}, 12, 3),  # 3 steps an epoch: 7 steps are 2 epochs and a part
        ({}, 13, 2),  # 4 steps an epoch, the last of one sample
        ({"budget": 1.8}, 12, 5),  # 12.6 steps
        ({"max_epochs": 2}, 12, 2),
        ({"max_epochs": 4}, 12, 3),
        ({}, 400, 1),  # at least one, though it is longer than the budget
        ({}, 0, 7),
    ],
)
def test_a_budget_of_steps_is_whole_epochs(changes: dict[str, object], samples: int, epochs: int) -> None:
    assert settings(**changes).epochs(samples) == epochs


@pytest.mark.parametrize(
    ("objective", "length", "samples"),
    [("last", 20, 10), ("prefix", 20, 100), ("all", 20, 10), ("all", 5, 20)],  # histories of ten: two windows of five
)
def test_samples_follow_from_a_dataset_s_size(objective: str, length: int, samples: int) -> None:
    assert settings(objective=objective, max_length=length).estimated_samples(SIZE) == samples
