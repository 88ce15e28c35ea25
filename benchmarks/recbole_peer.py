"""RecBole's training epoch on MovieLens-100K, for comparison; needs recbole 1.2.1 in an environment of its own.

    python benchmarks/recbole_peer.py GRU4Rec 4

prints the core-seconds of an epoch (every training target once, one padded prefix a sample), from so many batches.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

SIZES = {
    "GRU4Rec": {"embedding_size": 64, "hidden_size": 64, "num_layers": 1, "dropout_prob": 0.4},
    "SASRec": {
        "hidden_size": 64, "inner_size": 256, "n_layers": 1, "n_heads": 2, "hidden_dropout_prob": 0.3,
        "attn_dropout_prob": 0.3,
    },
    "Caser": {
        "embedding_size": 64, "n_h": 16, "n_v": 4, "dropout_prob": 0.4, "reg_weight": 0.0,
    },
}  # fmt: skip


def core_seconds(model_name: str, batches: int) -> dict[str, float | int | str]:
    """CPU time of an epoch on one thread, extrapolated from its first batches after a warm-up batch."""
    torch.set_num_threads(1)
    settings = {
        "data_path": str(Path(recbole.__file__).parent / "dataset_example"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": 50,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "use_gpu": False,
        "show_progress": False,
        "checkpoint_dir": tempfile.mkdtemp(),
        **SIZES[model_name],
    }
    config = Config(model=model_name, dataset="ml-100k", config_dict=settings)
    init_seed(0, True)
    train, _, _ = data_preparation(config, create_dataset(config))
    model = get_model(model_name)(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], model_name)(config, model)
    taken = []
    for batch in islice(train, batches + 1):
        began = time.process_time()
        trainer.optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        trainer.optimizer.step()
        taken.append(time.process_time() - began)
    return {
        "model": model_name,
        "batches": len(train),
        "timed": batches,
        "core_seconds": float(np.mean(taken[1:])) * len(train),
    }


if __name__ == "__main__":
    sys.argv, (name, count) = sys.argv[:1], sys.argv[1:3]  # RecBole reads the command line too
    print(json.dumps(core_seconds(name, int(count))))
