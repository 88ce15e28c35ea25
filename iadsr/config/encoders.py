"""Text encoders: the `encoder:` part of a configuration, and the names of the files that follow from it.

An encoder's options are found, not listed: they stand in `iadsr/embeddings/<kind>_options.py`, free of torch.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from iadsr.config.encoder_spec import EncoderSpec
from iadsr.config.fields import Strict
from iadsr.config.parse import parse
from iadsr.config.scan import options_in
from iadsr.core.files import value_digest

ENCODERS: dict[str, type[EncoderSpec]] = {
    model.model_fields["kind"].default: model for model in options_in("embeddings", EncoderSpec)
}

if TYPE_CHECKING:
    AnyEncoderSpec = EncoderSpec
else:
    AnyEncoderSpec = Annotated[functools.reduce(operator.or_, ENCODERS.values()), Field(discriminator="kind")]


class _Part(Strict):
    encoder: AnyEncoderSpec


def parse_encoder(mapping: Mapping[str, Any]) -> EncoderSpec:
    """Check the encoder of a configuration's `encoder:` part.

    Raises:
        ConfigError: see `parse`.
    """
    return parse(_Part, {"encoder": mapping}, "the configuration").encoder


def changed_options(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Select the options of `encoder` that differ from the defaults of its kind."""
    fields = ENCODERS[encoder["kind"]].model_fields if encoder["kind"] in ENCODERS else {}
    defaults = {"kind": encoder["kind"], **{name: field.default for name, field in fields.items()}}
    return {name: value for name, value in encoder.items() if value is not None and value != defaults.get(name)}


def embeddings_name(encoder: Mapping[str, Any], texts: str = "names") -> str:
    """Name an embeddings file without its suffix: `<kind>[-<digest of changed options>][-<texts>]`."""
    changed = changed_options(encoder)
    parts = [encoder["kind"], value_digest(changed)[:8] if changed else "", "" if texts == "names" else texts]
    return "-".join(filter(None, parts))
