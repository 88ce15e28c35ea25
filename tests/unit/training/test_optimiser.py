"""The optimiser (torch's own arithmetic, without the import of torch's compiler) and the average of the weights."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from iadsr.training.optimiser import AdamW, average_of, copy_buffers, follow
from iadsr.training.recommender import build_recommender
from tests.helpers import inputs_of, small_cell


def _steps(kind: type[torch.optim.AdamW]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimiser = kind(model.parameters(), 0.01, weight_decay=0.1, fused=True)
    inputs = torch.randn(11, 5)
    for _ in range(4):
        optimiser.zero_grad(set_to_none=True)
        model(inputs).square().sum().backward()
        optimiser.step()
    return [weight.detach() for weight in model.parameters()]


def test_steps_are_those_of_torch() -> None:
    for ours, theirs in zip(_steps(AdamW), _steps(torch.optim.AdamW), strict=True):
        assert torch.equal(ours, theirs)


def test_a_step_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from iadsr.training import run; from iadsr.training.optimiser import AdamW\n"
        "model = torch.nn.Linear(2, 2); optimiser = AdamW(model.parameters(), fused=True)\n"
        "model(torch.ones(1, 2)).sum().backward(); optimiser.step(); optimiser.zero_grad()\n"
        "optimiser.load_state_dict(optimiser.state_dict())\n"
        "print([name for name in ('torch._dynamo', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_average_follows_by_its_decay() -> None:
    average, model = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(3.0)
    model.weight.data.fill_(1.0)
    for _ in range(2):
        follow(list(average.parameters()), list(model.parameters()), 0.75)
    assert average.weight.item() == pytest.approx(0.75**2 * 3 + (1 - 0.75**2) * 1)
    assert model.weight.item() == 1.0


def test_the_average_copies_buffers_that_are_part_of_the_state() -> None:
    """Else a batch norm in a scored model would keep the statistics of its start, and a counter its zero."""
    average, model = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    model.register_buffer("constant", torch.ones(2), persistent=False)
    average.register_buffer("constant", torch.zeros(2), persistent=False)
    model(torch.randn(20, 3) * 5 + 7)
    copy_buffers(average, model)
    assert torch.equal(average.running_mean, model.running_mean)  # type: ignore[arg-type]
    assert torch.equal(average.running_var, model.running_var)  # type: ignore[arg-type]
    assert average.num_batches_tracked == model.num_batches_tracked == 1
    assert not average.constant.any(), "text and other constants are not copied at every step"  # type: ignore[operator,union-attr]


def test_an_average_shares_the_text_with_its_model() -> None:
    """A table of joined names is gigabytes."""
    model = build_recommender(small_cell("gru4rec", "iadsr", "all"), inputs_of())
    average = average_of(model)
    assert average.method.text is model.method.text
    assert average.table.embedding.weight is not model.table.embedding.weight  # type: ignore[union-attr]
