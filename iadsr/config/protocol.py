"""Protocol files, the sets of tuned values that they name, and the settings that follow for one cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from iadsr.config.datasets import dataset_file
from iadsr.config.fields import Key, Name, Networks, Strict
from iadsr.config.methods import check_method_name, load_method
from iadsr.config.options import find_backbone, find_method, known_backbones
from iadsr.config.parse import check_known, parse, parse_part
from iadsr.config.search import search_ranges
from iadsr.config.settings import Settings
from iadsr.config.yaml_files import files_in, load_yaml, merge
from iadsr.core.errors import ConfigError

Models = list[type[Strict]]


class Protocol(Strict):
    """A protocol file: settings for all, by backbone, by dataset, by both (later ones win); defaults of methods."""

    name: Name = Field(description="its file's name")
    description: str = Field(description="one sentence for the report")
    extends: Name | None = None
    """a protocol whose file this one changes, key by key; it inherits `tuned` and `searched` too"""
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of every cell")
    backbones: dict[Key, dict[str, Any]] = Field(default_factory=dict)
    """by backbone: its options, and settings that override those above"""
    datasets: dict[Key, dict[str, Any]] = Field(default_factory=dict)
    """by dataset, then by `dataset/backbone`: settings and options that override those above"""
    methods: dict[Key, dict[str, Any]] = Field(default_factory=dict)
    """by kind of method: options that hold where a method's file leaves them out"""
    tuned: Name | None = None
    """a set of tuned values, `tuned/<dataset>/<set>.yaml`, which win over this file's. A protocol that inherits a set
    and gives a searched value itself must say `tuned: null`, or the tuned value would win unseen"""
    searched: list[str] = Field(default_factory=list)
    """settings that the stage `tuning` varies; all others are fixed"""


def load_protocol(folder: Path, name: str) -> Protocol:
    """Read a protocol's file below `folder`, `workflow/config`, merged over the one that it extends.

    Raises:
        ConfigError: see `parse`; an unknown key or wrong value in any part, used or not; or it extends itself.
    """
    return _extended(folder, name, ())


def _extended(folder: Path, name: str, above: tuple[str, ...]) -> Protocol:
    where = folder / "protocols" / f"{name}.yaml"
    protocol = parse(Protocol, load_yaml(where), str(where))
    if protocol.name != name:
        raise ConfigError(f"{where}: name is '{protocol.name}', but the file's name makes it '{name}'")
    merged = protocol
    if protocol.extends is not None:
        if protocol.extends in (name, *above):
            raise ConfigError(f"{where}: protocol '{name}' extends itself")
        check_known(protocol.extends, files_in(folder / "protocols"), "protocol", f"{where}: extends")
        base = _extended(folder, protocol.extends, (name, *above)).model_dump()
        merged = Protocol.model_validate(merge(base, protocol.model_dump(exclude_unset=True)))
    _check_parts(protocol, merged, folder, str(where))
    return merged


def _check_parts(own: Protocol, merged: Protocol, folder: Path, where: str) -> None:
    """Check each part of a protocol's own file; `merged` tells which networks its options are for.

    What it inherits is checked in the file that says so: options of other networks than its own fall away.
    """
    for name in own.searched:
        check_known(name, search_ranges(Settings), "setting", f"{where}: searched")
    if merged.tuned is not None and not merged.searched:
        raise ConfigError(f"{where}: `tuned` needs `searched`: the settings that the search may vary")
    overridden: list[str] = []
    for at, values, models in _parts(own, merged, folder, where):
        parse_part(models, values, where, f"{at}.")
        searched = merged.searched if Settings in models else search_ranges(models[0])
        overridden += [f"{at}.{name}" for name in values if name in searched]
    if overridden and merged.tuned is not None and "tuned" not in own.model_fields_set:
        raise ConfigError(
            f"{where}: {', '.join(sorted(overridden))}: the tuned values of '{merged.tuned}', inherited from "
            f"'{own.extends}', would win; add `tuned: null` to train with this file's"
        )


