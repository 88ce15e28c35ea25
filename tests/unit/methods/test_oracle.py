"""The vectorised training step against the loops."""

import pytest
import torch

from iadsr.config.options import known_backbones
from iadsr.sequences.samples import training_samples
from iadsr.training.recommender import build_recommender
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences
from tests.oracle import slow_losses


@pytest.mark.parametrize("backbone", list(known_backbones()))
@pytest.mark.parametrize("theta", [-0.9, 0.0])
def test_losses_and_gradients_equal_those_of_the_loops(backbone: str, theta: float) -> None:
    torch.manual_seed(0)
    options = {"theta": theta, "alignment": 0.7, "reconstruction": 2.0, "reconstruction_error": "squared"}
    cell = small_cell(backbone, "iadsr", "last", options, dropout=0.0)
    model = build_recommender(cell, inputs_of())
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    sequences = small_sequences()
    samples = training_samples(sequences, "last", cell.settings.max_length, None)  # type: ignore[arg-type]
    step = feed_of(sequences).step(samples, torch.arange(6).numpy())
    keep = torch.rand(step.slots.shape).gt(0.3).float()
    results = []
    for compute in (lambda noise: model(step, keep, noise)[0], lambda noise: slow_losses(model, step, keep, noise)):
        losses = compute(torch.Generator().manual_seed(5))
        model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        results.append((losses, [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]))
    (ours, gradients), (theirs, expected) = results
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        assert float(loss.detach()) == pytest.approx(float(theirs[name].detach()), abs=1e-5), name
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-4, rtol=1e-4)
