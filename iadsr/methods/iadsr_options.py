"""Options of `iadsr`, and which of the release's defects a run has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from iadsr.config.fields import Label, OneOrMany, Remove, Temperature, Weight
from iadsr.config.options import ItemTableOptions
from iadsr.config.search import Search
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError

Defect = Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11"]

# Defects of training: the setting, its value with the defect, and its value without.
_SETTING_DEFECTS: dict[str, tuple[str, Any, Any]] = {
    "R8": ("bounded", True, False),
    "R9": ("rank_padding", True, False),
    "R10": ("stopping", "training", "validation"),
}


class IADSROptions(ItemTableOptions):
    """IADSR (arXiv 2510.04239, sections 3.2-3.5). Defaults: the paper, else its release.

    Defects R1-R10 are those in which the release departs from the paper: R1 the mask never reaches the recommendation;
    R2 no denoising at test time; R3 the gate is always open; R4 one Gumbel sample instead of two; R5 semantic and
    collaborative positions of long histories are paired wrongly; R6 the reconstruction terms of a batch are added up
    instead of averaged; R7 Caser has no decoder, so that training stops with an error; R8 tanh-bounded scores; R9
    padding can be recommended; R10 early stopping on the training loss; R11 in training the long semantic interest
    includes the target's text. R8-R10 change the cell's training settings.
    """

    name: ClassVar[str] = "iadsr"
    implementation: ClassVar[str] = "iadsr.methods.iadsr_choices:build"
    neutral: ClassVar[Mapping[str, Any]] = {"theta": 2.0, "alignment": 0.0, "reconstruction": 0.0}  # a closed gate
    cutoff: ClassVar[str | None] = "theta"

    variant: Literal["paper", "released"] = "paper"
    """`released`: defects R1-R5, with SASRec and Caser R6, with Caser R7 and no alignment, and `equal_negatives`;
    R8-R10 are the protocol's, R11 is named in `defects`"""
    defects: OneOrMany[Defect] = ()
    """defects beyond the variant's own; one name or a list. R8, R9 and R10 are the settings `bounded`, `rank_padding`
    and `stopping` of this method's runs alone; R5 needs R1 or objective `last`, R7 Caser, R11 objective `last` or
    `prefix` and scope `sequence`"""
    repaired: OneOrMany[Defect] = ()
    """defects of variant or protocol that are mended here; one name or a list"""
    theta: float = Field(-0.9, ge=-2, le=2)
    """gate: a sequence is denoised only if cos(semantic, collaborative) > theta"""
    temperature: Annotated[Temperature, Search(0.2, 5, log=True)] = Field(1.0, description="of the Gumbel-sigmoid")
    alignment: Annotated[Weight, Search(0.01, 1, log=True)] = Field(1.0, description="weight of the two InfoNCE terms")
    alignment_temperature: Annotated[Temperature, Search(0.05, 1, log=True)] = Field(0.1, description="of InfoNCE")
    alignment_rows: int = Field(512, ge=2, le=2**20)
    """at most so many rows, drawn at random, enter an InfoNCE term, whose cost is quadratic in them"""
    long_rows: Literal["sequence", "position"] = "sequence"
    """rows of the long InfoNCE term under scope `causal`: each sequence's last position, as everywhere else, or every
    drawn `position`"""
    equal_negatives: bool = False
    """negatives of an InfoNCE row may be the very same item (short) or user (long), as released; otherwise these rows
    are left out of its denominator"""
    reconstruction: Annotated[Weight, Search(0.001, 0.3, log=True)] = 1.0
    """weight of the reconstruction term"""
    reconstruction_error: Literal["relative", "squared"] = "relative"
    """squared error over the mean square of what is reconstructed, so that the weight means the same at any scale (our
    embeddings start with a standard deviation of 0.02, the release's with 1); or as it is, `squared`, as released"""
    mask: Literal["hard", "soft", "random", "none"] = "hard"
    """0/1 samples (`hard`), the `soft` samples behind them, as many dropped by chance (`random`, a control), or no mask
    at all: auxiliary losses only (`none`)"""
    match: Label | None = None
    """with `mask: random`: the method whose keep rates are copied, epoch by epoch and at test time; not set: the rates
    at which its own scores would keep"""
    remove: Annotated[Remove, Search(choices=("zero", "pack"))] = "zero"
    """what becomes of a dropped input: its embedding is zeroed and keeps its place (in SASRec a position embedding
    remains), or the inputs behind it move up (`pack`)"""
    semantic: bool = True
    """`false`: no text, gate or alignment; the score is the cosine of the two collaborative interests"""
    interest_text: Literal["items", "prefixes"] = "items"
    """semantic interests from the vectors of single item names; or, `prefixes`, as in the recovered script: the short
    one at t from the first t names of the user's history joined by “, ”, the long one from all names up to the last
    input. See “Joined names”. Needs data without `injected_noise` and `tie_break`"""
    threshold: Annotated[
        Literal["zero", "mean", "quantile", "learned"], Search(choices=("zero", "mean", "quantile"))
    ] = "zero"
    """what a score must exceed: 0, the input's mean score, a quantile of it, or a learned bias"""
    quantile: Annotated[float, Search(0.05, 0.5)] = Field(0.1, gt=0, lt=1)
    """of the input's scores; needs `threshold: quantile`"""
    short: Literal["item", "window"] = "item"
    """semantic short interest: of the item, or of a `window` of the last five"""
    long: Literal["mean", "max"] = Field("mean", description="how items' texts make up the semantic long interest")
    shared_projection: bool = Field(False, description="one projection of the text for short and long interests")
    warm_start: bool = False
    """two stages, as the paper tells it: the backbone alone until it stops, then the whole; `false`: all at once, as
    released"""
    scope: Literal["auto", "sequence", "causal"] = "auto"
    """interests over the whole input (`sequence`), or over the items so far (`causal`); `auto`: `causal` under
    objective `all`"""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Tell whether an option acts: the mask's need one that reads scores, the alignment's a text and a weight."""
        if name == "quantile" and options["threshold"] != "quantile":
            return False
        if name in ("temperature", "threshold", "quantile"):
            return options["mask"] != "none" and (name != "temperature" or options["mask"] != "random")
        if name == "remove":
            return options["mask"] not in ("none", "soft")
        if name == "alignment_temperature" and not options["alignment"]:
            return False
        return bool(options["semantic"]) or name not in ("alignment", "alignment_temperature")

    @property
    def reads_text(self) -> bool:
        """See `MethodOptions`."""
        return self.semantic or super().reads_text

    @property
    def has_keep_rates(self) -> bool:
        """See `MethodOptions`."""
        return self.mask != "none"

    @property
    def looks_ahead(self) -> str:
        """See `MethodOptions`."""
        return "R11 puts it into a sample's long text" if "R11" in self.defects else super().looks_ahead

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """Replace `variant` and `repaired` by the defects that the run has; see `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        own = self._own_defects(backbone)
        given, repaired = set[str](self.defects), set[str](self.repaired)
        active = (own | given) - repaired
        present = (
            own
            | given
            | {name for name, (setting, bad, _) in _SETTING_DEFECTS.items() if getattr(settings, setting) == bad}
        )
        if conflict := next(self._conflicts(settings, backbone, active, repaired - present), None):
            raise ConfigError(f"method '{label}': {conflict}")
        if options.pop("variant") == "released":
            options |= {"equal_negatives": True, "reconstruction_error": "squared"}
        if "R7" in own:
            options["alignment"] = 0.0
        del options["repaired"]
        options["defects"] = [name for name in get_args(Defect) if name in active and name not in _SETTING_DEFECTS]
        changes = {
            setting: bad if name in given else good
            for name, (setting, bad, good) in _SETTING_DEFECTS.items()
            if name in given | repaired
        }
        return options, settings.model_copy(update=changes)

    def _own_defects(self, backbone: str) -> set[str]:
        """List the defects that the variant has with a backbone."""
        if self.variant == "paper":
            return set()
        further = {"sasrec": {"R6"}, "caser": {"R6", "R7"}}.get(backbone, set())
        return {"R1", "R2", "R3", "R4", "R5", *further}

    def _conflicts(self, settings: Settings, backbone: str, active: set[str], absent: set[str]) -> Iterator[str]:
        """Yield what contradicts other options, settings or backbone, and choices that another option switches off.

        Numbers of a part that is off are allowed: a method's file states them for its sweeps, too.
        """
        if "quantile" in self.model_fields_set and self.threshold != "quantile":
            yield "`quantile` needs `threshold: quantile`"
        if self.match and self.mask != "random":
            yield "`match` needs `mask: random`: any other mask has rates of its own"
        if self.mask == "none" and self.remove == "pack":
            yield "without a mask nothing is removed, so leave out `remove: pack`"
        if self.mask == "soft" and self.remove == "pack":
            yield "a soft mask removes nothing, so `remove: pack` has nothing to move up"
        if self.interest_text == "prefixes":
            if pooled := self._changed("short", "long"):
                yield f"with `interest_text: prefixes` the text is joined, not pooled: leave out {pooled}"
            if settings.injected_noise or settings.tie_break:
                yield (
                    "`interest_text: prefixes` is encoded from the sequences as they are, so it has no text for "
                    "`injected_noise` or `tie_break`; use `interest_text: items`"
                )
        if "R11" in self.defects and self.scope == "causal":
            yield (
                "R11 puts the target into a sample's one long text, and scope 'causal' has one for each position; use "
                "scope 'sequence'"
            )
        if both := sorted({*self.defects} & {*self.repaired}):
            yield f"it both has and mends {', '.join(both)}"
        if "R7" in self.defects and backbone != "caser":
            yield "R7, the missing decoder, is a defect of the release's Caser alone"
        if absent:
            yield f"it mends {', '.join(sorted(absent))}, which it does not have with {backbone}"
        if {"R1", "R5"} & active == {"R5"} and self.mask != "none" and settings.objective != "last":
            yield (
                f"R5 judges a position by another one's text, and under objective '{settings.objective}' that can be "
                "its target, which the mask would hand to the input: keep R1, mend R5, or use objective 'last'"
            )

    def _text_conflicts(self, settings: Settings) -> Iterator[str]:
        """Yield what is wrong with the options about text, those of interests among them."""
        reading = () if self.reads_text else ("encoder", "texts")
        interests = () if self.semantic else ("interest_text", "short", "long", "shared_projection")
        if unread := self._changed(*reading, *interests):
            yield f"with `semantic: false` no text is read: leave out {unread}"
        yield from super()._text_conflicts(settings)
