"""Small cells, sequences and inputs of methods, on which checks and tests run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from iadsr.config.cell import Cell
from iadsr.config.datasets import PlantedSpec
from iadsr.config.options import CELL_OPTIONS, find_backbone, find_method
from iadsr.config.settings import Settings
from iadsr.core.columns import ITEM, TEXT
from iadsr.datasets.planted import generate
from iadsr.methods.method import Histories, MethodInputs
from iadsr.sequences.samples import training_histories
from iadsr.sequences.split import LAST_TRAINED, Sequences, build_sequences
from iadsr.training.feed import Feed, left_padding

N_ITEMS, USERS = 40, 24


def small_sequences(users: int = USERS, seed: int = 0, longest: int = 29) -> Sequences:
    """Generate users who walk along a ring of items, with a few jumps; the first has the shortest history."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, longest + 1, users)
    lengths[0] = 3
    walks = [(rng.integers(N_ITEMS) + np.cumsum(rng.choice([1, 1, 1, 7], size=n))) % N_ITEMS + 1 for n in lengths]
    return Sequences(
        items=np.concatenate(walks).astype(np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        users=np.array([f"u{index:02d}" for index in range(users)]),
        n_items=N_ITEMS,
        noise=rng.random(int(lengths.sum())) < 0.2,
    )


def joined_sequences(sequences: Sequences) -> Sequences:
    """Give each interaction a text of its own, as joined names do."""
    return replace(sequences, texts=np.arange(1, len(sequences.items) + 1))


def planted_sequences() -> tuple[Sequences, torch.Tensor]:
    """Generate a small planted dataset, and its items' texts as counts of words, with a zero row for padding."""
    size = {"users": 120, "items": 96, "clusters": 8, "min_length": 8, "max_length": 20}
    interactions, texts = generate(PlantedSpec(**size, noise_rate=0.2, seed=1))
    items = pd.DataFrame({ITEM: list(texts), TEXT: list(texts.values())})
    words = sorted({word for text in texts.values() for word in text.split()})
    counts = torch.zeros(len(items) + 1, len(words))
    for row, text in enumerate(texts.values(), start=1):
        counts[row, [words.index(word) for word in text.split()]] = 1
    return build_sequences(interactions, items), counts


def small_cell(
    backbone: str,
    kind: str,
    objective: str,
    method_options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
    **changes: Any,
) -> Cell:
    """Make a cell that trains in a second; `changes` are settings, or `epochs` (3).

    Raises:
        ConfigError: method, backbone and objective do not go together.
    """
    settings: dict[str, Any] = {
        "objective": objective,
        "max_length": 8,
        "ranking": "kept",
        "dimension": 8,
        "dropout": 0.2,
        "batch_size": 8,
        "learning_rate": 0.01,
        "steps": 10**6,
        "max_epochs": changes.pop("epochs", 3),
        "warmup": 0.0,
        "schedule": "constant",
        **changes,
    }
    given = Settings.model_validate(settings)
    options, own = find_method(kind, kind)(**(method_options or {})).settle(given, backbone, kind)
    model = find_backbone(backbone, own.networks, kind)
    model.check_objective(own, kind)
    moved = {name: options.pop(name, None) for name in CELL_OPTIONS}
    return Cell(
        dataset="ring",
        protocol="test",
        backbone=backbone,
        method=kind,
        seed=0,
        kind=kind,
        settings=own,
        backbone_options=model(**(backbone_options or {})).model_dump(),
        method_options=options,
        encoder=None,
        items=moved["items"],
    )


def feed_of(sequences: Sequences, cell: Cell | None = None) -> Feed:
    """Put sequences on the CPU, padded as the cell's networks need."""
    return Feed(sequences, torch.device("cpu"), None if cell is None else left_padding(cell))


def inputs_of(
    sequences: Sequences | None = None,
    dimension: int = 8,
    width: int | None = None,
    max_length: int = 8,
    **changes: Any,
) -> MethodInputs:
    """Make a method's inputs for the sequences, with random text and the keep rates of an imaginary run."""
    text = torch.randn(N_ITEMS, 6, generator=torch.Generator().manual_seed(7))
    given: dict[str, Any] = {
        "text": torch.cat((torch.zeros(1, 6), text)),
        "keep_rates": np.array([0.7, 0.6]),
        "test_keep_rate": 0.8,
    }
    data = small_sequences() if sequences is None else sequences
    given["histories"] = Histories(*training_histories(data))
    given["input_histories"] = Histories(*training_histories(data, LAST_TRAINED))
    sizes = data.n_items, len(data.users), dimension, width or dimension, max_length
    return MethodInputs(*sizes, **{**given, **changes})
