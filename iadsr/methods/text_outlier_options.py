"""Options of `text_outlier`."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from iadsr.config.settings import Settings
from iadsr.methods.random_drop_options import RandomDropOptions


class TextOutlierOptions(RandomDropOptions):
    """A control without training: drops the inputs whose texts are least like those of the other inputs."""

    name: ClassVar[str] = "text_outlier"
    implementation: ClassVar[str] = "iadsr.methods.text_outlier:TextOutlier"

    scope: Literal["auto", "sequence", "causal"] = "auto"
    """an input is compared with all others (`sequence`), or with those before it (`causal`); `auto`: `causal` under
    objective `all`"""

    @property
    def reads_text(self) -> bool:
        """Tell that it reads item texts."""
        return True

    def _text_conflicts(self, settings: Settings) -> Iterator[str]:
        if self.texts == "empty":
            yield "it compares texts, and `texts: empty` is none"
        yield from super()._text_conflicts(settings)
