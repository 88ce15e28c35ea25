"""The authors' release's training loss, user by user and position by position, as obvious as can be.

What the vectorised step with the release's networks is checked against. It shares the model's weights with it, and
nothing else: encoders, padding, pairing and losses are derived here from the description of the release. A defect that
is not among `defects` is mended, so that the same loops also tell what each of them does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iadsr.methods.iadsr import IADSR
from iadsr.models.released import ReleasedCaser, ReleasedGRU4Rec, ReleasedSASRec
from iadsr.training.recommender import Recommender

_TEMPERATURE = 0.1  # of InfoNCE
_GUARD = 1e-10  # against log(0) in the release's noise
_INPUT_NORM, _BLOCK_NORM = 1e-12, 1e-5  # what SASRec's norms add to a variance: one's own value, and torch's default
_HEADS = 2


@dataclass
class Person:
    """One user of a batch.

    Attributes:
        user: who it is.
        history: every input item, however long ago.
        target: the item to predict.
    """

    user: int
    history: list[int]
    target: int


@dataclass
class Encoding:
    """What an encoder makes of one user; a short interest for each of T positions, padding among them."""

    short: list[Tensor]
    long: Tensor
    predicting: Tensor


def released_losses(
    model: Recommender,
    people: Sequence[Person],
    defects: Collection[str],
    keep: Tensor,
    noise: torch.Generator,
    theta: float,
) -> dict[str, Tensor]:
    """The loss terms of one batch.

    Args:
        model: its weights are read.
        people: the batch, in order.
        defects: those of R1-R9 that are in force.
        keep: (B, T) last epoch's masks, which only reach the input where R1 is mended.
        noise: the random stream, in the state in which the model would find it.
        theta: the gate's, where R3 is mended.
    """
    method, weight = model.method, model.table.embedding.weight
    assert isinstance(method, IADSR)
    is_caser = isinstance(model.backbone, ReleasedCaser)
    time = keep.shape[1]
    uniform = torch.rand(keep.shape, generator=noise, dtype=weight.dtype)

    inputs, first, embedded, encodings = [], [], [], []
    for row, person in enumerate(people):
        recent = person.history[-time:]
        padding = time - len(recent)
        padded = [0] * padding + recent
        vectors = [weight[item] for item in padded]
        entering = list(vectors)
        if "R1" not in defects:
            for t in range(padding, time):
                entering[t] = vectors[t] * keep[row, t]
        inputs.append(recent)
        first.append(padding)
        embedded.append(vectors)
        encodings.append(_encode(model.backbone, entering, person.user))

    losses = {"recommendation": _recommendation(model, people, encodings, defects, in_batch=not is_caser)}

    width = len(encodings[0].long)
    short_map, long_map = method.project.weight[:width], method.project.weight[width:]
    semantic_long = []
    for recent in inputs:
        text = torch.zeros_like(method.text[0])
        for item in recent:
            text = text + method.text[item] / len(recent)
        semantic_long.append(long_map @ text)
    paired, judged = _semantic_short(people, inputs, short_map, method.text, "R5" in defects)

    if not is_caser:
        states = []
        for row in range(len(people)):
            for t in range(first[row], time):
                states.append(encodings[row].short[t])
        short = _info_nce(states, paired)
        long = _info_nce([encoding.long for encoding in encodings], semantic_long)
        losses["alignment"] = short + long

    decoder = method.decode
    assert decoder is not None
    by_user = []
    for row in range(len(people)):
        encoding = encodings[row]
        if "R3" not in defects and not bool(_cosine(semantic_long[row], encoding.long) > theta):
            continue
        errors = []
        for place in range(len(inputs[row])):
            t = first[row] + place
            state, semantic = encoding.short[t], judged[row][place]
            score = _cosine(semantic_long[row], state) + _cosine(encoding.long, semantic) + _cosine(state, semantic)
            mask = _mask(score, uniform[row, t], "R4" in defects)
            decoded = decoder.weight @ (state * mask) + decoder.bias
            for d in range(len(decoded)):
                errors.append((decoded[d] - embedded[row][t][d]) ** 2)
        by_user.append(sum(errors, torch.zeros(())) / len(errors))
    total = sum(by_user, torch.zeros(()))
    losses["reconstruction"] = total if "R6" in defects or not by_user else total / len(by_user)
    return losses


def _recommendation(
    model: Recommender,
    people: Sequence[Person],
    encodings: Sequence[Encoding],
    defects: Collection[str],
    in_batch: bool,
) -> Tensor:
    """Cross-entropy of the output layer: among the batch's target columns, or among all its columns (Caser)."""
    output = model.table.output
    assert isinstance(output, nn.Linear)
    terms = []
    for row, person in enumerate(people):
        logits = output.weight @ encodings[row].predicting + output.bias
        if "R8" in defects:
            logits = torch.tanh(logits)
        if in_batch:
            classes = [other.target for other in people]
        else:
            classes = list(range(0 if "R9" in defects else 1, len(logits)))
        mass = torch.zeros(())
        for item in classes:
            mass = mass + torch.exp(logits[item])
        terms.append(torch.log(mass) - logits[person.target])
    return sum(terms, torch.zeros(())) / len(terms)


