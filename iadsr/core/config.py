"""The typed configuration: what a run file, a protocol file and a method file may say.

A run file names datasets, protocols, backbones, methods and seeds; `RunConfig.grids` resolves their product, and
that of each further experiment, into `Cell`s, each with every setting that its training needs. Unknown keys are errors,
with a suggestion; a combination in which a method would see its own target is refused here, before any job starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator

from iadsr.core.encoders import embeddings_name, parse_encoder
from iadsr.core.errors import ConfigError, suggest
from iadsr.core.files import value_digest
from iadsr.core.search import Search, search_ranges
from iadsr.core.validation import (
    Folder,
    HomePath,
    Name,
    Names,
    Scalar,
    Seeds,
    Strict,
    check_distinct,
    load_yaml,
    merge,
    parse,
    parse_part,
    read_overrides,
)

# Upper limits keep out slips of the finger, which a job would only meet as a full memory or as no number.
Width = Annotated[int, Field(ge=1, le=2**16)]
Layers = Annotated[int, Field(ge=1, le=100)]
Epochs = Annotated[int, Field(ge=1, le=10**6)]
Steps = Annotated[int, Field(ge=1, le=10**9)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
Objective = Literal["last", "prefix", "all"]
Defect = Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11"]
Remove = Literal["zero", "pack"]
Texts = Literal["names", "shuffled", "random", "empty"]
Ranking = Literal["excluded", "kept"]
TUNING_SEED = 1000  # of the searches alone, so that values are not chosen for the seeds that they are judged by


class GRU4RecOptions(Strict):
    """Hidasi et al., ICLR 2016: a GRU over item embeddings."""

    hidden: Width = Field(64, description="width of the recurrent state")
    layers: Layers = Field(1, description="stacked recurrent layers")


class SASRecOptions(Strict):
    """Causal self-attention after Kang and McAuley, ICDM 2018, whose own network is `norm: pre`, `activation: relu`,
    `attention_dropout` as high as `dropout`, two layers, one head, `inner` as wide as the embeddings."""

    layers: Layers = Field(2, description="attention blocks")
    heads: Width = Field(2, description="attention heads; must divide the dimension")
    inner: Width = Field(256, description="width inside the position-wise network")
    norm: Literal["post", "pre"] = Field(
        "post", description="layer norm after each residual connection, or before each sub-layer as published"
    )
    activation: Literal["gelu", "relu"] = Field("gelu", description="of the position-wise network; relu as published")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="on the attention weights")


class CaserOptions(Strict):
    """Convolutions over a window of recent items after Tang and Wang, WSDM 2018.

    Their output layer reads a user embedding. The default here reads the last item's embedding in its place.
    """

    window: Width = Field(5, description="how many recent items a position sees")
    horizontal: Width = Field(16, description="horizontal filters for each height 1..window")
    vertical: Width = Field(4, description="vertical filters")
    user_embedding: bool = Field(
        False, description="the output layer reads a user embedding, as published, instead of the last item's"
    )


class ReleasedGRU4RecOptions(Strict):
    """The release's GRU4Rec."""

    hidden: Width = Field(128, description="width of the recurrent state, of interests and of the output layer")
    layers: Layers = Field(2, description="stacked recurrent layers")


class ReleasedSASRecOptions(Strict):
    """The release's SASRec: no causal mask, no padding mask."""

    hidden: Width = Field(128, description="width of interests and of the output layer")
    layers: Layers = Field(2, description="attention blocks")
    heads: Width = Field(2, description="attention heads; must divide the dimension")
    inner: Width = Field(100, description="width inside the position-wise network")


class ReleasedCaserOptions(Strict):
    """The release's Caser: filters over the whole input, a user embedding."""

    hidden: Width = Field(128, description="width of interests and of the output layer")
    filters: Width = Field(64, description="horizontal filters for each height and as many vertical ones")


