"""The typed configuration: what a run file, a protocol file and a method file may say.

A run file names datasets, protocols, backbones, methods and seeds; `RunConfig.cells` resolves their product into
`Cell`s, each with every setting that its training needs. Unknown keys are errors, with a suggestion; a combination
in which a method would see its own target is refused here, before any job starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from iadsr.core.errors import ConfigError, suggest
from iadsr.core.files import value_digest

Objective = Literal["last", "prefix", "all"]
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
    """Kang and McAuley, ICDM 2018: causal self-attention."""

    layers: int = Field(2, ge=1, description="attention blocks")
    heads: int = Field(2, ge=1, description="attention heads; must divide the dimension")
    inner: int = Field(256, ge=1, description="width inside the position-wise network")


class CaserOptions(Strict):
    """Tang and Wang, WSDM 2018: convolutions over a window of recent items (no user embedding here)."""

    window: int = Field(5, ge=1, description="how many recent items a position sees")
    horizontal: int = Field(16, ge=1, description="horizontal filters for each height 1..window")
    vertical: int = Field(4, ge=1, description="vertical filters")


class NoneOptions(Strict):
    """The backbone alone."""


class IADSROptions(Strict):
    """IADSR, variant `paper` (arXiv 2510.04239, sections 3.2-3.5). Defaults: the paper, else its release."""

    theta: float = Field(-0.9, description="a sequence is denoised only if cos(semantic, collaborative) > theta")
    temperature: float = Field(1.0, gt=0, description="of the Gumbel-sigmoid")
    alignment: float = Field(1.0, ge=0, description="weight of the two InfoNCE terms")
    alignment_temperature: float = Field(0.1, gt=0, description="of InfoNCE")
    alignment_rows: int = Field(512, ge=2, description="at most so many rows, drawn at random, enter an InfoNCE term")
    reconstruction: float = Field(1.0, ge=0, description="weight of the reconstruction term")
    scope: Literal["auto", "sequence", "causal"] = Field(
        "auto", description="interests over the whole input, or over the items so far; auto: causal under `all`"
    )


class RandomDropOptions(Strict):
    """A control: drops inputs at random, as many as another method's run dropped."""

    match: str = Field("iadsr", description="the method whose keep rates are copied, epoch by epoch and at test time")


BACKBONES: dict[str, type[Strict]] = {"gru4rec": GRU4RecOptions, "sasrec": SASRecOptions, "caser": CaserOptions}
METHODS: dict[str, type[Strict]] = {"none": NoneOptions, "iadsr": IADSROptions, "random_drop": RandomDropOptions}
TEXT_METHODS = frozenset({"iadsr"})


class Settings(Strict):
    """Everything about training that is the same for every method in a table."""

    objective: Objective = Field(description="what a training sample supervises")
    max_length: int = Field(ge=2, description="most recent items that enter the network")
    ranking: Ranking = Field(description="rule for validation and for the headline table: history excluded or kept")
    dimension: int = Field(64, ge=1, description="width of item embeddings and of the states that score them")
    dropout: float = Field(ge=0, lt=1, description="on the item embeddings and inside the backbone")
    batch_size: int = Field(ge=1, description="sequences in a step")
    learning_rate: float = Field(gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of AdamW")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay a step of the weights' average, which is then scored; 0: no average",
    )
    epochs: int = Field(ge=1, description="most epochs")
    patience: int = Field(ge=1, description="stop after so many epochs without a better validation NDCG@10")


class Protocol(Strict):
    """A protocol file: settings for all, then by backbone, then by dataset (later ones win); defaults of methods."""

    name: str
    description: str = Field(description="one sentence for the report")
    settings: dict[str, Any] = Field(description="settings of every cell")
    backbones: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options and overrides by backbone")
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict, description="overrides by dataset")
    methods: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by kind of method: options that hold where a method's file leaves them out"
    )


