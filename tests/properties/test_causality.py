"""No state sees its target, what follows it, or padding: every backbone x method x objective.

Random streams are reseeded before each pass, and shapes kept, so any difference comes from the inputs.
"""

import itertools

import numpy as np
import pytest
import torch

from iadsr.core.config import BACKBONES, METHODS
from iadsr.methods.method import Batch, Encoded
from iadsr.sequences.samples import training_samples
from iadsr.training.data import training_step
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import N_ITEMS, USERS, context, small_cell, small_sequences

GRID = list(itertools.product(BACKBONES, METHODS, ["last", "prefix", "all"]))


def model_of(backbone: str, kind: str, objective: str) -> Recommender:
    options = {"theta": -2.0} if kind == "iadsr" else {}
    model = build_recommender(small_cell(backbone, kind, objective, options), N_ITEMS, USERS, context())
    model.method.begin_epoch(2)
    return model


def batch_of(items: torch.Tensor, lengths: torch.Tensor) -> Batch:
    valid = torch.arange(items.shape[1]) < lengths.unsqueeze(1)
    return Batch(items * valid, lengths, valid, valid.flatten().nonzero().squeeze(1), torch.arange(len(items)))


def states(model: Recommender, batch: Batch, mode: str) -> torch.Tensor:
    """The states of `encode`."""
    return encode(model, batch, mode).states


def encode(model: Recommender, batch: Batch, mode: str) -> Encoded:
    """A pass in training (with dropout and sampled masks) or when denoising for a score."""
    torch.manual_seed(1)
    noise = torch.Generator().manual_seed(2)
    keep = (torch.rand(batch.items.shape, generator=torch.Generator().manual_seed(3)) > 0.3).float()
    with torch.no_grad():
        if mode == "train":
            encoded: Encoded = model.train().method(model.table, model.backbone, batch, keep, noise)
            return encoded
        return model.eval().method.denoise(model.table, model.backbone, batch, noise)


@pytest.mark.parametrize("mode", ["train", "score"])
@pytest.mark.parametrize(("backbone", "kind", "objective"), GRID)
def test_a_target_and_what_follows_never_change_the_state_that_predicts_it(
    backbone: str, kind: str, objective: str, mode: str
) -> None:
    model = model_of(backbone, kind, objective)
    items = torch.randint(1, N_ITEMS + 1, (4, 8), generator=torch.Generator().manual_seed(4))
    if objective == "all":  # the state at t predicts the item at t + 1, for every t: change everything after t
        whole = states(model, batch_of(items, torch.full((4,), 8)), mode)
        for t in range(7):
            changed = items.clone()
            changed[:, t + 1 :] = changed[:, t + 1 :] % N_ITEMS + 1
            after = states(model, batch_of(changed, torch.full((4,), 8)), mode)
            torch.testing.assert_close(after[:, : t + 1], whole[:, : t + 1], rtol=0, atol=1e-6)
            assert not torch.equal(after[:, t + 1 :], whole[:, t + 1 :]), "the change must matter somewhere"
    else:  # the last input predicts what follows it, which must not be among the inputs: change what lies behind
        lengths = torch.tensor([5, 3, 7, 1])
        whole = states(model, batch_of(items, lengths), mode)
        behind = torch.arange(8) >= lengths.unsqueeze(1)
        changed = torch.where(behind, items % N_ITEMS + 1, items)
        after = states(model, batch_of(changed, lengths), mode)
        rows = torch.arange(4)
        torch.testing.assert_close(after[rows, lengths - 1], whole[rows, lengths - 1], rtol=0, atol=1e-6)


OPTIONS = [
    {"mask": "soft"},
    {"mask": "none"},
    {"semantic": False},
    {"threshold": "mean"},
    {"threshold": "quantile", "quantile": 0.4},
    {"threshold": "learned"},
    {"short": "window"},
    {"long": "max"},
    {"shared_projection": True},
    {"defects": ["R3", "R4", "R6"]},
]


@pytest.mark.parametrize("mode", ["train", "score"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_option_of_iadsr_looks_ahead_under_all(options: dict[str, object], mode: str) -> None:
    """Each in turn: neither the states nor the mask at t know what follows t."""
    cell = small_cell("gru4rec", "iadsr", "all", {"theta": -2.0, **options})
    model = build_recommender(cell, N_ITEMS, USERS, context())
    items = torch.randint(1, N_ITEMS + 1, (4, 8), generator=torch.Generator().manual_seed(4))
    whole = encode(model, batch_of(items, torch.full((4,), 8)), mode)
    for t in range(7):
        changed = items.clone()
        changed[:, t + 1 :] = changed[:, t + 1 :] % N_ITEMS + 1
        after = encode(model, batch_of(changed, torch.full((4,), 8)), mode)
        torch.testing.assert_close(after.states[:, : t + 1], whole.states[:, : t + 1], rtol=0, atol=1e-6)
        if whole.keep is not None:
            assert after.keep is not None
            torch.testing.assert_close(after.keep[:, : t + 1], whole.keep[:, : t + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("backbone", "kind", "objective"), GRID)
def test_padding_never_leaks(backbone: str, kind: str, objective: str) -> None:
    """More padding, and other values in it, leave every valid state as it was."""
    if kind == "random_drop":
        pytest.skip("its mask is drawn by position in the padded batch; the next test covers its backbone")
    model = model_of(backbone, kind, objective)
    lengths = torch.tensor([5, 2])
    items = torch.randint(1, N_ITEMS + 1, (2, 5), generator=torch.Generator().manual_seed(5))
    narrow = batch_of(items, lengths)
    wide = batch_of(torch.cat((items, torch.full((2, 3), 9)), dim=1), lengths)
    expected, found = (states(model, batch, "score") for batch in (narrow, wide))
    torch.testing.assert_close(found[:, :5][narrow.valid], expected[narrow.valid], rtol=0, atol=1e-6)


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_garbage_in_padding_never_reaches_a_valid_state(backbone: str) -> None:
    model = model_of(backbone, "none", "all").eval()
    embedded = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(6))
    lengths = torch.tensor([5, 2])
    garbage = embedded.clone()
    garbage[0, 5:], garbage[1, 2:] = 1e4, -1e4
    with torch.no_grad():
        expected, found = (model.backbone(x, lengths, torch.arange(2)) for x in (embedded, garbage))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=0, atol=1e-6)


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_padding_that_a_network_encodes_is_never_dropped(backbone: str) -> None:
    """The release pads on the left and masks nothing: a method drops items, not padding."""
    sequences = small_sequences()
    items = torch.as_tensor(sequences.items).long()
    for kind in ("iadsr", "random_drop"):
        options = {"alignment": 1.0, "reconstruction": 1.0, "theta": -2.0} if kind == "iadsr" else {}
        cell = small_cell(backbone, kind, "last", options, networks="released")
        model = build_recommender(cell, N_ITEMS, USERS, context(128)).eval()
        model.method.begin_epoch(2)
        samples = training_samples(sequences, "last", 8, np.random.default_rng(0))
        batch = training_step(items, samples, np.arange(12), 8).batch
        encoded = model.method.denoise(model.table, model.backbone, batch, torch.Generator().manual_seed(0))
        assert encoded.keep is not None
        assert not batch.valid.all()
        assert (encoded.keep[~batch.valid] == 1).all()
        assert (encoded.keep[batch.valid] < 1).any(), "the case must drop something to test anything"
