"""Validates mappings against typed models; an error has one line per problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from iadsr.core.errors import ConfigError, suggest

ModelT = TypeVar("ModelT", bound=BaseModel)
ValueT = TypeVar("ValueT")


def parse(model: type[ModelT], values: Mapping[str, Any], where: str) -> ModelT:
    """Validate `values`; errors name their file, `where`.

    Raises:
        ConfigError: one line per problem, with the nearest known name for an unknown key.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors()
        lines = [_line(model, problem, where) for problem in problems if problem["type"] != "missing"]
        for problem in problems:  # a misspelt key is one problem, not two
            if problem["type"] == "missing" and not any(f"mean '{problem['loc'][-1]}'" in line for line in lines):
                lines.append(_line(model, problem, where))
        raise ConfigError("\n".join(lines)) from None


def parse_part(
    models: Sequence[type[BaseModel]],
    values: Mapping[str, Any],
    where: str,
    at: str = "",
    allowed: Sequence[str] | None = None,
) -> None:
    """Check some settings, each by itself, against one or several models; `where` as in `parse`.

    Args:
        at: the keys above them in their file, for errors.
        allowed: the keys that may stand here, if not all.

    Raises:
        ConfigError: a key that no model has, or a wrong value; missing keys are fine.
    """
    known = [name for model in models for name in model.model_fields if allowed is None or name in allowed]
    lines = []
    for key, value in values.items():
        model = next((model for model in models if key in known and key in model.model_fields), None)
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
    parts, model = _walk(model, problem["loc"])
    kind, context = problem["type"], problem.get("ctx", {})
    if kind.startswith("union_tag"):
        parts.append(str(context["discriminator"]).strip("'"))
    key = (at + ".".join(parts)).rstrip(".")
    at = f"{where}: {key}" if key else where
    if kind in ("missing", "union_tag_not_found"):
        return f"{at}: this key is missing"
    if kind == "union_tag_invalid":
        known = re.findall("'([^']*)'", context["expected_tags"])
        return f"{at}: unknown value {context['tag']!r}; {suggest(str(context['tag']), known)}"
    if kind == "extra_forbidden":
        return f"{where}: unknown key '{key}', {suggest(parts[-1], model.model_fields)}"
    found = "" if isinstance(problem["input"], Mapping) else f" (found {problem['input']!r:.80})"
    return f"{at}: {problem['msg'].removeprefix('Value error, ')}{found}"


def _walk(model: type[BaseModel], place: Iterable[int | str]) -> tuple[list[str], type[BaseModel]]:
    """Split a problem's place into keys and list positions, without tags of unions, and find its model."""
    parts: list[str] = []
    models: list[type[BaseModel]] = []
    for part in map(str, place):
        if len(models) > 1 and (tagged := [other for other in models if _tag(other) == part]):
            (model,), models = tagged, []
            continue
        parts.append(part)
        if part in model.model_fields:
            models = list(_models_in(model.model_fields[part].annotation))
            model = models[0] if models else model
    return parts, model


def _tag(model: type[BaseModel]) -> str:
    """Return the value of a model's first field, by which a union tells it apart."""
    return str(next(iter(model.model_fields.values())).default)


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
