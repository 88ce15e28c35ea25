"""The control keeps the newest inputs."""

import pytest
import torch

from iadsr.core.errors import ConfigError
from iadsr.methods.masks import count_dropped
from iadsr.methods.recency import Recency
from iadsr.methods.recency_options import RecencyOptions
from tests.helpers import inputs_of, small_cell
from tests.unit.methods.test_text_outlier import batch_of


@pytest.mark.parametrize("left", [False, True])
def test_the_oldest_inputs_of_a_row_are_dropped(left: bool) -> None:
    method, batch = Recency(inputs_of(), RecencyOptions()), batch_of(left=left)
    for rate in (1.0, 0.8, 0.3):
        keep, score = method.choose(rate, batch, torch.Generator())
        assert score is None
        for row in range(len(keep)):
            kept = keep[row, batch.valid[row]].tolist()
            count = int(count_dropped(torch.tensor([[len(kept)]]), rate, batch.users[row : row + 1]))
            assert kept == [0.0] * count + [1.0] * (len(kept) - count)
            assert count < len(kept)
        assert (keep[~batch.valid] == 1).all()
        long = batch.valid & (batch.valid.sum(1, keepdim=True) > 3)
        assert float(keep[long].mean()) == pytest.approx(rate, abs=0.03)


def test_how_many_follow_is_not_told() -> None:
    with pytest.raises(ConfigError, match="tells how much follows"):
        small_cell("gru4rec", "recency", "all")
    small_cell("gru4rec", "recency", "prefix")
