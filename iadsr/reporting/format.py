"""Formats numbers and names, in one place, so that the page writes the same thing in one way."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from iadsr.core import columns as c

NOTHING = "\u2013"
MINUS = "\u2212"
LABELS = {  # of everything but methods and backbones, which bring titles of their own
    c.MOST_POPULAR: "most popular",
    "excluded": "history excluded",
    "kept": "history kept",
    "train": "training",
    **{name: f"D{number}" for number, name in enumerate(c.TENTHS, start=1)},
    c.ALL_BACKBONES: "all backbones",
    "": NOTHING,
}
_SWITCHES = {"True": "on", "False": "off"}
_POINT = re.compile(r"(?P<method>[^=]+)-(?P<option>\w+)=(?P<value>.+)")


def label(name: str, titles: Mapping[str, str] = LABELS) -> str:
    """Name a method, a point of a sweep, a backbone or a ranking rule for a reader; unknown names stay as they are."""
    point = _POINT.fullmatch(name)
    if point is None:
        return titles.get(name, name)
    setting = _setting(point["option"], point["value"])
    return f"{label(point['method'], titles)}{' ' if setting.startswith('with ') else ', '}{setting}"


def short_labels(names: Sequence[str], titles: Mapping[str, str]) -> dict[str, str]:
    """Name methods in a figure, a swept one by its setting alone, unless two would then be called alike."""
    points = {name: _POINT.fullmatch(name) for name in names}
    short = {name: _setting(p["option"], p["value"]) if p else label(name, titles) for name, p in points.items()}
    called = list(short.values())
    return {name: label(name, titles) if called.count(text) > 1 else text for name, text in short.items()}


def unswept(name: str) -> str:
    """Return the method that a point of a sweep is of; any other name as it is."""
    point = _POINT.fullmatch(name)
    return point["method"] if point else name


def defect_in(name: str) -> str:
    """Find the defect of the release that a swept method has or lacks; empty for any other method."""
    point = _POINT.fullmatch(name)
    return point["value"] if point and point["option"] in ("defects", "repaired") else ""


def _setting(option: str, value: str) -> str:
    if option in ("defects", "repaired"):
        return f"with {value}" if option == "defects" else f"{value} repaired"
    value = value.replace("-", MINUS) if is_number(value) else _SWITCHES.get(value, value)
    return f"{option.replace('_', ' ')} {value}"


def slug(*parts: str) -> str:
    """Join `parts` to a name for files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, parts)).lower()).strip("-")


def is_number(value: object) -> bool:
    """Tell whether `value` is a finite number."""
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def significant(value: Any, digits: int = 2) -> str:
    """Write a number with so many significant digits, whatever its size; a dash if there is none."""
    return f"{float(value):.{digits}g}".replace("-", MINUS) if is_number(value) else NOTHING


def fixed(value: Any, digits: int = 4) -> str:
    """Write a number with `digits` decimals and a true minus sign; a dash if there is none."""
    if not is_number(value):
        return NOTHING
    text = f"{float(value):.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", MINUS)


def signed(value: Any, digits: int = 4) -> str:
    """Write `fixed` with a plus sign before positive numbers."""
    text = fixed(value, digits)
    return text if text == NOTHING or text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def percent(value: Any, digits: int = 1) -> str:
    """Write a signed fraction as a percentage."""
    return NOTHING if not is_number(value) else f"{signed(float(value) * 100, digits)}\u202f%"


def share(value: Any, digits: int = 1) -> str:
    """Write an unsigned fraction as a percentage."""
    return NOTHING if not is_number(value) else f"{fixed(float(value) * 100, digits)}\u202f%"


def points(difference: Any) -> str:
    """Write a difference of fractions in percentage points."""
    return NOTHING if not is_number(difference) else signed(100 * float(difference), 1)


def plus_points(deviation: Any) -> str:
    """Write `± sd` in percentage points; nothing where one seed allows no deviation."""
    return plus_minus(100 * float(deviation), 1) if is_number(deviation) else ""


def in_users(users: Any, difference: Any) -> str:
    """Write a difference of hit rates as a number of users: `7.2 more`, or `7.2 fewer`."""
    number = float(users) * float(difference)
    return f"{fixed(abs(number), 1)} {'fewer' if number < 0 else 'more'}"


def interval(low: Any, high: Any) -> str:
    """Write a confidence interval of differences."""
    return NOTHING if not (is_number(low) and is_number(high)) else f"[{signed(low)}, {signed(high)}]"


def percent_interval(low: Any, high: Any) -> str:
    """Write a confidence interval of relative gains."""
    if not (is_number(low) and is_number(high)):
        return NOTHING
    return f"[{signed(float(low) * 100, 1)}, {signed(float(high) * 100, 1)}]\u202f%"


def p_value(value: Any) -> str:
    """Write a p-value to three decimals; smaller ones by their bound."""
    if not is_number(value):
        return NOTHING
    return "<\u202f0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def integer(value: Any) -> str:
    """Write a count with thousands separated."""
    return NOTHING if not is_number(value) else f"{int(value):,}".replace(",", "\u202f")


def plus_minus(deviation: Any, digits: int = 4) -> str:
    """Write `± sd`; nothing where one seed allows no deviation."""
    return f"±\u202f{fixed(deviation, digits)}" if is_number(deviation) else ""


def shortened(name: str, most: int = 60) -> str:
    """Cut a long name after a word."""
    return name if len(name) <= most else name[: most - 1].rsplit(" ", 1)[0] + "…"


def listed(items: Sequence[object]) -> str:
    """Write `a`, `a and b`, `a, b and c`."""
    texts = [str(item) for item in items]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def plain(value: Any) -> str:
    """Write a settings value in one line: mappings and lists spelt out; a dash for nothing."""
    if value is None or value == "" or (isinstance(value, Mapping | list | tuple | set | frozenset) and not value):
        return NOTHING
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(item) for item in value)
    return str(value)
