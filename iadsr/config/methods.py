"""Method files: `workflow/config/methods/<label>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from iadsr.config.fields import Key, Label, Strict
from iadsr.config.options import MethodOptions, find_method
from iadsr.config.parse import check_known, parse
from iadsr.config.yaml_files import files_in, load_yaml

Title = Annotated[str, Field(max_length=60, pattern=r"^\S(.*\S)?$")]  # one line


class MethodKeys(Strict):
    """Keys of a method's file beside the options of its kind."""

    kind: Key | None = Field(None, description="kind of method, or `package.module:Class`; not set: the file's name")
    title: Title | None = Field(None, description="the method's name in the report; not set: the file's name")
    control: bool = Field(False, description="a baseline or control: the report counts it as no competing denoiser")
    tuned_as: Label | None = None
    """the method whose tuned values it takes where it has none of its own"""


class MethodFile(NamedTuple):
    """A method's file: its name, what it says, and the option class of its kind.

    Attributes:
        title: its name for readers.
        control: whether it is a baseline or control, no competing denoiser.
    """

    name: str
    kind: str
    model: type[MethodOptions]
    options: dict[str, Any]
    tuned_as: str | None
    title: str
    control: bool


def load_method(folder: Path, label: str) -> MethodFile:
    """Read a method's file below `folder`, `workflow/config`; without one, `package.module.Class` is a kind itself.

    Raises:
        ConfigError: see `parse`.
    """
    where = folder / "methods" / f"{label}.yaml"
    if "." in label and not where.exists():
        return MethodFile(label, label, find_method(label, str(folder / "methods")), {}, None, label, control=False)
    values = load_yaml(where)
    keys = parse(MethodKeys, {name: values.pop(name) for name in MethodKeys.model_fields if name in values}, str(where))
    kind = keys.kind or label
    model = find_method(kind, str(where))
    if keys.tuned_as is not None:
        check_method_name(folder, keys.tuned_as, f"{where}: tuned_as")
    options = parse(model, values, str(where)).model_dump(exclude_unset=True)
    return MethodFile(label, kind, model, options, keys.tuned_as, keys.title or label, keys.control)


def check_method_name(folder: Path, label: str, where: str) -> None:
    """Refuse a label that is neither a method's file nor `package.module.Class`.

    Raises:
        ConfigError: naming `where` and the nearest known name.
    """
    if "." in label:
        load_method(folder, label)
    else:
        check_known(label, files_in(folder / "methods"), "method", where)