class MethodOptions(Strict):
    """Options of a kind of method."""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Whether the searched option `name` has any effect beside the other options: otherwise it is not tuned."""
        return True


class NoneOptions(MethodOptions):
    """The backbone alone."""


class IADSROptions(MethodOptions):
    """IADSR (arXiv 2510.04239, sections 3.2-3.5). Defaults: the paper, else its release.

    Defects R1-R10 are those in which the release departs from the paper: R1 the mask never reaches the recommendation;
    R2 no denoising at test time; R3 the gate is always open; R4 one Gumbel sample instead of two; R5 semantic and
    collaborative positions of long histories are paired wrongly; R6 the reconstruction terms of a batch are added up
    instead of averaged; R7 Caser has no decoder, so that training stops with an error; R8 tanh-bounded scores; R9
    padding can be recommended; R10 early stopping on the training loss; R11 in training the long semantic interest
    includes the target's text. R8-R10 change the cell's training settings.
    """

    variant: Literal["paper", "released"] = Field(
        "paper",
        description="released: defects R1-R5, with SASRec and Caser R6, with Caser R7 and no alignment, and "
        "`equal_negatives`; R8-R10 are the protocol's, R11 is named in `defects`",
    )
    defects: Annotated[tuple[Defect, ...], AfterValidator(check_distinct)] = Field(
        (), strict=False, description="defects beyond the variant's own; one name or a list"
    )
    repaired: Annotated[tuple[Defect, ...], AfterValidator(check_distinct)] = Field(
        (), strict=False, description="defects of variant or protocol that are mended here"
    )
    theta: float = Field(
        -0.9, ge=-2, le=2, description="a sequence is denoised only if cos(semantic, collaborative) > theta"
    )
    temperature: Annotated[Temperature, Search(0.2, 5, log=True)] = Field(1.0, description="of the Gumbel-sigmoid")
    alignment: Annotated[Weight, Search(0.01, 1, log=True)] = Field(1.0, description="weight of the two InfoNCE terms")
    alignment_temperature: Annotated[Temperature, Search(0.05, 1, log=True)] = Field(0.1, description="of InfoNCE")
    alignment_rows: int = Field(
        512, ge=2, le=2**20, description="at most so many rows, drawn at random, enter an InfoNCE term"
    )
    long_rows: Literal["sequence", "position"] = Field(
        "sequence",
        description="rows of the long InfoNCE term under scope `causal`: each sequence's last position, as everywhere "
        "else, or every drawn position",
    )
    equal_negatives: bool = Field(
        False,
        description="negatives of an InfoNCE row may be the very same item (short) or user (long), as released; "
        "otherwise these rows are left out of its denominator",
    )
    reconstruction: Annotated[Weight, Search(0.001, 0.3, log=True)] = Field(
        1.0, description="weight of the reconstruction term"
    )
    reconstruction_error: Literal["relative", "squared"] = Field(
        "relative",
        description="squared error over the mean square of what is reconstructed, so that the weight means the same at "
        "any scale; or as it is, as released",
    )
    mask: Literal["hard", "soft", "random", "none"] = Field(
        "hard",
        description="0/1 samples, the soft samples behind them, as many dropped by chance (a control), or no mask at "
        "all: auxiliary losses only",
    )
    match: Name | None = Field(
        None,
        description="with `mask: random`: the method whose keep rates are copied, epoch by epoch and at test time; "
        "none: the rates at which its own scores would keep",
    )
    remove: Annotated[Remove, Search(choices=("zero", "pack"))] = Field(
        "zero",
        description="what becomes of a dropped input: its embedding is zeroed and keeps its place, or the inputs "
        "behind it move up",
    )
    semantic: bool = Field(True, description="false: no text at all; the score is the cosine of the two collaborative")
    interest_text: Literal["items", "prefixes"] = Field(
        "items",
        description="semantic interests from the vectors of single item names, or as in the recovered script from "
        "vectors of the names so far, joined",
    )
    threshold: Annotated[
        Literal["zero", "mean", "quantile", "learned"], Search(choices=("zero", "mean", "quantile"))
    ] = Field(
        "zero", description="what a score must exceed: 0, the input's mean score, a quantile of it, or a learned bias"
    )
    quantile: Annotated[float, Search(0.05, 0.5)] = Field(
        0.1, gt=0, lt=1, description="of the input's scores, for threshold `quantile`"
    )
    short: Literal["item", "window"] = Field(
        "item", description="semantic short interest: of the item, or of recent ones"
    )
    long: Literal["mean", "max"] = Field("mean", description="how items' texts make up the semantic long interest")
    shared_projection: bool = Field(False, description="one projection of the text for short and long interests")
    warm_start: bool = Field(False, description="two stages: the backbone alone until it stops, then the method")
    texts: Texts = Field("names", description="item names as they are, shuffled between items, random words, or empty")
    encoder: dict[str, Any] | None = Field(None, description="a text encoder other than the run file's")
    scope: Literal["auto", "sequence", "causal"] = Field(
        "auto", description="interests over the whole input, or over the items so far; auto: causal under `all`"
    )

    @field_validator("defects", "repaired", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """A mask's options need a mask that reads scores, the alignment's a text and a weight."""
        if name == "quantile" and options["threshold"] != "quantile":
            return False
        if name in ("temperature", "threshold", "quantile"):
            return options["mask"] != "none" and (name != "temperature" or options["mask"] != "random")
        if name == "remove":
            return options["mask"] not in ("none", "soft")
        if name == "alignment_temperature" and not options["alignment"]:
            return False
        return bool(options["semantic"]) or name not in ("alignment", "alignment_temperature")


class RandomDropOptions(MethodOptions):
    """A control: drops inputs at random, as many as another method's run dropped."""

    match: Name = Field("iadsr", description="the method whose keep rates are copied, epoch by epoch and at test time")
    remove: Annotated[Remove, Search(choices=("zero", "pack"))] = Field(
        "zero", description="what becomes of a dropped input; see `iadsr`"
    )


BACKBONES: dict[str, type[Strict]] = {"gru4rec": GRU4RecOptions, "sasrec": SASRecOptions, "caser": CaserOptions}
METHODS: dict[str, type[MethodOptions]] = {"none": NoneOptions, "iadsr": IADSROptions, "random_drop": RandomDropOptions}
TEXT_METHODS = frozenset({"iadsr"})
RELEASED: dict[str, type[Strict]] = {
    "gru4rec": ReleasedGRU4RecOptions,
    "sasrec": ReleasedSASRecOptions,
    "caser": ReleasedCaserOptions,
}
RUN_OPTIONS = ("encoder", "texts", "warm_start")  # what a method reads and how it starts: the run sees to that
_METHOD_DEFECTS = ("R1", "R2", "R3", "R4", "R5", "R6", "R7", "R11")
_SETTING_DEFECTS: dict[str, dict[str, Any]] = {
    "R8": {"bounded": True},
    "R9": {"rank_padding": True},
    "R10": {"stopping": "training"},
}
_REPAIRED_SETTINGS: dict[str, dict[str, Any]] = {
    "R8": {"bounded": False},
    "R9": {"rank_padding": False},
    "R10": {"stopping": "validation"},
}


