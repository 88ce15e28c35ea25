"""Reading and encoding: Amazon's reviews from gzip, MiniLM against its bare forward passes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.conftest import Time
from iadsr.config.datasets import TablesSpec
from iadsr.config.encoders import parse_encoder
from iadsr.datasets.table import read_tables
from iadsr.embeddings.minilm import MiniLM

REVIEWS = 100_000
TITLES = 512


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reviews file with texts as long as upstream's (a mean of 500 characters)."""
    rng = np.random.default_rng(0)
    words = np.array(["colour", "works", "the", "price", "for", "and", "great", "would", "skin", "again", "product"])
    path = tmp_path_factory.mktemp("reviews") / "reviews_X_5.json.gz"
    with gzip.open(path, "wt", compresslevel=6) as file:
        for row in range(REVIEWS):
            text = " ".join(rng.choice(words, int(rng.geometric(1 / 85))))
            line = {
                "reviewerID": f"A{row % 22_363:013d}", "asin": f"B{row % 12_101:09d}", "reviewerName": "J. Doe",
                "helpful": [0, 0], "reviewText": text, "overall": 5.0, "summary": "Five Stars",
                "unixReviewTime": 1_390_000_000 + row, "reviewTime": "01 30, 2014",
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return path


def test_reviews_a_second(timed: Time, reviews: Path) -> None:
    columns = {"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}
    tables = TablesSpec.model_validate({"interactions": {"file": reviews.name, "type": "json", **columns}})
    timed(
        lambda: read_tables(tables, {reviews.name: reviews}),
        "seconds for 100,000 Amazon reviews",
        "ours",
        "seconds",
        1.0,
        rounds=3,
    )


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_minilm_against_its_forward_passes(timed: Time, side: str) -> None:
    """The reference runs the network on ready tokens, batched by length without padding waste."""
    rng = np.random.default_rng(0)
    words = ["herbal", "shampoo", "sensitive", "skin", "oz", "pack", "of", "2", "organic", "lip", "balm", "spf", "15"]
    titles = [" ".join(rng.choice(words, int(rng.integers(4, 24)))) for _ in range(TITLES)]
    encoder = MiniLM(parse_encoder({"kind": "minilm"}), "cpu")
    tokenizer, network = encoder._parts
    tokens = sorted((tokenizer(title)["input_ids"] for title in titles), key=len)
    cut = [tokens[low : low + 32] for low in range(0, len(tokens), 32)]
    ready: list[dict[str, Any]] = []
    for batch in cut:
        length = int(np.mean([len(row) for row in batch]) + 0.5)
        ready.append(
            {name: torch.ones(len(batch), length, dtype=torch.long) for name in ("input_ids", "attention_mask")}
        )

    @torch.inference_mode()
    def forward() -> None:
        for batch in ready:
            network(**batch)

    ours = side == "ours"
    timed((lambda: encoder.encode(titles)) if ours else forward, "MiniLM over its forward passes: 512 titles", side,
          "limit", 1.2, rounds=3)  # fmt: skip
