"""No state sees its target, what follows it, or padding: every backbone x method x objective.

The models that must be caught are in `test_mutants.py`: what passes there unseen could pass here.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iadsr.config.cell import Cell
from iadsr.config.options import known_backbones, known_methods
from iadsr.conformance.leaks import memory_leak, padding_leak, target_leak
from iadsr.sequences.perturb import inject_noise
from iadsr.sequences.samples import training_samples
from iadsr.training.loop import train
from iadsr.training.recommender import Recommender, build_recommender, state_width
from tests.helpers import (
    CAUSAL,
    N_ITEMS,
    accepted,
    feed_of,
    inputs_of,
    joined_sequences,
    objective_of,
    small_cell,
    small_sequences,
)

GRID = accepted(known_methods())
# A few short histories: every sample and place of theirs is tried.
SEQUENCES = small_sequences(users=4, longest=9)
JOINED = joined_sequences(SEQUENCES)

# A Caser whose window is shorter than the inputs, so that it has a past to look at and one to forget
SMALL = {"caser": {"window": 3}}


def model_of(
    backbone: str, kind: str, objective: str, options: dict[str, object] | None = None
) -> tuple[Recommender, Cell]:
    """A fresh model that drops some of its inputs, and its cell."""
    opened = {"theta": -2.0} if kind == "iadsr" else {}
    given = {**opened, **(options or {})}
    cell = small_cell(backbone, kind, objective, given, SMALL.get(backbone), max_length=4)
    model = build_recommender(cell, inputs_of(max_length=4))
    model.method.begin_epoch(2)
    return model, cell


def test_every_backbone_and_method_is_tried() -> None:
    """What is refused is what would leak: a backbone or method that looks ahead, under objective `all`."""
    for kind, model in known_methods().items():
        for backbone in ("own",) if model.own_backbone else known_backbones():
            assert {(backbone, kind, "last"), (backbone, kind, "prefix")} <= set(GRID)
    assert {backbone for backbone, kind, objective in GRID if (kind, objective) == ("none", "all")} == set(CAUSAL)
    assert {"gru4rec", "sasrec", "caser"} <= set(CAUSAL)


@pytest.mark.parametrize("mode", ["train", "score"])
@pytest.mark.parametrize(("backbone", "kind", "objective"), GRID)
def test_no_target_and_no_padding_leaks(backbone: str, kind: str, objective: str, mode: str) -> None:
    model, cell = model_of(backbone, kind, objective)
    assert target_leak(model, cell, SEQUENCES, mode) is None
    if kind == "random_drop" and mode == "score":
        return  # its mask is drawn place by place of the padded batch, so the width of a batch does matter to it
    assert padding_leak(model, cell, SEQUENCES, mode) is None


OPTIONS = [
    {"mask": "soft"},
    {"mask": "none"},
    {"mask": "random"},
    {"semantic": False},
    {"threshold": "mean"},
    {"threshold": "quantile", "quantile": 0.4},
    {"threshold": "learned"},
    {"short": "window"},
    {"long": "max"},
    {"shared_projection": True},
    {"remove": "pack"},
    {"interest_text": "prefixes"},
    {"defects": ["R3", "R4", "R6"]},
]


@pytest.mark.parametrize("objective", ["prefix", "all"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_option_of_iadsr_leaks(options: dict[str, object], objective: str) -> None:
    model, cell = model_of("gru4rec", "iadsr", objective, options)
    sequences = JOINED if "interest_text" in options else SEQUENCES
    if options.get("mask") == "random":
        model.method.chance.rate.fill_(0.7)
    for mode in ("train", "score"):
        assert target_leak(model, cell, sequences, mode) is None
        if options.get("mask") != "random":  # drawn place by place of the padded batch, whose width does matter to it
            assert padding_leak(model, cell, sequences, mode) is None


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_nothing_leaks_with_injected_items(objective: str) -> None:
    model, cell = model_of("gru4rec", "iadsr", objective)
    noisy = inject_noise(SEQUENCES, 0.4)
    assert target_leak(model, cell, noisy, "train") is None
    assert memory_leak(model, cell, noisy) is None


@pytest.mark.parametrize("objective", ["last", "prefix", "all"])
def test_no_mask_that_is_remembered_leaks(objective: str) -> None:
    """The mask of one epoch is the input of the next: a sample's may not come from one that knew its target."""
    model, cell = model_of("gru4rec", "iadsr", objective)
    assert model.method.remembers
    assert memory_leak(model, cell, SEQUENCES) is None


