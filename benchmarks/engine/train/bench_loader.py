"""train: one trial's epoch, against Lightning with a DataLoader and against a bare PyTorch loop.

    python -m pytest benchmarks/engine/train/bench_loader.py

100k rows of 20 numbers and 4 categories, the built-in network (2 x 128), batches of 1024, one thread. All sides train
the same network with the same optimizer on the same rows. Ours and Lightning's keep the mean loss of an epoch and score
2,000 validation rows after it, Lightning's as its documentation shows it (`self.log`); the bare loop only keeps the
loss. Compared are CPU seconds of the fastest epoch, from the end of one to the end of the next: on one thread they are
what an idle machine's clock shows, and a busy one hardly changes them. Sides take turns; the median counts. FLOOR and
CEILING are what we claim.
"""

from __future__ import annotations

import itertools
import statistics
import time
import warnings
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from engine.records import Dataset, Epoch, FeatureSpec, Task
from engine.train.conf import ModelConf, TrainConf
from engine.train.fit import fit
from engine.train.inference import build
from engine.train.loader import TensorLoader, as_tensors
from engine.train.model import TabularModel
from engine.train.scorer import quieten

ROWS, NUMERIC, LEVELS, BATCH, EPOCHS, TURNS = 100_000, 20, (20, 10, 100, 5), 1024, 3, 5
FLOOR = 2.5  # epochs of Lightning with a DataLoader, in epochs of ours
CEILING = 1.25  # epochs of ours, in epochs of a bare loop
LOADER_FLOOR = 50.0  # passes of a DataLoader alone, in passes of a TensorLoader
CONF = TrainConf(max_epochs=EPOCHS, batch_size=BATCH, schedule="constant", accelerator="cpu", precision="32", threads=1)
MODEL: ModelConf = {"_target_": "engine.train.model.TabularModel", "width": 128, "depth": 2, "dropout": 0.1}
SPEC = FeatureSpec(
    numeric=tuple(f"n{i}" for i in range(NUMERIC)),
    categorical=tuple(f"c{i}" for i in range(len(LEVELS))),
    cardinalities=LEVELS,
    task=Task.BINARY,
    n_outputs=1,
)


def make_rows(n: int, seed: int) -> Dataset:
    """Random rows; the label follows the first number."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(n, NUMERIC)).astype(np.float32)
    return Dataset(
        numeric=numeric,
        categorical=np.column_stack([rng.integers(0, levels, n) for levels in LEVELS]),
        target=(numeric[:, 0] + rng.normal(size=n) > 0).astype(np.float32),
        rows=np.arange(n),
    )


def ours(rows: Dataset, validation: Dataset) -> float:
    """CPU seconds of the fastest epoch of a trial, its scoring included."""
    ends: list[float] = []

    def after(epoch: Epoch) -> bool:
        ends.append(time.process_time())
        return True

    model = build(MODEL, SPEC, CONF)
    fit(model, rows, validation, CONF, task=Task.BINARY, metric="roc_auc_score", mode="max", on_epoch=after)
    return fastest(ends)


def fastest(ends: list[float]) -> float:
    """The shortest time between the ends of two epochs."""
    return min(b - a for a, b in itertools.pairwise(ends))


def bare(rows: Dataset) -> float:
    """CPU seconds of the fastest epoch of a loop as one would write it for these tensors."""
    model = build(MODEL, SPEC, CONF)
    optimizer = model.configure_optimizers()
    tensors = as_tensors(rows)
    ends = []
    for _ in range(EPOCHS):
        order = torch.randperm(ROWS)
        losses = []
        for start in range(0, ROWS, BATCH):
            batch = order[start : start + BATCH]
            numeric, categorical, target = (tensor.index_select(0, batch) for tensor in tensors)
            loss = model.loss(model(numeric, categorical), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        float(torch.stack(losses).mean())
        ends.append(time.process_time())
    return fastest(ends)


class Watch(Callback):
    """When each epoch ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.ends.append(time.process_time())


class Logged(TabularModel):
    """The same network, logging as the documentation of Lightning does."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", super().training_step(batch, batch_idx))


def with_dataloader(rows: Dataset, validation: Dataset) -> float:
    """CPU seconds of the fastest epoch of Lightning with the DataLoader of its documentation."""
    watch = Watch()
    quieten()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )
        loader = DataLoader(TensorDataset(*as_tensors(rows)), batch_size=BATCH, shuffle=True)
        compared = DataLoader(TensorDataset(*as_tensors(validation)), batch_size=BATCH)
        model = Logged(spec=SPEC, train=CONF, **{key: value for key, value in MODEL.items() if key != "_target_"})
        trainer.fit(model, loader, compared)
    return fastest(watch.ends)


@pytest.fixture(scope="module")
def turns() -> list[dict[str, float]]:
    """CPU seconds of an epoch of each side, turn by turn."""
    rows, validation = make_rows(ROWS, 0), make_rows(2_000, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            {"ours": ours(rows, validation), "bare": bare(rows), "dataloader": with_dataloader(rows, validation)}
            for _ in range(TURNS)
        ]
    finally:
        torch.set_num_threads(threads)


def ratio_of(turns: list[dict[str, float]], over: str, under: str) -> float:
    """The median over the turns."""
    return statistics.median(turn[over] / turn[under] for turn in turns)


def test_a_trial_against_lightning_with_a_dataloader(benchmark: Any, turns: list[dict[str, float]]) -> None:
    benchmark.pedantic(ours, args=(make_rows(ROWS, 0), make_rows(2_000, 1)), rounds=1, iterations=1)
    ratio = ratio_of(turns, "dataloader", "ours")
    benchmark.extra_info |= {"turns": turns, "ratio": ratio}
    assert ratio >= FLOOR


def test_a_trial_against_a_bare_loop(benchmark: Any, turns: list[dict[str, float]]) -> None:
    benchmark.pedantic(bare, args=(make_rows(ROWS, 0),), rounds=1, iterations=1)
    ratio = ratio_of(turns, "ours", "bare")
    benchmark.extra_info |= {"turns": turns, "ratio": ratio}
    assert ratio <= CEILING


def test_a_pass_of_the_loader_alone(benchmark: Any) -> None:
    tensors = as_tensors(make_rows(ROWS, 0))
    loader = TensorLoader(tensors, BATCH, seed=0)
    benchmark.pedantic(lambda: sum(1 for _ in loader), rounds=5, iterations=1, warmup_rounds=1)
    theirs = DataLoader(TensorDataset(*tensors), batch_size=BATCH, shuffle=True)
    began = time.perf_counter()
    sum(1 for _ in theirs)
    ratio = (time.perf_counter() - began) / benchmark.stats.stats.min
    benchmark.extra_info |= {"ratio": ratio}
    assert ratio >= LOADER_FLOOR
