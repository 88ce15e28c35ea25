"""Options of `steam`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from iadsr.config.fields import Layers, OneOrMany, Weight, Width
from iadsr.config.options import MethodOptions
from iadsr.config.search import Search
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError
from iadsr.models.sasrec_options import check_heads

Defect = Literal["empty_masks", "repeated_positions"]


class STEAMOptions(MethodOptions):
    """STEAM (Lin et al., WWW 2023): a Transformer that corrects its inputs, item by item: keep, delete or insert.

    Defaults: the release (TempSDU/STEAM 3ae6de2) as run on Beauty.
    """

    name: ClassVar[str] = "steam"
    implementation: ClassVar[str] = "iadsr.methods.steam:STEAM"
    own_backbone: ClassVar[bool] = True
    finds_noise: ClassVar[bool] = False  # planted noise, AUC of its scores: .48 to .55 after 75 steps, .69 after 480

    corrector: bool = Field(True, description="`false`: the same network without corrector, its baseline")
    recommender: Literal["cloze", "next_item"] = "cloze"
    """what it is trained on: masked items of each training row and of the row as corrected, as released (`cloze`; every
    objective), or the protocol's own targets, from corrected inputs (`next_item`; objectives `last` and `prefix`)"""
    rows: Literal["auto", "random", "whole"] = "auto"
    """with `cloze`, a row is a sample's inputs with its target, `whole`, or a `random` part of them, as released;
    `auto`: `random` under objective `last`, where a user has one row per epoch"""
    mask_rate: Annotated[float, Search(0.2, 0.8)] = Field(0.5, gt=0, le=1)
    """probability that `cloze` masks an item; at least one per row is"""
    delete: Annotated[float, Search(0.1, 0.6)] = Field(0.5, ge=0, lt=1)
    """probability that the corrector's training deletes an item, to be inserted again; what `delete` and `insert`
    leave is kept"""
    insert: Annotated[float, Search(0.02, 0.3)] = Field(0.1, ge=0, lt=1)
    """probability that the corrector's training inserts a random item, to be deleted"""
    longest: int = Field(5, ge=1, le=50, description="at most so many items are deleted in a row, or inserted at once")
    correction: Annotated[Weight, Search(0.1, 3, log=True)] = 1.0
    """weight of the corrector's two losses, `operations` and `insertions`"""
    test_input: Literal["corrected", "raw"] = "corrected"
    """what is scored; the release reports both"""
    layers: Layers = Field(1, description="blocks of the encoder; recommender and inserter have one each")
    heads: Width = Field(1, description="attention heads; must divide the dimension")
    inner: Width = Field(256, description="width inside the position-wise networks")
    released: OneOrMany[Defect] = ()
    """defects of the release, one name or a list. `empty_masks`: a row may have no masked item, and then teaches
    nothing; `repeated_positions`: each step of decoding adds position vectors once more to what stands there"""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Masks belong to `cloze`, everything else that is searched to the corrector."""
        return bool(options["recommender"] == "cloze" if name == "mask_rate" else options["corrector"])

    @property
    def looks_ahead(self) -> str:
        """See `MethodOptions`: masked items are predicted from both sides, and they alone."""
        return "`recommender: next_item` reads inputs from both sides" if self.recommender == "next_item" else ""

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """Settle `rows`; see `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        check_heads(self.heads, settings, f"method '{label}'")
        if (conflict := next(self._conflicts(settings), None)) is not None:
            raise ConfigError(f"method '{label}': {conflict}")
        if self.rows == "auto":
            cut = self.recommender == "cloze" and settings.objective == "last"
            options["rows"] = "random" if cut else "whole"
        return options, settings

    def _conflicts(self, settings: Settings) -> Iterator[str]:
        """Yield what contradicts other options or settings, and choices that another option switches off."""
        if settings.networks == "released":
            yield "its network is its own, so it needs `networks: ours`"
        if self.recommender == "cloze" and (settings.loss == "in_batch" or settings.bounded):
            yield "`recommender: cloze` chooses among all items, by plain scores: it needs `loss: full`, not `bounded`"
        if self.delete + self.insert >= 1:
            yield f"`delete: {self.delete}` and `insert: {self.insert}` leave nothing to keep"
        if not self.corrector and self.test_input == "raw":
            yield "without a corrector every input is raw: leave out `test_input`"
        if not self.corrector and "repeated_positions" in self.released:
            yield "without a corrector nothing is decoded: leave out `repeated_positions`"
        if self.recommender == "next_item" and (self.rows == "random" or "empty_masks" in self.released):
            yield "`rows: random` and `empty_masks` are of `recommender: cloze`: leave them out"
