"""Finds option classes, which stand beside the modules that they configure."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TypeVar

import iadsr
from iadsr.config.fields import Strict

OptionsT = TypeVar("OptionsT", bound=Strict)


def options_in(room: str, base: type[OptionsT]) -> list[type[OptionsT]]:
    """List the subclasses of `base` in the modules `iadsr/<room>/*_options.py`, by the names of these.

    Those without an `implementation` are bases of others, and left out.
    """
    folders = [f"{folder}/{room}" for folder in iadsr.__path__]
    names = sorted(module.name for module in pkgutil.iter_modules(folders) if module.name.endswith("_options"))
    modules = [importlib.import_module(f"iadsr.{room}.{name}") for name in names]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        if hasattr(value, "implementation")
    ]
