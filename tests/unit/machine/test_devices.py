"""The device that torch computes on."""

import pytest

from iadsr.core.errors import IadsrError
from iadsr.machine.devices import resolve_device


@pytest.mark.parametrize(
    ("name", "available", "device"), [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu")]
)
def test_auto_is_cuda_where_there_is_one(
    name: str, available: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    assert resolve_device(name) == device


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(IadsrError, match="device: auto"):
        resolve_device("cuda")
