"""The training step under torch's compiler and on the meta device: no shape that only data can tell, no host read."""

from __future__ import annotations

import shutil
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from iadsr.config.options import known_backbones
from iadsr.sequences.samples import training_samples
from iadsr.training.feed import Step
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import feed_of, inputs_of, objective_of, small_cell, small_sequences

KINDS = ("none", "iadsr", "random_drop")


def model_and_step(backbone: str, kind: str) -> tuple[Recommender, Step, torch.Tensor]:
    objective = "prefix" if kind == "random_drop" else objective_of(backbone)
    cell = small_cell(backbone, kind, objective, dropout=0.0)
    torch.manual_seed(0)
    model = build_recommender(cell, inputs_of())
    sequences = small_sequences()
    samples = training_samples(sequences, cell.settings.objective, 8, np.random.default_rng(0))
    step = feed_of(sequences).step(samples, np.arange(6))
    return model, step, torch.ones(step.slots.shape)


def loss_and_gradients(
    model: Any, parts: Any, noise: torch.Generator | None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    losses, _ = model(*parts, noise)
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()
    return loss.detach(), [weight.grad for weight in model.parameters()]


def on(device: str, value: Any) -> Any:
    """A dataclass of tensors on another device."""
    if is_dataclass(value):
        return replace(value, **{field.name: on(device, getattr(value, field.name)) for field in fields(value)})  # type: ignore[type-var]
    return value.to(device) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backbone", list(known_backbones()))
def test_a_step_runs_on_the_meta_device(backbone: str, kind: str) -> None:
    """Nothing there has a value, so any read of one raises."""
    model, step, keep = model_and_step(backbone, kind)
    loss, gradients = loss_and_gradients(model.to("meta"), (on("meta", step), keep.to("meta")), None)
    assert loss.is_meta and loss.shape == ()
    assert all(found.is_meta and found.shape == w.shape for found, w in zip(gradients, model.parameters(), strict=True))


COMPILED = [(backbone, kind, "aot_eager") for backbone in known_backbones() for kind in ("none", "iadsr")]
NEEDS_CPP = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor on a CPU needs a C++ compiler")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "kind", "backend"), [*COMPILED, pytest.param("sasrec", "iadsr", "inductor", marks=NEEDS_CPP)]
)
def test_a_compiled_step_computes_the_same(backbone: str, kind: str, backend: str) -> None:
    """Capture and differentiation everywhere; generated code, which takes a minute to build, once."""
    model, step, keep = model_and_step(backbone, kind)
    plain = loss_and_gradients(model, (step, keep), torch.Generator().manual_seed(1))
    model.zero_grad()
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend)
    found = loss_and_gradients(compiled, (step, keep), torch.Generator().manual_seed(1))
    torch.testing.assert_close(found[0], plain[0])
    for ours, wanted in zip(found[1], plain[1], strict=True):
        size = float(wanted.abs().max())  # sums in another order differ by the size of what is summed
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5 * max(1.0, size))
