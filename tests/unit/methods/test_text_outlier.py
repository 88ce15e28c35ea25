"""The control drops the inputs with the least similar texts, against loops over rows, positions and pairs."""

from typing import Any

import numpy as np
import pytest
import torch

from iadsr.methods.masks import count_dropped
from iadsr.methods.method import Batch
from iadsr.methods.text_outlier import TextOutlier
from iadsr.methods.text_outlier_options import TextOutlierOptions
from iadsr.sequences.samples import training_samples
from iadsr.training.recommender import build_recommender
from tests.helpers import N_ITEMS, feed_of, inputs_of, small_cell, small_sequences

RATES = (1.0, 0.9, 0.6, 0.3)


def control(scope: str, text: torch.Tensor | None = None, **options: Any) -> TextOutlier:
    given = {} if text is None else {"text": text}
    return TextOutlier(inputs_of(**given), TextOutlierOptions(scope=scope, **options))  # type: ignore[arg-type]


def batch_of(rows: int = 200, longest: int = 12, left: bool = False) -> Batch:
    rng = np.random.default_rng(0)
    items = torch.zeros(rows, longest, dtype=torch.long)
    for row in range(rows):
        length = int(rng.integers(1, longest + 1))
        places = slice(longest - length, longest) if left else slice(0, length)
        items[row, places] = torch.as_tensor(rng.integers(1, N_ITEMS + 1, length))
    valid = items > 0
    return Batch(items, valid.sum(1), valid, valid.flatten().nonzero().squeeze(1), torch.arange(rows))


def mean_cosine(text: torch.Tensor, items: list[int], place: int) -> float:
    """Of the input at a place to the others."""
    if not text[items[place]].any():
        return 1.0
    others = [item for at, item in enumerate(items) if at != place]
    cosines = [float(torch.cosine_similarity(text[items[place]], text[item], dim=0)) for item in others]
    return round(sum(cosines) / max(len(others), 1), 5)


def lowest(text: torch.Tensor, items: list[int], count: int, older_first: bool) -> list[int]:
    order = 1 if older_first else -1
    return sorted(range(len(items)), key=lambda place: (mean_cosine(text, items, place), order * place))[:count]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("scope", ["sequence", "causal"])
def test_it_drops_what_a_loop_drops(scope: str, left: bool) -> None:
    text = inputs_of().text
    assert text is not None
    text[[3, *range(20, 41)]] = 0  # without text
    method, batch = control(scope, text), batch_of(40, left=left)
    for rate in RATES:
        keep, score = method.choose(rate, batch, torch.Generator())
        for row in range(40):
            places = batch.valid[row].nonzero().flatten().tolist()
            items = batch.items[row, places].tolist()
            user = batch.users[row : row + 1]
            expected = []
            for t in range(len(items)):
                seen = items if scope == "sequence" else items[: t + 1]
                count = int(count_dropped(torch.tensor([[len(seen)]]), rate, user))
                expected.append(0.0 if t in lowest(text, seen, count, scope == "sequence" or row % 2 == 1) else 1.0)
                cosine = mean_cosine(text, seen, t)
                assert float(score[row, places[t]]) == pytest.approx(cosine, abs=2e-5)
            assert keep[row, places].tolist() == expected
        assert (keep[~batch.valid] == 1).all()


@pytest.mark.parametrize("scope", ["sequence", "causal"])
def test_it_drops_the_share_and_leaves_every_row_an_input(scope: str) -> None:
    batch = batch_of(2000)
    many = batch.valid.sum(1, keepdim=True) > 4
    for rate in RATES:
        keep, _ = control(scope).choose(rate, batch, torch.Generator())
        kept = keep[batch.valid & many]
        if scope == "sequence":
            wanted = (1 - rate) * batch.valid.sum(1)
            dropped = (1 - keep).sum(1)
            assert ((dropped - wanted).abs() < 1).all()
            assert float(kept.mean()) == pytest.approx(rate, abs=0.02)
        assert ((keep * batch.valid).sum(1) >= 1).all()
        if scope == "causal":
            assert (keep[:, 0] == 1).all(), "nothing is known against the first input"
            for place in range(1, 12):
                counts = count_dropped(torch.full((2000, 1), place + 1), rate, batch.users)
                expected = 1 - float(counts.double().mean()) / (place + 1)
                assert float(keep[batch.valid[:, place], place].mean()) == pytest.approx(expected, abs=0.06)
        assert bool((keep == 1).all()) == (rate == 1.0)


def test_an_outlier_goes_first() -> None:
    text = torch.zeros(N_ITEMS + 1, 3)
    text[1:20, 0], text[20:, 1] = 1.0, 1.0
    items = torch.tensor([[1, 2, 25, 3, 4]])
    for scope in ("sequence", "causal"):
        batch = Batch(items, torch.tensor([5]), items > 0, torch.arange(5), torch.tensor([1]))
        keep, score = control(scope, text).choose(0.7, batch, torch.Generator())
        assert keep.tolist() == [[1, 1, 0, 1, 1]], "one or two of five; the second user rounds down"
        assert int(score.argmin()) == 2 if scope == "sequence" else float(score[0, 2]) == 0


def test_under_scope_causal_no_later_input_counts() -> None:
    method, batch = control("causal"), batch_of(60)
    whole, scores = method.choose(0.6, batch, torch.Generator())
    for length in range(1, 12):
        items = batch.items[:, :length]
        cut = Batch(items, batch.lengths.clamp(max=length), items > 0, torch.zeros(0).long(), batch.users)
        keep, score = method.choose(0.6, cut, torch.Generator())
        assert torch.equal(keep, whole[:, :length])
        torch.testing.assert_close(score[cut.valid], scores[:, :length][cut.valid])


def test_a_fixed_rate_needs_no_other_run() -> None:
    cell = small_cell("gru4rec", "text_outlier", "last", {"rate": 0.4})
    assert cell.method_options == {"match": None, "rate": 0.4, "remove": "zero", "scope": "sequence"}
    assert cell.matched is None
    model = build_recommender(cell, inputs_of(keep_rates=None))
    feed = feed_of(small_sequences())
    samples = training_samples(small_sequences(), "last", 8, np.random.default_rng(0))
    step = feed.step(samples, np.arange(len(samples)))
    for epoch in (1, 2, 7):
        model.method.begin_epoch(epoch)
        encoded = model.method(model.table, model.backbone, step.batch, torch.ones(1), torch.Generator())
        assert float(encoded.keep[step.batch.valid].mean()) == pytest.approx(0.6, abs=0.05)
    tested = model.method.denoise(model.table, model.backbone, step.batch, torch.Generator())
    assert torch.equal(tested.keep, encoded.keep), "no chance is in it"


def test_it_needs_texts() -> None:
    with pytest.raises(ValueError, match="text embeddings"):
        TextOutlier(inputs_of(text=None), TextOutlierOptions())
