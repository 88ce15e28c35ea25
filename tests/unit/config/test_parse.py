"""Wrong files of every kind are refused before any job, in one line per problem; numbers are read as they are meant."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from iadsr.config.fields import check_folder
from iadsr.config.run import distinct, load_run
from iadsr.config.yaml_files import load_yaml, merge, read_overrides, read_scalar
from iadsr.core.errors import ConfigError
from iadsr.embeddings.tfidf_options import TfidfSpec
from iadsr.plan import plan

pytestmark = pytest.mark.usefixtures("untuned")

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
RUN = {
    "name": "t",
    "description": "d",
    "datasets": "[movielens-100k]",
    "encoder": "{kind: tfidf}",
    "protocols": "[paper]",
    "backbones": "[gru4rec]",
    "methods": "[none, iadsr]",
    "seeds": "[0]",
}


def write_run(folder: Path, **changes: str) -> Path:
    """Write a run file of `RUN`'s lines with some changed; "_" leaves one out."""
    path = folder / "t.yaml"
    lines = {key: text for key, text in {**RUN, **changes}.items() if text != "_"}
    path.write_text("".join(f"{key}: {text}\n" for key, text in lines.items()))
    return path


def point(value: str, option: str = "theta", method: str = "iadsr") -> str:
    return f"{{method: {method}, option: {option}, values: {value}}}"


EXPERIMENT = "title: t, question: q, methods: [none, iadsr]"

