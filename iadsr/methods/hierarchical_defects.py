"""Defects of HSD's release, each a subclass that overrides one step; `iadsr.methods.hsd_options` says what they do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.methods.hierarchical import HierarchicalDenoiser, Levels
from iadsr.methods.hierarchical_layers import Inputs, PositionNorm
from iadsr.methods.hsd_options import HSDOptions
from iadsr.methods.method import Asked, Batch, MethodInputs, TrainingBatch
from iadsr.models.backbone import INIT_STD

_PERIOD, _RATE, _COLDEST = 40, 0.001, 0.001  # the release's schedule of temperatures


class TargetQuery(HierarchicalDenoiser):
    """`target_query`."""

    asks_for: frozenset[Asked] = frozenset({"following"})

    def query(self, table: nn.Module, embedded: Tensor, batch: Batch) -> Tensor:
        """Return the target's embedding (B, 1, H) in training."""
        if not isinstance(batch, TrainingBatch):
            return super().query(table, embedded, batch)
        assert batch.following is not None
        target: Tensor = table(batch.following.gather(1, batch.lengths.unsqueeze(1) - 1))
        return target


class Annealing(HierarchicalDenoiser):
    """`annealing`: at every 40th step n, the temperature is multiplied by exp(-n / 1000)."""

    steps: Tensor
    annealed: Tensor

    def __init__(self, inputs: MethodInputs, options: HSDOptions) -> None:
        super().__init__(inputs, options)
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("annealed", torch.tensor(options.temperature))

    @property
    def temperature(self) -> Tensor:
        """Return the current temperature ()."""
        return self.annealed.clone()

    def step_temperature(self) -> Tensor:
        """Count the step, and return its temperature ()."""
        self.steps += 1
        colder = (self.annealed * torch.exp(-_RATE * self.steps)).clamp(min=_COLDEST)
        self.annealed.copy_(torch.where(self.steps % _PERIOD == 0, colder, self.annealed))
        return self.temperature


class SampledAtTest(HierarchicalDenoiser):
    """`test_noise`."""

    def decide(self, levels: Levels, noise: torch.Generator) -> Levels:
        """Sample as in training."""
        return self.sample(levels, self.temperature, noise)


class BatchStatistics(HierarchicalDenoiser):
    """`batch_statistics`."""

    def __init__(self, inputs: MethodInputs, options: HSDOptions) -> None:
        super().__init__(inputs, options)
        assert isinstance(self.item_level.norm, PositionNorm)
        self.item_level.norm.own_statistics = True


class Padded(HierarchicalDenoiser):
    """`padding`: the LSTM reads zeros there, convolution and norm an embedding."""

    def __init__(self, inputs: MethodInputs, options: HSDOptions) -> None:
        super().__init__(inputs, options)
        self.positions = inputs.max_length
        self.padding = nn.Parameter(torch.randn(inputs.dimension) * INIT_STD)

    def read(self, embedded: Tensor, batch: Batch) -> Inputs:
        """Return all L positions, (B, L, H)."""
        behind = self.positions - embedded.shape[1]
        valid = F.pad(batch.valid, (0, behind))
        longer = torch.where(valid.unsqueeze(-1), F.pad(embedded, (0, 0, 0, behind)), self.padding)
        return Inputs(longer, valid, torch.ones_like(valid), torch.full_like(batch.lengths, self.positions))


class ZeroedRows(HierarchicalDenoiser):
    """`zeroed_rows`: a slice from -0 on is the whole row."""

    def filter_terms(self, losses: Tensor, valid: Tensor, left_out: float) -> Tensor:
        """Mark no term (B, T) of a row that loses none while others could."""
        kept = super().filter_terms(losses, valid, left_out)
        return kept & (kept != valid).any(1, keepdim=True) if left_out > 0 else kept


class EmptyRows(HierarchicalDenoiser):
    """`empty_rows`."""

    def keep_one(self, mask: Tensor, valid: Tensor, newest: Tensor) -> Tensor:
        """Return the mask."""
        return mask


DEFECTS: dict[str, type[HierarchicalDenoiser]] = {
    "target_query": TargetQuery,
    "annealing": Annealing,
    "test_noise": SampledAtTest,
    "batch_statistics": BatchStatistics,
    "padding": Padded,
    "zeroed_rows": ZeroedRows,
    "empty_rows": EmptyRows,
}
