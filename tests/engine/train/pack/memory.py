"""The memory of a pack in a process of its own.

    python -m tests.engine.train.pack.memory <folder> <trials> <rows> <rows of a batch> <batches> [<threads> [<code>]]

The trials are 3 x 128, with dropout. Of an epoch they take so many batches, 0: all; the memory of a step is the same.
<code> 0: they are not compiled, and go the way of a user's network.
Prints one JSON object of bytes: what the process took at most (VmHWM), beyond what it had after a pack of two that are
smaller, and so for a pack of FEW; parameters and optimizer state of a trial; one copy of the rows; and how many trials
were vectorised.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.records import Dataset, FeatureSpec, Task
from engine.train.inference import build
from engine.train.pack import mapped, together
from engine.train.pack.compiled import Compiled
from engine.train.pack.layout import Unlike
from engine.train.pack.trial import PackedTrial
from engine.train.pack.vector import Vector
from engine.train.sweep import SweepJob
from tests.engine.train.made import MODEL, make_job, make_plan
from tests.engine.train.pack.packing import packed

COLUMNS = 20
FEW = 4  # trials of the pack before: code, and what the libraries keep for arithmetic of this size, are there with it


def status(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise KeyError(key)


def rows(n: int, seed: int) -> Dataset:
    """Random numbers; the label follows the first."""
    numeric = np.random.default_rng(seed).standard_normal((n, COLUMNS), dtype=np.float32)
    target = (numeric[:, 0] > 0).astype(np.float32)
    return Dataset(numeric=numeric, categorical=np.empty((n, 0), dtype=np.int64), target=target, rows=np.arange(n))


def make(folder: Path, trials: int, n: int, batch: int, width: int) -> SweepJob:
    model = {**MODEL, "width": width, "depth": 3, "dropout": 0.1}
    plans = [
        make_plan(
            i, model, lr=1e-3 * (1 + i / trials), seed=i, batch_size=batch, max_epochs=2, checkpoint_seconds=3600.0
        )
        for i in range(trials)
    ]
    names = tuple(f"n{i:02d}" for i in range(COLUMNS))
    spec = FeatureSpec(numeric=names, categorical=(), cardinalities=(), task=Task.BINARY, n_outputs=1)
    return replace(make_job(folder, *plans), spec=spec, train=rows(n, 1), validation=rows(n // 6, 2))


def _unlike(self: Compiled, trial: PackedTrial) -> None:
    raise Unlike


def size_of(data: Dataset) -> int:
    return sum(array.nbytes for array in vars(data).values() if isinstance(array, np.ndarray))


def main(
    folder: Path, trials: int, n: int, batch: int, batches: int, threads: int = 1, code: int = 1
) -> dict[str, Any]:
    """Both packs."""
    if not code:
        Compiled.check = _unlike  # type: ignore[method-assign]
    if batches:
        real = PackedTrial.batches
        PackedTrial.batches = lambda self: itertools.islice(real(self), batches)  # type: ignore[method-assign]
    packed(make(folder / "small", 2, batch, batch, 16), workers=threads)
    gc.collect()
    mapped.trim()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = status("VmRSS")
    vectorised = 0

    class Counted(Vector):
        def __init__(self, trials: Sequence[PackedTrial], stack: Any) -> None:
            nonlocal vectorised
            vectorised += len(trials)
            super().__init__(trials, stack)

    together.Vector = Counted  # type: ignore[misc]
    packed(make(folder / "few", FEW, n, batch, 128), workers=threads)
    few = status("VmHWM") - before
    vectorised = 0
    job = make(folder / "job", trials, n, batch, 128)
    ended = packed(job, workers=threads)
    plan = job.plans[0]
    parameters = sum(parameter.numel() for parameter in build(plan.model, job.spec, plan.train).parameters())
    return {
        "few": few,
        "peak": status("VmHWM") - before,
        "trial": 3 * 4 * parameters,
        "rows": size_of(job.train) + size_of(job.validation),
        "finished": sum(trial.state.value == "finished" for trial in ended),
        "vectorised": vectorised,
        "notes": sorted({note for trial in ended for note in trial.notes}),
    }


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    print(json.dumps(main(Path(place), *map(int, numbers))))
