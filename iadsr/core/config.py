"""The typed configuration: what a run file, a protocol file and a method file may say.

A run file names datasets, protocols, backbones, methods and seeds; `RunConfig.grids` resolves their product, and
that of each further experiment, into `Cell`s, each with every setting that its training needs. Unknown keys are errors,
with a suggestion; a combination in which a method would see its own target is refused here, before any job starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from iadsr.core.errors import ConfigError, suggest
from iadsr.core.files import value_digest

Objective = Literal["last", "prefix", "all"]
Defect = Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11"]
Remove = Literal["zero", "pack"]
Texts = Literal["names", "shuffled", "random", "empty"]
Ranking = Literal["excluded", "kept"]


class Strict(BaseModel):
    """A frozen model in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


def parse(model: type[ModelT], values: Mapping[str, Any], where: str) -> ModelT:
    """Validate `values`; `where` names their origin in the error.

    Raises:
        ConfigError: one line for each wrong key, with the nearest known name for an unknown one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(whole)"
            if problem["type"] == "extra_forbidden":
                lines.append(f"  {key}: unknown key; {suggest(str(problem['loc'][-1]), model.model_fields)}")
            else:
                lines.append(f"  {key}: {problem['msg']} (found {problem['input']!r:.80})")
        raise ConfigError(f"{where} is not a valid {model.__name__}:\n" + "\n".join(lines)) from None


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something else than a mapping.
    """
    if not path.is_file():
        known = [other.stem for other in path.parent.glob("*.yaml")]
        hint = f"; {suggest(path.stem, known)}" if known else ""
        raise ConfigError(f"there is no configuration file {path}{hint}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    return values


class GRU4RecOptions(Strict):
    """Hidasi et al., ICLR 2016: a GRU over item embeddings."""

    hidden: int = Field(64, ge=1, description="width of the recurrent state")
    layers: int = Field(1, ge=1, description="stacked recurrent layers")


class SASRecOptions(Strict):
    """Causal self-attention after Kang and McAuley, ICDM 2018, whose own network is `norm: pre`, `activation: relu`,
    `attention_dropout` as high as `dropout`, two layers, one head, `inner` as wide as the embeddings."""

    layers: int = Field(2, ge=1, description="attention blocks")
    heads: int = Field(2, ge=1, description="attention heads; must divide the dimension")
    inner: int = Field(256, ge=1, description="width inside the position-wise network")
    norm: Literal["post", "pre"] = Field(
        "post", description="layer norm after each residual connection, or before each sub-layer as published"
    )
    activation: Literal["gelu", "relu"] = Field("gelu", description="of the position-wise network; relu as published")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="on the attention weights")


class CaserOptions(Strict):
    """Convolutions over a window of recent items after Tang and Wang, WSDM 2018.

    Their output layer reads a user embedding. The default here reads the last item's embedding in its place.
    """

    window: int = Field(5, ge=1, description="how many recent items a position sees")
    horizontal: int = Field(16, ge=1, description="horizontal filters for each height 1..window")
    vertical: int = Field(4, ge=1, description="vertical filters")
    user_embedding: bool = Field(
        False, description="the output layer reads a user embedding, as published, instead of the last item's"
    )


class ReleasedGRU4RecOptions(Strict):
    """The release's GRU4Rec."""

    hidden: int = Field(128, ge=1, description="width of the recurrent state, of interests and of the output layer")
    layers: int = Field(2, ge=1, description="stacked recurrent layers")


class ReleasedSASRecOptions(Strict):
    """The release's SASRec: no causal mask, no padding mask."""

    hidden: int = Field(128, ge=1, description="width of interests and of the output layer")
    layers: int = Field(2, ge=1, description="attention blocks")
    heads: int = Field(2, ge=1, description="attention heads; must divide the dimension")
    inner: int = Field(100, ge=1, description="width inside the position-wise network")


class ReleasedCaserOptions(Strict):
    """The release's Caser: filters over the whole input, a user embedding."""

    hidden: int = Field(128, ge=1, description="width of interests and of the output layer")
    filters: int = Field(64, ge=1, description="horizontal filters for each height and as many vertical ones")