BAD_RUNS = {
    "unknown key": ({"sead": "[0]"}, "unknown key 'sead', did you mean 'seeds'"),
    "no name": ({"name": "_"}, "needs a `name`"),
    "missing key": ({"backbones": "_"}, "backbones: this key is missing"),
    "name with a slash": ({"name": "a/b"}, "name: a name has"),
    "name too long for a file": ({"name": "a" * 101}, "name: a name has"),
    "name of nothing": ({"name": "''"}, "name: a name has"),
    "name that is a boolean": ({"name": "true"}, "valid string"),
    "name that is a number": ({"name": "1e3"}, "valid string"),
    "no results": ({"results": "''"}, "results: a folder is needed"),
    "empty results": ({"results": ""}, "results: "),
    "results are the root": ({"results": "/"}, "the root folder"),
    "results are the root by detours": ({"results": "//tmp/.."}, "the root folder"),
    "results with a space at the end": ({"results": "'out '"}, "without spaces around it"),
    "results with braces": ({"results": "'out{dataset}'"}, "braces"),
    "results with a newline": ({"results": '"a\\nb"'}, "control characters"),
    "results like an option": ({"results": "-out"}, "begin with '-'"),
    "results in nobody's home": ({"results": "~nobody-at-all/out"}, "no home folder"),
    "results are a file": ({"results": "/dev/null"}, "/dev/null is a file"),
    "results below a file": ({"results": "/dev/null/out"}, "/dev/null is a file"),
    "results are the checkout": ({"results": f"'{FOLDER.parents[1]}'"}, "the project's own files"),
    "results in the report's templates": ({"results": f"'{FOLDER.parents[1]}/report/mine'"}, "the project's own files"),
    "results with too long a name": ({"results": "x" * 300}, "too long"),
    "empty mirror": ({"mirror": "''"}, "mirror: "),
    "empty Python": ({"llm2vec_python": "''"}, "llm2vec_python: "),
    "a folder for a Python": ({"llm2vec_python": "/tmp", "encoder": "{kind: llm2vec}"}, "make setup-llm2vec"),
    "no such Python": ({"llm2vec_python": "nowhere/python", "encoder": "{kind: llm2vec}"}, "llm2vec_python: 'nowhere"),
    "unknown device": ({"device": "on"}, "device: "),
    "threads without end": ({"threads": str(10**6)}, "threads: "),
    "epochs without end": ({"max_epochs": str(10**30)}, "max_epochs: "),
    "no threads": ({"threads": "0"}, "threads: "),
    "unknown dataset": ({"datasets": "[movielens-100]"}, "did you mean 'movielens-100k'"),
    "dataset elsewhere": ({"datasets": "[../datasets/movielens-100k]"}, "datasets.0: a name has"),
    "dataset with a wildcard": ({"datasets": "['a|b']"}, "datasets.0: a name has"),
    "hidden dataset": ({"datasets": "[.a]"}, "datasets.0: a name has"),
    "dataset twice": ({"datasets": "[movielens-100k, movielens-100k]"}, "'movielens-100k' is listed twice"),
    "no dataset": ({"datasets": "[]"}, "at least 1 item"),
    "a text for a list": ({"datasets": "movielens-100k"}, "valid list"),
    "protocol elsewhere": ({"protocols": "[../protocols/paper]"}, "protocols.0: a name has"),
    "method elsewhere": ({"methods": "[none, ../methods/iadsr]"}, "methods.1: a name has"),
    "method with a space": ({"methods": "[none, 'iadsr ']"}, "methods.1: a name has"),
    "method twice": ({"methods": "[none, none]"}, "'none' is listed twice"),
    "unknown protocol": ({"protocols": "[papre]"}, "t.yaml: protocols: unknown protocol 'papre'; did you mean 'paper'"),
    "unknown method": ({"methods": "[None]"}, "t.yaml: methods: unknown method 'None'; did you mean 'none'"),
    "unknown backbone": ({"backbones": "[gru4rek]"}, "t.yaml: backbones: unknown backbone 'gru4rek'; did you mean"),
    "backbone twice": ({"backbones": "[caser, caser]"}, "'caser' is listed twice"),
    "negative seed": ({"seeds": "[-1]"}, "seeds.0: "),
    "seed twice": ({"seeds": "[0, 0]"}, "0 is listed twice"),
    "seed that is a boolean": ({"seeds": "[true]"}, "seeds.0: "),
    "seed that is a fraction": ({"seeds": "[1.5]"}, "seeds.0: "),
    "seed too large for a table": ({"seeds": "[1e30]"}, "seeds.0: "),
    "base 60 is not meant": ({"seeds": "[1:30]"}, "seeds.0: "),
    "no seed": ({"seeds": "[]"}, "at least 1 item"),
    "no epoch": ({"max_epochs": "0"}, "max_epochs: "),
    "key twice": ({"seeds": "[0]\nseeds: [1]"}, "line 9: the key 'seeds' occurs twice"),
    "unknown encoder": ({"encoder": "{kind: tfdif}"}, "did you mean 'tfidf'"),
    "unknown encoder option": ({"encoder": "{kind: tfidf, dimenson: 3}"}, "did you mean 'dimension'"),
    "unknown encoder option without a value": (
        {"encoder": "{kind: tfidf, sead: }"},
        "unknown key 'encoder.sead', did you",
    ),
    "vectors without end": ({"encoder": "{kind: tfidf, dimension: 1e9}"}, "t.yaml: encoder.dimension: "),
    "more tokens than MiniLM has places for": (
        {"encoder": "{kind: minilm, max_length: 513}"},
        "less than or equal to 512",
    ),
    "a kind of encoder that is a list": ({"encoder": "{kind: [tfidf]}"}, "encoder.kind: "),
    "encoder without kind": ({"encoder": "{dimension: 3}"}, "kind"),
    "unknown key of a sweep": (
        {"sweeps": "[{metod: iadsr, option: theta, values: [0]}]"},
        "did you mean 'method'",
    ),
    "sweep over nothing": ({"sweeps": f"[{point('[]')}]"}, "at least 1 item"),
    "sweep over an option that the method lacks": (
        {"sweeps": f"[{point('[0]', 'x', 'none')}]"},
        "known: encoder, items",
    ),
    "sweep over an unknown method": ({"sweeps": f"[{point('[0]', 'x', 'iadrs')}]"}, "t.yaml: sweeps: unknown method"),
    "sweep to a cosine that there is not": ({"sweeps": f"[{point('[9]')}]"}, "theta: "),
    "sweep to no temperature": ({"sweeps": f"[{point('[1e-300]', 'temperature')}]"}, "temperature: "),
    "sweep to a weight without end": ({"sweeps": f"[{point('[1e39]', 'alignment')}]"}, "alignment: "),
    "sweep to a name too long for a folder": (
        {"sweeps": f"[{point('[' + 'x' * 51 + ']', 'match', 'random_drop')}]"},
        "names a folder: up to 50",
    ),
    "sweep over an unknown option": ({"sweeps": f"[{point('[0]', 'thetta')}]"}, "did you mean 'theta'"),
    "sweep over text": ({"sweeps": f"[{point('[a]')}]"}, "sweep 'iadsr-theta=a': theta: "),
    "sweep over a boolean": ({"sweeps": f"[{point('[true]')}]"}, "theta: "),
    "a number for a boolean": ({"sweeps": f"[{point('[1]', 'semantic')}]"}, "semantic: "),
    "sweep over no number": ({"sweeps": f"[{point('[.nan]')}]"}, "a finite number"),
    "sweep over the infinite": ({"sweeps": f"[{point('[1e999]')}]"}, "a finite number"),
    "sweep over lists": ({"sweeps": f"[{point('[[0]]')}]"}, "sweeps.0.values.0: "),
    "point twice": ({"sweeps": f"[{point('[1, 1.0]')}]"}, "1.0 is listed twice"),
    "point in two sweeps": ({"sweeps": f"[{point('[0.5]')}, {point('[0.5]')}]"}, "'iadsr-theta=0.5' is listed twice"),
    "point in two spellings": (
        {"sweeps": f"[{point('[1]')}]", "experiments": f"{{x: {{{EXPERIMENT}, sweeps: [{point('[1.0]')}]}}}}"},
        "swept over 1 and 1.0",
    ),
    "point outside its folder": (
        {"methods": "[iadsr, random_drop]", "sweeps": f"[{point('[../iadsr]', 'match', 'random_drop')}]"},
        "match: a name has",
    ),
    "control of itself": (
        {"methods": "[iadsr, random_drop]", "sweeps": f"[{point('[random_drop]', 'match', 'random_drop')}]"},
        "'random_drop', which has no mask",
    ),
    "control of what drops nothing": (
        {"methods": "[none, iadsr, random_drop]", "sweeps": f"[{point('[none]', 'match', 'random_drop')}]"},
        "'none', which has no mask",
    ),
    "unknown key of an experiment": ({"experiments": f"{{x: {{{EXPERIMENT}, sead: [0]}}}}"}, "did you mean 'seeds'"),
    "experiment elsewhere": ({"experiments": f"{{../x: {{{EXPERIMENT}}}}}"}, "a name has"),
    "seed twice in an experiment": ({"experiments": f"{{x: {{{EXPERIMENT}, seeds: [1, 1]}}}}"}, "1 is listed twice"),
    "unknown dataset of an experiment": (
        {"experiments": f"{{x: {{{EXPERIMENT}, datasets: [beuaty]}}}}"},
        "did you mean 'beauty'",
    ),
    "unknown baseline": ({"experiments": f"{{x: {{{EXPERIMENT}, baseline: iadrs}}}}"}, "did you mean 'iadsr'"),
    "a sweep that cannot be drawn": ({"experiments": f"{{x: {{{EXPERIMENT}, view: sweep}}}}"}, "exactly one sweep"),
    "a sweep's axis of words": (
        {"experiments": f"{{x: {{{EXPERIMENT}, view: sweep, sweeps: [{point('[mean]', 'threshold')}]}}}}"},
        "values are numbers",
    ),
    "no mapping": ({"encoder": "tfidf"}, "encoder: "),
}


