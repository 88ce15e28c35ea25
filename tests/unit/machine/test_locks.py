"""A dead Snakemake's lock goes, a live one's stays."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from iadsr.config.identity import PACKAGE
from iadsr.machine import locks

HOLD = """
import sys, time
from pathlib import Path
from iadsr.machine.locks import release_stale_lock
folder = Path(sys.argv[1])
release_stale_lock(folder)
(folder / "locks").mkdir(exist_ok=True)
(folder / "locks" / "0.output.lock").write_text("results/report/index.html")
print("ready", flush=True)
time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that locks `folder` as Snakemake does."""
    made = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


def release(folder: Path) -> bool:
    """`release_stale_lock` in a process of its own."""
    code = """
import sys
from pathlib import Path
from iadsr.machine.locks import release_stale_lock
sys.exit(release_stale_lock(Path(sys.argv[1])))
"""
    return bool(subprocess.run([sys.executable, "-c", code, str(folder)], cwd=PACKAGE.parent, check=False).returncode)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGHUP])
def test_only_a_dead_process_s_lock_is_removed(tmp_path: Path, sent: signal.Signals) -> None:
    live = holder(tmp_path)
    try:
        assert not release(tmp_path)
        assert (tmp_path / "locks" / "0.output.lock").is_file()
    finally:
        live.send_signal(sent)
        live.communicate()
    assert release(tmp_path)
    assert not (tmp_path / "locks").exists()
    assert not release(tmp_path), "nothing is stale now"


def test_the_lock_of_another_machine_stays(tmp_path: Path) -> None:
    """A kernel lock may not reach over the network, so nothing is known of it."""
    dead = holder(tmp_path)
    dead.kill()
    dead.communicate()
    (tmp_path / "main.lock").write_text("host elsewhere\nboot 1")
    assert not release(tmp_path)
    assert (tmp_path / "locks" / "0.output.lock").is_file()
    assert not release(tmp_path), "asking does not make it ours"


def test_a_damaged_lock_file_names_no_machine(tmp_path: Path) -> None:
    dead = holder(tmp_path)
    dead.kill()
    dead.communicate()
    (tmp_path / "main.lock").write_bytes(b"\xff\xfe")
    assert not release(tmp_path)


def test_a_file_system_without_kernel_locks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.output.lock").touch()

    def unsupported(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", unsupported)
    assert not locks.release_stale_lock(tmp_path)
    assert (tmp_path / "locks" / "0.output.lock").is_file()
    assert not locks.release_stale_lock(Path("/dev/null/folder"))


ALONE = """
import sys, time
from pathlib import Path
from iadsr.machine.locks import alone_in
with alone_in(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_another_process_s_until_that_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, entered = tmp_path / "run", threading.Event()
    living = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(folder)], cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True
    )
    assert living.stdout is not None and living.stdout.readline() == "ready\n"

    def enter() -> None:
        with locks.alone_in(folder):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    try:
        assert not entered.wait(0.3)
        assert f"{folder}: another process is at work here" in caplog.text
    finally:
        living.kill()
        living.communicate()
    waiting.join(30)
    assert entered.is_set() and not list(folder.iterdir())
    with locks.alone_in(folder):
        pass


def test_without_kernel_locks_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", Mock(side_effect=OSError(38, "Function not implemented")))
    with locks.alone_in(tmp_path), locks.alone_in(tmp_path):
        pass
