"""Kills stages with SIGKILL at random moments, repeats the same call, and compares the end with an undisturbed one.

`python -m tests.kills` does so at length: `--kills 20` for each stage, Snakemake among them. The suite does it briefly.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import sympy  # noqa: F401  # torch needs it in its first step: imported once, before the forks
import yaml

from iadsr.config.cell import Cell
from iadsr.config.datasets import DatasetSpec
from iadsr.config.encoders import embeddings_name
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig
from iadsr.core import columns as c
from iadsr.core.files import file_digest, value_digest
from iadsr.datasets.prepare import build
from iadsr.embeddings.encoder import make_encoder
from iadsr.embeddings.random_options import RandomSpec
from iadsr.embeddings.store import embed, embed_with
from iadsr.formats.embeddings import describe_source
from iadsr.formats.tables import write_parquet
from iadsr.sequences.split import save_sequences
from iadsr.training import loop
from iadsr.training.run import run_cell
from iadsr.tuning.search import run_search
from tests.helpers import N_ITEMS, small_cell, small_sequences

ROOT = Path(__file__).resolve().parents[1]
NAMES = [f"item {number}" for number in range(N_ITEMS)]
ENCODER = RandomSpec(dimension=6)
SPEC = {
    "name": "plays",
    "title": "Plays",
    "files": [{"name": "plays.csv"}],
    "tables": {"interactions": {"file": "plays.csv"}},
    "text_note": "None.",
}
PLAYS = "user,item,time\n" + "".join(f"u{n % 50},i{n % 77},{n}\n" for n in range(20_000))


def cells() -> dict[str, Cell]:
    """Cells of every kind of state: averaged weights, two stages, copied keep rates, a counter of steps."""
    long: dict[str, object] = {"epochs": 8, "batch_size": 4, "average": 0.9}
    iadsr = small_cell("gru4rec", "iadsr", "all", {"alignment": 0.01, "reconstruction_error": "squared"}, **long)
    return {
        "averaged": small_cell("gru4rec", "none", "all", **long),
        "two stages": iadsr.model_copy(update={"encoder": ENCODER.options(), "warm_start": True}),
        "matched": small_cell("gru4rec", "random_drop", "all", **long),
        "step counter": small_cell("gru4rec", "adt", "all", **long),
    }


def prepare_training(folder: Path) -> None:
    """Write what training reads."""
    save_sequences(folder / "sequences/ring/sequences.npz", small_sequences())
    table = pd.DataFrame({c.ITEM: [f"i{number}" for number in range(N_ITEMS)], c.TEXT: NAMES})
    write_parquet(folder / "data/ring/items.parquet", table)
    embed(NAMES, ENCODER, folder / f"embeddings/ring/{embeddings_name(ENCODER.options())}.safetensors")


def prepare_control(folder: Path) -> None:
    """Write what training reads, and the run whose keep rates the control copies."""
    prepare_training(folder)
    run_cell(cells()["two stages"], folder, "cpu", 1)


def train(name: str, folder: Path) -> None:
    loop._CHECKPOINT_SECONDS = -1.0  # every epoch
    run_cell(cells()[name], folder, "cpu", 1)


def encode(name: str, folder: Path) -> None:
    texts = [f"text {number}" for number in range(600)]
    source = describe_source(ENCODER, texts, "names")
    embed_with(texts, make_encoder(ENCODER, "cpu"), folder / "v.safetensors", source, chunk=10)


def download(address: str, folder: Path) -> None:
    build(DatasetSpec.model_validate(SPEC), folder / "data/plays", folder / "raw/plays", address)


def tune(name: str, folder: Path) -> None:
    values = {
        "name": "kills", "description": "d", "results": str(folder), "datasets": ["planted"], "device": "cpu",
        "encoder": {"kind": "tfidf"}, "protocols": ["paper"], "backbones": ["gru4rec"], "methods": ["none"],
        "seeds": [0], "max_epochs": 4,
    }  # fmt: skip
    run = parse(RunConfig, values, "kills")
    config = ROOT / "workflow" / "config"
    run_search(run, config, run.searches(config)[0], 4)


def prepare_tuning(folder: Path) -> None:
    save_sequences(folder / "sequences/planted/sequences.npz", small_sequences())


class _Slow(BaseHTTPRequestHandler):
    """Serves `PLAYS` in pieces, so that a kill finds a download on its way."""

    def do_GET(self) -> None:
        body = PLAYS.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), 20_000):
            self.wfile.write(body[start : start + 20_000])
            time.sleep(0.02)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@dataclass(frozen=True)
class Stage:
    """A call to be killed: `work(argument, folder)` in a folder that `prepare` made."""

    work: Callable[[str, Path], None]
    argument: str = ""
    prepare: Callable[[Path], None] = lambda folder: None


def stages(address: str) -> dict[str, Stage]:
    """Every stage that keeps a state of its own; `address` is that of the server of `PLAYS`."""
    return {
        **{
            f"training, {name}": Stage(train, name, prepare_control if name == "matched" else prepare_training)
            for name in cells()
        },
        "embeddings": Stage(encode),
        "download": Stage(download, address),
        "tuning": Stage(tune, "", prepare_tuning),
    }


def serve() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a killed client's connection
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def address_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def _quietly(work: Callable[[str, Path], None], argument: str, folder: Path) -> None:
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    work(argument, folder)


def start(stage: Stage, folder: Path) -> multiprocessing.process.BaseProcess:
    """Start a stage in a process forked from one that has imported everything, so that kills hit work, not imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_quietly, args=(stage.work, stage.argument, folder), daemon=True)
    process.start()
    return process


