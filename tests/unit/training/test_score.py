"""Ranks by hand: ties, exclusion, repeats; the AUC against its definition."""

import itertools

import numpy as np
import pytest
import torch

from iadsr.config.cell import Cell
from iadsr.config.settings import Settings
from iadsr.sequences.split import Sequences
from iadsr.training.recommender import build_recommender
from iadsr.training.score import Scorer, ndcg, noise_auc, place_targets
from tests.helpers import feed_of, inputs_of, small_cell, small_sequences


def test_expected_rank_with_ties_and_without_the_history() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.5, 0.5, 0.1], [1.0, 2.0, 3.0, 4.0, 3.5]])
    rows, seen = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 2, 3, 0])
    places = place_targets(scores, torch.tensor([0, 4]), rows, seen)
    assert places["kept"].rank.tolist() == [3.0, 2.0]  # one better, two tied: places 2, 3, 4 are equally likely
    assert places["kept"].ties.tolist() == [2, 0]
    assert places["excluded"].rank.tolist() == [1.5, 1.0]
    assert places["excluded"].ties.tolist() == [1, 0]
    assert ndcg(torch.tensor([1.0, 3.0, 10.0, 11.0]), 10).tolist() == pytest.approx([1, 0.5, 1 / np.log2(11), 0])


def test_a_score_that_is_not_a_number_never_looks_good() -> None:
    scores = torch.full((1, 50), torch.nan)
    places = place_targets(scores, torch.tensor([7]), torch.tensor([0]), torch.tensor([3]))
    assert float(places["kept"].rank) > 49
    assert float(ndcg(places["excluded"].rank, 10)) == 0


def test_a_broken_model_has_no_validation_score() -> None:
    sequences = small_sequences()
    cell = small_cell("gru4rec", "none", "all")
    model = build_recommender(cell, inputs_of())
    scorer = Scorer(feed_of(sequences), "validation", cell)
    assert 0 < scorer.validation(model, "kept", torch.Generator()) < 1
    model.backbone.project.bias.data[0] = torch.nan  # type: ignore[union-attr,operator,index]
    assert np.isnan(scorer.validation(model, "kept", torch.Generator()))


def test_auc_is_the_share_of_pairs_in_order() -> None:
    score, noisy = np.array([0.1, 0.4, 0.4, 0.9, -1.0]), np.array([True, False, True, False, False])
    pairs = itertools.product(score[~noisy], score[noisy])
    wins = [1.0 if good > bad else 0.5 if good == bad else 0.0 for good, bad in pairs]
    assert noise_auc(score, noisy) == pytest.approx(np.mean(wins))
    assert noise_auc(score, np.zeros(5, dtype=bool)) is None


def test_ranks_equal_a_loop_over_users_and_items() -> None:
    rng = np.random.default_rng(0)
    lengths = [5, 9, 14]
    items = np.concatenate([rng.permutation(30)[:n] + 1 for n in lengths]).astype(np.int32)
    items[4] = items[0]  # a target that is a repeat stays a candidate
    sequences = Sequences(items, np.array([0, 5, 14, 28]), np.array(["a", "b", "c"]), 30)
    cell = Cell(
        dataset="d", protocol="p", backbone="gru4rec", method="none", seed=1, kind="none", encoder=None,
        settings=Settings(
            objective="all", max_length=4, ranking="kept", dimension=8, dropout=0.1, batch_size=2, learning_rate=0.1,
            steps=1,
        ),
        backbone_options={"hidden": 8, "layers": 1}, method_options={},
    )  # fmt: skip
    model = build_recommender(cell, inputs_of(sequences)).eval()
    table, masks, auc, _ = Scorer(feed_of(sequences), "test", cell).test(model, torch.Generator())
    assert (masks.inputs, auc) == (0, None)
    assert table["history_length"].tolist() == [4, 8, 13]
    for row, (begin, end) in enumerate(itertools.pairwise(sequences.offsets)):
        history, target = items[begin : end - 1], items[end - 1]
        inputs = torch.tensor(history[-4:]).long().unsqueeze(0)
        state = model.backbone(model.table(inputs), torch.tensor([inputs.shape[1]]), torch.tensor([row]))[0, -1]
        scores = (model.table.candidates @ state).detach().numpy()
        for ranking in ("kept", "excluded"):
            allowed = [i for i in range(1, 31) if ranking == "kept" or i not in history or i == target]
            order = sorted(allowed, key=lambda i: -scores[i - 1])
            assert table[f"rank_{ranking}"][row] == order.index(target) + 1
            assert table[f"top_{ranking}"][row][: min(10, len(allowed))].tolist() == order[:10]
    counts = np.bincount(
        np.concatenate([items[b : e - 2] for b, e in itertools.pairwise(sequences.offsets)]), minlength=31
    )
    assert table["target_train_count"].tolist() == counts[table["target"]].tolist()
