"""Options of methods and backbones: their base classes, and the classes that a name in a file leads to.

An option class is found, not listed: it stands in `iadsr/methods/<kind>_options.py` or
`iadsr/models/<name>_options.py`, beside the module that it configures and free of torch, which planning does without.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args

import iadsr
from iadsr.config.fields import Networks, Objective, Strict
from iadsr.config.parse import check_known
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError


class BackboneOptions(Strict):
    """Options of a backbone.

    Attributes:
        backbone: its name in run files and protocols.
        networks: the setting `networks` under which this class is the backbone's.
        causal: whether no state depends on a later position; otherwise objective `all` is refused.
        implementation: `module:callable`, imported by training alone.
    """

    backbone: ClassVar[str]
    networks: ClassVar[Networks] = "ours"
    causal: ClassVar[bool] = True
    implementation: ClassVar[str]

    def check(self, settings: Settings, where: str) -> None:
        """Refuse settings that these options cannot go with.

        Raises:
            ConfigError: naming `where` and the option.
        """


class MethodOptions(Strict):
    """Options of a kind of method.

    Some fields, where a class has them, mean the same for every kind: `encoder`, `texts` and `warm_start` become the
    cell's; `match` names the method whose run's keep rates are copied; `interest_text: prefixes` reads joined names;
    `scope: auto` is settled by the objective; `remove: pack` needs networks that mask padding.

    Attributes:
        kind: its name in method files and protocols.
        implementation: `module:callable`, imported by training alone.
        own_backbone: whether it brings its own backbone and runs beside no other.
    """

    kind: ClassVar[str]
    implementation: ClassVar[str]
    own_backbone: ClassVar[bool] = False

    @property
    def reads_text(self) -> bool:
        """Whether a run with these options reads item texts."""
        return False

    @property
    def has_keep_rates(self) -> bool:
        """Whether a run with these options has keep rates of its own that a control can copy."""
        return False

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Whether the searched option `name` has any effect beside the other options: otherwise it is not tuned."""
        return True

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """Resolve the options for one backbone under one protocol's settings.

        Args:
            label: the method's name in errors.

        Returns:
            What the implementation is called with, with the cell's options, and the settings as this method changes
            them.

        Raises:
            ConfigError: the options contradict each other, the settings or the backbone.
        """
        options = self.model_dump()
        if options.get("scope") == "auto":
            options["scope"] = scope_under(settings.objective)
        elif options.get("scope") == "sequence" and settings.objective == "all":
            raise ConfigError(
                f"method '{label}' with scope 'sequence' would see its target under objective 'all', where every "
                "position predicts the next one: use scope 'causal', or objective 'prefix' or 'last'"
            )
        if settings.networks == "released" and options.get("remove") == "pack":
            raise ConfigError(
                f"method '{label}' with `remove: pack` needs `networks: ours`: the released ones mask no padding"
            )
        return options, settings


CELL_OPTIONS = ("encoder", "texts", "warm_start")  # options that a cell holds beside its method's
OptionsT = TypeVar("OptionsT", bound=Strict)


def scope_under(objective: Objective) -> Literal["causal", "sequence"]:
    """How far a method may look where every position is a target, and where the last one alone is."""
    return "causal" if objective == "all" else "sequence"


@functools.cache
def known_methods() -> dict[str, type[MethodOptions]]:
    """Option class of each kind of method."""
    return {model.kind: model for model in _scan("methods", MethodOptions)}


def known_backbones(networks: Networks = "ours") -> dict[str, type[BackboneOptions]]:
    """Option class of each backbone under the setting `networks`."""
    return _all_backbones()[networks]


@functools.cache
def _all_backbones() -> dict[Networks, dict[str, type[BackboneOptions]]]:
    models = _scan("models", BackboneOptions)
    return {
        networks: {model.backbone: model for model in models if model.networks == networks}
        for networks in get_args(Networks)
    }


def find_method(kind: str, where: str) -> type[MethodOptions]:
    """Option class of a kind of method.

    Raises:
        ConfigError: there is no such kind.
    """
    return check_known(kind, known_methods(), "kind of method", where)


def find_backbone(name: str, networks: Networks, where: str) -> type[BackboneOptions]:
    """Option class of a backbone.

    Raises:
        ConfigError: there is no such backbone, or only under another setting `networks`.
    """
    check_known(name, known_backbones(), "backbone", where)
    models = known_backbones(networks)
    if name not in models:
        raise ConfigError(f"{where}: the release has no {name}; use `networks: ours` or one of {', '.join(models)}")
    return models[name]


def _scan(room: str, base: type[OptionsT]) -> list[type[OptionsT]]:
    """Subclasses of `base` in the modules `iadsr/<room>/*_options.py`, in the order of their definitions."""
    folders = [f"{folder}/{room}" for folder in iadsr.__path__]
    names = sorted(module.name for module in pkgutil.iter_modules(folders) if module.name.endswith("_options"))
    modules = [importlib.import_module(f"iadsr.{room}.{name}") for name in names]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]
