"""The loss against torch's dense cross-entropy, and at the edge of its numbers."""

import pytest
import torch

from iadsr.models.loss import softmax_loss


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("excludes", [False, True])
@pytest.mark.parametrize("rows", [1, 50, 128, 400])
def test_loss_is_cross_entropy_with_its_gradient(rows: int, excludes: bool, weighs: bool) -> None:
    torch.manual_seed(0)
    states = torch.randn(rows, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(40, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 40, (rows,))
    excluded = (torch.rand(rows, 40) < 0.3).scatter(1, targets.unsqueeze(1), False) if excludes else None
    logits = states @ weight.T
    masked = logits if excluded is None else logits.masked_fill(excluded, -torch.inf)
    weights = torch.rand(rows, dtype=torch.float64) if weighs else None
    if weights is not None:
        weights[1:] *= torch.rand(rows - 1) < 0.7  # some are 0
    every = torch.nn.functional.cross_entropy(masked, targets, reduction="none")
    wanted = (every if weights is None else weights * every).mean()
    expected = torch.autograd.grad(3 * wanted, (states, weight))
    loss = softmax_loss(states, weight, targets, excluded, weights)
    (3 * loss).backward()
    assert float(loss) == pytest.approx(float(wanted), abs=1e-10)
    torch.testing.assert_close(states.grad, expected[0])
    torch.testing.assert_close(weight.grad, expected[1])


def test_scores_far_from_zero_neither_overflow_nor_vanish() -> None:
    states = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    loss = softmax_loss(states, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == 200.0  # the first is certain and right, the second certain and wrong by 400
    assert states.grad is not None and states.grad.isfinite().all()
