"""The schedule of a run."""

from __future__ import annotations

import pytest

from iadsr.core.seeding import generator
from iadsr.sequences.samples import training_samples
from iadsr.training.schedule import epochs_of
from tests.helpers import small_cell, small_sequences


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
@pytest.mark.parametrize(
    "changes", [{"steps": 7}, {"steps": 7, "budget": 1.8}, {"steps": 900, "max_epochs": 5}, {"steps": 1}]
)
def test_estimates_count_the_epochs_of_a_budget_as_training_does(objective: str, changes: dict[str, float]) -> None:
    settings = small_cell("gru4rec", "none", objective).settings.model_copy(
        update={"batch_size": 5, "max_epochs": None, **changes}
    )
    sequences = small_sequences()
    samples = training_samples(sequences, settings.objective, settings.max_length, generator(0, "budget"))
    assert settings.epochs(len(samples)) == epochs_of(settings, sequences)
