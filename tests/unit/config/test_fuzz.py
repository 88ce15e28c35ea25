"""Configuration files of any content: they are loaded, or refused by a declared error, in bounded time."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iadsr.config.datasets import load_spec
from iadsr.config.run import load_run
from iadsr.config.yaml_files import load_yaml, read_overrides
from iadsr.core.errors import ConfigError
from iadsr.plan import plan
from tests.helpers import refusal

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
SECONDS = 10.0  # of processor time
fuzzed = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
HOSTILE = [
    "&a [*a]", "*a", "!!timestamp x", "!!timestamp 2001-99-99", "!!binary é", "!!python/object:os.system x",
    "!!int [1]", "!!omap [1]", "!!set {a}", "{<<: 1}", "{<<: [1]}", "{? [a]: b}", "{? {a: b}: c}", "9" * 5000,
    "0x" + "f" * 5000, "1e999", ".nan", "-.inf", "[" * 600, "{a: " * 600, "- " * 600, "{a: {a: {a: {a: [1]}}}}", "''",
    '"\\ud800"', '"\\0"', "\x85", "%YAML 9.9", "---", "...", "? ", ": ", "- ", "|", ">", "~", "@", "`", "\t",
    "a" * 9000, "true", "../../x", "/", "~/x",
]  # fmt: skip
LINES = (FOLDER / "smoke.yaml").read_text().splitlines()
scalars = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5), st.integers(), st.floats(), st.none(), st.booleans())
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "run.yaml"


def check(path: Path) -> None:
    began = time.process_time()
    error = refusal(ConfigError, lambda: plan(load_run(path), FOLDER))
    assert error is None or 0 < len(str(error)) < 20_000
    assert time.process_time() - began < SECONDS


@fuzzed
@given(st.integers(0, len(LINES) - 1), st.sampled_from(HOSTILE), st.sampled_from(["line", "value", "end"]))
def test_a_run_file_with_a_hostile_line(path: Path, number: int, text: str, where: str) -> None:
    lines = list(LINES)
    start = lines[number].partition(":")[0]
    lines[number] = {"line": text, "value": f"{start}: {text}", "end": f"{lines[number]} {text}"}[where]
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    check(path)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the places of all values in a nested one."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([at] if at else []), *(place for key, part in below for place in _places(part, (*at, key)))]


@fuzzed
@given(st.data())
def test_a_run_file_with_another_value_anywhere(path: Path, data: st.DataObject) -> None:
    run = yaml.safe_load((FOLDER / "smoke.yaml").read_text())
    *above, last = data.draw(st.sampled_from(_places(run)))
    part = run
    for key in above:
        part = part[key]
    part[last] = data.draw(values)
    given_file = path.with_suffix(".json")
    given_file.write_text(json.dumps(run))
    check(given_file)


@fuzzed
@given(st.data())
def test_a_dataset_file_with_another_value_anywhere(path: Path, data: st.DataObject) -> None:
    spec = yaml.safe_load((FOLDER / "datasets" / "beauty.yaml").read_text())
    *above, last = data.draw(st.sampled_from(_places(spec)))
    part = spec
    for key in above:
        part = part[key]
    part[last] = data.draw(values)
    given_file = path.with_name("beauty.json")
    given_file.write_text(json.dumps(spec))
    refusal(ConfigError, lambda: load_spec(given_file))


@fuzzed
@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(HOSTILE), max_size=3).map(lambda many: "\n".join(many).encode())
)
def test_any_bytes(path: Path, content: bytes) -> None:
    for given_file in (path, path.with_suffix(".json")):
        given_file.write_bytes(content)
        error = refusal(ConfigError, partial(load_yaml, given_file))
        assert error is None or str(error).startswith(str(given_file))


@fuzzed
@given(values)
def test_any_override(value: Any) -> None:
    read_overrides(value)


def _doubled(merge: bool) -> str:
    """Forty lines, each twice the one before."""
    first = "a0: &a0 {k0: 1}" if merge else "a0: &a0 [x]"
    line = "a{0}: &a{0} {{<<: [*a{1}, *a{1}]}}" if merge else "a{0}: &a{0} [*a{1}, *a{1}]"
    return "\n".join([first, *(line.format(number, number - 1) for number in range(1, 41))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_doubled(merge=False), "more than 100000 values, as often as aliases repeat them"),
        (_doubled(merge=True), "more than 100000 values, as often as aliases repeat them"),
        ("name: &a [*a]", "more than 100000 values"),
        ("name: " + "[" * 51 + "]" * 51, "nested more than 50 times"),
        ("name: " + "x" * (1 << 20), "more than 1048576 bytes"),
        ("name: !!timestamp x", "could not determine a constructor"),
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(ConfigError, match=message):
        load_run(path)
    assert time.process_time() - began < SECONDS


def test_aliases_as_people_use_them_are_read(path: Path) -> None:
    path.write_text("base: &base {a: 1, b: 2}\none: {<<: *base, b: 3}\nmany: [*base, *base]\n")
    base = {"a": 1, "b": 2}
    assert load_yaml(path) == {"base": base, "one": {"a": 1, "b": 3}, "many": [base, base]}