@pytest.mark.parametrize(("changes", "message"), BAD_RUNS.values(), ids=BAD_RUNS)
def test_a_wrong_run_file_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    path = write_run(tmp_path, **changes)
    with pytest.raises(ConfigError) as refusal:
        plan(load_run(path), FOLDER)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value), "one problem is one line"
    assert str(path) in str(refusal.value), "the file is named"


@pytest.mark.parametrize("content", [b"name: a\x00", b"name: caf\xe9", b"\xff\xfen\x00", b"a: \x07"])
def test_bytes_that_are_no_text_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        load_run(path)
    assert str(refusal.value).startswith(f"{path} is not valid YAML: ")
    assert "\n" not in str(refusal.value)


def test_a_folder_that_cannot_be_looked_into_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.stat", refuse)
    assert check_folder("locked/out") == "locked/out"


def test_each_problem_has_a_line_that_names_the_file(tmp_path: Path) -> None:
    path = write_run(tmp_path, sead="[0]", device="cpuu", backbones="_")
    with pytest.raises(ConfigError) as refusal:
        load_run(path)
    lines = str(refusal.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}: ") for line in lines)


def protocol(text: str) -> dict[str, str]:
    return {"protocols/mine.yaml": f"name: mine\nextends: paper\ndescription: d\n{text}\n"}


