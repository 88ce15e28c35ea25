"""Method files: `workflow/config/methods/<label>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from iadsr.config.fields import dotted
from iadsr.config.options import MethodOptions, find_method
from iadsr.config.parse import check_known, parse
from iadsr.config.yaml_files import files_in, load_yaml


class MethodFile(NamedTuple):
    """A method's file.

    Attributes:
        name: the file's name.
        kind: the kind of method.
        model: the kind's option class.
        options: what the file sets.
        tuned_as: the method whose tuned values it takes where it has none of its own.
    """

    name: str
    kind: str
    model: type[MethodOptions]
    options: dict[str, Any]
    tuned_as: str | None


def load_method(folder: Path, label: str) -> MethodFile:
    """Read a method's file below `folder`, `workflow/config`; without one, `package.module.Class` is a kind itself.

    Raises:
        ConfigError: see `parse`.
    """
    where = folder / "methods" / f"{label}.yaml"
    if "." in label and not where.exists():
        return MethodFile(label, label, find_method(label, str(folder / "methods")), {}, None)
    values = load_yaml(where)
    kind, tuned_as = dotted(str(values.pop("kind", label))), values.pop("tuned_as", None)
    model = find_method(kind, str(where))
    if tuned_as is not None:
        check_method(folder, str(tuned_as), f"{where}: tuned_as")
    return MethodFile(label, kind, model, parse(model, values, str(where)).model_dump(exclude_unset=True), tuned_as)


def check_method(folder: Path, label: str, where: str) -> None:
    """Refuse a label that is neither a method's file nor `package.module.Class`.

    Raises:
        ConfigError: naming `where` and the nearest known name.
    """
    if "." in label:
        load_method(folder, label)
    else:
        check_known(label, files_in(folder / "methods"), "method", where)
