"""RecBole's training epoch; runs in RecBole's own environment (`make setup-peers`), which has none of our packages.

    python benchmarks/recbole_peer.py FOLDER/NAME MODEL BATCHES

reads FOLDER/NAME/NAME.inter and prints, as JSON, the seconds of an epoch on one thread: every training target once, one
padded prefix a sample, full softmax. Extrapolated from so many batches after a first one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

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
    "Caser": {"embedding_size": 64, "n_h": 16, "n_v": 4, "dropout_prob": 0.4, "reg_weight": 0.0},
}  # fmt: skip


def epoch_seconds(data: Path, model_name: str, batches: int) -> dict[str, float | int | str]:
    """Seconds of `batches` batches, times the batches of an epoch."""
    torch.set_num_threads(1)
    settings = {
        "data_path": str(data.parent),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": 50,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "checkpoint_dir": tempfile.mkdtemp(),
        **SIZES[model_name],
    }
    config = Config(model=model_name, dataset=data.name, config_dict=settings)
    init_seed(0, True)
    train, _, _ = data_preparation(config, create_dataset(config))
    model = get_model(model_name)(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], model_name)(config, model)
    if len(train) <= batches:
        raise SystemExit(f"an epoch has {len(train)} batches: too few to time {batches} after a first one")
    began = 0.0
    for number, batch in enumerate(islice(train, batches + 1)):
        if number == 1:
            began = time.perf_counter()
        trainer.optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        trainer.optimizer.step()
    seconds = (time.perf_counter() - began) / batches * len(train)
    return {"model": model_name, "batches": len(train), "timed": batches, "seconds": seconds}


if __name__ == "__main__":
    sys.argv, (folder, name, count) = sys.argv[:1], sys.argv[1:4]  # RecBole reads the command line too
    print(json.dumps(epoch_seconds(Path(folder), name, int(count))))