class NoneOptions(Strict):
    """The backbone alone."""


class IADSROptions(Strict):
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
    defects: tuple[Defect, ...] = Field((), description="defects beyond the variant's own; one name or a list")
    repaired: tuple[Defect, ...] = Field((), description="defects of variant or protocol that are mended here")
    theta: float = Field(-0.9, description="a sequence is denoised only if cos(semantic, collaborative) > theta")
    temperature: float = Field(1.0, gt=0, description="of the Gumbel-sigmoid")
    alignment: float = Field(1.0, ge=0, description="weight of the two InfoNCE terms")
    alignment_temperature: float = Field(0.1, gt=0, description="of InfoNCE")
    alignment_rows: int = Field(512, ge=2, description="at most so many rows, drawn at random, enter an InfoNCE term")
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
    reconstruction: float = Field(1.0, ge=0, description="weight of the reconstruction term")
    mask: Literal["hard", "soft", "none"] = Field(
        "hard", description="0/1 samples, the soft samples behind them, or no mask at all: auxiliary losses only"
    )
    remove: Remove = Field(
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
    threshold: Literal["zero", "mean", "quantile", "learned"] = Field(
        "zero", description="what a score must exceed: 0, the input's mean score, a quantile of it, or a learned bias"
    )
    quantile: float = Field(0.1, gt=0, lt=1, description="of the input's scores, for threshold `quantile`")
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


class RandomDropOptions(Strict):
    """A control: drops inputs at random, as many as another method's run dropped."""

    match: str = Field("iadsr", description="the method whose keep rates are copied, epoch by epoch and at test time")
    remove: Remove = Field("zero", description="what becomes of a dropped input; see `iadsr`")


BACKBONES: dict[str, type[Strict]] = {"gru4rec": GRU4RecOptions, "sasrec": SASRecOptions, "caser": CaserOptions}
METHODS: dict[str, type[Strict]] = {"none": NoneOptions, "iadsr": IADSROptions, "random_drop": RandomDropOptions}
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
    max_length: int = Field(ge=2, description="most recent items that enter the network")
    ranking: Ranking = Field(description="rule for validation and for the headline table: history excluded or kept")
    dimension: int = Field(64, ge=1, description="width of item embeddings and of the states that score them")
    dropout: float = Field(ge=0, lt=1, description="on the item embeddings and inside the backbone")
    batch_size: int = Field(ge=1, description="sequences in a step")
    batching: Literal["length", "shuffled"] = Field(
        "length",
        description="which samples share a batch: those of like length, so that little is padding, or any. A loss with "
        "in-batch negatives depends on it",
    )
    learning_rate: float = Field(gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of AdamW")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay a step of the weights' average, which is then scored; 0: no average",
    )
    epochs: int = Field(ge=1, description="most epochs")
    patience: int = Field(ge=1, description="stop after so many epochs without a better one")
    stopping: Literal["validation", "training"] = Field(
        "validation",
        description="what makes an epoch better: validation NDCG@10, or the training loss (R10)",
    )
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
        0.0, ge=0, lt=1, description="share of random items put into each history before its held-out targets"
    )
    tie_break: int = Field(
        0, ge=0, description="0: interactions at the same time keep the source's order; n: the n-th random order"
    )


