"""Each missing part is named with what it disables, and only what the default run needs is a failure."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from iadsr import cli
from iadsr.core.errors import IadsrError
from iadsr.machine import doctor
from iadsr.machine.doctor import FAILS, LACKS, OK, Finding

FILES = {"a.zip": ("https://up.example/a.zip", "http://up.example/a.zip"), "b.gz": ("https://other.example/b.gz",)}
ANSWERS = {"https://up.example": 404, "https://other.example": "ConnectTimeout", "https://huggingface.co": 200}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "envs").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy>=2", "pooch"]\n')
    (tmp_path / "envs/core.lock").write_text("# a comment==1\nnumpy==2.1.0\npooch==1.8.0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("installed", "states", "words"),
    [
        ({"numpy": "2.1.0+cpu", "pooch": "1.8.0"}, [OK], "all 2 of the tested versions"),
        ({"numpy": "2.1.0"}, [FAILS], "without pooch nothing runs"),
        ({"numpy": "1.26.4", "pooch": "1.8.0"}, [FAILS], r"without numpy>=2 \(there is 1\.26\.4\)"),
        ({"numpy": "2.10", "pooch": "1.8.0"}, [LACKS], r"numpy 2\.10 \(2\.1\.0\): not of the tested version"),
        ({"numpy": "2.10"}, [FAILS, LACKS], "pooch"),
    ],
)
def test_packages(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], states: list[str], words: str
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = list(doctor.check_packages(checkout))
    assert [one.state for one in found] == states
    assert re.search(words, found[0].text)


def test_a_checkout_without_lists_is_no_failure(tmp_path: Path) -> None:
    (found,) = doctor.check_packages(tmp_path)
    assert found.state == LACKS


@pytest.mark.parametrize(("version", "state"), [((3, 10), FAILS), ((3, 11), OK), ((4, 0), OK)])
def test_python(version: tuple[int, ...], state: str) -> None:
    assert doctor.check_python(version).state == state


def test_a_gpu_is_needed_only_where_the_run_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [doctor.check_device(device).state for device in ("auto", "cpu", "cuda")] == [LACKS, LACKS, FAILS]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "H1")
    assert doctor.check_device("auto") == Finding("gpu", OK, "H1")
    monkeypatch.setattr(doctor, "resolve_device", Mock(side_effect=OSError("libcudart.so: cannot open")))
    assert doctor.check_device("auto").state == FAILS


@pytest.mark.parametrize(("megabytes", "state"), [(199, FAILS), (200, LACKS), (4999, LACKS), (5000, OK)])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, state: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=megabytes * 10**6))
    assert doctor.check_disk(tmp_path / "not" / "yet").state == state
    (tmp_path / "file").touch()
    found = doctor.check_disk(tmp_path / "file" / "x")
    assert (found.state, f"{tmp_path / 'file'}: Not a directory" in found.text) == (FAILS, True)


def test_kernel_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_locks(tmp_path / "not" / "yet").state == OK
    monkeypatch.setattr(doctor.fcntl, "flock", Mock(side_effect=OSError(38, "Function not implemented")))
    assert "--unlock" in doctor.check_locks(tmp_path).text


def test_mirror(tmp_path: Path) -> None:
    assert doctor.check_mirror(None, FILES, {}).state == OK
    (tmp_path / "a.zip").touch()
    found = doctor.check_mirror(str(tmp_path), FILES, {})
    assert found.state == LACKS and "does not give b.gz:" in found.text
    (tmp_path / "b.gz").touch()
    assert doctor.check_mirror(tmp_path.as_uri(), FILES, {}).state == OK
    answers: dict[str, int | str] = {"http://m/a.zip": 200, "http://m/b.gz": 404}
    assert "does not give b.gz:" in doctor.check_mirror("http://m/", FILES, answers).text


def test_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    states = [one.state for one in doctor.check_upstream(FILES, ANSWERS)]
    assert states == [OK, LACKS], "a host that refuses one page is there"
    assert doctor.check_hub(ANSWERS).state == OK
    assert "LLM2Vec" in doctor.check_hub({"https://huggingface.co": "ConnectionError"}).text


@pytest.mark.parametrize(
    ("there", "told", "plugin", "state", "words"),
    [
        (False, None, None, LACKS, "no sbatch"),
        (True, None, None, LACKS, "sinfo does not answer"),
        (True, "3 idle", None, LACKS, "lacks the plug-in"),
        (True, "3 idle", object(), OK, "3 idle"),
    ],
)
def test_slurm(
    monkeypatch: pytest.MonkeyPatch, there: bool, told: str | None, plugin: object, state: str, words: str
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/bin/sbatch" if there else None)
    monkeypatch.setattr(doctor, "ask_program", lambda command: told)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: plugin)
    found = doctor.check_slurm()
    assert found.state == state and words in found.text


def test_llm2vec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.check_llm2vec(tmp_path).state == LACKS
    (tmp_path / ".venv-llm2vec/bin").mkdir(parents=True)
    (tmp_path / ".venv-llm2vec/bin/python").touch()
    assert doctor.check_llm2vec(tmp_path).state == OK


def test_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    assert doctor.ask_program(["printf", "a\\nb\\n"]) == "a, b"
    for command in (["no-such-program"], ["false"], ["sleep", "60"]):
        assert doctor.ask_program(command) is None
    assert doctor.check_program("no-such-program", "--version", "this").text.endswith("no this")


class Silent(BaseHTTPRequestHandler):
    """Answers /there, and nothing else for a long time."""

    def do_HEAD(self) -> None:
        if self.path != "/there":
            time.sleep(20)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_silent_hosts_cost_seconds_once_and_not_each() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    began = time.monotonic()
    answers = doctor.ask_all([f"{address}/there", *(f"{address}/{number}" for number in range(6)), "http://[x"], 3.0)
    assert time.monotonic() - began < 15, "not 3 seconds each"
    server.shutdown()
    assert answers.pop(f"{address}/there") == 204
    assert len(answers) == 7 and all(isinstance(why, str) for why in answers.values())


@pytest.mark.parametrize(("device", "status"), [("cpu", 0), ("cuda", 1)])
def test_the_command_fails_only_where_the_run_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, status: int
) -> None:
    """Without network, GPU, conda and Slurm."""
    monkeypatch.setattr(doctor, "ask_all", lambda asked: dict.fromkeys(asked, "ConnectionError"))
    monkeypatch.setattr(doctor, "ask_program", lambda command: None)
    monkeypatch.setattr(
        doctor, "resolve_device", Mock(side_effect=IadsrError("no cuda")) if status else lambda _: "cpu"
    )
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    run = (cli.CONFIG_FOLDER / "laptop.yaml").read_text().replace("results: results", f"results: {tmp_path / 'r'}")
    (tmp_path / "run.yaml").write_text(f"{run}\ndevice: {device}\n")
    done = CliRunner().invoke(cli.app, ["doctor", "--config", str(tmp_path / "run.yaml")])
    assert done.exit_code == status, done.output
    parts = [line.split()[1] for line in done.output.splitlines()]
    for part in ("python", "packages", "gpu", "disk", "mirror", "upstream", "hub", "llm2vec", "conda", "slurm", "git"):
        assert part in parts
    assert ("FAILS" in done.output) == bool(status)
    assert not (tmp_path / "r").exists(), "it looks and leaves nothing"
