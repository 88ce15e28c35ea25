"""Search ranges, declared beside the settings and options that the stage `tuning` may vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Search:
    """What the tuner draws a value from; an annotation of a field: `Annotated[float, Search(0.1, 1, log=True)]`.

    Attributes:
        low, high: the range of a number, both ends included.
        log: draw the number's logarithm evenly, not the number.
        choices: if given, the value is one of these, and there is no range.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Put the range into the JSON schema, under the key `searched`."""
        scale = {"scale": "log"} if self.log else {}
        found = {"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high, **scale}
        return {**handler(core), "searched": found}


def search_ranges(model: type[BaseModel]) -> dict[str, Search]:
    """List the ranges of the fields that the tuner may vary, by name, in the order of the class."""
    return {
        name: entry
        for name, field in model.model_fields.items()
        for entry in field.metadata
        if isinstance(entry, Search)
    }
