"""The oracle drops known noise and nothing else, and is the only method that is told of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iadsr.config.options import known_methods
from iadsr.core.seeding import generator
from iadsr.sequences.samples import training_samples
from iadsr.training.feed import Step
from iadsr.training.loop import evaluation_noise, train
from iadsr.training.recommender import Recommender, build_recommender
from iadsr.training.score import Scorer
from tests.helpers import accepted, feed_of, inputs_of, small_cell, small_sequences

CELL = small_cell("gru4rec", "oracle", "last")
SEQUENCES = small_sequences()


def a_step(model: Recommender) -> Step:
    samples = training_samples(SEQUENCES, "last", 8, generator(0, "samples"))
    return feed_of(SEQUENCES).step(samples, np.arange(len(samples.start)), model.method.asks_for)


def test_noise_is_dropped_and_nothing_else() -> None:
    model = build_recommender(CELL, inputs_of())
    step = a_step(model)
    keep = model(step, torch.ones(()), torch.Generator())[1].keep
    noisy = torch.as_tensor(SEQUENCES.noise)[step.positions]
    assert noisy[step.batch.valid].any()
    assert torch.equal(keep == 0, noisy & step.batch.valid), "padding is no noise"


def test_no_other_method_is_told() -> None:
    others = set(known_methods()) - {"oracle"}
    tried = {kind: backbone for backbone, kind, _ in accepted(others, ["last"])}
    assert tried.keys() == others
    for kind, backbone in tried.items():
        model = build_recommender(small_cell(backbone, kind, "last"), inputs_of())
        assert "noisy" not in model.method.asks_for, kind
        assert a_step(model).batch.noisy is None, kind


def test_it_finds_all_noise_at_test_time_too() -> None:
    model = build_recommender(CELL, inputs_of())
    feed = feed_of(SEQUENCES)
    train(model, feed, CELL)
    _, masks, auc, _ = Scorer(feed, "test", CELL).test(model.eval(), evaluation_noise(CELL, feed.device))
    assert masks.precision_and_recall() == (1, 1) and auc == 1


def test_where_no_noise_is_known_it_is_none() -> None:
    clean = feed_of(replace(SEQUENCES, noise=None))
    curves = []
    for kind in ("oracle", "none"):
        cell = small_cell("gru4rec", kind, "last")
        model = build_recommender(cell, inputs_of())
        curves.append([row.loss for row in train(model, clean, cell).curve])
    assert curves[0] == pytest.approx(curves[1], abs=0)