@pytest.mark.parametrize("backbone", list(known_backbones("released")))
@pytest.mark.parametrize("objective", ["last", "prefix"])
def test_the_released_networks_see_no_target(backbone: str, objective: str) -> None:
    """They encode padding, on the left; a target is no input of theirs either."""
    cell = small_cell(backbone, "iadsr", objective, {"theta": -2.0}, networks="released", max_length=4)
    model = build_recommender(cell, inputs_of(width=state_width(cell)))
    for mode in ("train", "score"):
        assert target_leak(model, cell, SEQUENCES, mode) is None


@pytest.mark.parametrize("backbone", list(known_backbones()))
@pytest.mark.parametrize("kind", ["iadsr", "random_drop"])
def test_packing_leaks_nothing_with_any_backbone(backbone: str, kind: str) -> None:
    for objective in ("last", objective_of(backbone)):
        model, cell = model_of(backbone, kind, objective, {"remove": "pack"})
        assert target_leak(model, cell, SEQUENCES, "train") is None
        assert padding_leak(model, cell, SEQUENCES, "train") is None


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "pre", "activation": "relu", "attention_dropout": 0.3},
        {"user_embedding": True},
    ],
    ids=str,
)
def test_published_blocks_leak_nothing(options: dict[str, object]) -> None:
    backbone = "caser" if "user_embedding" in options else "sasrec"
    cell = small_cell(backbone, "none", "all", backbone_options={**SMALL.get(backbone, {}), **options})
    model = build_recommender(cell, inputs_of())
    for mode in ("train", "score"):
        assert target_leak(model, cell, SEQUENCES, mode) is None
        assert padding_leak(model, cell, SEQUENCES, mode) is None


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_training_never_reads_a_held_out_item(held_out: str) -> None:
    """Losses and weights stay bit for bit the same when every held-out item is another one."""
    outcomes = []
    whole = small_sequences()
    items = whole.items.copy()
    places = whole.target_positions(held_out)  # type: ignore[arg-type]
    items[places] = items[places] % N_ITEMS + 1
    # validation decides which epoch is kept and nothing else: with one epoch there is no choice
    cell = small_cell("gru4rec", "iadsr", "all", {"theta": -2.0}, epochs=1)
    for sequences in (whole, replace(whole, items=items)):
        model = build_recommender(cell, inputs_of())
        outcome = train(model, feed_of(sequences), cell)
        outcomes.append((outcome.curve[0].loss, model.state_dict()))
    assert outcomes[0][0] == outcomes[1][0]
    assert all(torch.equal(outcomes[0][1][name], value) for name, value in outcomes[1][1].items())


@pytest.mark.parametrize("backbone", list(known_backbones("released")))
def test_padding_that_a_network_encodes_is_never_dropped(backbone: str) -> None:
    """The release pads on the left and masks nothing: a method drops items, not padding."""
    sequences = small_sequences()
    for kind in ("iadsr", "random_drop"):
        options = {"alignment": 1.0, "reconstruction": 1.0, "theta": -2.0} if kind == "iadsr" else {}
        cell = small_cell(backbone, kind, "last", options, networks="released")
        model = build_recommender(cell, inputs_of(width=128)).eval()
        model.method.begin_epoch(2)
        samples = training_samples(sequences, "last", 8, np.random.default_rng(0))
        batch = feed_of(sequences, cell).step(samples, np.arange(12)).batch
        encoded = model.method.denoise(model.table, model.backbone, batch, torch.Generator().manual_seed(0))
        assert encoded.keep is not None
        assert not batch.valid.all()
        assert (encoded.keep[~batch.valid] == 1).all()
        assert (encoded.keep[batch.valid] < 1).any(), "the case must drop something to test anything"