def _semantic_short(
    people: Sequence[Person], inputs: Sequence[Sequence[int]], short_map: Tensor, text: Tensor, mispair: bool
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Short semantic interests: one for each state of the batch to be aligned with, and each user's to be judged by.

    With R5, whole histories are strung together and the string's beginning is cut off until it is as long as there are
    states. Each user then takes as much of the string as their history is long, from where the states before them end,
    and of that the end.
    """
    if not mispair:
        own = [[short_map @ text[item] for item in recent] for recent in inputs]
        return [vector for vectors in own for vector in vectors], own
    string = []
    for person in people:
        for item in person.history:
            string.append(short_map @ text[item])
    states = sum(len(recent) for recent in inputs)
    while len(string) > states:
        string.pop(0)
    judged, start = [], 0
    for person, recent in zip(people, inputs, strict=True):
        stretch = string[start : start + len(person.history)]
        judged.append(stretch[-len(recent) :])
        start += len(recent)
    return string, judged


def _mask(score: Tensor, uniform: Tensor, one_sided: bool) -> Tensor:
    """0 or 1, with the gradient of the sigmoid behind it."""
    if one_sided:
        soft = torch.sigmoid(score - torch.log(-torch.log(uniform + _GUARD) + _GUARD))
    else:
        soft = torch.sigmoid(score + torch.log(uniform) - torch.log(1 - uniform))
    hard = 1.0 if float(soft.detach()) > 0.5 else 0.0
    return hard + soft - soft.detach()


def _info_nce(queries: Sequence[Tensor], keys: Sequence[Tensor]) -> Tensor:
    """Mean over queries of minus the log share of the key in the same place among all keys."""
    terms = []
    normed = torch.stack([key / key.norm() for key in keys])
    for place, query in enumerate(queries):
        logits = normed @ query / query.norm() / _TEMPERATURE
        terms.append(torch.log(torch.exp(logits).sum()) - logits[place])
    return sum(terms, torch.zeros(())) / len(terms)


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    cosine: Tensor = (left * right).sum() / (left.norm() * right.norm())
    return cosine


def _encode(backbone: nn.Module, x: list[Tensor], user: int) -> Encoding:
    if isinstance(backbone, ReleasedCaser):
        short = [backbone.short.weight @ vector + backbone.short.bias for vector in x]
        predicting = _caser(backbone, x, user)
        return Encoding(short, predicting, predicting)
    if isinstance(backbone, ReleasedGRU4Rec):
        states = _gru(backbone.gru, x)
    else:
        assert isinstance(backbone, ReleasedSASRec)
        states = _sasrec(backbone, x)
    highest = states[0]
    for state in states[1:]:
        highest = torch.where(state > highest, state, highest)
    return Encoding(states, highest, states[-1])


def _gru(gru: nn.GRU, x: list[Tensor]) -> list[Tensor]:
    """States of the upper of two layers."""
    weights = dict(gru.named_parameters())
    for layer in range(2):
        input_reset, input_update, input_new = weights[f"weight_ih_l{layer}"].chunk(3)
        state_reset, state_update, state_new = weights[f"weight_hh_l{layer}"].chunk(3)
        input_bias = weights[f"bias_ih_l{layer}"].chunk(3)
        state_bias = weights[f"bias_hh_l{layer}"].chunk(3)
        state = torch.zeros_like(state_bias[0])
        states = []
        for vector in x:
            reset = torch.sigmoid(input_reset @ vector + input_bias[0] + state_reset @ state + state_bias[0])
            update = torch.sigmoid(input_update @ vector + input_bias[1] + state_update @ state + state_bias[1])
            new = torch.tanh(input_new @ vector + input_bias[2] + reset * (state_new @ state + state_bias[2]))
            state = (1 - update) * new + update * state
            states.append(state)
        x = states
    return x


def _sasrec(backbone: ReleasedSASRec, x: list[Tensor]) -> list[Tensor]:
    """Projected outputs of two blocks in which every position attends to every other one, padding among them."""
    x = [_norm(x[t] + backbone.positions.weight[t], backbone.norm, _INPUT_NORM) for t in range(len(x))]
    assert len(backbone.encoder.layers) == 2
    for block in backbone.encoder.layers:
        assert isinstance(block, nn.TransformerEncoderLayer)
        attended = _attention(block.self_attn, x)
        x = [_norm(x[t] + attended[t], block.norm1, _BLOCK_NORM) for t in range(len(x))]
        changed = []
        for vector in x:
            inner = block.linear1.weight @ vector + block.linear1.bias
            inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
            changed.append(block.linear2.weight @ inner + block.linear2.bias)
        x = [_norm(x[t] + changed[t], block.norm2, _BLOCK_NORM) for t in range(len(x))]
    return [backbone.project.weight @ vector + backbone.project.bias for vector in x]


def _attention(attention: nn.MultiheadAttention, x: list[Tensor]) -> list[Tensor]:
    to_query, to_key, to_value = attention.in_proj_weight.chunk(3)
    query_bias, key_bias, value_bias = attention.in_proj_bias.chunk(3)
    queries = [to_query @ vector + query_bias for vector in x]
    keys = [to_key @ vector + key_bias for vector in x]
    values = [to_value @ vector + value_bias for vector in x]
    width = len(x[0]) // _HEADS
    outputs = []
    for query in queries:
        heads = []
        for head in range(_HEADS):
            part = slice(head * width, (head + 1) * width)
            weights = [torch.exp(query[part] @ key[part] / math.sqrt(width)) for key in keys]
            mixed = torch.zeros(width)
            for weight, value in zip(weights, values, strict=True):
                mixed = mixed + weight * value[part]
            heads.append(mixed / sum(weights, torch.zeros(())))
        outputs.append(attention.out_proj.weight @ torch.cat(heads) + attention.out_proj.bias)
    return outputs


def _norm(vector: Tensor, norm: nn.LayerNorm, added: float) -> Tensor:
    centred = vector - vector.mean()
    return centred / torch.sqrt((centred**2).mean() + added) * norm.weight + norm.bias


def _caser(backbone: ReleasedCaser, x: list[Tensor], user: int) -> Tensor:
    """The vector that predicts."""
    time = len(x)
    features = []
    for weights, bias in zip(backbone.vertical.weight, backbone.vertical.bias, strict=True):
        column = torch.zeros_like(x[0])
        for t in range(time):
            column = column + weights[t] * x[t]
        features.append(column + bias)
    assert len(backbone.horizontal) == time
    for height, convolution in enumerate(backbone.horizontal, start=1):
        assert isinstance(convolution, nn.Conv1d)
        assert convolution.bias is not None
        highest = torch.zeros_like(convolution.bias)  # nothing lies below it after a relu
        for t in range(time - height + 1):
            found = convolution.bias
            for shift in range(height):
                found = found + convolution.weight[:, :, shift] @ x[t + shift]
            highest = torch.where(found > highest, found, highest)
        features.append(highest)
    hidden = torch.relu(backbone.merge.weight @ torch.cat(features) + backbone.merge.bias)
    joined = torch.cat((hidden, backbone.users.weight[user]))
    return torch.relu(backbone.join.weight @ joined + backbone.join.bias)
