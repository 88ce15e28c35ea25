"""The methods of a grid, and what a cell takes from its method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from iadsr.config.encoder_spec import EncoderSpec
from iadsr.config.fields import Label, Scalar, Strict, check_distinct
from iadsr.config.methods import MethodFile, load_method
from iadsr.config.options import CELL_OPTIONS
from iadsr.config.parse import parse, parse_part
from iadsr.config.protocol import Protocol
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError


class Sweep(Strict):
    """One method repeated with an option at several values; a cell is named `<method>-<option>=<value>`."""

    method: Label = Field(description="name of a file in methods/, or `package.module:Class`")
    option: str = Field(description="one of its options")
    values: Annotated[list[Scalar], AfterValidator(check_distinct)] = Field(min_length=1)
    """the option's values"""

    @property
    def points(self) -> dict[str, Scalar]:
        """Label of each cell's method -> the option's value."""
        return {f"{self.method}-{self.option}={value}": value for value in self.values}


def read_methods(folder: Path, labels: Sequence[str], sweeps: Sequence[Sweep], where: str) -> dict[str, MethodFile]:
    """Read every method's file by label; a point of a sweep adds its option's value to the swept method's.

    Raises:
        ConfigError: see `load_method`; a sweep over an unknown option, or over a value that cannot name a folder.
    """
    methods = {label: load_method(folder, label) for label in labels}
    for sweep in sweeps:
        swept = load_method(folder, sweep.method)
        for label, value in sweep.points.items():
            parse_part([swept.model], {sweep.option: value}, f"{where}: sweep '{label}'")
            if not re.fullmatch(r"[A-Za-z0-9._+-]{1,50}", str(value)):
                raise ConfigError(
                    f"{where}: sweep '{label}': the value names a folder: up to 50 letters, digits, '.', '_', '+', '-'"
                )
            methods[label] = swept._replace(options={**swept.options, sweep.option: value})
    return methods


def resolve_method(
    method: MethodFile,
    label: str,
    protocol: Protocol,
    tuned: Mapping[str, Mapping[str, Any]],
    backbone: str,
    settings: Settings,
    encoder: EncoderSpec,
) -> dict[str, Any]:
    """Resolve what a cell takes from its method: options, settings, text, and whose tuned values it has.

    Args:
        tuned: by `<backbone>/<method>`, tuned values.
        settings: the protocol's.
        encoder: the run file's, for methods without one of their own.

    Raises:
        ConfigError: the options contradict each other, the settings or the backbone.
    """
    tuned_as, values = _tuned_values(tuned, backbone, method)
    where = f"method '{label}'"
    options = parse(method.model, _layer_options(protocol, values, method, where), where)
    if tuned_settings := {name: value for name, value in values.items() if name in Settings.model_fields}:
        settings = parse(Settings, {**settings.model_dump(), **tuned_settings}, "tuned values")
    method_options, settings = options.settle(settings, backbone, label)
    moved = {name: method_options.pop(name) for name in CELL_OPTIONS if name in method_options}
    reading: dict[str, Any] = {"encoder": None}
    if options.reads_text:
        spec: EncoderSpec = getattr(options, "encoder", None) or encoder
        reading = {"encoder": spec.options(), "texts": moved.get("texts", "names")}
    return {
        "kind": method.kind,
        "settings": settings,
        "method_options": method_options,
        "warm_start": moved.get("warm_start", False),
        "items": moved.get("items"),
        "tuned": tuned_as,
        **reading,
    }


def check_match(label: str, matched: str, methods: Mapping[str, MethodFile], protocol: Protocol, where: str) -> None:
    """Refuse a control of a method that is not trained beside it or drops nothing.

    Raises:
        ConfigError: naming both.
    """
    if matched not in methods:
        raise ConfigError(
            f"{where}: method '{label}' copies the keep rate of '{matched}', which this run does not train; add it "
            "to `methods`"
        )
    if methods[matched].model.own_backbone:
        raise ConfigError(f"{where}: method '{label}' cannot match '{matched}', which brings its own backbone")
    options = _layer_options(protocol, {}, methods[matched], f"method '{matched}'")
    if not parse(methods[matched].model, options, f"method '{matched}'").has_keep_rates:
        raise ConfigError(
            f"{where}: method '{label}' copies the keep rate of '{matched}', which has no mask of its own"
        )


def _tuned_values(
    tuned: Mapping[str, Mapping[str, Any]], backbone: str, method: MethodFile
) -> tuple[str | None, Mapping[str, Any]]:
    """Find a method's tuned values and whose they are: its own, `tuned_as`'s, its kind's, or those of `none`."""
    for label in (method.name, method.tuned_as, method.kind, "none"):
        if label is not None and f"{backbone}/{label}" in tuned:
            return label, tuned[f"{backbone}/{label}"]
    return None, {}


def _layer_options(protocol: Protocol, tuned: Mapping[str, Any], method: MethodFile, where: str) -> dict[str, Any]:
    """Merge a method's options: the protocol's, then tuned values, then its own file's; the last one wins.

    A tuned option that the others switch off is left out: it was chosen beside other ones.
    """
    default = protocol.methods.get(method.kind, {})
    values = {name: value for name, value in tuned.items() if name in method.model.model_fields}
    merged = parse(method.model, {**default, **values, **method.options}, where).model_dump()
    active = {name: value for name, value in values.items() if method.model.is_active(name, merged)}
    return {**default, **active, **method.options}