class Settings(Strict):
    """Everything about training that is the same for every method in a table."""

    objective: Objective = Field(description="what a training sample supervises")
    max_length: int = Field(ge=2, le=2**16, description="most recent items that enter the network")
    ranking: Ranking = Field(description="rule for validation and for the headline table: history excluded or kept")
    dimension: Width = Field(64, description="width of item embeddings and of the states that score them")
    dropout: Annotated[float, Search(0.1, 0.75)] = Field(
        ge=0, lt=1, description="on the item embeddings and inside the backbone"
    )
    batch_size: int = Field(ge=1, le=2**20, description="sequences in a step")
    batching: Literal["length", "shuffled"] = Field(
        "length",
        description="which samples share a batch: those of like length, so that little is padding, or any. A loss with "
        "in-batch negatives depends on it",
    )
    learning_rate: Annotated[float, Search(5e-4, 4e-2, log=True)] = Field(
        gt=0, le=10, description="highest learning rate of AdamW, at the warm-up's end"
    )
    steps: Steps = Field(description="the budget: optimiser steps, rounded up to whole epochs")
    budget: float = Field(1.0, gt=0, le=1000, description="a multiple of `steps`: what would a longer training gain?")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="how the learning rate falls after the warm-up: to 0 along a cosine or a line, or not"
    )
    weight_decay: Annotated[float, Search(1e-3, 0.5, log=True)] = Field(
        0.0, ge=0, le=100, description="decoupled weight decay of AdamW"
    )
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay a step of the weights' average, which is then scored; 0: no average",
    )
    validations: Epochs = Field(
        40,
        description="at most so many epochs, evenly spaced and the last among them, are validated; one of them is kept",
    )
    stopping: Literal["validation", "training"] = Field(
        "validation",
        description="what makes an epoch better: validation NDCG@10, or the training loss (R10)",
    )
    patience: Epochs | None = Field(
        None, description="stop early after so many epochs without a better one, as released; none: never"
    )
    max_epochs: Epochs | None = Field(None, description="the run file's upper limit")
    loss: Literal["full", "in_batch"] = Field(
        "full", description="cross-entropy among all items, or among the batch's targets, as released"
    )
    bounded: bool = Field(False, description="tanh around every score, as released (R8)")
    rank_padding: bool = Field(False, description="padding is an item that can be recommended, as released (R9)")
    networks: Literal["ours", "released"] = Field(
        "ours",
        description="released: its backbones with their sizes, padding on the left without masks, an output "
        "layer apart from the embeddings",
    )
    optimiser: Literal["adamw", "adam"] = Field("adamw", description="adam: weight decay in the gradient, as released")
    injected_noise: float = Field(
        0.0, ge=0, le=0.9, description="share of random items among the inputs; they are never targets"
    )
    tie_break: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="0: interactions at the same time keep the source's order; n: the n-th random order",
    )


class Protocol(Strict):
    """A protocol file: settings for all, by backbone, by dataset, by both (later ones win); defaults of methods."""

    name: Name
    description: str = Field(description="one sentence for the report")
    extends: Name | None = Field(None, description="a protocol whose file this one changes, key by key")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of every cell")
    backbones: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options and overrides by backbone")
    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="overrides by dataset, then by `dataset/backbone`"
    )
    methods: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by kind of method: options that hold where a method's file leaves them out"
    )
    tuned: Name | None = Field(
        None,
        description="a set of tuned values, `tuned/<dataset>/<set>.yaml`, which win over this file's; none: no set",
    )
    searched: list[str] = Field(
        default_factory=list, description="settings that the stage `tuning` varies; all others are fixed"
    )


class Sweep(Strict):
    """One method repeated with an option at several values; a cell is named `<method>-<option>=<value>`."""

    method: Name
    option: str
    values: Annotated[list[Scalar], AfterValidator(check_distinct)] = Field(min_length=1)

    @property
    def points(self) -> dict[str, Scalar]:
        """Label of each cell's method -> the option's value."""
        return {f"{self.method}-{self.option}={value}": value for value in self.values}


class Experiment(Strict):
    """A grid beside the main one, with tests and a place in the report of its own; what it leaves out is the run's."""

    title: str = Field(description="heading in the report")
    question: str = Field(description="what it asks, in one sentence")
    view: Literal["table", "sweep", "ladder", "spread", "budget"] = Field(
        "table",
        description="table: methods against the baseline; sweep: against the option's value; ladder: protocols in "
        "order; spread: over protocols that differ in nothing but chance; budget: protocols beside those that extend "
        "them with a larger `budget`",
    )
    baseline: str = Field("none", description="the method that every other one of this grid is tested against")
    datasets: Names | None = Field(None, description="as in the run file")
    protocols: Names | None = Field(None, description="as in the run file")
    backbones: Names | None = Field(None, description="as in the run file")
    methods: Names | None = Field(None, description="as in the run file")
    sweeps: list[Sweep] = Field(default_factory=list, description="as in the run file, whose own are not taken over")
    seeds: Seeds | None = Field(None, description="as in the run file")

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.view == "sweep":
            numbers = [value for sweep in self.sweeps for value in sweep.values if type(value) in (int, float)]
            if len(self.sweeps) != 1 or len(numbers) != len(self.sweeps[0].values):
                raise ValueError("view 'sweep' draws exactly one sweep, whose values are numbers")
        return self


