"""A small batch, and IADSR with any options on it."""

from typing import Any

import torch
from torch import nn

from iadsr.config.options import CELL_OPTIONS
from iadsr.config.settings import Settings
from iadsr.methods.iadsr import IADSR
from iadsr.methods.iadsr_choices import build
from iadsr.methods.iadsr_options import IADSROptions
from iadsr.methods.method import Batch, MethodInputs
from iadsr.models.backbone import ItemTable

TEXT = torch.cat((torch.zeros(1, 5), torch.randn(7, 5, generator=torch.Generator().manual_seed(3))))


class Shift(nn.Module):
    """A backbone whose state is simple: a linear map of the embedding at the position."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)

    def forward(self, embedded: torch.Tensor, lengths: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.map(embedded)
        return states


def sized(*told: Any) -> MethodInputs:
    return MethodInputs(7, 3, 4, 4, 4, *told)


def method_of(inputs: MethodInputs, **options: object) -> IADSR:
    settings = Settings(
        objective="last", max_length=4, ranking="kept", dropout=0, batch_size=3, learning_rate=1, steps=1
    )
    given, _ = IADSROptions(**options).settle(settings, "caser", "iadsr")
    return build(inputs, IADSROptions(**{name: value for name, value in given.items() if name not in CELL_OPTIONS}))


def make(
    scope: str = "sequence", keep_rates: Any = None, test_keep_rate: float = 1.0, **options: object
) -> tuple[IADSR, ItemTable, Shift, Batch]:
    torch.manual_seed(0)
    method = method_of(sized(TEXT, keep_rates, test_keep_rate), scope=scope, **options)
    items = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 1, 2, 0]])
    lengths = torch.tensor([4, 2, 3])
    batch = Batch(items, lengths, items > 0, torch.tensor([0, 1, 2, 3, 4, 5, 8, 9, 10]), torch.arange(3))
    return method, ItemTable(7, 4), Shift(), batch


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a @ b / (a.norm() * b.norm())).detach())


def judged(scope: str = "sequence", **options: object) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """Gates and scores of the shared batch."""
    method, table, backbone, batch = make(scope, **options)
    embedded = table(batch.items)
    states = backbone(embedded, batch.lengths, batch.users)
    gate, score = method.judge(method.interests(backbone, embedded, states, batch), batch)
    return gate.expand_as(score), score.detach(), batch
