"""A sweep as the documentation of Ray Tune and of Lightning writes it, on the rows and points of bench_sweep.py.

    python -m benchmarks.peers.plain_tune job.json

A function trainable of one CPU, its rows handed over by `tune.with_parameters`, a DataLoader, the metric of
torchmetrics logged in validation_step, TuneReportCheckpointCallback, ASHA. What a person would switch off for speed is
off: progress bars, loggers, model summaries, Lightning's own checkpoints, Tune's output. `"reuse_actors": true` in the
job keeps Tune's actors from trial to trial, which the documentation mentions and does not do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pyarrow.parquet as pq
import torch
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from ray.tune.schedulers import ASHAScheduler
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAUROC

from benchmarks.peers.net import Net
from engine.records import FeatureSpec, Task
from engine.train.conf import TrainConf


class Scored(Net, lightning.LightningModule):
    """The network with the validation step of Lightning's documentation."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.auroc = BinaryAUROC()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        numeric, categorical, target = batch
        self.auroc(self(numeric, categorical), target.int())
        self.log("auroc", self.auroc, on_step=False, on_epoch=True)


def train(config: dict[str, Any], job: dict[str, Any], rows: list[list[np.ndarray]]) -> None:
    """One trial."""
    spec = FeatureSpec(numeric=tuple(job["columns"]), categorical=(), cardinalities=(), task=Task.BINARY, n_outputs=1)
    conf = TrainConf(lr=config["lr"], max_epochs=job["epochs"], batch_size=job["batch_size"])
    fitted, compared = (TensorDataset(*(torch.tensor(array) for array in part)) for part in rows)
    trainer = lightning.Trainer(
        max_epochs=job["epochs"],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[TuneReportCheckpointCallback({"auroc": "auroc"}, filename="checkpoint.ckpt", on="validation_end")],
    )
    trainer.fit(
        Scored(spec=spec, train=conf, **{key: value for key, value in config.items() if key != "lr"}),
        DataLoader(fitted, batch_size=job["batch_size"], shuffle=True, num_workers=0),
        DataLoader(compared, batch_size=job["batch_size"], num_workers=0),
    )


def read(job: dict[str, Any]) -> list[list[np.ndarray]]:
    """[numbers (N, P), no categories (N, 0), labels (N,)] to train on and, the latest rows, to compare on."""
    table = pq.read_table(job["rows"]).sort_by("at")
    numeric = np.column_stack([table[column].to_numpy() for column in job["columns"]])
    target = table["label"].to_numpy().astype(np.float32)
    cut = job["train_rows"]
    numeric = ((numeric - numeric[:cut].mean(0)) / numeric[:cut].std(0)).astype(np.float32)
    none = np.empty((len(target), 0), dtype=np.int64)
    return [[array[part] for array in (numeric, none, target)] for part in (slice(cut), slice(cut, None))]


def main(path: str) -> None:
    """The sweep; prints one JSON object."""
    job = json.loads(Path(path).read_text())
    began = time.perf_counter()
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train, job=job, rows=read(job)), {"cpu": 1}),
        param_space={key: tune.grid_search(values) for key, values in job["space"].items()},
        tune_config=tune.TuneConfig(
            metric="auroc",
            mode="max",
            max_concurrent_trials=job["workers"],
            reuse_actors=job["reuse_actors"],
            scheduler=ASHAScheduler(max_t=job["epochs"], grace_period=1, reduction_factor=2),
        ),
        run_config=tune.RunConfig(storage_path=job["out"], verbose=0),
    )
    results = tuner.fit()
    answer = {
        "trials": len(results),
        "errors": results.num_errors,
        "best": results.get_best_result().metrics["auroc"],
        "seconds": time.perf_counter() - began,
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # no network inside the timed part
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # with verbose=0: no tables
    main(sys.argv[1])
