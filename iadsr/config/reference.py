"""Reference of every key: JSON schemas, and tables for `workflow/config/README.md`."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from iadsr.config.claims import Between, Claim, Claims, Compared, Paper, Spared, Title
from iadsr.config.datasets import DATASET_PARTS, DatasetSpec
from iadsr.config.encoders import ENCODERS
from iadsr.config.grid import Sweep
from iadsr.config.methods import MethodKeys
from iadsr.config.options import known_backbones, known_methods
from iadsr.config.protocol import Protocol
from iadsr.config.run import Experiment, RunConfig
from iadsr.config.search import Search
from iadsr.config.settings import Settings

_TABLE = re.compile(r"(<!-- keys: (\S+) -->\n).*?(<!-- end of keys -->)", re.DOTALL)


def all_models() -> dict[str, type[BaseModel]]:
    """List the models of everything that a configuration file holds, by name."""
    return {
        "run": RunConfig,
        "experiment": Experiment,
        "sweep": Sweep,
        "claim": Claim,
        "claims-paper": Paper,
        "claims-title": Title,
        **{f"claim-{rule.model_fields['rule'].default}": rule for rule in (Compared, Between, Spared)},
        "protocol": Protocol,
        "settings": Settings,
        "method": MethodKeys,
        "dataset": DatasetSpec,
        **{f"dataset-{part}": model for part, model in DATASET_PARTS.items()},
        **{f"encoder-{kind}": model for kind, model in ENCODERS.items()},
        **{f"method-{kind}": model for kind, model in known_methods().items()},
        **{f"backbone-{name}": model for name, model in known_backbones().items()},
        **{f"backbone-{name}-released": model for name, model in known_backbones("released").items()},
    }


def schemas() -> dict[str, dict[str, Any]]:
    """Make the JSON schema of every kind of file, and of the parts of protocols, by name."""
    made = {name: model.model_json_schema() for name, model in all_models().items()}
    keys = made.pop("method")["properties"]
    for name in made:
        if name.startswith("method-"):
            made[name]["properties"] = {**keys, **made[name].get("properties", {})}
    parts = ("experiment", "sweep", *(name for name in made if name.startswith(("claim", "dataset-"))))
    files = {name: schema for name, schema in made.items() if name not in parts}
    return {**files, "claims": Claims.model_json_schema()}


def fill_tables(text: str) -> str:
    """Write the keys' tables anew between `<!-- keys: NAME -->` and `<!-- end of keys -->`."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{key_tables(found[2])}\n{found[3]}", text)


def key_tables(name: str) -> str:
    """Make a table of a model's keys, or, for `method-*`, one per method below its docstring's first paragraph."""
    models = all_models()
    if not name.endswith("*"):
        return _table(models[name])
    group = {key: model for key, model in models.items() if key.startswith(name[:-1])}
    return "\n".join(f"`{key[len(name) - 1 :]}`: {_words(model)}\n\n{_table(model)}" for key, model in group.items())


def _words(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _table(model: type[BaseModel]) -> str:
    rows = [f"| `{name}` | {_default(field)} | {_meaning(field)} |\n" for name, field in model.model_fields.items()]
    return "".join(["| key | default | meaning |\n|---|---|---|\n", *rows]) if rows else "No options.\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "" if default in (None, (), [], {}) else f"`{json.dumps(default).strip(chr(34))}`"


def _meaning(field: FieldInfo) -> str:
    text = " ".join(str(field.description).split()).replace("|", "\\|")
    search = next((entry for entry in field.metadata if isinstance(entry, Search)), None)
    if search is None:
        return text
    searched = ", ".join(f"`{choice}`" for choice in search.choices) or f"{search.low:g} to {search.high:g}"
    return f"{text}. *Searched: {searched}{', by its logarithm' if search.log else ''}*"
