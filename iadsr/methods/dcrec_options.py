"""Options of `dcrec`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from iadsr.config.fields import Layers, OneOrMany, Temperature, Weight, Width
from iadsr.config.options import MethodOptions
from iadsr.config.search import Search
from iadsr.config.settings import Settings
from iadsr.core.errors import ConfigError
from iadsr.models.sasrec_options import check_heads

Defect = Literal[
    "double_counts", "missing_rows", "reversed_edges", "degrees_twice", "mixed_neighbours", "random_scoring"
]


class DCRecOptions(MethodOptions):
    """DCRec (Yang et al., WWW 2023): a Transformer and two item graphs, contrasted where users conform. It looks ahead,
    so it needs objective `last` or `prefix`.

    Defaults are the authors' settings for Beauty (HKUDS/DCRec 2338233, run_DCRec.py); they use 1 for `contrastive` and
    `divergence` on Reddit, and 0.4 and 0.8 for `conformity` and `contrastive_temperature` on ML-20M.
    """

    name: ClassVar[str] = "dcrec"
    implementation: ClassVar[str] = "iadsr.methods.dcrec:DCRec"
    own_backbone: ClassVar[bool] = True

    graph: bool = True
    """false: the Transformer alone, DCRec's own baseline; the options of graphs and losses then have no effect"""
    layers: Layers = Field(2, description="Transformer blocks")
    heads: Width = Field(2, description="attention heads; must divide the dimension")
    inner: Width = Field(256, description="width inside the position-wise network")
    attention_dropout: float = Field(0.1, ge=0, lt=1, description="on the attention weights")
    neighbours: Width = Field(4, description="most similar items to which an item is joined, beside itself")
    edge_dropout: Annotated[float, Search(0.1, 0.7)] = Field(0.5, ge=0, lt=1)
    """in training, draws of an edge to leave out, per edge and with replacement: a rate r leaves out 1 - exp(-r)"""
    contrastive: Annotated[Weight, Search(0.01, 1, log=True)] = Field(0.1, description="weight of the contrastive loss")
    contrastive_temperature: Temperature = Field(1.0, description="of the contrastive loss")
    divergence: Annotated[Weight, Search(1e-3, 1, log=True)] = Field(0.01)
    """weight of the KL divergence of the conformity weights from a normal distribution"""
    conformity: float = Field(0.5, gt=0, le=1, description="mean of the conformity weights in a batch")
    released: OneOrMany[Defect] = ()
    """defects of the release, one name or a list. `double_counts`: neighbours count twice beside an item's
    edge to itself; `missing_rows`: most rows of the similarity graph are another item's or empty; `reversed_edges`:
    an item receives from those that list it as similar; `degrees_twice`: both graphs are normalised by degrees again,
    with a second edge to itself; `mixed_neighbours`: other users' neighbours count as the batch's own;
    `random_scoring`: edges are left out in scoring too"""

    @classmethod
    def is_active(cls, name: str, options: Mapping[str, Any]) -> bool:
        """Tell whether an option acts: all that is searched belongs to the graphs."""
        return bool(options["graph"])

    @property
    def looks_ahead(self) -> str:
        """See `MethodOptions`."""
        return "its network reads inputs from both sides"

    def settle(self, settings: Settings, backbone: str, label: str) -> tuple[dict[str, Any], Settings]:
        """See `MethodOptions`."""
        options, settings = super().settle(settings, backbone, label)
        check_heads(self.heads, settings, f"method '{label}'")
        if self.released and not self.graph:
            raise ConfigError(
                f"method '{label}': with `graph: false` no defect of the release acts, leave out `released`"
            )
        return options, settings