def run_whole(stage: Stage, folder: Path) -> float:
    """Run a stage to its end; returns its seconds."""
    began = time.monotonic()
    process = start(stage, folder)
    process.join()
    log = folder.parent / f"{folder.name}.log"
    assert process.exitcode == 0, log.read_text()[-3000:]
    return time.monotonic() - began


def snapshot(folder: Path) -> dict[str, str]:
    """Digest every file below a folder by its name, without logs, and what is said of time, memory and checkout.

    Of a page, and of tables in LaTeX, all but the numbers.
    """
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


VARYING = ("seconds", "times_baseline", "peak_memory_mb", "files", "commit")


def _digest(path: Path) -> str:
    if path.name == c.RECORD:
        record = json.loads(path.read_text())
        return value_digest({name: value for name, value in record.items() if name not in VARYING})
    if path.suffix in (".csv", ".parquet"):
        table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
        lasting = table[~table["quantity"].str.startswith(VARYING)] if "quantity" in table else table
        lasting = lasting[[name for name in table if not str(name).startswith(VARYING)]]
        return value_digest(lasting.to_csv()) if lasting.shape != table.shape else file_digest(path)
    if path.suffix in (".html", ".tex"):
        return value_digest(re.sub(r"[\d.,\u202f]+", "0", path.read_text(encoding="utf-8")))
    return "" if path.suffix == ".log" else file_digest(path)


def kill_stage(stage: Stage, folder: Path, kills: int, draw: random.Random) -> int:
    """Kill a stage up to `kills` times and compare each end with an undisturbed one; returns the kills.

    A call that ends before its kill ends its round; the next begins in an empty folder.
    """
    base, whole = folder / "base", folder / "whole"
    base.mkdir(parents=True)
    stage.prepare(base)
    shutil.copytree(base, whole)
    start(Stage(_nothing), whole).join()  # imports
    seconds = run_whole(stage, whole)
    expected, done, number = snapshot(whole), 0, 0
    while done < kills:
        number += 1
        killed = folder / f"killed-{number}"
        shutil.copytree(base, killed)
        for _ in range(min(5, kills - done)):
            process = start(stage, killed)
            process.join(draw.uniform(0, seconds))
            if process.exitcode is not None:
                assert process.exitcode == 0, (folder / f"{killed.name}.log").read_text()[-3000:]
                break
            process.kill()
            process.join()
            done += 1
        run_whole(stage, killed)
        check_same(snapshot(killed), expected)
        shutil.rmtree(killed)
        assert number <= 10 * kills + 10, "no call could be killed before its end"
    return done