class Cell(Strict):
    """One training run with everything that decides its outcome, except the data themselves."""

    dataset: str
    protocol: str
    backbone: str
    method: str
    seed: int
    kind: str = Field(description="the class of method; `method` is its label in this grid")
    settings: Settings
    backbone_options: dict[str, Any]
    method_options: dict[str, Any]
    encoder: dict[str, Any] | None = Field(
        description="every option of the text encoder; none where the method reads no text"
    )
    texts: Texts = Field("names", description="what the encoder reads")
    warm_start: bool = Field(False, description="train the backbone alone first")
    tuned: str | None = Field(None, description="the method whose tuned values it has, if any")

    @property
    def folder(self) -> str:
        """The folder of its seeds below `runs/`, and of its search below `tuning/`."""
        return f"{self.dataset}/{self.protocol}/{self.backbone}/{self.method}"

    @property
    def address(self) -> str:
        """The cell's folder below `runs/`."""
        return f"{self.folder}/seed{self.seed}"

    @property
    def matched(self) -> str | None:
        """The address of the run whose keep rates this one copies, if it copies any."""
        label = self.method_options.get("match")
        return None if label is None else self.model_copy(update={"method": label}).address

    @property
    def network(self) -> str:
        """The module of `iadsr.models` that holds its backbone."""
        return "released" if self.settings.networks == "released" else self.backbone

    @property
    def embeddings(self) -> str | None:
        """The name of the embeddings file that it reads, if it reads any."""
        return None if self.encoder is None else embeddings_name(self.encoder, self.texts)

    @property
    def reads_prefixes(self) -> bool:
        """Whether its texts are joined names instead of single ones."""
        return self.encoder is not None and self.method_options.get("interest_text") == "prefixes"

    @property
    def digest(self) -> str:
        """Digest of the resolved settings, wherever they come from."""
        return value_digest(self.model_dump(exclude={"tuned"}))


