"""The matrix products of a computation, recorded as it runs, to be repeated alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_PLAIN = {_ATEN.mm, _ATEN.bmm}
_WITH_SUM = {_ATEN.addmm, _ATEN.addmm_, _ATEN.baddbmm}
_ATTENTION = _ATEN._scaled_dot_product_flash_attention_for_cpu
_ATTENTION_BACKWARD = _ATEN._scaled_dot_product_flash_attention_for_cpu_backward


class Products(TorchDispatchMode):
    """Records every matrix product and attention inside its `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[Callable[[], Any]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and remember it if it is a product."""
        packet = function.overloadpacket
        if function.namespace not in ("aten", "profiler"):
            raise NotImplementedError(f"{function.name()}: say which products it has")
        elif packet in _PLAIN:
            self._remember(packet, args[0], args[1])
        elif packet in _WITH_SUM:
            self._remember(_ATEN.bmm if packet is _ATEN.baddbmm else _ATEN.mm, args[1], args[2])
        elif packet in (_ATTENTION, _ATTENTION_BACKWARD):
            self._attention(args[0] if packet is _ATTENTION else args[1], backward=packet is _ATTENTION_BACKWARD)
        return function(*args, **(kwargs or {}))

    def repeat(self) -> None:
        """Every recorded product once more, and nothing else."""
        with torch.no_grad():
            for product in self.recorded:
                product()

    def _remember(self, product: Any, left: torch.Tensor, right: torch.Tensor) -> None:
        left, right = left.detach(), right.detach()
        self.recorded.append(lambda: product(left, right))

    def _attention(self, query: torch.Tensor, backward: bool) -> None:
        """Two products forward, five backward, of (B, H, T, D) operands."""
        operand = query.detach().flatten(0, 1).contiguous()
        square = operand @ operand.transpose(1, 2)
        inner, outer = (lambda: operand @ operand.transpose(1, 2)), (lambda: square @ operand)
        self.recorded += [inner, outer] if not backward else [inner, inner, outer, outer, outer]
