"""What CONTRIBUTING.md tells to add, a dataset, method, backbone and metric, goes through every stage to the page."""

import json
import re
from pathlib import Path

import pandas as pd
import yaml

from tests.workflow.test_snakemake import ROOT, snakemake

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MODULES = dict(re.findall(r"^```python\n# my_package/(\w+)\.py\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL))
DATASET = {
    "name": "songs",
    "title": "Songs of nobody",
    "files": [{"name": "plays.csv"}, {"name": "songs.json"}],
    "tables": {
        "interactions": {"file": "plays.csv", "user": "listener", "item": "song", "time": "day"},
        "items": {"file": "songs.json", "type": "json", "item": "song", "title": "name"},
    },
    "text_note": "Made-up titles.",
}


def write_songs(folder: Path) -> None:
    """Write raw files: 60 listeners walk through 40 songs in order, each from another one on."""
    folder.mkdir()
    plays = (f"u{user},s{(user + day) % 40},{day}\n" for user in range(60) for day in range(5 + user % 7))
    (folder / "plays.csv").write_text("listener,song,day\n" + "".join(plays))
    lines = (json.dumps({"song": f"s{song}", "name": f"Song number {song}"}) + "\n" for song in range(40))
    (folder / "songs.json").write_text("".join(lines))


def test_one_of_each_is_added_without_an_edit_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "songs.yaml").write_text(yaml.safe_dump(DATASET))
    (tmp_path / "my_package").mkdir()
    for name, code in MODULES.items():
        (tmp_path / "my_package" / f"{name}.py").write_text(code)
    write_songs(tmp_path / "raw files")
    named = {
        key: yaml.safe_load(names)
        for key, names in re.findall(r"`(methods|backbones|metrics): (\[.*?\])`", CONTRIBUTING)
    }
    run = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    run |= {"name": "additions", "datasets": ["songs"], "mirror": "raw files", "results": "results", "max_epochs": 2}
    run |= {"protocols": ["strong"], **named}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    done = snakemake(tmp_path, "--configfile", "run.yaml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    runs = pd.read_parquet(tmp_path / "results/evaluation/runs.parquet")
    assert set(runs["backbone"]) == {"gru4rec", "my_package.mean.RunningMean"}
    assert set(runs["method"]) == {"none", "my_package.rare.RareDrop"}
    assert set(runs["status"]) <= {"done", "untrained"}
    page = (tmp_path / "results/report/index.html").read_text()
    assert ">first</th>" in page
    assert "Songs of nobody" in page and "my_package.rare.RareDrop" in page
