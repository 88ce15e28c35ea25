"""The examples of CONTRIBUTING.md train."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from iadsr import cli

CONTRIBUTING = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text()
MODULES = dict(re.findall(r"^```python\n# my_package/(\w+)\.py\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL))


def test_the_method_and_the_backbone_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package").mkdir()
    for name, code in MODULES.items():
        (tmp_path / "my_package" / f"{name}.py").write_text(code)
    named = dict(re.findall(r"`(methods|backbones): (\[.*?\])`", CONTRIBUTING))
    run = yaml.safe_load((cli.CONFIG_FOLDER / "smoke.yaml").read_text())
    run |= {key: yaml.safe_load(names) for key, names in named.items()}
    run |= {"results": str(tmp_path / "results"), "max_epochs": 1, "seeds": [0], "experiments": {}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))

    def iadsr(*arguments: str) -> None:
        done = CliRunner().invoke(cli.app, [*arguments, "--config", str(tmp_path / "run.yaml")], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    iadsr("datasets", "--dataset", "planted")
    iadsr("sequences", "--dataset", "planted")
    address = f"planted/{run['protocols'][0]}/my_package.mean.RunningMean/my_package.rare.RareDrop/seed0"
    iadsr("train", address)
    record = json.loads((tmp_path / "results" / "runs" / address / "record.json").read_text())
    assert record["status"] in ("done", "untrained"), record
