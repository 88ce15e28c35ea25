"""Options of `hsd`, and the defects of its release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from iadsr.config.fields import Epochs, OneOrMany, Temperature, Weight
from iadsr.config.options import MethodOptions
from iadsr.config.search import Search
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError

HSDDefect = Literal[
    "target_query", "annealing", "test_noise", "batch_statistics", "padding", "zeroed_rows", "empty_rows"
]
Rate = Annotated[float, Field(ge=0, lt=1)]

_ORIGINAL_SCOPE = ("target_query", "batch_statistics", "padding", "empty_rows")


class HSDOptions(MethodOptions):
    """HSD (Zhang et al., CIKM 2022): drops an input if it fits neither its sequence nor its user.

    Defaults are those of the authors' code, where not marked as ours; its clipping of gradients (norm 5) is left out.
    Its defects, each of which `defects` brings back: `target_query` in training the item level is asked about the
    target, at test about the user; `annealing` the temperature falls until the mask learns no more (to 0.001 within 720
    steps); `test_noise` the mask is sampled at test, too; `batch_statistics` a training batch is normed by its own
    statistics, other samples' targets among them; `padding` padding up to `max_length`, with an embedding of its own,
    enters norm, LSTM and convolution; `zeroed_rows` a row too short to lose a BPR term loses them all; `empty_rows` a
    row of which nothing is kept is a zero vector.
    """

    name: ClassVar[str] = "hsd"
    implementation: ClassVar[str] = "iadsr.methods.hsd:build"
    neutral: ClassVar[Mapping[str, Any] | None] = {
        "mask": "none",
        "reconstruction": 0.0,
        "bpr": 0.0,
        "curriculum": 0.0,
    }
    finds_noise: ClassVar[bool] = False  # planted noise, AUC of its scores after 600 steps: .50 to .54

    defects: OneOrMany[HSDDefect] = ()
    """defects of the release; one name or a list. `target_query`, `batch_statistics`, `padding` and `empty_rows` need
    scope `sequence`"""
    logits: Annotated[Literal["sigmoid", "raw"], Search(choices=("sigmoid", "raw"))] = "sigmoid"
    """`sigmoid`: logits are sigmoids, as published, so that training drops at least 7 % and at most 54 % of the inputs
    whatever is learned (the test, which draws nothing, may drop none or most); `raw`: without (ours), so that all but
    the newest input may go"""
    temperature: Annotated[Temperature, Search(0.1, 2, log=True)] = Field(0.5, description="of the Gumbel-softmax")
    reconstruction: Annotated[Weight, Search(0.001, 1, log=True)] = 1.0
    """weight of the error of the embeddings that the LSTM reconstructs"""
    bpr: Annotated[Weight, Search(0.001, 1, log=True)] = 1.0
    """weight of the BPR loss between user embeddings and inputs, a sum over positions"""
    curriculum: Rate = 0.2
    """share of a batch's rows, those reconstructed worst, that is left out at first; it falls to 0, and the share of a
    row's largest BPR terms that is left out rises to it"""
    curriculum_epochs: Epochs = Field(10, description="epochs until then")
    query: Literal["user", "last"] = "user"
    """what the item level compares inputs with: the user's embedding, trained on all of the user's samples, or, ours,
    the newest item's"""
    norm: Literal["batch", "layer"] = "batch"
    """of the embeddings at the item level: per position, by the statistics of the steps before, or per item"""
    sequence_dropout: Rate = Field(0.3, description="dropout at the sequence level")
    item_dropout: Rate = Field(0.2, description="dropout at the item level")
    mask: Literal["hard", "none"] = Field("hard", description="0/1 samples, or none: auxiliary losses only (ours)")
    scope: Literal["auto", "sequence", "causal"] = "auto"
    """levels that read the whole input, as published, or (ours) the items so far, where each sequence's first item
    stays; `auto`: `causal` under objective `all`"""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Logits and temperature belong to the mask."""
        return name not in ("logits", "temperature") or options["mask"] == "hard"

    @property
    def has_keep_rates(self) -> bool:
        """See `MethodOptions`."""
        return self.mask == "hard"

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """See `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        if conflict := next(self._conflicts(settings, options["scope"]), None):
            raise ConfigError(f"method '{label}': {conflict}")
        options["defects"] = list(options["defects"])
        return options, settings

    def _conflicts(self, settings: Settings, scope: str) -> Iterator[str]:
        """Yield what contradicts settings, scope or another option."""
        if settings.networks == "released":
            yield "it moves the kept inputs up, which needs `networks: ours`: the released ones mask no padding"
        if scope == "causal" and (unfit := [name for name in self.defects if name in _ORIGINAL_SCOPE]):
            yield (
                f"{' and '.join(unfit)} belong to scope 'sequence', and this one is 'causal': use objective 'prefix' "
                "or 'last', or leave them out"
            )
        if self.norm == "layer" and "batch_statistics" in self.defects:
            yield "`norm: layer` has no batch_statistics"
        if self.mask == "none" and (unused := [name for name in self.defects if name != "zeroed_rows"]):
            yield f"without a mask there is no {' and no '.join(unused)}"
