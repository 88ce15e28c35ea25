"""How numbers, names and outcomes are written: one place, so that the page never words the same thing twice."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from iadsr.core.columns import ALL_BACKBONES, LOST

SIGNIFICANCE = 0.05
CLAIM_LOW, CLAIM_HIGH = (
    0.246,
    0.363,
)  # arXiv 2510.04239, abstract: average gain in HR@5 and NDCG@5 over denoisers
CLAIM_METRICS = ("HR@5", "NDCG@5")
NOTHING = "\u2013"
MINUS = "\u2212"
TIMES = "\u00d7"
POPULAR = "most popular"
# What IADSR is compared with: no denoiser, which tells what the whole method gives, and the controls that a claim about
# *denoising* must beat: its losses with a mask that drops as much at random, and without any mask.
CONTROLS = ("random_mask", "aux_only")
BASELINES = ("none", *CONTROLS)

Outcome = Literal["gain", "loss", "none", "missing"]
OUTCOME_WORDS: Mapping[str, str] = {
    "gain": "gain",
    "loss": "loss",
    "none": "no significant difference",
    "missing": "missing",
}
_LABELS = {
    "gru4rec": "GRU4Rec",
    "sasrec": "SASRec",
    "caser": "Caser",
    "iadsr": "IADSR",
    "iadsr_released": "IADSR as released",
    "iadsr_tfidf": "IADSR, TF-IDF of the texts",
    "iadsr_random": "IADSR, random embeddings",
    "random_mask": "IADSR, random mask",
    "random_mask_matched": "IADSR, random mask at its rate",
    "aux_only": "IADSR, no mask",
    "random_drop": "input dropout",
    "popularity_drop": "popularity drop",
    "excluded": "history excluded",
    "kept": "history kept",
    ALL_BACKBONES: "all backbones",
}


# in what the release departs from the paper
DEFECTS = {
    "R1": "mask never reaches the recommendation",
    "R2": "no denoising at test time",
    "R3": "gate always open",
    "R4": "one-sided Gumbel noise",
    "R5": "positions of long histories paired wrongly",
    "R6": "reconstruction added up, not averaged",
    "R7": "Caser without decoder",
    "R8": "tanh-bounded scores",
    "R9": "padding can be recommended",
    "R10": "early stopping on the training loss",
}
_SWITCHES = {"True": "on", "False": "off"}
_POINT = re.compile(r"(?P<method>[^=]+)-(?P<option>\w+)=(?P<value>.+)")


def label(name: str) -> str:
    """A reader's name for a backbone, method, swept setting or ranking rule; unknown names stay as they are."""
    title, detail = titled(name)
    return f"{title} ({detail})" if detail else title


def titled(name: str) -> tuple[str, str]:
    """`label` in two parts; the second says what a defect is, and is empty for everything else."""
    point = _POINT.fullmatch(name)
    if point is None:
        return _known(name), ""
    setting = _setting(point["option"], point["value"])
    return f"{_known(point['method'])}{' ' if setting.startswith('with ') else ', '}{setting}", _defect(point)


def short_labels(names: Sequence[str]) -> dict[str, str]:
    """Names for a figure: of a swept setting the setting alone, unless two of `names` would then be called alike."""
    short = {}
    for name in names:
        point = _POINT.fullmatch(name)
        short[name] = titled(name)[0] if point is None else _setting(point["option"], point["value"])
    called = list(short.values())
    return {name: titled(name)[0] if called.count(text) > 1 else text for name, text in short.items()}


def defect_key(names: Sequence[str]) -> str:
    """`R2: no denoising at test time; R4: ...` for the defects among `names`, for a caption; empty if none."""
    points = [point for name in names if (point := _POINT.fullmatch(name))]
    found = {point["value"]: text for point in points if (text := _defect(point))}
    return "; ".join(f"{value}: {found[value]}" for value in DEFECTS if value in found)


def _known(name: str) -> str:
    """The reader's name, if it has one; the methods that are IADSR with other settings are called so."""
    variant = name.removeprefix("iadsr_")
    return _LABELS.get(name) or (name if variant == name else f"IADSR, {variant.replace('_', ' ')}")


def _setting(option: str, value: str) -> str:
    if value in DEFECTS and option in ("defects", "repaired"):
        return f"with {value}" if option == "defects" else f"{value} repaired"
    value = value.replace("-", MINUS) if is_number(value) else _SWITCHES.get(value, value)
    return f"{option.replace('_', ' ')} {value}"


def _defect(point: re.Match[str]) -> str:
    return DEFECTS.get(point["value"], "") if point["option"] in ("defects", "repaired") else ""