class RunConfig(Strict):
    """A run file: `workflow/config/<name>.yaml`."""

    name: Name = Field(description="its file's name")
    description: str = Field(description="what this run covers, in one sentence")
    results: Folder = Field("results", description="folder of everything that is generated")
    mirror: HomePath | None = Field(None, description="folder that is searched for dataset files before the network")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks run")
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of one training job")
    datasets: Names = Field(description="names of files in datasets/")
    encoder: dict[str, Any] = Field(description="the text encoder: `kind` and its options")
    llm2vec_python: HomePath | None = Field(None, description="a Python with the llm2vec package; none: --use-conda's")
    protocols: Names = Field(description="names of files in protocols/")
    backbones: Names = Field(description="gru4rec, sasrec, caser")
    methods: Names = Field(description="names of files in methods/")
    sweeps: list[Sweep] = Field(default_factory=list, description="options to vary, one at a time")
    seeds: Seeds = Field(description="one training run for each")
    max_epochs: Epochs | None = Field(None, description="an upper limit for every protocol, for quick trials")
    trials: int = Field(20, ge=1, le=10**4, description="trials of each search of the stage `tuning`")
    experiments: dict[Name, Experiment] = Field(default_factory=dict, description="further grids, by name")

    _origin: str = PrivateAttr("")

    @property
    def where(self) -> str:
        """The files that it was read from, for errors."""
        return self._origin or f"run '{self.name}'"

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
        """The main grid's datasets, then those that only experiments use."""
        further = [name for part in self.experiments.values() for name in part.datasets or ()]
        return list(dict.fromkeys([*self.datasets, *further]))

    def cells(self, folder: Path) -> list[Cell]:
        """Every training run, of the main grid and of the experiments, each once."""
        return distinct(self.grids(folder))

    def grids(self, folder: Path) -> dict[str, list[Cell]]:
        """The main grid under the name "" and each experiment's, in path order; `folder` is `workflow/config`.

        Raises:
            ConfigError: an unknown name or option, or a method that would see its target under an objective.
        """
        self.check_names(folder)
        main = Experiment(title="", question="", methods=self.methods, sweeps=self.sweeps)
        self._check_seeds(main, self.where)
        grids = {"": self._grid(folder, main, self.where)}
        for name, experiment in self.experiments.items():
            where = f"{self.where}: experiment '{name}'"
            self._check_seeds(experiment, where)
            grids[name] = self._grid(folder, experiment, where)
            if experiment.view == "budget" and not budget_pairs(folder, experiment.protocols or self.protocols):
                raise ConfigError(f"{where}: view 'budget' needs one that `extends` another with a larger `budget`")
            if experiment.baseline not in {cell.method for cell in grids[name]}:
                hint = suggest(experiment.baseline, {cell.method for cell in grids[name]})
                raise ConfigError(f"{where} lacks its own baseline '{experiment.baseline}'; {hint}")
        return grids

    def check_names(self, folder: Path) -> None:
        """Check that everything that is named has a file below `folder`, or is a backbone.

        Raises:
            ConfigError: with the key that names it.
        """
        known = {
            "datasets": known_datasets(folder),
            "protocols": _names(folder / "protocols"),
            "backbones": list(BACKBONES),
            "methods": _names(folder / "methods"),
        }
        parts: dict[str, RunConfig | Experiment] = {"": self}
        parts |= {f"experiments.{name}.": part for name, part in self.experiments.items()}
        for at, part in parts.items():
            for key, names in known.items():
                for name in getattr(part, key) or ():
                    _check_known(name, names, key.removesuffix("s"), f"{self.where}: {at}{key}")
            for sweep in part.sweeps:
                _check_known(sweep.method, known["methods"], "method", f"{self.where}: {at}sweeps")

    def searches(self, folder: Path, values: Mapping[str, Mapping[str, Any]] | None = None) -> list[Cell]:
        """One cell per search of the stage `tuning`: each method of the main grid under each protocol with `tuned`.

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
        self, folder: Path, part: Experiment, where: str, values: Mapping[str, Mapping[str, Any]] | None = None
    ) -> list[Cell]:
        """The cells of a grid, with `values` in place of those in the files of tuned values."""
        methods = _methods(folder, part.methods or self.methods, part.sweeps, where)
        protocols = {name: load_protocol(folder, name) for name in part.protocols or self.protocols}
        cells = []
        for dataset in part.datasets or self.datasets:
            for protocol_name, protocol in protocols.items():
                tuned = load_tuned(folder, dataset, protocol) if values is None else values
                for backbone in part.backbones or self.backbones:
                    settings, options = resolve_settings(protocol, backbone, dataset, self.max_epochs)
                    for label, method in methods.items():
                        source, found = _tuned_values(tuned, backbone, method)
                        given = _method_given(protocol, found, method, label)
                        resolved, own = settle_method(method.kind, given, _with_tuned(settings, found), backbone, label)
                        if resolved.get("match"):
                            _check_match(label, resolved["match"], methods, protocol, where)
                        reading = _reading(method.kind, resolved, self.encoder, label)
                        for seed in part.seeds or self.seeds:
                            cells.append(
                                Cell(
                                    dataset=dataset,
                                    protocol=protocol_name,
                                    backbone=backbone,
                                    method=label,
                                    seed=seed,
                                    kind=method.kind,
                                    settings=own,
                                    backbone_options=options,
                                    method_options=resolved,
                                    tuned=source,
                                    **reading,
                                )
                            )
        return cells


def distinct(grids: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """The cells of several grids, each once."""
    return list({cell.address: cell for grid in grids.values() for cell in grid}.values())


def known_datasets(folder: Path) -> list[str]:
    """Names of the files in datasets/; `folder` is `workflow/config`."""
    return _names(folder / "datasets")


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _check_known(name: str, known: Iterable[str], what: str, where: str) -> None:
    if name not in known:
        raise ConfigError(f"{where}: unknown {what} {name!r}; {suggest(name, known)}")


def backbone_alone(cell: Cell, searches: Iterable[Cell]) -> Cell | None:
    """The search of `none` from which that of another method with the same backbone starts, if there is one."""
    wanted = cell.model_copy(update={"method": "none"}).folder
    return next((other for other in searches if other.folder == wanted and cell.method != "none"), None)


def load_tuned(folder: Path, dataset: str, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """By `<backbone>/<method>`, the values in the protocol's set of tuned values; empty without set or file.

    Raises:
        ConfigError: an unknown backbone or method, a key that is not searched, a wrong value.
    """
    if protocol.tuned is None or not (path := tuned_path(folder, dataset, protocol.tuned)).is_file():
        return {}
    entries = load_yaml(path)
    for key, values in entries.items():
        backbone, _, label = str(key).partition("/")
        _check_known(backbone, BACKBONES, "backbone", f"{path}: {key}")
        _check_known(label, _names(folder / "methods"), "method", f"{path}: {key}")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {key} must hold a mapping of keys to values")
        model = METHODS[load_method(folder, label).kind]
        known = [*protocol.searched, *search_ranges(model)]
        for name in values:
            if name not in known:
                raise ConfigError(f"{path}: unknown key '{key}.{name}', {suggest(str(name), known)}")
        parse_part([Settings, model], values, str(path), f"{key}.")
    return entries


def budget_pairs(folder: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """Each protocol of `names` with every other one that extends it and has a larger `budget`."""
    protocols = {name: load_protocol(folder, name) for name in names}
    budget = {name: protocol.settings.get("budget", 1.0) for name, protocol in protocols.items()}
    return [
        (protocol.extends, name)
        for name, protocol in protocols.items()
        if protocol.extends in protocols and budget[name] > budget[protocol.extends]
    ]


def tuned_path(folder: Path, dataset: str, name: str) -> Path:
    """The file of a set of tuned values; `folder` is `workflow/config`."""
    return folder / "tuned" / dataset / f"{name}.yaml"


def _tuned_values(
    entries: Mapping[str, Mapping[str, Any]], backbone: str, method: MethodFile
) -> tuple[str | None, Mapping[str, Any]]:
    """The method whose tuned values a method takes, and these: its own, else those of the next of kin that has any."""
    for label in (method.name, method.tuned_as, method.kind, "none"):
        if label is not None and f"{backbone}/{label}" in entries:
            return label, entries[f"{backbone}/{label}"]
    return None, {}


def _with_tuned(settings: Settings, values: Mapping[str, Any]) -> Settings:
    own = {name: value for name, value in values.items() if name in Settings.model_fields}
    return parse(Settings, {**settings.model_dump(), **own}, "tuned values") if own else settings


def _method_given(protocol: Protocol, values: Mapping[str, Any], method: MethodFile, label: str) -> dict[str, Any]:
    """A method's options from its protocol, the tuned values and its own file; each wins over those before it.

    A tuned option that the others switch off is left out: it was chosen beside other ones.
    """
    model, default = METHODS[method.kind], protocol.methods.get(method.kind, {})
    tuned = {name: value for name, value in values.items() if name in model.model_fields}
    merged = parse(model, {**default, **tuned, **method.options}, f"method '{label}'").model_dump()
    active = {name: value for name, value in tuned.items() if model.is_active(name, merged)}
    return {**default, **active, **method.options}


def _check_match(label: str, matched: str, methods: Mapping[str, MethodFile], protocol: Protocol, where: str) -> None:
    """Refuse a control of a method that is not trained beside it or drops nothing."""
    if matched not in methods:
        raise ConfigError(
            f"{where}: method '{label}' copies the keep rate of '{matched}', which this run does not train; add it "
            "to `methods`"
        )
    kind, given = methods[matched].kind, {**protocol.methods.get(methods[matched].kind, {}), **methods[matched].options}
    if "mask" not in METHODS[kind].model_fields or given.get("mask") == "none":
        raise ConfigError(
            f"{where}: method '{label}' copies the keep rate of '{matched}', which has no mask of its own"
        )


def _methods(folder: Path, labels: Sequence[str], sweeps: Sequence[Sweep], where: str) -> dict[str, MethodFile]:
    """Label -> file of every method, and of every sweep point, which adds its option's value."""
    methods = {label: load_method(folder, label) for label in labels}
    for sweep in sweeps:
        swept = load_method(folder, sweep.method)
        kind = swept.kind
        if sweep.option not in METHODS[kind].model_fields:
            hint = suggest(sweep.option, METHODS[kind].model_fields)
            raise ConfigError(f"{where}: sweep over unknown option '{sweep.option}' of method '{sweep.method}'; {hint}")
        for label, value in sweep.points.items():
            parse_part([METHODS[kind]], {sweep.option: value}, f"{where}: sweep '{label}'")
            if not re.fullmatch(r"[A-Za-z0-9._+-]{1,50}", str(value)):
                raise ConfigError(
                    f"{where}: sweep '{label}': the value names a folder: up to 50 letters, digits, '.', '_', '+', '-'"
                )
            methods[label] = swept._replace(options={**swept.options, sweep.option: value})
    return methods