def _nothing(argument: str, folder: Path) -> None:
    pass


def check_same(ours: dict[str, str], expected: dict[str, str]) -> None:
    differences = {
        "left behind": ours.keys() - expected.keys(),
        "missing": expected.keys() - ours.keys(),
        "of other bytes": {name for name in ours.keys() & expected.keys() if ours[name] != expected[name]},
    }
    for kind, names in differences.items():
        assert not names, f"{kind}: {', '.join(sorted(names))}"


def make_checkout(folder: Path) -> None:
    """Copy the checkout, with checkpoints after every epoch, and write a small grid's run file into it."""
    for name in ("iadsr", "workflow", "report", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", folder)
    shutil.copy2(ROOT / "profiles", folder, follow_symlinks=False)
    path = folder / "iadsr/training/loop.py"
    text, count = re.subn(r"(?m)^_CHECKPOINT_SECONDS = .*$", "_CHECKPOINT_SECONDS = -1.0", path.read_text())
    assert count == 1
    path.write_text(text)
    run = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    run |= {"name": "kills", "results": "results", "protocols": ["paper"], "backbones": ["gru4rec"], "max_epochs": 8}
    run |= {"methods": ["none", "iadsr"], "encoder": {"kind": "tfidf"}, "compare": [["iadsr", "none"]]}
    (folder / "grid.json").write_text(json.dumps(run))


def start_snakemake(folder: Path) -> subprocess.Popen[bytes]:
    """Start what a user types, in a session of its own, so that its jobs can be killed with it."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "grid.json"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def wait_for_jobs(group: int) -> None:
    """Wait for jobs that outlived their Snakemake."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def state_of(folder: Path) -> dict[str, str]:
    """Snapshot the results, and name what Snakemake keeps of unfinished work."""
    kept = {f"results/{name}": digest for name, digest in snapshot(folder / "results").items()}
    for name in ("locks", "incomplete"):
        below = folder / ".snakemake" / name
        kept |= {str(path.relative_to(folder)): "" for path in below.rglob("*") if path.is_file()}
    return kept


def kill_snakemake(folder: Path, kills: int, draw: random.Random) -> int:
    """Kill Snakemake, alone or with its jobs, `kills` times in all, and compare each end with an undisturbed one."""
    whole, done, number = folder / "whole", 0, 0
    make_checkout(whole)
    began = time.monotonic()
    assert start_snakemake(whole).wait() == 0, (whole / "log").read_text()[-3000:]
    seconds, expected = time.monotonic() - began, state_of(whole)
    while done < kills:
        number += 1
        killed, groups = folder / f"killed-{number}", []
        make_checkout(killed)
        while done < kills:
            process = start_snakemake(killed)
            groups.append(process.pid)
            try:
                assert process.wait(draw.uniform(0, seconds / 2)) == 0, (killed / "log").read_text()[-3000:]
                break
            except subprocess.TimeoutExpired:
                if draw.random() < 0.5:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                done += 1
                print(f"Snakemake: {done} killed", flush=True)
        assert start_snakemake(killed).wait() == 0, (killed / "log").read_text()[-3000:]
        for group in groups:
            wait_for_jobs(group)
        check_same(state_of(killed), expected)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20, help="of each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="stages with this text in their names")
    asked = parser.parse_args()
    draw, server, total = random.Random(asked.seed), serve(), 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        for number, (name, stage) in enumerate(stages(address_of(server)).items()):
            if asked.only in name:
                done = kill_stage(stage, Path(folder) / str(number), asked.kills, draw)
                total += done
                print(f"{name}: {done} killed, every end as if undisturbed", flush=True)
        if asked.only in "Snakemake":
            done = kill_snakemake(Path(folder) / "snakemake", asked.kills, draw)
            total += done
            print(f"Snakemake: {done} killed, every end as if undisturbed", flush=True)
    print(f"{total} kills tried and survived")


if __name__ == "__main__":
    main()
