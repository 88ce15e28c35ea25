"""Method files: `workflow/config/methods/<label>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

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
    """Read a method's file below `folder`, `workflow/config`.

    Raises:
        ConfigError: see `parse`.
    """
    where = folder / "methods" / f"{label}.yaml"
    values = load_yaml(where)
    kind, tuned_as = str(values.pop("kind", label)), values.pop("tuned_as", None)
    model = find_method(kind, str(where))
    if tuned_as is not None:
        check_known(str(tuned_as), files_in(folder / "methods"), "method", f"{where}: tuned_as")
    return MethodFile(label, kind, model, parse(model, values, str(where)).model_dump(exclude_unset=True), tuned_as)
