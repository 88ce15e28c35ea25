"""A run file with LLM2Vec, over both environments, from the data to the report."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.test_snakemake import ROOT, snakemake

LLM2VEC = Path(os.environ.get("IADSR_LLM2VEC_PYTHON", ROOT / ".venv-llm2vec/bin/python"))


@pytest.mark.skipif(not LLM2VEC.exists(), reason="needs LLM2Vec's environment: make setup-llm2vec")
def test_a_run_with_llm2vec_ends_in_its_report(tmp_path: Path) -> None:
    model = tmp_path / "tiny-llama"
    subprocess.run([str(LLM2VEC), str(ROOT / "tests/tiny_llama.py"), str(model)], check=True)
    run = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text()) | {
        "name": "tiny",
        "description": "LLM2Vec on a random Llama",
        "results": "results",
        "device": "cpu",
        "encoder": {"kind": "llm2vec", "model": str(model), "dtype": "float32", "batch_size": 64},
        "llm2vec_python": str(LLM2VEC),
        "protocols": ["paper"],
        "backbones": ["gru4rec"],
        "methods": ["none", "iadsr"],
        "max_epochs": 8,
    }
    (tmp_path / "tiny.json").write_text(json.dumps(run))
    done = snakemake(tmp_path, "--configfile", "tiny.json")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    record = json.loads((tmp_path / "results/runs/planted/paper/gru4rec/iadsr/seed0/record.json").read_text())
    assert record["status"] == "done"
    assert record["cell"]["encoder"]["kind"] == "llm2vec"
    assert "llm2vec" in (tmp_path / "results/report/index.html").read_text()
