"""Windows of a small table, and all that a challenger is made of, without a loop around it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.data.conf import DataConf
from engine.data.features import Encoder
from engine.data.tables import fingerprint
from engine.models.challenger import Recipe, TrainingRows
from engine.records import Action, Decision, Epoch, Money, Sweep, Trial, Window
from engine.train.conf import ModelConf, SearchConf, TrainConf
from engine.train.search_space import Point, Space

HOURS = np.timedelta64(1, "h")
MODEL: ModelConf = {
    "_target_": "engine.train.model.TabularModel",
    "width": 8,
    "depth": 1,
    "dropout": 0.0,
    "embedding": 2,
}
TRAIN = TrainConf(windows=2, validation=0.25, max_epochs=2, batch_size=32, lr=0.05, accelerator="cpu")


def make_conf(**changes: Any) -> DataConf:
    """Two numbers (one with gaps), one category, a binary label."""
    values: dict[str, Any] = {
        "path": "windows",
        "id": "id",
        "time": "at",
        "label": "late",
        "task": "binary",
        "numeric": ["pull", "age"],
        "categorical": ["colour"],
        "slices": ["colour"],
    }
    return DataConf(**values | changes)


def make_window(index: int, n: int = 200, labelled: bool = True, task: str = "binary") -> Window:
    """Window `index`; its row ids begin at 1000 * index. The label follows `pull` and being red."""
    rng = np.random.default_rng(index)
    pull = rng.normal(size=n)
    colour = rng.choice(["red", "green", "blue"], n)
    signal = pull + 1.5 * (colour == "red") + 0.5 * rng.normal(size=n)
    label: np.ndarray = signal if task == "regression" else (signal > 0.5).astype(np.int64)
    gaps = np.arange(n) % 9 == 4
    table = pa.table(
        {
            "id": pa.array(np.arange(n) + 1000 * index),
            "at": pa.array(np.datetime64("2026-01-01T00", "us") + (np.arange(n) + n * index) * HOURS).cast(
                pa.timestamp("us", "UTC")
            ),
            "pull": pa.array(pull),
            "age": pa.array(rng.normal(40.0, 9.0, n), mask=gaps),
            "colour": pa.array(colour, mask=np.roll(gaps, 1)),
            "late": pa.array(label, mask=np.roll(gaps, 2)),
        }
    )
    if not labelled:
        table = table.drop_columns(["late"])
    name = f"w{index}"
    return Window(
        name=name, index=index, table=table, fingerprint=fingerprint(table), path=f"{name}.parquet", labelled=labelled
    )


def make_rows(task: str = "binary") -> TrainingRows:
    """Windows 1 and 2 to train on, window 3 held out."""
    return TrainingRows(
        windows=(make_window(1, task=task), make_window(2, task=task)), holdout=make_window(3, task=task)
    )


def make_encoder(conf: DataConf | None = None, task: str = "binary") -> Encoder:
    """Fitted on window 1."""
    return Encoder.fit(make_window(1, task=task).table, conf or make_conf(task=task))


def make_decision(action: Action = Action.RETUNE, id: str = "d" * 64) -> Decision:
    """To train at window w4."""
    nothing = Money(mean=0.0, std=0.0)
    return Decision(
        id=id,
        window="w4",
        policy="test",
        action=action,
        reason="",
        waiting=nothing,
        acting=nothing,
        probability=0.5,
        currency="EUR",
    )


def compose(point: Point) -> tuple[TrainConf, ModelConf]:
    """The confs above with the keys of the point changed."""
    train = {name: getattr(TRAIN, name) for name in TrainConf.__dataclass_fields__}
    model = dict(MODEL)
    for key, value in point.items():
        group, _, name = key.partition(".")
        (train if group == "train" else model)[name] = value
    return TrainConf(**train), model


def make_recipe(folder: Path, **changes: Any) -> Recipe:
    """Two points of the learning rate."""
    values: dict[str, Any] = {
        "data": make_conf(),
        "train": TRAIN,
        "search": SearchConf(num_samples=2, backend="local"),
        "space": Space.of({"train.lr": "choice(0.05, 0.02)"}),
        "compose": compose,
        "price": 3600.0,
        "trusted": (),
        "folder": folder,
        "config": {"train": {"lr": 0.05}, "track": {"api_key": "hush"}},
        "loop": "tides",
    }
    return Recipe(**values | changes)


class Watcher:
    """Remembers what an onlooker of one sweep was told."""

    def __init__(self) -> None:
        self.total, self.told = 0, list[tuple[Any, ...]]()
        self.closed = False

    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """A trial."""
        self.told.append(("begins", trial, dict(params), dict(config)))

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """An epoch."""
        self.told.append(("epoch", trial, epoch))

    def ended(self, trial: Trial) -> None:
        """A trial's end."""
        self.told.append(("ended", trial.id, trial))

    @contextlib.contextmanager
    def __call__(self, sweep: Sweep, total: int) -> Iterator[Watcher]:
        """Look on."""
        self.sweep, self.total = sweep, total
        try:
            yield self
        finally:
            self.closed = True
