"""What all text encoders' options have in common. Each encoder's own stand beside it, in `iadsr.embeddings`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from iadsr.config.fields import Strict

# options that the identity of the weights already carries
NAMED_BY_IDENTITY = frozenset({"kind", "model", "adapter", "revision", "adapter_revision", "base_revision", "pooling"})

BatchSize = Annotated[int, Field(ge=1, le=2**16)]
Dimension = Annotated[int, Field(ge=1, le=2**16)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(min_length=1)]


class EncoderSpec(Strict):
    """A text encoder and its options.

    Attributes:
        implementation: `module:class`, imported where texts are encoded; called with the options and a device.
    """

    implementation: ClassVar[str]

    kind: str

    def options(self) -> dict[str, Any]:
        """Return every option in force, with `kind`."""
        return self.model_dump(exclude_none=True)

    def settings(self) -> dict[str, Any]:
        """Return the options in force that an encoder's identity does not name, such as `max_length` or `seed`."""
        return {name: value for name, value in self.options().items() if name not in NAMED_BY_IDENTITY}
