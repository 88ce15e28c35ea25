"""Options of `recency`."""

from typing import Any, ClassVar

from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError
from iadsr.methods.random_drop_options import RandomDropOptions


class RecencyOptions(RandomDropOptions):
    """A control: drops the oldest inputs, as many as another method's run dropped, or a fixed share."""

    name: ClassVar[str] = "recency"
    implementation: ClassVar[str] = "iadsr.methods.recency:Recency"

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """Refuse objective `all`; see `MethodOptions`."""
        if settings.objective == "all":
            raise ConfigError(
                f"method '{label}' drops the oldest share of an input, which tells how much follows: objective 'all', "
                "under which every position predicts the next one, needs another control"
            )
        return super().settle(settings, backbone, label)