class Protocol(Strict):
    """A protocol file: settings for all, by backbone, by dataset, by both (later ones win); defaults of methods."""

    name: str
    description: str = Field(description="one sentence for the report")
    extends: str | None = Field(None, description="a protocol whose file this one changes, key by key")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of every cell")
    backbones: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options and overrides by backbone")
    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="overrides by dataset, then by `dataset/backbone`"
    )
    methods: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by kind of method: options that hold where a method's file leaves them out"
    )

    @field_validator("datasets")
    @classmethod
    def _of_known_backbones(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for key in value:
            _, both, backbone = key.partition("/")
            if both and backbone not in BACKBONES:
                raise ValueError(f"unknown backbone in '{key}'; {suggest(backbone, BACKBONES)}")
        return value


class Sweep(Strict):
    """One method repeated with an option at several values; a cell is named `<method>-<option>=<value>`."""

    method: str
    option: str
    values: list[bool | int | float | str]


class Experiment(Strict):
    """A grid beside the main one, with tests and a place in the report of its own; what it leaves out is the run's."""

    title: str = Field(description="heading in the report")
    question: str = Field(description="what it asks, in one sentence")
    view: Literal["table", "sweep", "ladder", "spread"] = Field(
        "table",
        description="table: methods against the baseline; sweep: against the option's value; ladder: protocols in "
        "order; spread: over protocols that differ in nothing but chance",
    )
    baseline: str = Field("none", description="the method that every other one of this grid is tested against")
    datasets: list[str] | None = Field(None, min_length=1, description="as in the run file")
    protocols: list[str] | None = Field(None, min_length=1, description="as in the run file")
    backbones: list[str] | None = Field(None, min_length=1, description="as in the run file")
    methods: list[str] | None = Field(None, min_length=1, description="as in the run file")
    sweeps: list[Sweep] = Field(default_factory=list, description="as in the run file, whose own are not taken over")
    seeds: list[int] | None = Field(None, min_length=1, description="as in the run file")


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
    encoder: dict[str, Any] | None = Field(description="the text encoder; none where the method reads no text")
    texts: Texts = Field("names", description="what the encoder reads")
    warm_start: bool = Field(False, description="train the backbone alone first")

    @property
    def address(self) -> str:
        """The cell's folder below `runs/`."""
        return f"{self.dataset}/{self.protocol}/{self.backbone}/{self.method}/seed{self.seed}"

    @property
    def matched(self) -> str | None:
        """The address of the run whose keep rates this one copies, if it copies any."""
        label = self.method_options.get("match")
        return None if label is None else self.address.replace(f"/{self.method}/", f"/{label}/")

    @property
    def network(self) -> str:
        """The module of `iadsr.models` that holds its backbone."""
        return "released" if self.settings.networks == "released" else self.backbone

    @property
    def embeddings(self) -> str | None:
        """The name of the embeddings file that it reads, if it reads any."""
        return None if self.encoder is None else embeddings_name(self.encoder["kind"], self.texts)

    @property
    def digest(self) -> str:
        """Digest of the resolved settings."""
        return value_digest(self.model_dump())


class RunConfig(Strict):
    """A run file: `workflow/config/<name>.yaml`."""

    name: str = Field(description="its file's name")
    description: str = Field(description="what this run covers, in one sentence")
    results: str = Field("results", description="folder of everything that is generated")
    mirror: str | None = Field(None, description="folder that is searched for dataset files before the network")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks run")
    threads: int = Field(1, ge=1, description="CPU threads of one training job")
    datasets: list[str] = Field(min_length=1, description="names of files in datasets/")
    encoder: dict[str, Any] = Field(description="the text encoder: `kind` and its options")
    llm2vec_python: str | None = Field(None, description="a Python with the llm2vec package; none: --use-conda's")
    protocols: list[str] = Field(min_length=1, description="names of files in protocols/")
    backbones: list[str] = Field(min_length=1, description="gru4rec, sasrec, caser")
    methods: list[str] = Field(min_length=1, description="names of files in methods/")
    sweeps: list[Sweep] = Field(default_factory=list, description="options to vary, one at a time")
    seeds: list[int] = Field(min_length=1, description="one training run for each")
    max_epochs: int | None = Field(None, ge=1, description="an upper limit for every protocol, for quick trials")
    experiments: dict[str, Experiment] = Field(default_factory=dict, description="further grids, by name")

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
        grids = {"": self._grid(folder, Experiment(title="", question="", methods=self.methods, sweeps=self.sweeps))}
        for name, experiment in self.experiments.items():
            grids[name] = self._grid(folder, experiment)
            if experiment.baseline not in {cell.method for cell in grids[name]}:
                raise ConfigError(f"experiment '{name}' lacks its own baseline '{experiment.baseline}'")
        encoders: dict[str, dict[str, Any]] = {}
        for cell in (cell for grid in grids.values() for cell in grid):
            if cell.encoder is None or cell.embeddings is None:
                continue
            if encoders.setdefault(cell.embeddings, cell.encoder) != cell.encoder:
                raise ConfigError(
                    f"two encoders would write the same file, embeddings/<dataset>/{cell.embeddings}: "
                    f"{encoders[cell.embeddings]} and {cell.encoder}"
                )
        return grids

    def _grid(self, folder: Path, part: Experiment) -> list[Cell]:
        methods = _methods(folder, part.methods or self.methods, part.sweeps)
        protocols = {name: load_protocol(folder, name) for name in part.protocols or self.protocols}
        cells = []
        for dataset in part.datasets or self.datasets:
            for protocol_name, protocol in protocols.items():
                for backbone in part.backbones or self.backbones:
                    settings, options = resolve_settings(protocol, backbone, dataset, self.max_epochs)
                    for label, (kind, method_options) in methods.items():
                        given = {**protocol.methods.get(kind, {}), **method_options}
                        resolved, own = settle_method(kind, given, settings, backbone, label)
                        if "match" in resolved and resolved["match"] not in methods:
                            raise ConfigError(
                                f"method '{label}' copies the keep rate of '{resolved['match']}', which this run "
                                f"does not train; add it to `methods`"
                            )
                        reading = _reading(kind, resolved, self.encoder)
                        for seed in part.seeds or self.seeds:
                            cells.append(
                                Cell(
                                    dataset=dataset,
                                    protocol=protocol_name,
                                    backbone=backbone,
                                    method=label,
                                    seed=seed,
                                    kind=kind,
                                    settings=own,
                                    backbone_options=options,
                                    method_options=resolved,
                                    **reading,
                                )
                            )
        return cells


def distinct(grids: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """The cells of several grids, each once."""
    return list({cell.address: cell for grid in grids.values() for cell in grid}.values())


def embeddings_name(kind: str, texts: str) -> str:
    """The name of an embeddings file, without its suffix."""
    return kind if texts == "names" else f"{kind}-{texts}"


def _methods(folder: Path, labels: Sequence[str], sweeps: Sequence[Sweep]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> (kind, the options that it sets) of every method and sweep point."""
    methods = {}
    for label in labels:
        methods[label] = _load_method(folder, label)
    for sweep in sweeps:
        kind, options = _load_method(folder, sweep.method)
        if sweep.option not in METHODS[kind].model_fields:
            hint = suggest(sweep.option, METHODS[kind].model_fields)
            raise ConfigError(f"sweep over unknown option '{sweep.option}' of method '{sweep.method}'; {hint}")
        for value in sweep.values:
            methods[f"{sweep.method}-{sweep.option}={value}"] = (kind, {**options, sweep.option: value})
    return methods


def _reading(kind: str, resolved: dict[str, Any], encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Take what a method reads, and how it starts, out of its options: that is the run's business, not the method's."""
    own = {name: resolved.pop(name) for name in RUN_OPTIONS if name in resolved}
    found: dict[str, Any] = {"encoder": None, "warm_start": own.get("warm_start", False)}
    if kind in TEXT_METHODS and resolved.get("semantic", True):
        found |= {"encoder": dict(own["encoder"] or encoder), "texts": own["texts"]}
        if "kind" not in found["encoder"]:
            raise ConfigError(f"an encoder needs its `kind`; found {found['encoder']}")
    return found


def load_protocol(folder: Path, name: str) -> Protocol:
    """A protocol file below `folder`, `workflow/config`, merged over the one that it extends.

    Raises:
        ConfigError: see `parse`; or the file speaks of a kind of method that there is not, or extends itself.
    """
    protocol = _extended(folder, name, ())
    for kind in protocol.methods:
        if kind not in METHODS:
            where = folder / "protocols" / f"{name}.yaml"
            raise ConfigError(f"{where}: unknown kind of method '{kind}'; {suggest(kind, METHODS)}")
    return protocol


def _extended(folder: Path, name: str, above: tuple[str, ...]) -> Protocol:
    where = folder / "protocols" / f"{name}.yaml"
    protocol = parse(Protocol, load_yaml(where), str(where))
    if protocol.extends is None:
        return protocol
    if protocol.extends in (name, *above):
        raise ConfigError(f"{where}: protocol '{name}' extends itself")
    base = _extended(folder, protocol.extends, (name, *above)).model_dump()
    merged = {**base, **protocol.model_dump(), "settings": {**base["settings"], **protocol.settings}}
    for part in ("backbones", "datasets", "methods"):
        own = getattr(protocol, part)
        merged[part] = {key: {**base[part].get(key, {}), **own.get(key, {})} for key in {**base[part], **own}}
    return Protocol.model_validate(merged)


def _load_method(folder: Path, label: str) -> tuple[str, dict[str, Any]]:
    where = folder / "methods" / f"{label}.yaml"
    values = load_yaml(where)
    kind = values.pop("kind", label)
    if kind not in METHODS:
        raise ConfigError(f"{where}: unknown kind '{kind}'; {suggest(str(kind), METHODS)}")
    return kind, parse(METHODS[kind], values, str(where)).model_dump(exclude_unset=True)


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
    _check_iadsr(resolved, settings, label)
    own: set[str] = set()
    if resolved.pop("variant") == "released":
        own = {"R1", "R2", "R3", "R4", "R5", *({"R6"} if backbone != "gru4rec" else ())}
        if backbone == "caser":
            own.add("R7")
            resolved["alignment"] = 0.0
        resolved["equal_negatives"] = True
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
    changes: dict[str, Any] = {}
    for name in _SETTING_DEFECTS:
        if name in given:
            changes |= _SETTING_DEFECTS[name]
        elif name in repaired:
            changes |= _REPAIRED_SETTINGS[name]
    return resolved, settings.model_copy(update=changes)


def _check_iadsr(options: Mapping[str, Any], settings: Settings, label: str) -> None:
    """Refuse combinations of IADSR's options that contradict each other.

    Raises:
        ConfigError: naming the options.
    """
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


def resolve_settings(
    protocol: Protocol, backbone: str, dataset: str, max_epochs: int | None
) -> tuple[Settings, dict[str, Any]]:
    """Settings and backbone options of one (protocol, backbone, dataset), before any method's own."""
    if backbone not in BACKBONES:
        raise ConfigError(f"unknown backbone '{backbone}'; {suggest(backbone, BACKBONES)}")
    merged = protocol.settings | protocol.backbones.get(backbone, {})
    for key in (dataset, f"{dataset}/{backbone}"):
        merged |= protocol.datasets.get(key, {})
    where = f"protocol '{protocol.name}' for {backbone} on {dataset}"
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
    # a protocol that extends another may change its networks: the options of the other networks then fall away
    model = (RELEASED if released else BACKBONES)[backbone]
    theirs = {name for one in (BACKBONES, RELEASED) if backbone in one for name in one[backbone].model_fields}
    options = parse(model, {key: merged[key] for key in merged if key in model.model_fields}, where).model_dump()
    unknown = [key for key in merged if key not in theirs and key not in Settings.model_fields]
    if unknown:
        raise ConfigError(
            f"{where}: unknown key '{unknown[0]}'; {suggest(unknown[0], {*model.model_fields, *Settings.model_fields})}"
        )
    values = {key: value for key, value in merged.items() if key in Settings.model_fields}
    if max_epochs is not None:
        values["epochs"] = min(max_epochs, int(values["epochs"]))
    return parse(Settings, values, where), options


def load_run(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A run file (YAML, or the JSON that a workflow wrote) with top-level `overrides`.

    Raises:
        ConfigError: see `parse`.
    """
    return parse(RunConfig, {**load_yaml(Path(path)), **(overrides or {})}, str(path))


def pick(cells: Sequence[Cell], address: str) -> Cell:
    """The cell at `address`.

    Raises:
        ConfigError: no such cell in the grid.
    """
    by_address = {cell.address: cell for cell in cells}
    if address not in by_address:
        raise ConfigError(f"this run file has no cell '{address}'; {suggest(address, by_address)[:400]}")
    return by_address[address]
