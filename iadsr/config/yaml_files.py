"""Reads YAML without surprises: scalars by YAML 1.2, no key twice; and JSON, as the workflow writes it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from iadsr.core.errors import ConfigError, one_line, suggest

_MOST_BYTES = 1 << 20
_MOST_VALUES = 100_000
_DEEPEST = 50


def files_in(folder: Path) -> dict[str, Path]:
    """List the YAML files in a folder, by name, sorted."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, key by key at every depth; a list replaces a list."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def load_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML or JSON file.

    Raises:
        ConfigError: the file is missing or huge, is not YAML, or holds something else than a mapping.
    """
    if not path.is_file():
        known = files_in(path.parent)
        hint = f"; {suggest(path.stem, known)}" if known else ""
        raise ConfigError(f"there is no configuration file {path}{hint}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        is_json = path.suffix == ".json"
        values = json.loads(text, parse_float=_number) if is_json else yaml.load(text, Loader=_Loader)
        _check_depth(values, _DEEPEST)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path} is not valid YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    return values


def _check_depth(value: Any, left: int) -> None:
    """Raise ValueError for more than `left` levels: to check or print a value takes as many calls within each other."""
    if isinstance(value, dict | list):
        if not left:
            raise ValueError(f"it is nested more than {_DEEPEST} times")
        for below in value.values() if isinstance(value, dict) else value:
            _check_depth(below, left - 1)


def read_overrides(value: Any) -> Any:
    """Read the texts of a command line's overrides as a YAML file's scalars are read; whole numbers become integers."""
    if isinstance(value, Mapping):
        return {key: read_overrides(below) for key, below in value.items()}
    if isinstance(value, list):
        return [read_overrides(below) for below in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1e2, which Snakemake has read already
    return read_scalar(value) if isinstance(value, str) else value


def read_scalar(text: str) -> bool | int | float | str | None:
    """Read an unquoted scalar by YAML 1.2's core schema."""
    for pattern, convert in _SCALARS.values():
        if pattern.fullmatch(text):
            value: bool | int | float | None = convert(text)
            return value
    return text


def _number(text: str) -> int | float:
    """Read a decimal number; one with an exponent that is whole, such as 1e2, is an integer."""
    text = text.lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return int(value) if "e" in text and value.is_integer() else value


# PyYAML itself follows YAML 1.1, where 1e2 is text, `no` is false, 010 is 8 and 1:30 is 90.
_SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "null": (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    "int": (re.compile(r"[-+]?[0-9]{1,100}"), int),  # longer ones are floats: Python refuses thousands of digits
    "float": (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        _number,
    ),
}


class _Loader(yaml.SafeLoader):
    """Reads scalars by YAML 1.2's core schema, and refuses a key that occurs twice."""

    yaml_implicit_resolvers: dict[Any, Any] = {  # noqa: RUF012  # as the base class declares it
        None: [
            (f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern.pattern})$"))
            for kind, (pattern, _) in _SCALARS.items()
        ],
        "<": [("tag:yaml.org,2002:merge", re.compile("<<$"))],
    }

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Check a mapping's own keys, before `<<` adds others."""
        node = super().compose_mapping_node(anchor)
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):  # others are refused as keys
                if key.value in keys:
                    problem = f"the key '{key.value}' occurs twice"
                    raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
                keys.add(key.value)
        return node

    def get_single_node(self) -> yaml.Node | None:
        """Refuse a file whose aliases repeat values so often that a few lines become millions."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _count_values(node, {}) > _MOST_VALUES:
            problem = f"it holds more than {_MOST_VALUES} values, as often as aliases repeat them"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node


def _count_values(node: yaml.Node, counts: dict[int, float]) -> float:
    """Count the values below a node, infinitely many where one contains itself; `counts` are those known, by id."""
    if id(node) not in counts:
        counts[id(node)] = math.inf
        below: Iterable[yaml.Node] = ()
        if isinstance(node, yaml.MappingNode):
            below = chain.from_iterable(node.value)
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        counts[id(node)] = 1 + sum(_count_values(child, counts) for child in below)
    return counts[id(node)]


# no tags but the core schema's: constructors of others, such as !!timestamp, raise what they please
_CORE = {None, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}
_Loader.yaml_constructors = {tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in _CORE}


def _construct_scalar(loader: _Loader, node: yaml.ScalarNode) -> bool | int | float | str | None:
    return read_scalar(loader.construct_scalar(node))


for _kind in _SCALARS:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_scalar)
