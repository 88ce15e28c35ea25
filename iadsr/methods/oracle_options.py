"""Options of `oracle`."""

from typing import ClassVar

from iadsr.config.fields import Remove
from iadsr.config.options import MethodOptions


class OracleOptions(MethodOptions):
    """Drop exactly the inputs that are known noise: what a perfect denoiser of inputs could reach."""

    name: ClassVar[str] = "oracle"
    implementation: ClassVar[str] = "iadsr.methods.oracle:Oracle"

    remove: Remove = "zero"
    """what becomes of a dropped input"""

    @property
    def has_keep_rates(self) -> bool:
        """See `MethodOptions`."""
        return True
