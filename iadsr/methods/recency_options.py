"""Options of `recency`."""

from typing import ClassVar

from iadsr.methods.random_drop_options import RandomDropOptions


class RecencyOptions(RandomDropOptions):
    """A control: drops the oldest inputs, as many as another method's run dropped, or a fixed share."""

    name: ClassVar[str] = "recency"
    implementation: ClassVar[str] = "iadsr.methods.recency:Recency"

    @property
    def looks_ahead(self) -> str:
        """See `MethodOptions`."""
        return "dropping the oldest share of an input tells how much follows"
