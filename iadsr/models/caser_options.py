"""Options of Caser."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from iadsr.config.fields import Width
from iadsr.config.options import BackboneOptions
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError


class CaserOptions(BackboneOptions):
    """Convolutions over a window of recent items after Tang and Wang, WSDM 2018.

    Their output layer reads a user embedding. The default here reads the last item's embedding in its place.
    """

    name: ClassVar[str] = "caser"
    title: ClassVar[str] = "Caser"
    implementation: ClassVar[str] = "iadsr.models.caser:build"

    window: Width = Field(5, description="how many recent items a position sees")
    horizontal: Width = Field(16, description="horizontal filters for each height 1..window")
    vertical: Width = Field(4, description="vertical filters")
    user_embedding: bool = False
    """the output layer reads a user embedding, as published; otherwise the last item's embedding"""

    def check(self, settings: Settings, where: str) -> None:
        """See `BackboneOptions`."""
        if self.window > settings.max_length:
            raise ConfigError(f"{where}: window: {self.window} is longer than max_length, {settings.max_length}")
