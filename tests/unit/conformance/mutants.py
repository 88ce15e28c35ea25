"""Methods with one fault each: every check must find its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from iadsr.config.options import MethodOptions
from iadsr.methods.masks import pack, unpack
from iadsr.methods.method import Asked, Batch, Encoded, Method, MethodInputs, TrainingBatch


class Plain(MethodOptions):
    """No option."""


class Removing(MethodOptions):
    """How inputs are removed."""

    remove: Literal["zero", "pack"] = "zero"


class Neutral(MethodOptions):
    """Claims to be the backbone as it is."""

    neutral: ClassVar[Mapping[str, Any]] = {}


class Fair(Method):
    """Without fault: drops even items and moves the others up."""

    Options = Removing

    def __init__(self, inputs: MethodInputs, options: MethodOptions) -> None:
        super().__init__()
        self.options = options

    def order(self, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        return pack(x, kept)

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        kept = ((batch.items % 2 == 1) | ~batch.valid) & batch.valid
        packed, counts = self.order(table(batch.items), kept)
        states = unpack(backbone(packed, counts.clamp(min=1), batch.users), kept)
        states = torch.where((kept.cumsum(1) > 0).unsqueeze(-1), states, 0.0)
        return Encoded(states, keep=(kept | ~batch.valid).float())

    def forward(
        self, table: nn.Module, backbone: nn.Module, batch: TrainingBatch, keep: Tensor, noise: torch.Generator
    ) -> Encoded:
        return self.denoise(table, backbone, batch, noise)


class Reversed(Fair):
    """Packs the kept inputs in reverse."""

    def order(self, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        packed, counts = pack(x, kept)
        steps = torch.arange(x.shape[1])
        back = torch.where(steps < counts.unsqueeze(1), counts.unsqueeze(1) - 1 - steps, steps)
        return packed.gather(1, back.unsqueeze(-1).expand_as(packed)), counts


class Losing(Fair):
    """Loses the last kept input."""

    def order(self, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        packed, counts = pack(x, kept)
        return packed, counts - 1


class Base(Method):
    """The backbone alone."""

    Options: type[MethodOptions] = Plain

    def __init__(self, inputs: MethodInputs, options: MethodOptions) -> None:
        super().__init__()


class Running(Base):
    """Without fault: scales embeddings by their mean square in the steps before."""

    square: Tensor

    def __init__(self, inputs: MethodInputs, options: MethodOptions) -> None:
        super().__init__(inputs, options)
        self.register_buffer("square", torch.ones(()))

    def forward(self, *parts: Any) -> Encoded:
        table, batch = parts[0], parts[2]
        encoded = self.denoise(*parts[:3], parts[4])
        inside = table(batch.items).detach()[batch.valid]
        self.square += 0.1 * (inside.square().mean() - self.square)
        return encoded

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        scaled = table(batch.items) / self.square.sqrt()
        return Encoded(backbone(scaled, batch.lengths, batch.users))


class Peeking(Base):
    """Its mask in training is the next item's."""

    asks_for: frozenset[Asked] = frozenset({"following"})

    def forward(self, *parts: Any) -> Encoded:
        following = parts[2].following
        return replace(super().forward(*parts), keep=(following % 2 == 0).float())


class Smearing(Base):
    """Adds the mean of all positions, with padding among them, when scoring."""

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        embedded: Tensor = table(batch.items)
        states = backbone(embedded, batch.lengths, batch.users)
        return Encoded(states + embedded.mean(1, keepdim=True))


class Padding(Base):
    """Has a loss on the embeddings of all positions, with padding among them."""

    def forward(self, *parts: Any) -> Encoded:
        return replace(super().forward(*parts), losses={"small": parts[0](parts[2].items).square().mean()})


class NeverOff(Base):
    """Claims to be the backbone and adds a loss that pulls at its states."""

    Options = Neutral

    def forward(self, *parts: Any) -> Encoded:
        encoded = super().forward(*parts)
        assert encoded.states is not None
        return replace(encoded, losses={"small": encoded.states.square().mean()})


class Unreached(Base):
    """Has a layer that nothing uses."""

    def __init__(self, inputs: MethodInputs, options: MethodOptions) -> None:
        super().__init__(inputs, options)
        self.unused = nn.Linear(inputs.width, inputs.width)


class Dividing(Base):
    """Divides by the number of kept inputs."""

    remembers = True

    def forward(self, *parts: Any) -> Encoded:
        batch, keep = parts[2], parts[3]
        encoded = super().forward(*parts)
        assert encoded.states is not None
        scale = keep.sum(1) / (keep * batch.valid).sum(1)
        return replace(encoded, losses={"mean": (encoded.states.sum((1, 2)) * scale).mean()}, keep=keep)


class Forgetful(Base):
    """Counts its steps outside the state that a checkpoint holds."""

    def __init__(self, inputs: MethodInputs, options: MethodOptions) -> None:
        super().__init__(inputs, options)
        self.steps = 0

    def weigh_targets(self, encoded: Encoded, losses: Callable[[], Tensor], supervised: Tensor) -> Tensor:
        self.steps += 1
        return 1.0 + torch.arange(len(losses())) * self.steps


class Guessing(Base):
    """Scores inputs by chance."""

    def denoise(self, table: nn.Module, backbone: nn.Module, batch: Batch, noise: torch.Generator) -> Encoded:
        return replace(
            super().denoise(table, backbone, batch, noise), score=torch.rand(batch.items.shape, generator=noise)
        )


class Raising(Base):
    """Raises."""

    def forward(self, *parts: Any) -> Encoded:
        raise KeyError("mask")


FAULTS: dict[type[Method], str] = {
    Peeking: "no state sees its target",
    Smearing: "padding is never seen",
    Padding: "padding is never seen",
    Reversed: "the kept inputs are encoded in order",
    Losing: "the kept inputs are encoded in order",
    NeverOff: "switched off, it is the backbone",
    Unreached: "a gradient reaches every parameter",
    Dividing: "numbers are finite where nothing is kept",
    Forgetful: "resumed equals never killed",
    Guessing: "its scores find planted noise",
}
