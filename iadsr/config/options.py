"""Options of methods and backbones: their base classes, and the classes that a name in a file leads to.

An option class is found, not listed: it stands in `iadsr/methods/<kind>_options.py` or
`iadsr/models/<name>_options.py`, beside the module that it configures and free of torch, which planning does without.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import Field

from iadsr.config.encoders import AnyEncoderSpec
from iadsr.config.fields import Networks, Objective, Strict, Texts, Width, dotted
from iadsr.config.parse import check_known
from iadsr.config.scan import options_in
from iadsr.config.search import Search
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError, one_line


class ModuleOptions(Strict):
    """Options of a method or backbone.

    Attributes:
        name: of the kind of method or of the backbone, in files.
        implementation: `module:callable`, imported by training alone. A method's is called with its inputs
            (`iadsr.methods.method.MethodInputs`) and its options; a backbone's with `n_users`, `dimension`,
            `max_length`, `dropout` and its options by name.
    """

    name: ClassVar[str]
    implementation: ClassVar[str]


class BackboneOptions(ModuleOptions):
    """Options of a backbone.

    Attributes:
        title: its name for readers; empty: `name`.
        networks: the setting `networks` under which this class is the backbone's.
        causal: whether no state depends on a later position; otherwise objective `all` is refused.
    """

    title: ClassVar[str] = ""
    networks: ClassVar[Networks] = "ours"
    causal: ClassVar[bool] = True

    def check(self, settings: Settings, where: str) -> None:
        """Refuse settings that these options cannot go with.

        Raises:
            ConfigError: naming `where` and the option.
        """

    @classmethod
    def check_objective(cls, settings: Settings, where: str) -> None:
        """Refuse objective `all` for a backbone that is not causal.

        Raises:
            ConfigError: naming `where` and the backbone.
        """
        if not cls.causal and settings.objective == "all":
            raise ConfigError(
                f"{where}: this {cls.name} (`networks: {cls.networks}`) sees what follows a position, so it would see "
                "its target under objective 'all': use 'prefix' or 'last'"
            )


class OwnBackboneOptions(BackboneOptions):
    """No backbone: for methods that bring their own."""

    name: ClassVar[str] = "own"
    implementation: ClassVar[str] = "iadsr.models.backbone:no_backbone"


class MethodOptions(ModuleOptions):
    """Options of a kind of method.

    Some fields, where a class has them, mean the same for every kind: `encoder`, `texts`, `warm_start` and `items`
    become the cell's (see `ItemTableOptions`); `match` names the method whose run's keep rates are copied;
    `interest_text: prefixes` reads joined names; `scope: auto` is settled by the objective; `remove: pack` needs
    networks that mask padding.

    Attributes:
        own_backbone: whether it brings its own backbone: it then runs with the backbone `own`, and no other does.
        neutral: options, and keep rates of 1, with which it must equal the backbone alone, bit for bit; None: none do.
        finds_noise: whether `check-method` expects its scores to find planted noise within a few epochs. False for a
            published method of which that is not true: whether it ever does is then for experiments to say.
        cutoff: the option that the method uses in comparisons by `iadsr.methods.cutoff.Cutoff` only, if there is one.
            Runs that differ in nothing else can then be one: see `iadsr.config.reuse`.
    """

    own_backbone: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, Any] | None] = None
    finds_noise: ClassVar[bool] = True
    cutoff: ClassVar[str | None] = None

    @property
    def reads_text(self) -> bool:
        """Whether a run with these options reads item texts."""
        return False

    @property
    def has_keep_rates(self) -> bool:
        """Whether a run with these options has keep rates of its own that a control can copy."""
        return False

    @property
    def looks_ahead(self) -> str:
        """Name what uses a sample's later inputs, as the end of an error's sentence; empty if nothing does.

        Objective `all` is then refused.
        """
        return "scope 'sequence' reads whole inputs" if getattr(self, "scope", None) == "sequence" else ""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Tell whether the searched option `name` acts beside the other options; otherwise it is not tuned."""
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
        if self.own_backbone != (backbone == OwnBackboneOptions.name):
            fault = "brings its own backbone: `backbones` must hold" if self.own_backbone else "needs one other than"
            raise ConfigError(f"method '{label}' {fault} `{OwnBackboneOptions.name}`")
        options = self.model_dump()
        if options.get("scope") == "auto":
            options["scope"] = scope_under(settings.objective)
        if settings.objective == "all" and self.looks_ahead:
            raise ConfigError(
                f"method '{label}' would see its target under objective 'all', where every position predicts the next "
                f"one and {self.looks_ahead}: use objective 'prefix' or 'last', or other options"
            )
        if settings.networks == "released" and options.get("remove") == "pack":
            raise ConfigError(
                f"method '{label}' with `remove: pack` needs `networks: ours`: the released ones mask no padding"
            )
        return options, settings


CELL_OPTIONS = ("encoder", "texts", "warm_start", "items")  # options that a cell holds beside its method's
# Options of item vectors from text, and which of them use each.
_ITEM_OPTIONS = {
    "items_scale": ("text_init", "text_sum", "text_frozen"),
    "items_reduce": ("text_init",),
    "items_components": ("text_sum", "text_frozen"),
}


