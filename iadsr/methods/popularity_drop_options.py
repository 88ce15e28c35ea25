"""Options of `popularity_drop`."""

from typing import ClassVar

from iadsr.methods.random_drop_options import RandomDropOptions


class PopularityDropOptions(RandomDropOptions):
    """A control: drops the rarest items, as many inputs as another method's run dropped."""

    name: ClassVar[str] = "popularity_drop"
    implementation: ClassVar[str] = "iadsr.methods.popularity_drop:PopularityDrop"