MOVIELENS = (FOLDER / "datasets/movielens-100k.yaml").read_text()
BAD_FILES = {
    "unknown key of a protocol": (protocol("setings: {}"), "did you mean 'settings'"),
    "name of another protocol": ({"protocols/mine.yaml": "name: other\ndescription: d\n"}, "makes it 'mine'"),
    "unknown setting": (protocol("settings: {learning_rte: 1}"), "'settings.learning_rte', did you mean"),
    "a backbone's option for all": (protocol("settings: {hidden: 3}"), "unknown key 'settings.hidden'"),
    "impossible setting": (protocol("settings: {dropout: 1.0}"), "settings.dropout: "),
    "a word for a number": (protocol("settings: {steps: many}"), "settings.steps: "),
    "a boolean for a number": (protocol("settings: {steps: true}"), "settings.steps: "),
    "a fraction of a step": (protocol("settings: {steps: 1e-2}"), "settings.steps: "),
    "steps without end": (protocol("settings: {steps: 1e30}"), "settings.steps: "),
    "a width without end": (protocol("backbones: {gru4rec: {hidden: 1e30}}"), "backbones.gru4rec.hidden: "),
    "a learning rate that is a slip": (protocol("settings: {learning_rate: 1e3}"), "settings.learning_rate: "),
    "nothing but noise": (protocol("settings: {injected_noise: 0.99}"), "settings.injected_noise: "),
    "no number": (protocol("settings: {learning_rate: .nan}"), "settings.learning_rate: "),
    "infinite": (protocol("settings: {learning_rate: .inf}"), "settings.learning_rate: "),
    "a number for a boolean": (protocol("settings: {bounded: 1}"), "settings.bounded: "),
    "unknown backbone": (protocol("backbones: {gru4rce: {hidden: 3}}"), "did you mean 'gru4rec'"),
    "unknown option of a backbone that is not used": (
        protocol("backbones: {sasrec: {haeds: 1}}"),
        "'backbones.sasrec.haeds', did you mean 'heads'",
    ),
    "impossible option of a backbone that is not used": (
        protocol("backbones: {caser: {window: 0}}"),
        "backbones.caser.window: ",
    ),
    "option of another backbone": (protocol("backbones: {gru4rec: {heads: 1}}"), "unknown key 'backbones.gru4rec.h"),
    "option of other networks": (protocol("backbones: {caser: {filters: 3}}"), "'backbones.caser.filters'"),
    "unknown dataset": (protocol("datasets: {beuaty: {steps: 3}}"), "did you mean 'beauty'"),
    "unknown setting of a dataset that is not used": (
        protocol("datasets: {beauty: {step: 3}}"),
        "'datasets.beauty.step', did you mean 'steps'",
    ),
    "unknown dataset of a pair": (protocol("datasets: {beuaty/gru4rec: {steps: 3}}"), "did you mean 'beauty'"),
    "unknown backbone of a pair": (protocol("datasets: {beauty/gru4rce: {steps: 3}}"), "did you mean 'gru4rec'"),
    "unknown option of a pair": (
        protocol("datasets: {beauty/sasrec: {haeds: 3}}"),
        "'datasets.beauty/sasrec.haeds', did you mean 'heads'",
    ),
    "unknown kind of method": (protocol("methods: {iadrs: {theta: 0}}"), "did you mean 'iadsr'"),
    "unknown option of a method": (protocol("methods: {iadsr: {tetha: 0}}"), "methods.iadsr.tetha', did you mean"),
    "option of a method that is not used": (protocol("methods: {random_drop: {mach: x}}"), "did you mean 'match'"),
    "unknown encoder of a protocol's method": (
        protocol("methods: {iadsr: {encoder: {kind: tfidf, sead: 1}}}"),
        "did you mean 'seed'",
    ),
    "extends elsewhere": ({"protocols/mine.yaml": "name: mine\nextends: ../x\ndescription: d\n"}, "extends: a name"),
    "extends nothing": ({"protocols/mine.yaml": "name: mine\nextends: papr\ndescription: d\n"}, "did you mean 'paper'"),
    "wrong base": (
        {**protocol("extends: base")} | {"protocols/mine.yaml": "name: mine\nextends: base\ndescription: d\n",
        "protocols/base.yaml": "name: base\nextends: paper\ndescription: d\nsettings: {epoch: 1}\n"},
        "base.yaml: unknown key 'settings.epoch'",
    ),
    "a defect twice": ({"methods/iadsr.yaml": "kind: iadsr\ndefects: [R1, R1]\n"}, "'R1' is listed twice"),
    "unknown kind": ({"methods/iadsr.yaml": "kind: iadrs\n"}, "did you mean 'iadsr'"),
    "a kind of several lines": ({"methods/iadsr.yaml": 'kind: "iadsr\\n"'}, "did you mean 'iadsr'"),
    "a kind that is a list": ({"methods/iadsr.yaml": "kind: [iadsr]\n"}, "iadsr.yaml: kind: "),
    "unknown option": ({"methods/iadsr.yaml": "kind: iadsr\ntetha: 0\n"}, "iadsr.yaml: unknown key 'tetha', did you"),
    "unknown encoder option": (
        {"methods/iadsr.yaml": "kind: iadsr\nsemantic: false\nencoder: {kind: tfidf, sead: 1}\n"},
        "iadsr.yaml: unknown key 'encoder.sead', did you",
    ),
    **{
        f"a dataset's {what}": ({"datasets/movielens-100k.yaml": MOVIELENS.replace(old, new)}, message)
        for what, old, new, message in [
            ("package that is an option", "package: recbole", "package: --index-url=x", "files.0.wheel.package: "),
            ("address that is none", "https://files.grouplens.org", "files.grouplens.org", "files.0.urls.0: "),
            ("name of two lines", "name: ml-100k.zip", 'name: "ml-100k.zip\\n"', "files.0.name: "),
        ]
    },
    "wrong dataset": (
        {"datasets/movielens-100k.yaml": "name: movielens-100k\ntitle: t\ntext_note: t\n"},
        "either `tables` or `planted`",
    ),
    "unknown key of a dataset": (
        {"datasets/movielens-100k.yaml": (FOLDER / "datasets/movielens-100k.yaml").read_text() + "min_cont: 3\n"},
        "did you mean 'min_count'",
    ),
    "unknown key deep in a dataset": (
        {
            "datasets/movielens-100k.yaml": (FOLDER / "datasets/movielens-100k.yaml")
            .read_text()
            .replace("      package:", "      pakcage:")
        },
        "unknown key 'files.0.wheel.pakcage', did you mean 'package'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_wrong_file_is_refused_wherever_it_is_wrong(tmp_path: Path, files: dict[str, str], message: str) -> None:
    folder = tmp_path / "config"
    shutil.copytree(FOLDER, folder)
    for name, text in files.items():
        (folder / name).write_text(text)
    path = write_run(tmp_path, protocols="[mine]" if "protocols/mine.yaml" in files else "[paper]")
    with pytest.raises(ConfigError) as refusal:
        plan(load_run(path), folder)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value), "one problem is one line"
    assert any(Path(name).name in str(refusal.value) for name in files), "the file is named"


WEIRD = (
    None, True, False, 0, -1, 10**30, 1.5, math.inf, math.nan, "", " ", "../x", "{x}", "a\nb", "é", "none", [], {},
    [[]], [None], [1, 1], {"a": 1}, {"kind": "tfidf"}, {1: 2},
)  # fmt: skip


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a nested value has parts, as keys and positions."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inside for place in ((*above, key), *places(part, (*above, key)))]


def test_whatever_stands_in_a_file_is_accepted_or_refused(tmp_path: Path) -> None:
    """No traceback: each of some hundred places of the shipped files holds something else in turn."""
    folder = tmp_path / "config"
    shutil.copytree(FOLDER, folder)
    run = write_run(
        tmp_path, datasets="[planted, movielens-100k]", protocols="[strong, released]",
        backbones="[gru4rec, sasrec, caser]", methods="[none, iadsr, iadsr_released, random_drop]",
        sweeps=f"[{point('[0.5]')}]", experiments=f"{{x: {{{EXPERIMENT}, seeds: [1]}}}}",
    )  # fmt: skip
    names = ["protocols/strong", "protocols/released", "methods/iadsr", "datasets/planted", "datasets/movielens-100k"]
    refused = total = 0
    for path in (run, *(folder / f"{name}.yaml" for name in names)):
        before = path.read_text()
        for number, place in enumerate(places(load_yaml(path))):
            changed = part = load_yaml(path)
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = WEIRD[(7 * number + len(place)) % len(WEIRD)]
            path.write_text(yaml.safe_dump(changed))
            try:
                plan(load_run(run), folder)
            except ConfigError:
                refused += 1
            path.write_text(before)
            total += 1
    assert total > 100
    assert refused > 0.7 * total


@pytest.mark.parametrize(
    ("backbone", "text", "message"),
    [
        ("sasrec", "settings: {dimension: 63}", "heads: 2 do not divide the dimension, 63"),
        ("sasrec", "backbones: {sasrec: {heads: 3}}", "heads: 3 do not divide the dimension, 64"),
        ("sasrec", "settings: {networks: released, dimension: 63}", "heads: 2 do not divide the dimension, 63"),
        ("caser", "settings: {max_length: 4}", "window: 5 is longer than max_length, 4"),
        ("gru4rec", "settings: {loss: in_batch, batch_size: 1}", "batch_size: the loss among a batch's targets"),
    ],
)
def test_settings_that_cannot_go_together_are_refused_where_they_are_used(
    tmp_path: Path, backbone: str, text: str, message: str
) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    (tmp_path / "config/protocols/mine.yaml").write_text(protocol(text)["protocols/mine.yaml"])
    for name in ("gru4rec", "sasrec", "caser"):
        run = load_run(write_run(tmp_path, protocols="[mine]", backbones=f"[{name}]"))
        if name == backbone:
            with pytest.raises(ConfigError, match=message):
                plan(run, tmp_path / "config")
        elif backbone != "gru4rec":
            assert plan(run, tmp_path / "config")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e2", 100),
        ("1E+2", 100),
        ("1.5e3", 1500),
        ("1e-2", 0.01),
        ("-1e-2", -0.01),
        (".5", 0.5),
        ("5.", 5.0),
        ("+3", 3),
        ("010", 10),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("", None),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("e5", "e5"),
        ("1e", "1e"),
    ],
)
def test_scalars_are_read_as_they_are_meant(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: [{text}]\nb: {text}\n" if text else "b:\n")
    read = load_yaml(path)
    assert (type(read["b"]), read["b"]) == (type(value), value)
    assert (type(read_scalar(text)), read_scalar(text)) == (type(value), value)
    assert read_overrides({"a": [text]}) == {"a": [value]}


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_every_number_that_python_writes_is_read_back(value: float) -> None:
    assert read_scalar(repr(value)) == value


def test_numbers_of_every_spelling_reach_the_cells(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "config")
    mine = tmp_path / "config/protocols/mine.yaml"
    mine.write_text(
        protocol("tuned: null\nsettings: {steps: 1e2, learning_rate: 1e-2, weight_decay: 1e-1}")["protocols/mine.yaml"]
    )
    path = write_run(tmp_path, protocols="[mine]", sweeps=f"[{point('[-1e-1, 5e-1]')}]")
    cells = distinct(plan(load_run(path), tmp_path / "config"))
    settings = cells[0].settings
    assert (settings.steps, settings.learning_rate, settings.weight_decay) == (100, 0.01, 0.1)
    assert [(cell.method, cell.method_options.get("theta")) for cell in cells[2:]] == [
        ("iadsr-theta=-0.1", -0.1),
        ("iadsr-theta=0.5", 0.5),
    ]
    (tmp_path / "t.json").write_text('{"a": 1e2, "b": 1e-2}')
    assert load_yaml(tmp_path / "t.json") == {"a": 100, "b": 0.01}


def test_overrides_and_additions_are_laid_over_a_run_file(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    run = load_run(path, overrides={"seeds": ["0", "1"], "max_epochs": 1e2, "encoder": {"seed": "3"}, "device": "cpu"})
    assert (run.seeds, run.max_epochs, run.device) == ([0, 1], 100, "cpu")
    assert run.encoder == TfidfSpec(seed=3)
    addition = tmp_path / "addition.yaml"
    addition.write_text("methods: [none]\n")
    assert load_run(path, addition).methods == ["none"]
    with pytest.raises(ConfigError, match=f"{addition}: a run file needs a `name`"):
        load_run(addition)
    assert merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}}


def test_one_folder_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    def results(text: str) -> str:
        return load_run(write_run(tmp_path, results=text)).results

    assert results("~/out") == results(f"{tmp_path}/x/../out/") == str(tmp_path / "out")
    assert results("./out//a/") == results("out/a")
    assert [results(text) for text in ("R&D", "my run", "'$(x)'")] == ["R&D", "my run", "$(x)"]
    assert load_run(write_run(tmp_path, mirror="~/m", llm2vec_python="~/bin/python")).mirror == str(tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "is not valid YAML in line"),
        (b"a: \xff", "is not valid YAML: "),
        (b"a: !!python/name:os.system x", "is not valid YAML in line 1"),
        (b"- 1", "must hold a mapping"),
        (b"", "must hold a mapping"),
        (b"a: 1\nb: {c: 1, c: 2}", "line 2: the key 'c' occurs twice"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refusal:
        load_yaml(path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_an_anchor_may_be_merged_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x: {y: &a {<<: &b {k: 1, l: 1}, k: 2}}\nz: {<<: *a, l: 3}\n")
    assert load_yaml(path) == {"x": {"y": {"k": 2, "l": 1}}, "z": {"k": 2, "l": 3}}
