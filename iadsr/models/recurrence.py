"""A gated recurrent network (`torch.nn.GRU`), with a faster path on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Layer(torch.autograd.Function):
    """One layer on a CPU, with a backward pass by hand.

    torch's own CPU path spends half its time on the bookkeeping of some forty small operations a time step. Here a step
    is one matrix product and five elementwise operations forward, one and three backward, and a weight's gradient is
    one product over all steps. The equations and weights are those of `torch.nn.GRU`.

    It maps gates (N, 3 H) of the packed inputs to states (N, H), given the hidden weights and the number of rows in
    each step; the first hidden state is zero. Gates stand in torch's order: reset r, update z, new n.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, counts: list[int]) -> Tensor:
        """Compute r, z = sigmoid(in + weight h + bias), n = tanh(in + r (weight h + bias)), h' = (1 - z) n + z h."""
        places, width = inputs.shape[0], weight.shape[1]
        states = inputs.new_empty(places, width)
        recurrent = torch.empty_like(inputs)
        reset_update = inputs.new_empty(places, 2 * width)
        new = inputs.new_empty(places, width)
        into = weight.t()
        columns = (slice(2 * width), slice(2 * width, None), slice(width), slice(width, None))
        first_in, new_in = (inputs[:, columns[part]].split_with_sizes(counts) for part in (0, 1))
        first_hidden, new_hidden = (recurrent[:, columns[part]].split_with_sizes(counts) for part in (0, 1))
        resets, updates = (reset_update[:, columns[part]].split_with_sizes(counts) for part in (2, 3))
        before = _before(states, counts)
        steps, hidden, gates, news = (part.split_with_sizes(counts) for part in (states, recurrent, reset_update, new))
        for t in range(len(counts)):  # views are made beforehand: making one costs as much as the arithmetic on it
            torch.addmm(bias, before[t], into, out=hidden[t])
            torch.add(first_in[t], first_hidden[t], out=gates[t]).sigmoid_()
            torch.addcmul(new_in[t], resets[t], new_hidden[t], out=news[t]).tanh_()
            torch.lerp(news[t], before[t], updates[t], out=steps[t])
        ctx.counts = counts
        ctx.save_for_backward(weight, states, recurrent, reset_update, new)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Compute all but the recurrence itself for all steps at once."""
        weight, states, recurrent, reset_update, new = ctx.saved_tensors
        counts: list[int] = ctx.counts
        (outer,) = gradients
        width = weight.shape[1]
        previous = torch.cat(_before(states, counts))
        reset, update = reset_update.chunk(2, dim=-1)
        to_new = (1 - update) * (1 - new.square())  # from a state's gradient to that of n, before its tanh
        to_update = (previous - new) * update * (1 - update)
        to_reset = to_new * recurrent[:, 2 * width :] * reset * (1 - reset)
        factors = torch.stack((to_reset, to_update, to_new * reset), dim=1)  # (N, 3, H)
        total = torch.empty_like(new)  # gradient of each state, with what comes back from later steps
        hidden = torch.empty_like(factors)
        returned = new.new_zeros(counts[0], width)  # rows that a later step lacks get nothing back from it
        carried = [returned[:count] for count in counts]
        totals, wide, outers = (part.split_with_sizes(counts) for part in (total, total.unsqueeze(1), outer))
        keeps, scales, hiddens, rows = (
            part.split_with_sizes(counts) for part in (update, factors, hidden, hidden.flatten(1))
        )
        for t in range(len(counts) - 1, -1, -1):
            torch.add(outers[t], carried[t], out=totals[t])
            torch.mul(scales[t], wide[t], out=hiddens[t])
            torch.mul(totals[t], keeps[t], out=carried[t])
            carried[t].addmm_(rows[t], weight)
        gates = hidden.flatten(1)
        hidden_weight = gates.t() @ previous
        hidden_bias = gates.sum(0)
        gates[:, 2 * width :] = to_new * total  # n's input lies outside the reset gate
        return gates, hidden_weight, hidden_bias, None


def _before(states: Tensor, counts: list[int]) -> list[Tensor]:
    """Return views of the previous states for each step, without the rows that have ended."""
    steps = states.split_with_sizes(counts)
    return [states.new_zeros(counts[0], states.shape[1])] + [
        earlier[:count] for earlier, count in zip(steps[:-1], counts[1:], strict=True)
    ]


def pack(lengths: Tensor, time: int) -> tuple[Tensor, list[int]]:
    """Locate the valid positions of (B, T), step by step and in each step the longest rows first.

    Args:
        lengths: (B,) at least 1, at most `time`.

    Returns:
        (N,) flat places in (B, T), and how many of them each step has: a row that has ended costs nothing.
    """
    ordered, order = lengths.sort(descending=True, stable=True)
    steps = torch.arange(int(ordered[0]), device=lengths.device).unsqueeze(1)
    inside = steps < ordered
    return (order * time + steps)[inside], inside.sum(1).tolist()


def run_gru(gru: nn.GRU, x: Tensor, lengths: Tensor, between: nn.Module) -> Tensor:
    """Run a batch-first GRU.

    Args:
        x: (B, T, D), padded on the right.
        lengths: (B,) valid positions of each row; what stands at the others is not read on a CPU, and is zero there.
        between: what happens between layers on a CPU; elsewhere the GRU's own dropout does.

    Returns:
        (B, T, H) states of the last layer.
    """
    if x.device.type != "cpu":
        states: Tensor = gru(x)[0]
        return states
    places, counts = pack(lengths, x.shape[1])
    packed = x.flatten(0, 1).index_select(0, places)
    for layer in range(gru.num_layers):
        if layer:
            packed = between(packed)
        input_weight, weight, input_bias, bias = gru.all_weights[layer]
        gates = F.linear(packed, input_weight, input_bias)
        packed = _Layer.apply(gates, weight, bias, counts)  # type: ignore[no-untyped-call]
    padded = packed.new_zeros(x.shape[0] * x.shape[1], packed.shape[1])
    return padded.index_copy_(0, places, packed).view(*x.shape[:2], -1)
