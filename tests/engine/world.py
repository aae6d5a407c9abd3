"""A small synthetic world: windows of a table whose relation to its label turns round in the middle.

Up to `TURN` the label follows `pull`; from there on it follows `push`, and `pull` moves by a standard deviation. So the
first champion is good, then bad, and a retrain helps once the labels of the new regime are in.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine import cli
from engine.config.schema import Composer, Config, compose_config
from engine.cycle.setting import Confs, Ports
from engine.data.tables import write_parquet
from engine.promote.chain import Row
from engine.promote.ledger import Ledger
from engine.records import Cycle, from_plain
from engine.report.terminal import make_console
from engine.system.timing import Stopwatch
from engine.verbs import running

WINDOWS = tuple(f"2026-0{month}" for month in range(1, 9))
YOUNG = "2026-04"  # up to here the first champion is good enough
LAST = "2026-07"  # by here it has been replaced; one more window is left for what comes after
TURN = 3  # place of the first window of the new regime
ROWS = 600
DAY = 86_400_000_000  # microseconds

DATA = """\
path: {folder}/windows
labels: {folder}/labels
id: row
time: at
label: late
task: binary
numeric: [pull, push, noise]
categorical: [colour]
slices: [colour]
label_lag: 1
"""
EXPERIMENT = """\
# @package _global_
defaults:
  - override /data: world
  - override /search: none
  - override /track: none
loop: {{name: world}}
model: {{width: 8, depth: 1, embedding: 2, dropout: 0.0}}
train: {{windows: 2, max_epochs: 3, batch_size: 64, lr: 0.02}}
search: {{backend: local, num_samples: 2, space: {{train.lr: "choice(0.02, 0.03)"}}}}
evaluate: {{n_resamples: 100, min_slice_rows: 100, metrics: [roc_auc_score, log_loss]}}
gate:
  rules: {{calibrated: {{kind: noninferiority, metric: log_loss, margin: 0.05}}}}
  shadow: {{holds: {{kind: noninferiority, metric: roc_auc_score, margin: 0.05}}}}
decide: {{point_value: 100, review_cost: 300, staleness: 0.1, staleness_std: 0.1, hour_price: 0, planned: false}}
promote: {{cold_check: false}}
validate: {{rows_low: 0.1}}
"""


@dataclass(frozen=True)
class World:
    """Where the files of one world lie, and how to run verbs in it."""

    folder: Path  # windows, labels, conf
    out: Path  # what the loop writes

    def words(self, verb: str, *more: str) -> list[str]:
        """The command line of a verb in this world."""
        return [verb, "--config-dir", str(self.folder / "conf"), "experiment=world", f"out={self.out}", *more]

    def run(self, verb: str, *more: str) -> int:
        """Run a verb in this process; its exit code."""
        return cli.run(self.words(verb, *more))

    def ask(self, verb: str, *more: str) -> Answer:
        """Run a verb with --json in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(self.words(verb, "--json", *more))
        return Answer(code, out.getvalue(), err.getvalue())

    def config(self, *more: str) -> tuple[Config, Composer]:
        """The composed config of this world, and its composer."""
        words = ["experiment=world", f"out={self.out}", *more]
        composer = Composer(words, [f"file://{self.folder}/conf"])
        return compose_config(composer.overrides, composer.searchpath), composer

    @contextlib.contextmanager
    def opened(self, *more: str) -> Iterator[tuple[Confs, Ports]]:
        """What a Loop works with."""
        config, composer = self.config(*more)
        with running.opened(config, composer, make_console(quiet=True), Stopwatch()) as pair:
            yield pair

    def copy(self, out: Path) -> World:
        """The same world as it stands, to go on elsewhere."""
        shutil.copytree(self.out, out)
        return World(self.folder, out)

    def ledger(self) -> Ledger:
        """The ledger of the loop."""
        return Ledger.open(f"sqlite:///{self.out}/ledger.db", "world")

    def rows(self, kind: str | None = None) -> list[Row]:
        """The rows of the ledger."""
        with self.ledger() as ledger:
            return ledger.rows(kind)

    def cycles(self) -> dict[str, Cycle]:
        """The recorded cycles by window."""
        return {row.window: from_plain(Cycle, row.payload) for row in self.rows("cycle")}


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> dict[str, Any]:
        """The one JSON object that stdout holds."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def make_world(folder: Path, *, windows: Sequence[str] = WINDOWS, rows: int = ROWS) -> World:
    """Write the windows, the labels and the config of a world."""
    for index, name in enumerate(windows):
        table, label = rows_of(index, rows)
        write_parquet(table, folder / "windows" / f"{name}.parquet")
        write_parquet(label, folder / "labels" / f"{name}.parquet")
    return configure(folder)


def configure(folder: Path) -> World:
    """Write the config of a world alone; its windows come later."""
    write(folder / "conf" / "data" / "world.yaml", DATA.format(folder=folder))
    write(folder / "conf" / "experiment" / "world.yaml", EXPERIMENT.format(folder=folder))
    return World(folder, folder / "run")


def rows_of(index: int, rows: int) -> tuple[pa.Table, pa.Table]:
    """(features, labels) of one window; the same for the same index."""
    rng = np.random.default_rng([7, index])
    turned = index >= TURN
    pull = rng.normal(1.0 if turned else 0.0, 1.0, rows)
    push = rng.normal(0.0, 1.0, rows)
    colour = rng.choice(["red", "blue", "green"], rows, p=[0.5, 0.3, 0.2])
    strength = 2.5 * (push if turned else pull) + 0.3 * (colour == "red")
    late = rng.random(rows) < 1 / (1 + np.exp(-strength))
    ids = np.arange(rows) + 1_000_000 * index
    at = np.sort(rng.integers(0, 28 * DAY, rows)) + 30 * DAY * index
    table = pa.table(
        {
            "row": ids,
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "pull": pull,
            "push": push,
            "noise": rng.normal(0.0, 1.0, rows),
            "colour": colour,
        }
    )
    return table, pa.table({"row": ids, "late": late.astype(np.int64)})


def write(path: Path, text: str) -> None:
    """A text file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
