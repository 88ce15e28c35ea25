"""The recurrence by hand against torch's, forward and back."""

import pytest
import torch

from iadsr.models.gru4rec import GRU4Rec


@pytest.mark.parametrize("layers", [1, 2])
def test_states_and_gradients_equal_those_of_torch(layers: int) -> None:
    torch.manual_seed(0)
    model = GRU4Rec(5, dropout=0.0, hidden=7, layers=layers).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    x = torch.randn(3, 6, 5, dtype=torch.float64, requires_grad=True)
    outer = torch.randn(3, 6, 7, dtype=torch.float64)
    results = []
    for hidden in (model._on_cpu(x), model.gru(x)[0]):
        wanted = [x, *model.gru.parameters()]
        results.append((hidden, torch.autograd.grad((hidden * outer).sum(), wanted)))
    (ours, gradients), (theirs, expected) = results
    torch.testing.assert_close(ours, theirs)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_gradients_equal_finite_differences() -> None:
    torch.manual_seed(1)
    model = GRU4Rec(3, dropout=0.0, hidden=4, layers=1).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model._on_cpu, (x,))