def _parts(own: Protocol, merged: Protocol, folder: Path, where: str) -> Iterator[tuple[str, dict[str, Any], Models]]:
    """Yield the place of each part of a protocol, what stands there, and the models of its keys."""
    yield "settings", own.settings, [Settings]
    for backbone, values in own.backbones.items():
        options = find_backbone(backbone, _networks(_merged(merged, backbone, "")), f"{where}: backbones")
        yield f"backbones.{backbone}", values, [Settings, options]
    for key, values in own.datasets.items():
        dataset, both, backbone = key.partition("/")
        dataset_file(folder, dataset, f"{where}: datasets")
        networks = _networks(_merged(merged, backbone, dataset))
        models = [find_backbone(backbone, networks, f"{where}: datasets.{key}")] if both else []
        yield f"datasets.{key}", values, [Settings, *models]
    for kind, values in own.methods.items():
        yield f"methods.{kind}", values, [find_method(kind, f"{where}: methods")]


def _merged(protocol: Protocol, backbone: str, dataset: str) -> dict[str, Any]:
    """Merge everything that a protocol sets for a backbone on a dataset."""
    merged = protocol.settings | protocol.backbones.get(backbone, {})
    for key in (dataset, f"{dataset}/{backbone}"):
        merged |= protocol.datasets.get(key, {})
    return merged


def _networks(merged: Mapping[str, Any]) -> Networks:
    return "released" if merged.get("networks") == "released" else "ours"


def resolve_settings(
    protocol: Protocol, backbone: str, dataset: str, max_epochs: int | None
) -> tuple[Settings, dict[str, Any]]:
    """Resolve the settings and backbone options of one (protocol, backbone, dataset), before any method's own."""
    where = f"protocol '{protocol.name}' for {backbone} on {dataset}"
    merged = _merged(protocol, backbone, dataset)
    model = find_backbone(backbone, _networks(merged), where)
    if model.networks != _networks(merged):
        released = ", ".join(known_backbones("released"))
        raise ConfigError(f"{where}: the release has no {backbone}; use `networks: ours` or one of {released}")
    # a protocol that extends another may change its networks: the options of the other networks then fall away
    options = parse(model, {key: merged[key] for key in merged if key in model.model_fields}, where)
    settings = parse(Settings, {key: merged[key] for key in merged if key in Settings.model_fields}, where)
    model.check_objective(settings, where)
    if max_epochs is not None:
        settings = settings.model_copy(update={"max_epochs": min(max_epochs, settings.max_epochs or max_epochs)})
    options.check(settings, where)
    if settings.loss == "in_batch" and settings.batch_size == 1 and settings.objective != "all":
        raise ConfigError(f"{where}: batch_size: the loss among a batch's targets needs more than 1")
    return settings, options.model_dump()


def budget_pairs(folder: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each protocol of `names` with those that extend it and have a larger `budget`."""
    protocols = {name: load_protocol(folder, name) for name in names}
    budget = {name: protocol.settings.get("budget", 1.0) for name, protocol in protocols.items()}
    return [
        (protocol.extends, name)
        for name, protocol in protocols.items()
        if protocol.extends in protocols and budget[name] > budget[protocol.extends]
    ]


def load_tuned(folder: Path, dataset: str, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Read the protocol's set of tuned values, by `<backbone>/<method>`; empty without set or file.

    Raises:
        ConfigError: an unknown backbone or method, a key that is not searched, a wrong value.
    """
    if protocol.tuned is None or not (path := tuned_path(folder, dataset, protocol.tuned)).is_file():
        return {}
    entries = load_yaml(path)
    for key, values in entries.items():
        backbone, _, label = str(key).partition("/")
        find_backbone(backbone, "ours", f"{path}: {key}")
        check_method_name(folder, label, f"{path}: {key}")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {key} must hold a mapping of keys to values")
        model = load_method(folder, label).model
        parse_part([Settings, model], values, str(path), f"{key}.", [*protocol.searched, *search_ranges(model)])
    return entries


def tuned_path(folder: Path, dataset: str, name: str) -> Path:
    """Return the file of a set of tuned values; `folder` is `workflow/config`."""
    return folder / "tuned" / dataset / f"{name}.yaml"
