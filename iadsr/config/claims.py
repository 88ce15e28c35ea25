"""Published claims as data: `workflow/config/claims/<paper>.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from iadsr.config.fields import Name, Strict
from iadsr.config.parse import parse
from iadsr.config.yaml_files import load_yaml
from iadsr.core.columns import MAIN
from iadsr.core.errors import ConfigError, suggest

Pattern = Annotated[str, Field(min_length=1)]


def _ascending(gains: list[float]) -> list[float]:
    if gains[0] > gains[1]:
        raise ValueError(f"the least published gain comes first, then the largest, not {gains}")
    return gains


Gains = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
Verdict = Literal[
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "opposite",
    "depends on the protocol",
    "underpowered",
    "not run",
]
_EXPERIMENTS = "names of experiments, `main` for the run file's own grid; those that a run lacks are passed over"
_COMPARING = (
    f"{_EXPERIMENTS}. Of a comparison that several make, the one over most backbones counts, of these one without lost "
    "runs, and of these the one with most seeds"
)


class Compared(Strict):
    """A claim that comparisons decide: one method is better, or worse, than another."""

    rule: Literal["compared"] = Field("compared", description="which rule")
    experiments: list[Name] = Field(min_length=1, description=_COMPARING)
    pairs: list[Annotated[list[Pattern], Field(min_length=2, max_length=2)]] = Field(min_length=1)
    """[method, baseline], each a name or a pattern with `*`"""
    expected: Literal["gain", "loss"] = Field("gain", description="what the claim says of the first of a pair")
    metrics: list[str] = Field(["NDCG@10"], min_length=1, description="each counts")
    unit: Literal["mean", "each"] = "mean"
    """mean: the mean over backbones, where there are several; each: every backbone by itself"""
    needs: Literal["some", "all"] = "some"
    """all: one comparison that refutes the claim refutes it as a whole; some: the claim then holds in part"""
    against: Literal["every", "best"] = "every"
    """every: each baseline counts; best: of several baselines the one with the highest mean"""
    group: Literal["all", "cold"] = "all"
    """all: of all users; cold: of those whose target is a cold item, in the run file's own grid"""
    least_users: int = Field(30, ge=2, description="fewer are too few data")

    @model_validator(mode="after")
    def _cold_targets_are_compared_in_the_own_grid(self) -> Self:
        if self.group == "cold" and self.experiments != [MAIN]:
            raise ValueError(f"group: cold is compared in the run file's own grid alone: experiments: [{MAIN}]")
        return self


class Between(Strict):
    """A claim that a quantity of runs decides: its mean over seeds lies between two values."""

    rule: Literal["between"] = Field("between", description="which rule")
    experiments: list[Name] = Field(min_length=1, description=_EXPERIMENTS)
    method: Pattern = Field(description="a name, or a pattern with `*`")
    quantity: str = Field(description="a quantity of the table `quantities`, such as `gate_share`")
    low: float = Field(description="the least value for which the claim holds")
    high: float = Field(description="the largest")

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}, so no value could confirm the claim")
        return self


class Spared(Strict):
    """The claim that a mask keeps as much of cold inputs as of the most popular tenth, by an interval over seeds."""

    rule: Literal["spared"] = Field("spared", description="which rule")
    experiments: list[Name] = Field(min_length=1, description=_EXPERIMENTS)
    method: Pattern = Field(description="a name, or a pattern with `*`")
    stages: list[Literal["train", "test"]] = Field(
        ["train", "test"],
        min_length=1,
        description="whose inputs: those of training, the histories at test; each counts",
    )
    margin: float = Field(0.01, ge=0, lt=1, description="how much less of cold inputs is as much, a share of them")
    beside: Name | None = Field(None, description="a method that is shown beside it; it decides nothing")


class Claim(Strict):
    """One published claim, and the rule by which results decide it."""

    id: Name = Field(description="its name in tables")
    title: str = Field(description="a few words for a table")
    sentence: str = Field(description="what is claimed")
    source: str = Field(description="where")
    published: Gains | None = None
    """the least and the largest published gain, as fractions; none: no figure that can be cited"""
    judged: Annotated[Compared | Between | Spared, Field(discriminator="rule")]
    """the rule, and what it needs; see below"""

    @property
    def needed(self) -> str:
        """What a run must have for a verdict: another experiment, or in its own grid these methods or comparisons."""
        if MAIN not in self.judged.experiments:
            return f"experiment {' or '.join(self.judged.experiments)}"
        pairs = self.judged.pairs if isinstance(self.judged, Compared) else [[self.judged.method]]
        return " or ".join(map(" vs ".join, pairs))


class Title(Strict):
    """A title of the page, for the verdicts with which it is true."""

    title: str = Field(description="the answer in one line")
    when: dict[str, list[Verdict]] = Field({}, description="verdicts by claim, or by claim/protocol; all must hold")


class Paper(Strict):
    """The paper that is replicated: the page's sentences and warnings are about its method."""

    method: Name = Field(description="its method")
    gain: Gains = Field(description="the least and the largest published gain, as fractions")
    metrics: list[str] = Field(min_length=1, description="those in which it is claimed")
    source: str = Field(description="where")
    copies: list[Name] = Field(
        min_length=1,
        description="controls that should drop as much as the method, at random; the page sets it against the first",
    )

    @property
    def sought(self) -> float:
        """The least gain that a comparison should be able to find."""
        return self.gain[0]


class Claims(Strict):
    """The claims of a paper, and the titles that their verdicts give the page."""

    paper: Paper | None = None
    """the paper that is replicated; one file of the folder has it"""
    claims: list[Claim] = Field(min_length=1, description="each with its rule")
    titles: list[Title] = Field([], description="in order: the first one whose conditions hold is the page's")


@dataclass(frozen=True)
class Published:
    """What all files of the folder say together."""

    paper: Paper
    claims: Sequence[Claim]
    titles: Sequence[Title]

    @property
    def rivals(self) -> list[str]:
        """The methods that a claim with a published figure sets the paper's method against."""
        rules = [claim.judged for claim in self.claims if claim.published and isinstance(claim.judged, Compared)]
        pairs = [pair for rule in rules for pair in rule.pairs if pair[0] == self.paper.method]
        return list(dict.fromkeys(baseline for _, baseline in pairs))


def load_claims(folder: Path) -> Published:
    """Read every file in `claims/` below `folder`, `workflow/config`.

    Raises:
        ConfigError: see `parse`; or not one file has `paper`, two claims have one id, or a title names an unknown one.
    """
    where = folder / "claims"
    files = [parse(Claims, load_yaml(path), str(path)) for path in sorted(where.glob("*.yaml"))]
    claims, titles = [one for file in files for one in file.claims], [one for file in files for one in file.titles]
    papers = [file.paper for file in files if file.paper]
    if len(papers) != 1:
        raise ConfigError(
            f"{where}: {len(papers)} files have the key `paper`; one must, for the paper that is replicated"
        )
    ids = [claim.id for claim in claims]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise ConfigError(f"{where}: two claims have the id '{twice[0]}'")
    named = [name.partition("/")[0] for one in titles for name in one.when]
    if unknown := [name for name in named if name not in ids]:
        raise ConfigError(f"{where}: a title names the unknown claim '{unknown[0]}'; {suggest(unknown[0], ids)}")
    return Published(papers[0], claims, titles)