def _reading(kind: str, resolved: dict[str, Any], encoder: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Take what a method reads, and how it starts, out of its options: that is the run's business, not the method's."""
    own = {name: resolved.pop(name) for name in RUN_OPTIONS if name in resolved}
    found: dict[str, Any] = {"encoder": None, "warm_start": own.get("warm_start", False)}
    if kind in TEXT_METHODS and resolved.get("semantic", True):
        spec = parse_encoder(encoder if own["encoder"] is None else own["encoder"], f"method '{label}'")
        found |= {"encoder": spec.options(), "texts": own["texts"]}
    return found


def load_protocol(folder: Path, name: str) -> Protocol:
    """A protocol file below `folder`, `workflow/config`, merged over the one that it extends.

    Raises:
        ConfigError: see `parse`; an unknown key or wrong value in any part, used or not; or it extends itself.
    """
    return _extended(folder, name, ())


def _extended(folder: Path, name: str, above: tuple[str, ...]) -> Protocol:
    where = folder / "protocols" / f"{name}.yaml"
    protocol = parse(Protocol, load_yaml(where), str(where))
    if protocol.name != name:
        raise ConfigError(f"{where}: name is '{protocol.name}', but the file's name makes it '{name}'")
    merged = protocol
    if protocol.extends is not None:
        if protocol.extends in (name, *above):
            raise ConfigError(f"{where}: protocol '{name}' extends itself")
        _check_known(protocol.extends, _names(folder / "protocols"), "protocol", f"{where}: extends")
        base = _extended(folder, protocol.extends, (name, *above)).model_dump()
        merged = Protocol.model_validate(merge(base, protocol.model_dump(exclude_unset=True)))
    _check_parts(protocol, merged, folder, str(where))
    return merged


def _check_parts(own: Protocol, merged: Protocol, folder: Path, where: str) -> None:
    """Check each part of a protocol's own file; `merged` tells which networks its options are for.

    What it inherits is checked in the file that says so: options of other networks than its own fall away.
    """
    for name in own.searched:
        _check_known(name, search_ranges(Settings), "setting", f"{where}: searched")
    if merged.tuned is not None and not merged.searched:
        raise ConfigError(f"{where}: `tuned` needs `searched`: the settings that the search may vary")
    parse_part([Settings], own.settings, where, "settings.")
    for backbone, values in own.backbones.items():
        _check_known(backbone, BACKBONES, "backbone", f"{where}: backbones")
        options = _options_model(_merged(merged, backbone, ""), backbone)
        parse_part([Settings, options], values, where, f"backbones.{backbone}.")
    for key, values in own.datasets.items():
        dataset, both, backbone = key.partition("/")
        _check_known(dataset, known_datasets(folder), "dataset", f"{where}: datasets")
        models: list[type[Strict]] = [Settings]
        if both:
            _check_known(backbone, BACKBONES, "backbone", f"{where}: datasets.{key}")
            models.append(_options_model(_merged(merged, backbone, dataset), backbone))
        parse_part(models, values, where, f"datasets.{key}.")
    for kind, values in own.methods.items():
        _check_known(kind, METHODS, "kind of method", f"{where}: methods")
        parse_part([METHODS[kind]], values, where, f"methods.{kind}.")
    if "tuned" not in own.model_fields_set and merged.tuned is not None:
        _check_overridden(own, merged, where)


def _check_overridden(own: Protocol, merged: Protocol, where: str) -> None:
    """Refuse values of a file that the tuned values which it inherits would override in silence.

    Raises:
        ConfigError: naming the keys.
    """
    parts = {"settings": own.settings, **_below("backbones", own.backbones), **_below("datasets", own.datasets)}
    names = {f"{at}.{name}" for at, values in parts.items() for name in values if name in merged.searched}
    for kind, values in own.methods.items():
        names |= {f"methods.{kind}.{name}" for name in values if name in search_ranges(METHODS[kind])}
    if names:
        raise ConfigError(
            f"{where}: {', '.join(sorted(names))}: the tuned values of '{merged.tuned}', inherited from "
            f"'{own.extends}', would win; add `tuned: null` to train with this file's"
        )


def _below(at: str, parts: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{at}.{key}": values for key, values in parts.items()}


def _merged(protocol: Protocol, backbone: str, dataset: str) -> dict[str, Any]:
    """Everything that a protocol sets for a backbone on a dataset."""
    merged = protocol.settings | protocol.backbones.get(backbone, {})
    for key in (dataset, f"{dataset}/{backbone}"):
        merged |= protocol.datasets.get(key, {})
    return merged


def _options_model(merged: Mapping[str, Any], backbone: str) -> type[Strict]:
    released = merged.get("networks") == "released" and backbone in RELEASED
    return (RELEASED if released else BACKBONES)[backbone]


class MethodFile(NamedTuple):
    """A method's file.

    Attributes:
        name: the file's name.
        kind: the class of method.
        options: what the file sets.
        tuned_as: the method whose tuned values it takes where it has none of its own.
    """

    name: str
    kind: str
    options: dict[str, Any]
    tuned_as: str | None


def load_method(folder: Path, label: str) -> MethodFile:
    """Read a method's file below `folder`, `workflow/config`.

    Raises:
        ConfigError: see `parse`.
    """
    where = folder / "methods" / f"{label}.yaml"
    values = load_yaml(where)
    kind, tuned_as = values.pop("kind", label), values.pop("tuned_as", None)
    _check_known(str(kind), METHODS, "kind", str(where))
    if tuned_as is not None:
        _check_known(str(tuned_as), _names(folder / "methods"), "method", f"{where}: tuned_as")
    options = parse(METHODS[kind], values, str(where)).model_dump(exclude_unset=True)
    return MethodFile(label, kind, options, tuned_as)


def scope_under(objective: Objective) -> Literal["causal", "sequence"]:
    """How far a method may look where every position is a target, and where the last one alone is."""
    return "causal" if objective == "all" else "sequence"


def settle_method(
    kind: str, options: Mapping[str, Any], settings: Settings, backbone: str, label: str
) -> tuple[dict[str, Any], Settings]:
    """Validate a method's options, settle its scope for the objective, and turn its variant into defects.

    Returns:
        The options, and the settings with the defects among them put in or mended.
    """
    resolved = parse(METHODS[kind], options, f"method '{label}'").model_dump()
    scope = resolved.get("scope")
    if scope == "auto":
        resolved["scope"] = scope_under(settings.objective)
    elif scope == "sequence" and settings.objective == "all":
        raise ConfigError(
            f"method '{label}' with scope 'sequence' would see its target under objective 'all', where every position "
            "predicts the next one: use scope 'causal', or objective 'prefix' or 'last'"
        )
    if settings.networks == "released" and resolved.get("remove") == "pack":
        raise ConfigError(
            f"method '{label}' with `remove: pack` needs `networks: ours`: the released ones mask no padding"
        )
    if "variant" not in resolved:
        return resolved, settings
    _check_iadsr(resolved, options, settings, label)
    own: set[str] = set()
    if resolved.pop("variant") == "released":
        own = {"R1", "R2", "R3", "R4", "R5", *({"R6"} if backbone != "gru4rec" else ())}
        if backbone == "caser":
            own.add("R7")
            resolved["alignment"] = 0.0
        resolved |= {"equal_negatives": True, "reconstruction_error": "squared"}
    given, repaired = set(resolved["defects"]), set(resolved.pop("repaired"))
    if both := sorted(given & repaired):
        raise ConfigError(f"method '{label}' both has and mends {', '.join(both)}")
    if "R7" in given and backbone != "caser":
        raise ConfigError(f"method '{label}': R7, the missing decoder, is a defect of the release's Caser alone")
    there = (
        own | given | {name for name, change in _SETTING_DEFECTS.items() if change.items() <= dict(settings).items()}
    )
    if absent := sorted(repaired - there):
        raise ConfigError(f"method '{label}' mends {', '.join(absent)}, which it does not have with {backbone}")
    active = (own | given) - repaired
    resolved["defects"] = [name for name in _METHOD_DEFECTS if name in active]
    if "R5" in active and "R1" not in active and resolved["mask"] != "none" and settings.objective != "last":
        raise ConfigError(
            f"method '{label}': R5 judges a position by another one's text, and under objective '{settings.objective}' "
            "that can be its target, which the mask would hand to the input: keep R1, mend R5, or use objective 'last'"
        )
    changes: dict[str, Any] = {}
    for name in _SETTING_DEFECTS:
        if name in given:
            changes |= _SETTING_DEFECTS[name]
        elif name in repaired:
            changes |= _REPAIRED_SETTINGS[name]
    return resolved, settings.model_copy(update=changes)


def _check_iadsr(options: Mapping[str, Any], given: Mapping[str, Any], settings: Settings, label: str) -> None:
    """Refuse combinations of IADSR's options that contradict each other, and choices that another option switches off.

    Numbers of a part that is off are let be: a method's file states them for its sweeps, too.

    Raises:
        ConfigError: naming the options.
    """
    if "quantile" in given and options["threshold"] != "quantile":
        raise ConfigError(f"method '{label}': `quantile` needs `threshold: quantile`")
    if options["match"] and options["mask"] != "random":
        raise ConfigError(f"method '{label}': `match` needs `mask: random`: any other mask has rates of its own")
    if options["mask"] == "none" and options["remove"] == "pack":
        raise ConfigError(f"method '{label}': without a mask nothing is removed, so leave out `remove: pack`")
    if not options["semantic"] and (unread := _texts_chosen(options)):
        raise ConfigError(
            f"method '{label}': with `semantic: false` no text is read: leave out "
            f"{' and '.join(f'`{name}`' for name in unread)}"
        )
    if options["mask"] == "soft" and options["remove"] == "pack":
        raise ConfigError(f"method '{label}': a soft mask removes nothing, so `remove: pack` has nothing to move up")
    if options["interest_text"] == "prefixes":
        other = {name for name, value in (("short", "item"), ("long", "mean")) if options[name] != value}
        if other:
            raise ConfigError(
                f"method '{label}': with `interest_text: prefixes` the text is joined, not pooled: leave out "
                f"{' and '.join(f'`{name}`' for name in sorted(other))}"
            )
        if settings.injected_noise or settings.tie_break:
            raise ConfigError(
                f"method '{label}': `interest_text: prefixes` is encoded from the sequences as they are, so it has "
                "no text for `injected_noise` or `tie_break`; use `interest_text: items`"
            )
    if "R11" in options["defects"] and settings.objective == "all":
        raise ConfigError(
            f"method '{label}': R11 puts the target into a sample's long text, and under objective 'all' every "
            "position is a target; use objective 'last' or 'prefix'"
        )
    if "R11" in options["defects"] and options["scope"] == "causal":
        raise ConfigError(
            f"method '{label}': R11 puts the target into a sample's one long text, and scope 'causal' has one for "
            "each position; use scope 'sequence'"
        )


def _texts_chosen(options: Mapping[str, Any]) -> list[str]:
    """Options about text that differ from their defaults."""
    names = ("encoder", "texts", "interest_text", "short", "long", "shared_projection")
    return [name for name in names if options[name] != IADSROptions.model_fields[name].default]


def resolve_settings(
    protocol: Protocol, backbone: str, dataset: str, max_epochs: int | None
) -> tuple[Settings, dict[str, Any]]:
    """Settings and backbone options of one (protocol, backbone, dataset), before any method's own."""
    where = f"protocol '{protocol.name}' for {backbone} on {dataset}"
    _check_known(backbone, BACKBONES, "backbone", where)
    merged = _merged(protocol, backbone, dataset)
    released = merged.get("networks") == "released"
    if released and backbone not in RELEASED:
        raise ConfigError(
            f"{where}: the release has no {backbone}; use `networks: ours` or one of {', '.join(RELEASED)}"
        )
    if released and backbone != "gru4rec" and merged.get("objective") == "all":
        raise ConfigError(
            f"{where}: the release's {backbone} sees what follows a position, so it would see its target under "
            "objective 'all': use 'prefix' or 'last', or `networks: ours`"
        )
    model = _options_model(merged, backbone)
    # a protocol that extends another may change its networks: the options of the other networks then fall away
    options = parse(model, {key: merged[key] for key in merged if key in model.model_fields}, where).model_dump()
    settings = parse(Settings, {key: merged[key] for key in merged if key in Settings.model_fields}, where)
    if max_epochs is not None:
        settings = settings.model_copy(update={"max_epochs": min(max_epochs, settings.max_epochs or max_epochs)})
    _check_fit(settings, options, where)
    return settings, options


def _check_fit(settings: Settings, options: Mapping[str, Any], where: str) -> None:
    """Refuse settings and backbone options that cannot go together."""
    if settings.dimension % options.get("heads", 1):
        raise ConfigError(f"{where}: heads: {options['heads']} do not divide the dimension, {settings.dimension}")
    if options.get("window", 0) > settings.max_length:
        raise ConfigError(f"{where}: window: {options['window']} is longer than max_length, {settings.max_length}")
    if settings.loss == "in_batch" and settings.batch_size == 1 and settings.objective != "all":
        raise ConfigError(f"{where}: batch_size: the loss among a batch's targets needs more than 1")


def load_run(*paths: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A run file (YAML, or the JSON that a workflow wrote), further files laid over it, and a command line's overrides.

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
    """The cell at `address`.

    Raises:
        ConfigError: no such cell in the grid.
    """
    by_address = {cell.address: cell for cell in cells}
    if address not in by_address:
        raise ConfigError(f"this run file has no cell '{address}'; {suggest(address, by_address)[:400]}")
    return by_address[address]
