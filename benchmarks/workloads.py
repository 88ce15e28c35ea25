"""Synthetic workloads at the sizes of real datasets: what a training step costs depends on sizes, not on tastes."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from iadsr.config.cell import Cell
from iadsr.config.fields import Objective
from iadsr.config.run import RunConfig, pick
from iadsr.methods.method import MethodInputs
from iadsr.sequences.samples import Samples, batches, training_samples
from iadsr.sequences.split import Ints, Sequences
from iadsr.training.feed import Feed, Step
from iadsr.training.optimiser import AdamW, follow
from iadsr.training.recommender import Recommender, build_recommender

CONFIG = Path(__file__).resolve().parents[1] / "workflow" / "config"
TEXT_WIDTH = 384  # MiniLM's


def compute_as_a_job() -> None:
    """On one thread, with the algorithms that give the same bytes each time, as `iadsr train` does."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False


@dataclass(frozen=True)
class Size:
    """A dataset's size and the shortest history in it; lengths are geometric above that."""

    dataset: str
    users: int
    items: int
    interactions: int
    shortest: int

    @functools.cache  # noqa: B019 - two sizes live as long as the benchmark
    def sequences(self) -> Sequences:
        """Users with random items, nobody meeting popular ones more often."""
        rng = np.random.default_rng(0)
        mean = self.interactions / self.users
        lengths = self.shortest + rng.geometric(1 / (mean - self.shortest + 1), self.users) - 1
        return Sequences(
            items=rng.integers(1, self.items + 1, int(lengths.sum())).astype(np.int32),
            offsets=np.concatenate(([0], np.cumsum(lengths))),
            users=np.arange(self.users).astype(str),
            n_items=self.items,
        )


MOVIELENS = Size("movielens-100k", 943, 1_682, 100_000, 20)
BEAUTY = Size("beauty", 22_363, 12_101, 198_502, 5)


def cell(size: Size, backbone: str, method: str = "none", protocol: str = "strong") -> Cell:
    """The cell that the shipped configuration trains on a dataset of this size."""
    run = RunConfig(
        name="benchmark", description="timings", datasets=[size.dataset], encoder={"kind": "random"},
        protocols=[protocol], backbones=[backbone], methods=[method], seeds=[0],
    )  # fmt: skip
    return pick(run.cells(CONFIG), f"{size.dataset}/{protocol}/{backbone}/{method}/seed0")


@functools.cache
def batches_of(size: Size, objective: Objective, max_length: int, batch_size: int) -> tuple[Samples, list[Ints]]:
    """An epoch's samples and their batches, by the number of inputs in them."""
    rng = np.random.default_rng(0)
    samples = training_samples(size.sequences(), objective, max_length, rng)
    cut = batches(samples, batch_size, rng)
    return samples, sorted(cut, key=lambda chosen: int(samples.length[chosen].sum()))


class Training:
    """A model in the midst of training, the batches of an epoch, and a typical one among them."""

    def __init__(self, size: Size, cell: Cell, batch_size: int | None = None) -> None:
        torch.manual_seed(0)
        settings = cell.settings
        text = torch.randn(size.items + 1, TEXT_WIDTH)
        self.model: Recommender = build_recommender(
            cell, MethodInputs(size.items, size.users, *[settings.dimension] * 2, settings.max_length, text)
        ).train()
        self.average, self.decay = copy.deepcopy(self.model), settings.average
        self.optimiser = AdamW(self.model.parameters(), settings.learning_rate, fused=True)
        self.noise = torch.Generator().manual_seed(0)
        self.feed = Feed(size.sequences(), torch.device("cpu"))
        self.samples, self.batches = batches_of(
            size, settings.objective, settings.max_length, batch_size or settings.batch_size
        )
        self.typical = self.batches[len(self.batches) // 2]

    def prepared(self, chosen: Ints) -> tuple[Step, torch.Tensor]:
        """A batch and a mask that keeps everything."""
        step = self.feed.step(self.samples, chosen)
        return step, torch.ones(step.slots.shape)

    def step(self, chosen: Ints | None = None) -> None:
        """Gather a batch, forward, backward, update, average: what the training loop does, less its bookkeeping."""
        losses, _ = self.model(*self.prepared(self.typical if chosen is None else chosen), self.noise)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        self.optimiser.step()
        if self.decay:
            follow(list(self.average.parameters()), list(self.model.parameters()), self.decay)

    def epoch(self) -> None:
        """Every training target once."""
        for chosen in self.batches:
            self.step(chosen)