class ItemTableOptions(MethodOptions):
    """Options of a method whose item vectors can come from item texts."""

    items: Literal["id", "text_init", "text_sum", "text_frozen"] = "id"
    """item vectors, shared by inputs and candidates: a free one per item, at first random (`id`) or reduced from the
    item's text (`text_init`); a free one plus a linear map of the whitened text (`text_sum`); a small network of the
    whitened text and nothing else (`text_frozen`). Text needs `networks: ours`"""
    items_scale: Annotated[float, Search(0.5, 50, log=True)] = Field(1.0, gt=0, le=1e4)
    """standard deviation of what texts give to the first item vectors, as a multiple of that of `id` (0.02). A step of
    training moves a weight by about the learning rate: small vectors soon forget their text"""
    items_reduce: Literal["pca", "random"] = "pca"
    """`text_init`: first principal components of the texts, or a `random` projection"""
    items_components: Width = Field(512, description="`text_sum`, `text_frozen`: at most so many whitened components")
    texts: Texts = "names"
    """what the encoder reads: item names, names shuffled between items, random words, or nothing"""
    encoder: AnyEncoderSpec | None = Field(None, description="a text encoder other than the run file's")

    @property
    def reads_text(self) -> bool:
        """Tell whether a run reads item texts, which item vectors can do."""
        return self.items != "id"

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """Collect the options of item vectors from text in `items`, None for `id`; see `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        if conflict := next(self._text_conflicts(settings), None):
            raise ConfigError(f"method '{label}': {conflict}")
        given = {name: options.pop(name) for name in ("items", *_ITEM_OPTIONS)}
        used = [name for name, kinds in _ITEM_OPTIONS.items() if self.items in kinds]
        options["items"] = {name: given[name] for name in ("items", *used)} if used else None
        return options, settings

    def _text_conflicts(self, settings: Settings) -> Iterator[str]:
        """Yield what is wrong with the options about text."""
        if not self.reads_text and (unread := self._changed("encoder", "texts")):
            yield f"no text is read: leave out {unread}"
        if self.items != "text_init" and self._changed("items_reduce"):
            yield "`items_reduce` needs `items: text_init`"
        if self.items == "id":
            return
        if settings.networks == "released":
            yield f"`items: {self.items}` needs `networks: ours`: the released ones score with an output layer"
        if self.texts == "empty":
            yield f"`items: {self.items}` needs a text, and `texts: empty` is none"
        if getattr(self, "interest_text", "items") == "prefixes":
            yield f"`items: {self.items}` reads one text per item, so it needs `interest_text: items`"

    def _changed(self, *names: str) -> str:
        """Name the options that differ from their defaults."""
        fields = type(self).model_fields
        return " and ".join(f"`{name}`" for name in names if getattr(self, name) != fields[name].default)


OptionsT = TypeVar("OptionsT", bound=ModuleOptions)


def scope_under(objective: Objective) -> Literal["causal", "sequence"]:
    """Return how far a method may look: to earlier items alone where every position is a target."""
    return "causal" if objective == "all" else "sequence"


@functools.cache
def known_methods() -> dict[str, type[MethodOptions]]:
    """Find the option class of each kind of method."""
    return {model.name: model for model in options_in("methods", MethodOptions)}


def known_backbones(networks: Networks = "ours") -> dict[str, type[BackboneOptions]]:
    """Find the option class of each backbone under the setting `networks`."""
    return _all_backbones()[networks]


@functools.cache
def _all_backbones() -> dict[Networks, dict[str, type[BackboneOptions]]]:
    models = options_in("models", BackboneOptions)
    return {
        networks: {model.name: model for model in models if model.networks == networks}
        for networks in get_args(Networks)
    }


def find_method(kind: str, where: str) -> type[MethodOptions]:
    """Find the option class of a kind of method: one of `known_methods`, or that of `package.module.Class`.

    Raises:
        ConfigError: there is no such kind.
    """
    return _find(kind, known_methods(), MethodOptions, "kind of method", where)


def find_backbone(name: str, networks: Networks, where: str) -> type[BackboneOptions]:
    """Find the option class of a backbone under a setting `networks`; where these lack it, the class of ours.

    Raises:
        ConfigError: there is no such backbone.
    """
    known: dict[str, type[BackboneOptions]] = {OwnBackboneOptions.name: OwnBackboneOptions}
    known |= {**known_backbones(), **known_backbones(networks)}
    return _find(name, known, BackboneOptions, "backbone", where)


def _find(
    name: str, known: Mapping[str, type[OptionsT]], base: type[OptionsT], what: str, where: str
) -> type[OptionsT]:
    if name in known or "." not in dotted(name):
        return check_known(name, known, what, where)
    try:
        return _outside(dotted(name), base)
    except Exception as error:  # of the user's module, which can raise anything
        raise ConfigError(f"{where}: {what} {name!r}: {one_line(error)}") from error


@functools.cache
def _outside(path: str, base: type[OptionsT]) -> type[OptionsT]:
    """Import the class `Options` of a class `package.module.Class`, bound to that class as its implementation.

    Raises:
        TypeError: it has no options that are a subclass of `base`.
    """
    module, _, name = path.rpartition(".")
    options = getattr(getattr(importlib.import_module(module), name), "Options", None)
    if not (isinstance(options, type) and issubclass(options, base)):
        raise TypeError(f"it lacks a class `Options` that is a subclass of iadsr.config.options.{base.__name__}")
    bound = {"name": path, "implementation": f"{module}:{name}", "__module__": module}
    return type(options.__name__, (options,), bound)
