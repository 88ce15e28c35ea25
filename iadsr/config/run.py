"""Run files, and the grids of cells that follow from them.

A run file names datasets, protocols, backbones, methods and seeds; `RunConfig.grids` resolves their product, and
that of each further experiment, into `Cell`s, each with every setting that its training needs. Unknown keys are errors,
with a suggestion; a combination in which a method would see its own target is refused here, before any job starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from iadsr.config.cell import Cell
from iadsr.config.datasets import dataset_file
from iadsr.config.encoders import AnyEncoderSpec
from iadsr.config.fields import (
    Epochs,
    Folder,
    HomePath,
    Key,
    Label,
    Labels,
    Name,
    Names,
    Outsides,
    Scalar,
    Seeds,
    Strict,
    check_distinct,
)
from iadsr.config.grid import Sweep, check_match, read_methods, resolve_method
from iadsr.config.methods import MethodFile, check_method_name
from iadsr.config.options import OwnBackboneOptions, find_backbone
from iadsr.config.parse import check_known, parse
from iadsr.config.protocol import budget_pairs, load_protocol, load_tuned, resolve_settings
from iadsr.config.yaml_files import files_in, load_yaml, merge, read_overrides
from iadsr.core.columns import MAIN
from iadsr.core.errors import ConfigError, suggest

TUNING_SEED = 1000  # of the searches alone, so that values are not chosen for the seeds that they are judged by


Pair = Annotated[list[Key], Field(min_length=2, max_length=2)]
EVERY_METHOD = "*"
_PAIRS = (
    "pairs `[method, baseline]` that are tested, `*` for every method; none: every method against `baseline`. Each "
    "grid has Holm families of its own, in which methods with the very same runs count once"
)


class Experiment(Strict):
    """An additional grid with its own baseline, multiple-testing family and report section.

    Unset fields are inherited from the run file.
    """

    title: str = Field(description="heading in the report")
    question: str = Field(description="what it asks, in one sentence")
    view: Literal["table", "sweep", "ladder", "spread", "budget", "detection"] = "table"
    """table: methods against the baseline; sweep: against the option's value; ladder: protocols in order; spread: over
    protocols that differ in nothing but chance; budget: protocols beside those that extend them with a larger
    `budget`; detection: which method finds known noise"""
    baseline: Label = Field("none", description="the method against which gains are given")
    compare: list[Pair] | None = Field(None, description=_PAIRS)
    datasets: Names | None = Field(None, description="as in the run file")
    protocols: Names | None = Field(None, description="as in the run file")
    backbones: Labels | None = Field(None, description="as in the run file")
    methods: Labels | None = Field(None, description="as in the run file")
    sweeps: list[Sweep] = Field(default_factory=list, description="as in the run file, whose own are not taken over")
    seeds: Seeds | None = Field(None, description="as in the run file")

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.view == "sweep":
            numbers = [value for sweep in self.sweeps for value in sweep.values if type(value) in (int, float)]
            if len(self.sweeps) != 1 or len(numbers) != len(self.sweeps[0].values):
                raise ValueError("view 'sweep' draws exactly one sweep, whose values are numbers")
        return self


class RunConfig(Strict):
    """A run file: `workflow/config/<name>.yaml`."""

    name: Name = Field(description="by custom its file's name")
    description: str = Field(description="what this run covers, in one sentence for the start and the report")
    results: Folder = "results"
    """folder of everything that is generated; `~` is your home. Not one of the project's own, such as `report`. Runs
    with folders of their own never overwrite another's report"""
    mirror: HomePath | None = None
    """folder or http address that is searched for dataset files before the network; the variable `IADSR_MIRROR` wins"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where networks run; `auto`: CUDA if there is any. Under `cuda` every job with a network asks for one GPU
    (`--resources gpu=N` says how many there are; a cluster then gives it one), under `auto` only LLM2Vec's do"""
    threads: int = Field(1, ge=1, le=1024)
    """CPU threads of one training job; a change retrains. Many small jobs side by side use a machine better than one
    wide job"""
    datasets: Names = Field(description="names of files in datasets/")
    encoder: AnyEncoderSpec = Field(description="the text encoder: `kind` and that encoder's options")
    llm2vec_python: HomePath | None = None
    """a Python with the llm2vec package, e.g. `.venv-llm2vec/bin/python` from `make setup-llm2vec`; it must exist
    before LLM2Vec is planned. Not needed with `--use-conda`"""
    protocols: Names = Field(description="names of files in protocols/")
    backbones: Labels
    """names of backbones, `package.module:Class`, or `own`: with it run the methods that bring theirs, and no other"""
    methods: Labels = Field(description="names of files in methods/, or `package.module:Class`")
    metrics: Outsides = Field(default_factory=list)
    """metrics beside HR@k, NDCG@k and MRR, `package.module:function`: from ranks (users,) of the users' targets to
    values; the function's name is the metric's"""
    sweeps: list[Sweep] = Field(default_factory=list, description="methods repeated with an option at several values")
    baseline: Label = Field("none", description="the method against which gains are given")
    compare: list[Pair] | None = Field(None, description=_PAIRS)
    seeds: Seeds = Field(description="whole numbers from 0; one training run for each")
    max_epochs: Epochs | None = None
    """an upper limit for every protocol, for quick trials; such results are under-trained and say so in their
    records"""
    trials: int = Field(20, ge=1, le=10**4)
    """trials of each search of the stage `tuning`, the same number for every method"""
    experiments: dict[Name, Experiment] = Field(default_factory=dict)
    """further grids, by name. Runs that several grids name are trained once"""

    _origin: str = PrivateAttr("")

    @property
    def where(self) -> str:
        """The files that it was read from, for errors."""
        return self._origin or f"run '{self.name}'"

    @field_validator("experiments")
    @classmethod
    def _not_main(cls, value: dict[str, Experiment]) -> dict[str, Experiment]:
        if MAIN in value:
            raise ValueError(f"'{MAIN}' is the name of the run file's own grid; choose another one")
        return value

    @model_validator(mode="after")
    def _distinct_points(self) -> Self:
        spelt: dict[tuple[str, str, Scalar], Scalar] = {}
        for sweeps in (self.sweeps, *(part.sweeps for part in self.experiments.values())):
            check_distinct([label for sweep in sweeps for label in sweep.points])
            for sweep in sweeps:
                for value in sweep.values:
                    first = spelt.setdefault((sweep.method, sweep.option, value), value)
                    if str(first) != str(value):
                        raise ValueError(f"{sweep.option} is swept over {first} and {value}, which are one: write one")
        return self

    @property
    def all_datasets(self) -> list[str]:
        """Datasets of the main grid, then those that only experiments use."""
        further = [name for part in self.experiments.values() for name in part.datasets or ()]
        return list(dict.fromkeys([*self.datasets, *further]))

    def cells(self, folder: Path) -> list[Cell]:
        """Resolve every training run, of the main grid and of the experiments, each once."""
        return distinct(self.grids(folder))

    def grids(self, folder: Path) -> dict[str, list[Cell]]:
        """Resolve the main grid and each experiment's, by name, in path order; `folder` is `workflow/config`.

        Raises:
            ConfigError: an unknown name or option, or a method that would see its target under an objective.
        """
        self.check_names(folder)
        main = Experiment(title="", question="", methods=self.methods, sweeps=self.sweeps)
        grids: dict[str, list[Cell]] = {}
        for name, experiment in {MAIN: main, **self.experiments}.items():
            where = self.where if name == MAIN else f"{self.where}: experiment '{name}'"
            self._check_seeds(experiment, where)
            grids[name] = self._grid(folder, experiment, where)
            if experiment.view == "budget" and not budget_pairs(folder, experiment.protocols or self.protocols):
                raise ConfigError(f"{where}: view 'budget' needs one that `extends` another with a larger `budget`")
            methods = {cell.method for cell in grids[name]}
            if name != MAIN and experiment.baseline not in methods:
                raise ConfigError(
                    f"{where} lacks its own baseline '{experiment.baseline}'; {suggest(experiment.baseline, methods)}"
                )
            known = dict.fromkeys((EVERY_METHOD, *methods, *files_in(folder / "methods")))
            for method in dict.fromkeys(method for pair in self.compared(name) for method in pair):
                check_known(method, known, "method", f"{where}: compare")
        return grids

    def compared(self, name: str) -> list[tuple[str, str]]:
        """Return the pairs (method, baseline) that an experiment, or the main grid, tests."""
        part: RunConfig | Experiment = self if name == MAIN else self.experiments[name]
        return [(method, base) for method, base in part.compare or [[EVERY_METHOD, part.baseline]]]

    def check_names(self, folder: Path) -> None:
        """Check that everything that is named has a file below `folder`, or is a backbone.

        Raises:
            ConfigError: with the key that names it.
        """
        parts: dict[str, RunConfig | Experiment] = {"": self}
        parts |= {f"experiments.{name}.": part for name, part in self.experiments.items()}
        for at, part in parts.items():
            where = f"{self.where}: {at}"
            for name in part.datasets or ():
                dataset_file(folder, name, f"{where}datasets")
            for name in part.protocols or ():
                check_known(name, files_in(folder / "protocols"), "protocol", f"{where}protocols")
            for name in part.backbones or ():
                find_backbone(name, "ours", f"{where}backbones")
            for label in part.methods or ():
                check_method_name(folder, label, f"{where}methods")
            for sweep in part.sweeps:
                check_method_name(folder, sweep.method, f"{where}sweeps")

    def searches(self, folder: Path, values: Mapping[str, Mapping[str, Any]] | None = None) -> list[Cell]:
        """Resolve one cell per search: each method of the main grid under each protocol with `tuned`.

        A set of tuned values that several protocols share is searched under the first of them.

        Args:
            values: by `<backbone>/<method>`, values to try; where it names none, the cell has the protocol's own.
        """
        protocols: dict[str, str] = {}
        for name in self.protocols:
            tuned = load_protocol(folder, name).tuned
            if tuned is not None:
                protocols.setdefault(tuned, name)
        if not protocols:
            return []
        part = Experiment(title="", question="", protocols=list(protocols.values()), seeds=[TUNING_SEED])
        return self._grid(folder, part, self.where, values or {})

    def _check_seeds(self, part: Experiment, where: str) -> None:
        if TUNING_SEED in (part.seeds or self.seeds):
            raise ConfigError(f"{where}: seeds: {TUNING_SEED} is the seed of the searches; results need another one")

    def _grid(
        self, folder: Path, part: Experiment, where: str, tuned: Mapping[str, Mapping[str, Any]] | None = None
    ) -> list[Cell]:
        """Resolve the cells of a grid, with `tuned` in place of the values in the files of tuned values."""
        methods = read_methods(folder, part.methods or self.methods, part.sweeps, where)
        protocols = [load_protocol(folder, name) for name in part.protocols or self.protocols]
        cells = []
        for dataset, protocol in itertools.product(part.datasets or self.datasets, protocols):
            values = load_tuned(folder, dataset, protocol) if tuned is None else tuned
            for backbone in part.backbones or self.backbones:
                settings, options = resolve_settings(protocol, backbone, dataset, self.max_epochs)
                for label, method in methods.items():
                    if not _fits(method, backbone, part.backbones or self.backbones):
                        continue
                    resolved = resolve_method(method, label, protocol, values, backbone, settings, self.encoder)
                    if matched := resolved["method_options"].get("match"):
                        check_match(label, matched, methods, protocol, where)
                    cells += [
                        Cell(
                            dataset=dataset,
                            protocol=protocol.name,
                            backbone=backbone,
                            method=label,
                            seed=seed,
                            backbone_options=options,
                            **resolved,
                        )
                        for seed in part.seeds or self.seeds
                    ]
        return cells


