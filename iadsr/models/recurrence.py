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

    (T, B, 3 H) gates of the inputs and the hidden weights to (T, B, H) states; the first hidden state is zero.

    Gates stand in torch's order: reset r, update z, new n.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """r, z = sigmoid(inputs + weight h + bias), n = tanh(inputs + r (weight h + bias)), h' = (1 - z) n + z h."""
        time, batch, width = inputs.shape[0], inputs.shape[1], weight.shape[1]
        states = inputs.new_zeros(time + 1, batch, width)
        recurrent = torch.empty_like(inputs)
        reset_update = inputs.new_empty(time, batch, 2 * width)
        new = inputs.new_empty(time, batch, width)
        into = weight.t()
        columns = (slice(2 * width), slice(2 * width, None), slice(width), slice(width, None))
        first_in, new_in = (inputs[..., columns[part]].unbind() for part in (0, 1))
        first_hidden, new_hidden = (recurrent[..., columns[part]].unbind() for part in (0, 1))
        resets, updates = (reset_update[..., columns[part]].unbind() for part in (2, 3))
        steps, hidden, gates, news = states.unbind(), recurrent.unbind(), reset_update.unbind(), new.unbind()
        for t in range(time):  # views are made beforehand: making one costs as much as the arithmetic on it
            torch.addmm(bias, steps[t], into, out=hidden[t])
            torch.add(first_in[t], first_hidden[t], out=gates[t]).sigmoid_()
            torch.addcmul(new_in[t], resets[t], new_hidden[t], out=news[t]).tanh_()
            torch.lerp(news[t], steps[t], updates[t], out=steps[t + 1])
        ctx.save_for_backward(weight, states, recurrent, reset_update, new)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Everything but the recurrence itself is computed for all steps at once."""
        weight, states, recurrent, reset_update, new = ctx.saved_tensors
        (outer,) = gradients
        width = weight.shape[1]
        reset, update = reset_update.split(width, dim=-1)
        to_new = (1 - update) * (1 - new.square())  # from a state's gradient to that of n, before its tanh
        to_update = (states[:-1] - new) * update * (1 - update)
        to_reset = to_new * recurrent[..., 2 * width :] * reset * (1 - reset)
        factors = torch.stack((to_reset, to_update, to_new * reset), dim=2)  # (T, B, 3, H)
        total = torch.empty_like(new)  # gradient of each state, with what comes back from later steps
        hidden = torch.empty_like(factors)
        carried = torch.zeros_like(new[0])
        totals, wide = total.unbind(), total.unsqueeze(2).unbind()
        outers, keeps, scales = outer.unbind(), update.unbind(), factors.unbind()
        hiddens, rows = hidden.unbind(), hidden.flatten(2).unbind()
        for t in range(len(new) - 1, -1, -1):
            torch.add(outers[t], carried, out=totals[t])
            torch.mul(scales[t], wide[t], out=hiddens[t])
            torch.mul(totals[t], keeps[t], out=carried)
            carried.addmm_(rows[t], weight)
        flat = hidden.flatten(0, 1).flatten(1)  # (T * B, 3 H)
        hidden_weight = flat.t() @ states[:-1].flatten(0, 1)
        hidden_bias = flat.sum(0)
        gates = hidden.flatten(2)
        gates[..., 2 * width :] = to_new * total  # n's input lies outside the reset gate
        return gates, hidden_weight, hidden_bias


def gru_layer(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """States of one layer.

    Args:
        inputs: (T, B, 3 H) input gates, their bias added.
        weight: (3 H, H) `weight_hh` of `torch.nn.GRU`.
        bias: (3 H,) `bias_hh`.

    Returns:
        (T, B, H).
    """
    states: Tensor = _Layer.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
    return states


def run_gru(gru: nn.GRU, x: Tensor, between: nn.Module) -> Tensor:
    """States of a batch-first GRU's last layer.

    Args:
        x: (B, T, D).
        between: what happens between layers on a CPU; elsewhere the GRU's own dropout does.

    Returns:
        (B, T, H).
    """
    if x.device.type != "cpu":
        states: Tensor = gru(x)[0]
        return states
    steps = x.transpose(0, 1)
    for layer in range(gru.num_layers):
        if layer:
            steps = between(steps)
        input_weight, weight, input_bias, bias = gru.all_weights[layer]
        steps = gru_layer(F.linear(steps, input_weight, input_bias), weight, bias)
    return steps.transpose(0, 1)
