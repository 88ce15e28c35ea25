"""One training run, as resolved."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from iadsr.config.encoders import embeddings_name
from iadsr.config.fields import Strict, Texts
from iadsr.config.options import ModuleOptions, find_backbone, find_method
from iadsr.config.settings import Settings
from iadsr.core.columns import ADDRESS
from iadsr.core.files import value_digest


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
    encoder: dict[str, Any] | None
    """every option of the text encoder; none where the method reads no text"""
    texts: Texts = Field("names", description="what the encoder reads")
    items: dict[str, Any] | None = Field(
        None, description="options of item vectors from text; none: a free one per item"
    )
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
    def record(self) -> dict[str, Any]:
        """What a run's record says of its cell."""
        return {
            **{name: getattr(self, name) for name in ADDRESS},
            **{name: getattr(self, name) for name in ("kind", "encoder", "texts", "warm_start", "items", "tuned")},
            "objective": self.settings.objective,
            "settings": {
                **self.settings.model_dump(),
                "backbone_options": self.backbone_options,
                "method_options": self.method_options,
            },
        }

    @property
    def matched(self) -> str | None:
        """The address of the run whose keep rates this one copies, if it copies any."""
        label = self.method_options.get("match")
        return None if label is None else self.model_copy(update={"method": label}).address

    @property
    def modules(self) -> dict[str, str]:
        """The modules that its code comes from, as `sources` takes them; outside of this package, `module:Class`."""
        modules = {
            "models": _module(find_backbone(self.backbone, self.settings.networks, self.address), "models"),
            "methods": _module(find_method(self.kind, self.address), "methods"),
        }
        return modules | ({"items": "text_tables"} if self.items else {})

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
        free = () if self.items else ("items",)  # left out: the runs and searches of cells without keep their identity
        return value_digest(self.model_dump(exclude={"tuned", *free}))


def _module(model: type[ModuleOptions], room: str) -> str:
    module, _, name = model.implementation.partition(":")
    inside = module.removeprefix(f"iadsr.{room}.")
    return inside if inside != module else f"{module}:{name}"
