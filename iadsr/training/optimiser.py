"""The optimiser, and the moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from iadsr.config.settings import Settings
from iadsr.training.recommender import Recommender


class AdamW(torch.optim.AdamW):
    """torch's own, without the wrappers that import torch's compiler at first use (1.6 s in each of many jobs)."""

    step = torch.no_grad()(torch.optim.AdamW.step.__wrapped__)  # type: ignore[attr-defined]
    add_param_group = torch.optim.AdamW.add_param_group.__wrapped__  # type: ignore[attr-defined]
    zero_grad = torch.optim.AdamW.zero_grad.__wrapped__  # type: ignore[attr-defined]
    state_dict = torch.optim.AdamW.state_dict.__wrapped__  # type: ignore[attr-defined]
    load_state_dict = torch.optim.AdamW.load_state_dict.__wrapped__  # type: ignore[attr-defined]


def make_optimiser(model: nn.Module, settings: Settings) -> AdamW:
    """Make AdamW, or Adam, where weight decay is part of the gradient."""
    optimiser = AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    for group in optimiser.param_groups:
        group["decoupled_weight_decay"] = settings.optimiser == "adamw"
    return optimiser


def scale_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate to a multiple of the initial one."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def average_of(model: Recommender) -> Recommender:
    """Copy a model, to hold an average. Buffers outside `state_dict`, such as text, are constants and shared."""
    state = model.state_dict()
    constants = {id(buffer): buffer for name, buffer in model.named_buffers() if name not in state}
    return copy.deepcopy(model, constants)


@torch.no_grad()
def follow(average: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Take one step of an exponential moving average of weights."""
    torch._foreach_lerp_(average, weights, 1 - decay)


@torch.no_grad()
def copy_buffers(average: nn.Module, model: nn.Module) -> None:
    """Copy every buffer that is part of the state: statistics of a batch norm, step counters."""
    state = average.state_dict()
    for name, buffer in model.named_buffers():
        if name in state:
            state[name].copy_(buffer)
