"""Reads configuration files strictly: typed models, YAML without surprises, and errors of one line per problem."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from iadsr.core.errors import ConfigError, one_line, suggest


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, values of another type, and numbers that are not finite.

    Strict types: text is no number, and `true` is not 1. A field that is a tuple needs `Field(strict=False)`, since
    YAML and JSON have lists only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


ModelT = TypeVar("ModelT", bound=BaseModel)
SequenceT = TypeVar("SequenceT", bound=Sequence[Any])

_CHECKOUT = Path(__file__).resolve().parents[2]
_SOURCES = frozenset(
    (".git", ".snakemake", ".venv", "benchmarks", "envs", "iadsr", "profiles", "report", "tests", "workflow")
)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def check_name(value: str) -> str:
    """Accept a name that can be a folder or file on any system.

    Raises:
        ValueError: another character, none, or more than a hundred.
    """
    if "\n" in value or not re.match(_NAME, value):
        raise ValueError("a name has up to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit")
    return value


def check_distinct(values: SequenceT) -> SequenceT:
    """Accept a list or tuple without repetitions, where 1 and 1.0 are the same.

    Raises:
        ValueError: naming the first repeated entry.
    """
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"{value!r} is listed twice")
    return values


def check_folder(value: str) -> str:
    """Return a folder's path with `~` expanded and normalised, so that one folder has one spelling.

    Raises:
        ValueError: no folder, the root folder, one of the project's own, or something that is not a folder stands in
            its place.
    """
    if not value or value != value.strip():
        raise ValueError("a folder is needed, without spaces around it")
    if not value.isprintable() or value.startswith("-") or any(mark in value for mark in "{}"):
        raise ValueError("a folder's name cannot begin with '-' nor have control characters or braces")
    if any(len(os.fsencode(part)) > 200 for part in value.split("/")):
        raise ValueError("a folder's name is too long for a file system")
    path = Path(os.path.normpath(expand_home(value)))
    if path.absolute().parent == path.absolute():
        raise ValueError("the root folder cannot hold results")
    real = Path(os.path.realpath(path))
    if real == _CHECKOUT or (real.is_relative_to(_CHECKOUT) and real.relative_to(_CHECKOUT).parts[0] in _SOURCES):
        raise ValueError(
            "this folder holds the project's own files; results need one of theirs, such as 'results/mine'"
        )
    for ancestor in (path, *path.parents):
        if os.path.exists(ancestor) and not os.path.isdir(ancestor):  # unlike Path's, these never raise
            raise ValueError(f"{ancestor} is a file, not a folder")
    return str(path)


def expand_home(value: str) -> str:
    """Return a path with `~` replaced by the home folder.

    Raises:
        ValueError: `~somebody` who has no home here.
    """
    expanded = os.path.expanduser(value)
    if expanded.startswith("~"):
        raise ValueError(f"no home folder is known for '{value.split('/')[0]}'")
    return expanded


def _check_scalar(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:  # a union reports each of its members
        raise PydanticCustomError("scalar", "Input should be true, false, a finite number or text") from None


_UNIQUE = Field(min_length=1, json_schema_extra={"uniqueItems": True})
Name = Annotated[str, Field(json_schema_extra={"pattern": _NAME}), AfterValidator(check_name)]
Names = Annotated[list[Name], _UNIQUE, AfterValidator(check_distinct)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], _UNIQUE, AfterValidator(check_distinct)]
Scalar = Annotated[bool | int | float | str, WrapValidator(_check_scalar)]
HomePath = Annotated[str, Field(min_length=1), AfterValidator(expand_home)]
Folder = Annotated[str, AfterValidator(check_folder)]


def parse(model: type[ModelT], values: Mapping[str, Any], where: str, at: str = "") -> ModelT:
    """Validate `values`; `where` names their origin in the error, and `at` what leads to their keys there.

    Raises:
        ConfigError: one line per problem, with the nearest known name for an unknown key.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors()
        lines = [_line(model, problem, where, at) for problem in problems if problem["type"] != "missing"]
        for problem in problems:  # a misspelt key is one problem, not two
            if problem["type"] == "missing" and not any(f"mean '{problem['loc'][-1]}'" in line for line in lines):
                lines.append(_line(model, problem, where, at))
        raise ConfigError("\n".join(lines)) from None


def parse_part(models: Sequence[type[BaseModel]], values: Mapping[str, Any], where: str, at: str = "") -> None:
    """Check some settings, each by itself, of one or several models; `at` is what leads to their keys.

    Raises:
        ConfigError: a key that no model has, or a wrong value; missing keys are fine.
    """
    known = [name for model in models for name in model.model_fields]
    lines = []
    for key, value in values.items():
        model = next((model for model in models if key in model.model_fields), None)
        if model is None:
            lines.append(f"{where}: unknown key '{at}{key}', {suggest(str(key), known)}")
            continue
        try:
            model.model_validate({key: value})
        except ValidationError as error:
            lines += [_line(model, problem, where, at) for problem in error.errors() if problem["loc"][:1] == (key,)]
    if lines:
        raise ConfigError("\n".join(lines))


def _line(model: type[BaseModel], problem: ErrorDetails, where: str, at: str = "") -> str:
    place = problem["loc"]
    key = (at + ".".join(str(part) for part in place)).rstrip(".")
    at = f"{where}: {key}" if key else where
    if problem["type"] == "missing":
        return f"{at}: this key is missing"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key '{key}', {suggest(str(place[-1]), _model_at(model, place[:-1]).model_fields)}"
    found = "" if isinstance(problem["input"], Mapping) else f" (found {problem['input']!r:.80})"
    return f"{at}: {problem['msg'].removeprefix('Value error, ')}{found}"


def _model_at(model: type[BaseModel], place: Iterable[int | str]) -> type[BaseModel]:
    """Return the model that keys and list positions lead to."""
    for part in place:
        if part in model.model_fields:
            model = next(iter(_models_in(model.model_fields[str(part)].annotation)), model)
    return model


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


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
        known = [other.stem for other in path.parent.glob("*.yaml")]
        hint = f"; {suggest(path.stem, known)}" if known else ""
        raise ConfigError(f"there is no configuration file {path}{hint}")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            values = json.loads(text, parse_float=_number, object_pairs_hook=_unique)
        else:
            values = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path} is not valid YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not valid {'JSON' if path.suffix == '.json' else 'YAML'}: {one_line(error)}"
        ) from None
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_distinct([key for key, _ in pairs])
    return dict(pairs)


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
