"""The base class of everything that a configuration file holds, and the types of its fields."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, values of another type, and numbers that are not finite.

    A string below a field is its description, in the schemas and in tables of keys.

    Strict types: text is no number, and `true` is not 1. A field that is a tuple needs `Field(strict=False)`, since
    YAML and JSON have lists only.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


SequenceT = TypeVar("SequenceT", bound=Sequence[Any])
NameT = TypeVar("NameT", bound=str)

_CHECKOUT = Path(__file__).resolve().parents[2]
_SOURCES = frozenset(
    (".git", ".snakemake", ".venv", "benchmarks", "envs", "iadsr", "profiles", "report", "tests", "workflow")
)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_LABEL = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"  # a name, or `package.module:Class`


def check_name(value: str) -> str:
    """Accept a name that can be a folder or file on any system.

    Raises:
        ValueError: another character, none, or more than a hundred.
    """
    if "\n" in value or not re.match(_NAME, value):
        raise ValueError("a name has up to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit")
    return value


def dotted(value: str) -> str:
    """Write `package.module:Class` as `package.module.Class`, which can name a folder."""
    return value.replace(":", ".")


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
Key = Annotated[str, AfterValidator(dotted)]
Label = Annotated[str, Field(json_schema_extra={"pattern": _LABEL}), AfterValidator(dotted), AfterValidator(check_name)]
Labels = Annotated[list[Label], _UNIQUE, AfterValidator(check_distinct)]
Names = Annotated[list[Name], _UNIQUE, AfterValidator(check_distinct)]
_one_as_many = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
# one name or a list; also what JSON makes of a tuple
OneOrMany = Annotated[tuple[NameT, ...], Field(strict=False), _one_as_many, AfterValidator(check_distinct)]
Outside = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Outsides = Annotated[list[Outside], AfterValidator(check_distinct)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], _UNIQUE, AfterValidator(check_distinct)]
Scalar = Annotated[bool | int | float | str, WrapValidator(_check_scalar)]
HomePath = Annotated[str, Field(min_length=1), AfterValidator(expand_home)]
Folder = Annotated[str, AfterValidator(check_folder)]

# Upper limits keep out slips of the finger, which a job would only meet as a full memory or as no number.
Width = Annotated[int, Field(ge=1, le=2**16)]
Layers = Annotated[int, Field(ge=1, le=100)]
Epochs = Annotated[int, Field(ge=1, le=10**6)]
Steps = Annotated[int, Field(ge=1, le=10**9)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
Objective = Literal["last", "prefix", "all"]
Networks = Literal["ours", "released"]
Ranking = Literal["excluded", "kept"]
Remove = Literal["zero", "pack"]
Texts = Literal["names", "shuffled", "random", "empty"]
