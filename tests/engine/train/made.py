"""Small rows of every task whose label can be learned, and the jobs made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.records import Dataset, Epoch, FeatureSpec, Task, Trial
from engine.train.conf import ModelConf, SearchConf, TrainConf
from engine.train.naming import trial_id
from engine.train.search_space import Point, Space
from engine.train.searchers import begin
from engine.train.sweep import Further, SweepJob, TrialPlan

MODEL: ModelConf = {
    "_target_": "engine.train.model.TabularModel",
    "width": 16,
    "depth": 1,
    "dropout": 0.0,
    "embedding": 2,
}
RESIDUAL: ModelConf = {
    "_target_": "engine.train.model.ResidualModel",
    "width": 16,
    "blocks": 2,
    "expansion": 1.5,
    "dropout": 0.0,
    "embedding": 2,
}


def make_spec(task: Task = Task.BINARY) -> FeatureSpec:
    """Three numbers and two categories."""
    return FeatureSpec(
        numeric=("a", "b", "c"),
        categorical=("d", "e"),
        cardinalities=(4, 3),
        task=task,
        n_outputs=3 if task is Task.MULTICLASS else 1,
        target_mean=50.0 if task is Task.REGRESSION else 0.0,
        target_scale=20.0 if task is Task.REGRESSION else 1.0,
    )


def make_rows(task: Task = Task.BINARY, n: int = 256, seed: int = 0) -> Dataset:
    """The label follows the first number, and whether the first category is 3."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(n, 3)).astype(np.float32)
    categorical = np.column_stack([rng.integers(0, 4, n), rng.integers(0, 3, n)])
    signal = numeric[:, 0] + 2.0 * (categorical[:, 0] == 3)
    if task is Task.BINARY:
        target: np.ndarray = (signal > 0.4).astype(np.float32)
    elif task is Task.MULTICLASS:
        target = np.digitize(signal, [0.0, 1.0]).astype(np.int64)
    else:
        target = (50.0 + 20.0 * signal).astype(np.float32)
    return Dataset(numeric=numeric, categorical=categorical, target=target, rows=np.arange(n) + 1000 * seed)


def make_train(**changes: Any) -> TrainConf:
    """Three short epochs."""
    values: dict[str, Any] = {"max_epochs": 3, "batch_size": 32, "lr": 0.05, "accelerator": "cpu"}
    return TrainConf(**values | changes)


def make_plan(index: int = 0, model: ModelConf | None = None, **train: Any) -> TrialPlan:
    """A trial whose parameters are the changes of its train config."""
    params = {f"train.{key}": value for key, value in train.items()}
    return TrialPlan(id=f"trial-{index:03d}", params=params, train=make_train(**train), model=model or MODEL)


def make_job(folder: Path, *plans: TrialPlan, **changes: Any) -> SweepJob:
    """A binary job; every changed key is a field of SweepJob."""
    values: dict[str, Any] = {
        "id": "0123456789abcdef",
        "plans": plans or (make_plan(),),
        "spec": make_spec(),
        "train": make_rows(seed=1),
        "validation": make_rows(seed=2, n=128),
        "metric": "roc_auc_score",
        "mode": "max",
        "folder": folder,
    }
    return SweepJob(**values | changes)


def ignore_epoch(trial: str, epoch: Epoch) -> None:
    """For searches whose epochs nobody follows."""


SPACE = {"train.lr": "tag(log, interval(1e-3, 3e-1))", "model.width": "choice(4, 8, 16)"}


def compose(index: int, point: Point) -> TrialPlan:
    """The trial of a point of SPACE, with four epochs."""
    model = {**MODEL, **({"width": point["model.width"]} if "model.width" in point else {})}
    train = make_train(max_epochs=4, lr=point["train.lr"])
    return TrialPlan(id=trial_id(index), params=point, train=train, model=model)


def adaptive(folder: Path, conf: SearchConf, first: Point | None = None, **changes: Any) -> SweepJob:
    """A job whose points a searcher chooses."""
    points, searcher = begin(conf, Space.of(conf.space), first)
    assert searcher is not None
    plans = tuple(compose(i, point) for i, point in enumerate(points))
    further = Further(searcher=searcher, plan=compose, size=conf.num_samples)
    return replace(make_job(folder, **changes), plans=plans, further=further)


def outcome(trials: Iterable[Trial]) -> list[Any]:
    """All of each trial that does not depend on the clock."""
    return [
        (t.id, t.params, t.state, t.reason, [(e.epoch, e.train_loss, e.value, e.others) for e in t.curve], t.value)
        for t in trials
    ]
