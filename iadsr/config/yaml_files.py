"""Reads YAML without surprises: scalars by YAML 1.2, no key twice; and JSON, as the workflow writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from iadsr.core.errors import ConfigError, one_line, suggest


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
        ConfigError: the file is missing, is not YAML, or holds something else than a mapping.
    """
    if not path.is_file():
        known = files_in(path.parent)
        hint = f"; {suggest(path.stem, known)}" if known else ""
        raise ConfigError(f"there is no configuration file {path}{hint}")
    try:
        text = path.read_text(encoding="utf-8")
        is_json = path.suffix == ".json"
        values = json.loads(text, parse_float=_number) if is_json else yaml.load(text, Loader=_Loader)
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
    "int": (re.compile(r"[-+]?[0-9]+"), int),
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
        keys = [key.value for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.composer.ComposerError(
                    None, None, f"the key '{key}' occurs twice", node.value[place][0].start_mark
                )
        return node


def _construct_scalar(loader: _Loader, node: yaml.ScalarNode) -> bool | int | float | str | None:
    return read_scalar(loader.construct_scalar(node))


for _kind in _SCALARS:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_scalar)