class Sweep(Strict):
    """One method repeated with an option at several values; a cell is named `<method>-<option>=<value>`."""

    method: str
    option: str
    values: list[float | int | str]


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

    def cells(self, folder: Path) -> list[Cell]:
        """Every training run of the grid, in path order; `folder` is `workflow/config`.

        Raises:
            ConfigError: an unknown name or option, or a method that would see its target under an objective.
        """
        methods = self._methods(folder)
        protocols = {name: load_protocol(folder, name) for name in self.protocols}
        cells = []
        for dataset in self.datasets:
            for protocol_name, protocol in protocols.items():
                for backbone in self.backbones:
                    settings, options = _resolve(protocol, backbone, dataset, self.max_epochs)
                    for label, (kind, method_options) in methods.items():
                        given = {**protocol.methods.get(kind, {}), **method_options}
                        resolved = _check_method(kind, given, settings.objective, label)
                        if "match" in resolved and resolved["match"] not in methods:
                            raise ConfigError(
                                f"method '{label}' copies the keep rate of '{resolved['match']}', which this run "
                                f"does not train; add it to `methods`"
                            )
                        for seed in self.seeds:
                            cells.append(
                                Cell(
                                    dataset=dataset,
                                    protocol=protocol_name,
                                    backbone=backbone,
                                    method=label,
                                    seed=seed,
                                    kind=kind,
                                    settings=settings,
                                    backbone_options=options,
                                    method_options=resolved,
                                    encoder=dict(self.encoder) if kind in TEXT_METHODS else None,
                                )
                            )
        return cells

    def _methods(self, folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
        """Label -> (kind, the options that it sets) of every method and sweep point."""
        methods = {}
        for label in self.methods:
            methods[label] = _load_method(folder, label)
        for sweep in self.sweeps:
            kind, options = _load_method(folder, sweep.method)
            if sweep.option not in METHODS[kind].model_fields:
                hint = suggest(sweep.option, METHODS[kind].model_fields)
                raise ConfigError(f"sweep over unknown option '{sweep.option}' of method '{sweep.method}'; {hint}")
            for value in sweep.values:
                methods[f"{sweep.method}-{sweep.option}={value}"] = (kind, {**options, sweep.option: value})
        return methods


def load_protocol(folder: Path, name: str) -> Protocol:
    """A protocol file below `folder`, `workflow/config`.

    Raises:
        ConfigError: see `parse`; or the file speaks of a kind of method that there is not.
    """
    where = folder / "protocols" / f"{name}.yaml"
    protocol = parse(Protocol, load_yaml(where), str(where))
    for kind in protocol.methods:
        if kind not in METHODS:
            raise ConfigError(f"{where}: unknown kind of method '{kind}'; {suggest(kind, METHODS)}")
    return protocol


def _load_method(folder: Path, label: str) -> tuple[str, dict[str, Any]]:
    where = folder / "methods" / f"{label}.yaml"
    values = load_yaml(where)
    kind = values.pop("kind", label)
    if kind not in METHODS:
        raise ConfigError(f"{where}: unknown kind '{kind}'; {suggest(str(kind), METHODS)}")
    return kind, parse(METHODS[kind], values, str(where)).model_dump(exclude_unset=True)


def _check_method(kind: str, options: Mapping[str, Any], objective: Objective, label: str) -> dict[str, Any]:
    """Validate a method's options and settle its scope for an objective."""
    resolved = parse(METHODS[kind], options, f"method '{label}'").model_dump()
    scope = resolved.get("scope")
    if scope == "auto":
        resolved["scope"] = "causal" if objective == "all" else "sequence"
    elif scope == "sequence" and objective == "all":
        raise ConfigError(
            f"method '{label}' with scope 'sequence' would see its target under objective 'all', where every position "
            "predicts the next one: use scope 'causal', or objective 'prefix' or 'last'"
        )
    return resolved


def _resolve(
    protocol: Protocol, backbone: str, dataset: str, max_epochs: int | None
) -> tuple[Settings, dict[str, Any]]:
    """Settings and backbone options of one (protocol, backbone, dataset)."""
    if backbone not in BACKBONES:
        raise ConfigError(f"unknown backbone '{backbone}'; {suggest(backbone, BACKBONES)}")
    known = BACKBONES[backbone].model_fields
    merged = {**protocol.settings, **protocol.backbones.get(backbone, {}), **protocol.datasets.get(dataset, {})}
    where = f"protocol '{protocol.name}' for {backbone} on {dataset}"
    options = parse(BACKBONES[backbone], {key: merged[key] for key in merged if key in known}, where).model_dump()
    unknown = [key for key in merged if key not in known and key not in Settings.model_fields]
    if unknown:
        raise ConfigError(
            f"{where}: unknown key '{unknown[0]}'; {suggest(unknown[0], {*known, *Settings.model_fields})}"
        )
    values = {key: value for key, value in merged.items() if key not in known}
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
