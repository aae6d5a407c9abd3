"""A sweep of 1000 trials: what its driver holds, and how long the same sweep takes to find that all has ended.

    python -m pytest benchmarks/engine/train/bench_many.py -s

The trials are tiny (64 rows, one epoch): what is looked at is Tune, our records and the driver between them. Driver and
resume are processes of their own: the high-water mark of a test process would count other tests. Memory is VmHWM (all
that was resident at the worst moment, shared pages included) and the proportional share at the end (PSS). A resume is
timed from the start of Python to the last trial told, Ray started and ended in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TRIALS = 1000
MEMORY = 1024.0  # MiB of the driver, at most
RESUME = 10.0  # seconds, at most
ROOT = Path(__file__).resolve().parents[3]


def run(folder: Path, trials: int) -> dict[str, Any]:
    """The driver: all trials of one job that have not ended yet."""
    from engine.records import Dataset, FeatureSpec, Task
    from engine.train.conf import SearchConf, TrainConf
    from engine.train.sweep import SweepJob, TrialPlan
    from engine.train.tune import RaySearch

    model = {"_target_": "engine.train.model.TabularModel", "width": 4, "depth": 1, "embedding": 1}
    names = tuple(f"n{i}" for i in range(20))
    spec = FeatureSpec(numeric=names, categorical=(), cardinalities=(), task=Task.BINARY, n_outputs=1)
    rng = np.random.default_rng(0)
    rows = Dataset(
        numeric=rng.normal(size=(64, len(names))).astype(np.float32),
        categorical=np.empty((64, 0), dtype=np.int64),
        target=(np.arange(64) % 2).astype(np.float32),
        rows=np.arange(64),
    )
    plans = []
    for index in range(trials):
        lr = 1e-3 * (1 + index / trials)
        train = TrainConf(max_epochs=1, batch_size=64, lr=lr, accelerator="cpu")
        plans.append(TrialPlan(id=f"trial-{index:03d}", params={"train.lr": lr}, train=train, model=model))
    job = SweepJob(
        id="0" * 64,
        plans=tuple(plans),
        spec=spec,
        train=rows,
        validation=rows,
        metric="roc_auc_score",
        mode="max",
        folder=folder / "job",
    )
    search = RaySearch(SearchConf(workers=2, grace_period=1), scratch=folder)
    search.start()
    told: list[str] = []
    epochs = 0

    def on_epoch(trial: str, epoch: Any) -> None:
        nonlocal epochs
        epochs += 1

    ended = search.run(job, on_epoch=on_epoch, on_trial=lambda trial: told.append(trial.id))
    search.close()
    assert sorted(told) == [plan.id for plan in sorted(plans, key=lambda plan: plan.id)]
    return {
        "finished": sum(trial.state.value == "finished" for trial in ended),
        "trained": epochs,
        "high_water": _kib("/proc/self/status", "VmHWM:") / 1024,
        "share": _kib("/proc/self/smaps_rollup", "Pss:") / 1024,
        "cpu": time.process_time(),
    }


def _kib(path: str, key: str) -> int:
    return int(next(line for line in Path(path).read_text().splitlines() if line.startswith(key)).split()[1])


def driven(folder: Path, trials: int = TRIALS) -> dict[str, Any]:
    """`run` in a process of its own, with its wall seconds."""
    command = [sys.executable, "-m", "benchmarks.engine.train.bench_many", str(folder), str(trials)]
    began = time.perf_counter()
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    answer: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return answer | {"wall": time.perf_counter() - began}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


def test_the_driver_of_1000_trials(benchmark: Any, folder: Path) -> None:
    answer = benchmark.pedantic(driven, args=(folder,), rounds=1, iterations=1)
    benchmark.extra_info |= answer
    print(answer)
    assert answer["finished"] == answer["trained"] == TRIALS
    assert answer["high_water"] <= MEMORY


def test_the_resume_of_1000_trials(benchmark: Any, folder: Path) -> None:
    answer = benchmark.pedantic(driven, args=(folder,), rounds=3, iterations=1)
    benchmark.extra_info |= answer
    print(answer)
    assert (answer["finished"], answer["trained"]) == (TRIALS, 0)
    assert answer["high_water"] <= MEMORY
    assert benchmark.stats.stats.min <= RESUME


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
