"""Settings of training that are the same for every method in a table."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from iadsr.config.datasets import Size
from iadsr.config.fields import Epochs, Networks, Objective, Ranking, Steps, Strict, Width
from iadsr.config.search import Search


class Settings(Strict):
    """Settings of training that are the same for every method in a table."""

    objective: Objective
    """what a training sample supervises. `last`: one target per user, as released; `prefix`: one sample per target;
    `all`: windows in which every position predicts the next item (causal methods and backbones only)"""
    max_length: int = Field(ge=2, le=2**16, description="most recent items that enter the network")
    ranking: Ranking
    """rule for validation and for the headline table: history `excluded` from the candidates, or `kept` as released.
    Both are always reported"""
    dimension: Width = Field(64, description="width of item embeddings and of the states that score them")
    dropout: Annotated[float, Search(0.1, 0.75)] = Field(ge=0, lt=1)
    """on the item embeddings and inside the backbone"""
    batch_size: int = Field(ge=1, le=2**20, description="sequences in a step")
    batching: Literal["length", "shuffled"] = "length"
    """which samples share a batch: those of like `length`, so that little is padding, or, `shuffled`, any, as released.
    A loss with in-batch negatives depends on it: under `last` an epoch of MovieLens-100K is 30 batches, so sorting
    would make every negative a history of the same length"""
    learning_rate: Annotated[float, Search(5e-4, 4e-2, log=True)] = Field(gt=0, le=10)
    """highest learning rate, at the warm-up's end"""
    steps: Steps
    """the budget: optimiser steps, rounded up to whole epochs (an epoch under `last` has 30 steps on MovieLens-100K and
    700 on Beauty). Only divergence or `patience` ends a run before"""
    budget: float = Field(1.0, gt=0, le=1000, description="a multiple of `steps`: what would a longer training gain?")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """how the learning rate falls after the warm-up: to 0 along a `cosine` or a `linear` line, or, `constant`, not at
    all, as released"""
    weight_decay: Annotated[float, Search(1e-3, 0.5, log=True)] = Field(0.0, ge=0, le=100)
    """weight decay; see `optimiser`"""
    average: float = Field(0.0, ge=0, lt=1)
    """decay per step of an exponential moving average of the weights, which is then validated and scored; 0: no
    average"""
    validations: Epochs = 40
    """at most so many epochs, evenly spaced and the last among them, are validated; the best of them is kept. Fewer
    cost less time and choose less by luck"""
    stopping: Literal["validation", "training"] = "validation"
    """what makes an epoch better: validation NDCG@10, or the `training` loss, as released"""
    patience: Epochs | None = None
    """stop early after so many epochs without a better one, as released; not set: never"""
    max_epochs: Epochs | None = None
    """the run file's upper limit; the learning rate is annealed over the shorter training"""
    loss: Literal["full", "in_batch"] = "full"
    """cross-entropy among all items, or among the batch's targets, as released"""
    bounded: bool = Field(False, description="tanh around every score, as released")
    rank_padding: bool = Field(False, description="padding is an item that can be recommended, as released")
    networks: Networks = "ours"
    """`released`: the release's backbones with their sizes, padding on the left without masks, an output layer apart
    from the embeddings"""
    optimiser: Literal["adamw", "adam"] = "adamw"
    """`adamw`: decoupled weight decay; `adam`: weight decay in the gradient, as released"""
    injected_noise: float = Field(0.0, ge=0, le=0.9)
    """share of random items among the inputs of training, validation and test alike, the last input before a target
    included. They are never targets. Known to the report as noise, never to a method"""
    tie_break: int = Field(0, ge=0, lt=2**31)
    """0: interactions at the same time keep the source's order; n: the n-th random order, which changes test items"""

    def epochs(self, samples: float) -> int:
        """Convert the budget to whole epochs of so many samples: rounded up, at least one, at most `max_epochs`.

        For estimates; `iadsr.training.schedule.epochs_of` has the same rule where its source counts in runs' digests.
        """
        steps = max(1, math.ceil(samples / self.batch_size))
        epochs = max(1, math.ceil(self.steps * self.budget / steps))
        return epochs if self.max_epochs is None else min(epochs, self.max_epochs)

    def estimated_samples(self, size: Size) -> float:
        """Estimate the samples of an epoch: one per user, per interaction, or per full window of each history."""
        windows = max(size.users, size.interactions / self.max_length)
        return {"last": size.users, "prefix": size.interactions, "all": windows}[self.objective]