def slug(*parts: str) -> str:
    """A file and anchor name made of `parts`."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def is_number(value: object) -> bool:
    """Whether `value` is a finite number."""
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def significant(value: Any, digits: int = 2) -> str:
    """A number with so many significant digits, whatever its size; a dash if there is none."""
    return f"{float(value):.{digits}g}".replace("-", MINUS) if is_number(value) else NOTHING


def fixed(value: Any, digits: int = 4) -> str:
    """A number with `digits` decimals and a true minus sign; a dash if there is none."""
    if not is_number(value):
        return NOTHING
    text = f"{float(value):.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: Any, digits: int = 4) -> str:
    """`fixed` with a plus sign before positive numbers."""
    text = fixed(value, digits)
    return text if text == NOTHING or text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def percent(value: Any, digits: int = 1) -> str:
    """A signed fraction as a percentage."""
    return NOTHING if not is_number(value) else f"{signed(float(value) * 100, digits)}\u202f%"


def share(value: Any, digits: int = 1) -> str:
    """An unsigned fraction as a percentage."""
    return NOTHING if not is_number(value) else f"{fixed(float(value) * 100, digits)}\u202f%"


def interval(low: Any, high: Any, digits: int = 4) -> str:
    """A confidence interval of differences."""
    return NOTHING if not (is_number(low) and is_number(high)) else f"[{signed(low, digits)}, {signed(high, digits)}]"


def percent_interval(low: Any, high: Any) -> str:
    """A confidence interval of relative gains."""
    if not (is_number(low) and is_number(high)):
        return NOTHING
    return f"[{signed(float(low) * 100, 1)}, {signed(float(high) * 100, 1)}]\u202f%"


def p_value(value: Any) -> str:
    """A p-value to three decimals; smaller ones by their bound."""
    if not is_number(value):
        return NOTHING
    return "<\u202f0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def integer(value: Any) -> str:
    """A count with thousands separated."""
    return NOTHING if not is_number(value) else f"{int(value):,}".replace(",", "\u202f")


def spread(deviation: Any, digits: int = 4) -> str:
    """`± sd`; nothing where one seed allows no deviation."""
    return f"±\u202f{fixed(deviation, digits)}" if is_number(deviation) else ""


def counted(number: int, one: str, many: str | None = None) -> str:
    """A count and its noun: `1 gain`, `2 gains`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))


def plain(value: Any) -> str:
    """A settings value in one line: mappings and lists spelt out; a dash for nothing."""
    if value is None or value == "" or (isinstance(value, Mapping | list | tuple | set | frozenset) and not value):
        return NOTHING
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(item) for item in value)
    return str(value)


def compared(row: Mapping[str, Any] | None) -> bool:
    """Whether a comparison was made; its status begins with `ok`, and goes on if seeds were lost on the way."""
    return row is not None and str(row["status"]).startswith("ok") and is_number(row["difference"])


def lost_seeds(row: Mapping[str, Any]) -> str:
    """Which seeds a comparison had to do without; empty if none."""
    return str(row["status"]).removeprefix("ok").lstrip(", ") if compared(row) else ""


def outcome(row: Mapping[str, Any] | None) -> Outcome:
    """What a comparison shows.

    A gain or loss needs both a Holm-adjusted p below 0.05 and a 95 % interval of the difference on that side of zero:
    the test speaks of users alone, the interval of users and seeds, and a reader should not have to choose.
    """
    if row is None or not compared(row):
        return "missing"
    if not (is_number(row["p_holm"]) and row["p_holm"] < SIGNIFICANCE):
        return "none"
    if row["ci_low"] > 0 and row["difference"] > 0:
        return "gain"
    if row["ci_high"] < 0 and row["difference"] < 0:
        return "loss"
    return "none"


def disagreement(row: Mapping[str, Any] | None) -> bool:
    """Whether the adjusted test finds a difference but the interval, which also covers the seeds, includes zero."""
    if row is None or not compared(row) or not is_number(row["p_holm"]):
        return False
    return bool(row["p_holm"] < SIGNIFICANCE and outcome(row) == "none")


def outcome_text(row: Mapping[str, Any] | None) -> str:
    """The outcome in words, with the reason where a comparison could not be made."""
    result = outcome(row)
    if result != "missing":
        return OUTCOME_WORDS[result]
    reason = "not compared" if row is None or str(row["status"]).startswith("ok") else str(row["status"])
    return reason if any(word in reason for word in (*LOST, "missing")) else f"missing: {reason}"


def lost_word(row: Mapping[str, Any]) -> str:
    """What became of the run that a comparison lacks: untrained, diverged, failed or missing."""
    status = str(row["status"])
    return min((word for word in LOST if word in status), key=status.index, default="missing")
