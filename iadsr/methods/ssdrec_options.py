"""Options of `ssdrec`, and the defects of its release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from iadsr.config.fields import OneOrMany, Steps
from iadsr.config.settings import Settings
from iadsr.methods.hsd_options import HSDDefect, HSDOptions, Rate

SSDRecDefect = Literal[HSDDefect, "padded_positions", "stale_mask", "no_user_at_test", "zero_maps"]


class SSDRecOptions(HSDOptions):
    """SSDRec (Zhang et al., ICDE 2024): HSD with vectors from graphs, on histories into which items are inserted.

    Defaults are those of the authors' code, where not marked as ours. Its defects beside HSD's: `padded_positions`
    items are inserted at any of `max_length` positions, and nothing happens at one of padding; `stale_mask` a history
    keeps its length after an insertion, so that its two newest items fall off; `no_user_at_test` the item level reads
    the user's vector in training alone; `zero_maps` the last maps of both graph encoders start at zero, in place of the
    authors' memory that nothing initialises.
    """

    name: ClassVar[str] = "ssdrec"
    implementation: ClassVar[str] = "iadsr.methods.ssdrec:build"
    neutral: ClassVar[Mapping[str, Any] | None] = None

    defects: OneOrMany[SSDRecDefect] = ()  # type: ignore[assignment]
    """defects of the release; one name or a list. `batch_statistics` needs `norm: batch`"""
    graphs: Literal["auto", "inputs", "training"] = "auto"
    """what the graphs hold: each user's `training` items, or of these the ones before the last target (`inputs`, ours),
    the only target under objective `last`; `auto`: `inputs` under `last`"""
    neighbours: int = Field(20, ge=1, le=1000, description="edges kept in each row of a graph (ours: released all)")
    together: int = Field(1, ge=1, le=1000)
    """histories in which two items must occur together to be neighbours (ours: released 11, which few pairs reach)"""
    refresh: Steps = 1
    """training steps from one encoding of the graphs to the next; only a step that encodes them trains their encoder.
    More save time where items and users are many"""
    candidates: int = Field(512, ge=0, le=2**20)
    """random items per step among which inserted ones are chosen (ours); 0: all, as published"""
    graph_dropout: Rate = Field(0.3, description="dropout in the encoders of graphs")

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """See `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        if options["graphs"] == "auto":
            options["graphs"] = "inputs" if settings.objective == "last" else "training"
        return options, settings

    def _conflicts(self, settings: Settings, scope: str) -> Iterator[str]:
        """Yield what contradicts settings, scope or another option."""
        if scope == "causal":
            yield "it inserts items by what comes after them: use objective 'prefix' or 'last', and scope 'sequence'"
        if self.mask == "none":
            yield "without a mask it is `hsd` with `mask: none`"
        yield from super()._conflicts(settings, scope)