def _fits(method: MethodFile, backbone: str, backbones: Sequence[str]) -> bool:
    """Tell whether a method runs with a backbone: with `own` if it brings its own, else with any other.

    A method that fits none of `backbones` counts as running with all, so that its options refuse them with an error.
    """
    fitting = [name for name in backbones if method.model.own_backbone == (name == OwnBackboneOptions.name)]
    return backbone in fitting or not fitting


def distinct(grids: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """List the cells of several grids, each once."""
    return list({cell.address: cell for grid in grids.values() for cell in grid}.values())


def backbone_alone(cell: Cell, searches: Iterable[Cell]) -> Cell | None:
    """Find the search of `none` from which that of another method with the same backbone starts."""
    wanted = cell.model_copy(update={"method": "none"}).folder
    return next((other for other in searches if other.folder == wanted and cell.method != "none"), None)


def load_run(*paths: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a run file (YAML, or a workflow's JSON), with further files and a command line's overrides laid over it.

    Raises:
        ConfigError: see `parse`.
    """
    where = " + ".join(map(str, paths))
    values: dict[str, Any] = {}
    for path in paths:
        values = merge(values, load_yaml(Path(path)))
    if overrides:
        values, where = merge(values, read_overrides(overrides)), f"{where} with --config"
    if "name" not in values:
        raise ConfigError(f"{where}: a run file needs a `name`; a file without one can only be laid over a run file")
    run = parse(RunConfig, values, where)
    run._origin = where
    return run


def pick(cells: Sequence[Cell], address: str) -> Cell:
    """Return the cell at `address`.

    Raises:
        ConfigError: no such cell in the grid.
    """
    by_address = {cell.address: cell for cell in cells}
    if address not in by_address:
        raise ConfigError(f"this run file has no cell '{address}'; {suggest(address, by_address)[:400]}")
    return by_address[address]
