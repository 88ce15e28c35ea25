"""Validates mappings against typed models; an error has one line per problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from iadsr.core.errors import ConfigError, suggest

ModelT = TypeVar("ModelT", bound=BaseModel)
ValueT = TypeVar("ValueT")


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


def check_known(name: str, known: Mapping[str, ValueT], what: str, where: str) -> ValueT:
    """Return the entry of `known` called `name`.

    Raises:
        ConfigError: naming `where`, what is unknown, and the nearest known name.
    """
    if name not in known:
        raise ConfigError(f"{where}: unknown {what} {name!r}; {suggest(name, known)}")
    return known[name]
