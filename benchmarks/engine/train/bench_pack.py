"""Trials that train together (search.pack=auto), against the same trials one by one and against a plain script.

    python -m pytest benchmarks/engine/train/bench_pack.py -s

Two kinds of trials of the built-in network, whose epochs a pack takes in compiled code. Small ones (batches of 256) are
mostly dispatch, of which nothing is left there; then scoring, making and recording a trial show. The side against them
is our own sweep without packs in the same process, on an eighth of the trials, times eight, in CPU seconds of one
thread. Larger ones (3 x 128, batches of 1,024) are arithmetic, three quarters of it products of matrices, which nothing
makes faster: a pack saves their start and what Lightning, autograd and dropout spend around the products. Such a step
is measured, and its products alone; 64 trials, one epoch of 100,000 rows of 20 numbers, are timed from command to end,
in packs on two Ray workers and in one pack of this process, against our own sweep on Ray without packs, and against
benchmarks/peers/plain_tune.py, all on two CPUs. The script would take minutes: it trains 8 and 16 trials, and a line
through the two gives what 64 take (its start is counted once). SMALL, STEP and FLOORS are what we claim.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.engine.train import bench_sweep
from engine.records import Dataset, FeatureSpec, Task, Trial
from engine.train.conf import SearchConf, TrainConf
from engine.train.loader import as_tensors
from engine.train.naming import trial_id
from engine.train.pack.compiled import Compiled
from engine.train.pack.search import PackSearch
from engine.train.pack.trial import PackedTrial
from engine.train.sweep import LocalSearch, SweepJob, TrialPlan, make_keeper, run_trial

SMALL = {16: 4.0, 64: 4.0}  # width -> CPU seconds one by one, in CPU seconds of a pack of 64
# CPU seconds of a step of 3 x 128 at 1,024 rows in a trial alone, in those of one in compiled code
STEP = 1.9
FLOORS = {  # seconds of the first, in seconds of the second, from command to end: 64 trials of 3 x 128
    ("no packs", "packs, ray"): 1.5,
    ("script", "packs, ray"): 10.0,
    ("no packs", "packs, local"): 2.5,
    ("script", "packs, local"): 15.0,
}
TRIALS, PART = 64, 8
SCRIPT = 8, 16  # trials of the plain script; from 4 and 8 the line to 64 came to 232 to 394 s
COLUMNS = 20


def rows(n: int, seed: int) -> Dataset:
    """The label follows four of the numbers."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(n, COLUMNS)).astype(np.float32)
    signal = numeric[:, 0] * numeric[:, 1] + numeric[:, 2] - 0.5 * numeric[:, 3]
    target = (signal + rng.normal(size=n) > 0).astype(np.float32)
    return Dataset(numeric=numeric, categorical=np.empty((n, 0), dtype=np.int64), target=target, rows=np.arange(n))


def job(folder: Path, trials: int, n: int, batch: int, **model: Any) -> SweepJob:
    """Trials of one shape, with rates, decays and seeds of their own."""
    names = tuple(f"n{i:02d}" for i in range(COLUMNS))
    plans = tuple(
        TrialPlan(
            id=trial_id(i),
            params={"train.lr": 1e-3 * (1 + i)},
            train=TrainConf(max_epochs=1, batch_size=batch, lr=1e-3 * (1 + i), seed=i, accelerator="cpu"),
            model={"_target_": "engine.train.model.TabularModel", **model},
        )
        for i in range(trials)
    )
    return SweepJob(
        id="0" * 64,
        plans=plans,
        spec=FeatureSpec(numeric=names, categorical=(), cardinalities=(), task=Task.BINARY, n_outputs=1),
        train=rows(n, 0),
        validation=rows(n // 6, 1),
        metric="roc_auc_score",
        mode="max",
        folder=folder,
    )


def cpu_seconds(search: LocalSearch | PackSearch, todo: SweepJob) -> tuple[float, tuple[Trial, ...]]:
    """Of one sweep, and its trials."""
    began = time.process_time()
    trials = search.run(todo, on_epoch=lambda trial, epoch: None, on_trial=lambda trial: None)
    seconds = time.process_time() - began
    assert {trial.state.value for trial in trials} == {"finished"}
    assert {trial.notes for trial in trials} == {()}
    return seconds, trials


@pytest.mark.parametrize("width", list(SMALL))
def test_64_small_trials_against_themselves_one_by_one(benchmark: Any, width: int, tmp_path: Path) -> None:
    shape = {"n": 20_000, "batch": 256, "width": width, "depth": 2}
    conf = {"backend": "local", "scheduler": "none"}
    alone, pack = LocalSearch(SearchConf(**conf)), PackSearch(SearchConf(**conf, pack="auto", workers=1))  # type: ignore[arg-type]
    for side in (alone, pack):  # imports, and kernels compiled
        cpu_seconds(side, job(tmp_path / f"{time.time_ns()}", 2, **shape))

    def both() -> dict[str, float]:
        one_by_one, theirs = cpu_seconds(alone, job(tmp_path / f"{time.time_ns()}", PART, **shape))
        packed, ours = cpu_seconds(pack, job(tmp_path / f"{time.time_ns()}", TRIALS, **shape))
        for mine, other in zip(ours, theirs, strict=False):
            assert mine.curve[0].train_loss == pytest.approx(other.curve[0].train_loss, rel=1e-4)
        return {"alone": one_by_one * TRIALS / PART, "packed": packed}

    found = benchmark.pedantic(both, rounds=1, iterations=1)
    ratio = found["alone"] / found["packed"]
    benchmark.extra_info |= found | {"ratio": ratio}
    print(f"width {width}, load {os.getloadavg()[0]:.1f}: {found}, {ratio:.1f} x")
    assert ratio >= SMALL[width]


LARGE = {"width": 128, "depth": 3}


def products(rows: int, widths: tuple[int, ...], times: int = 40) -> float:
    """CPU seconds of the matrix products of a step alone, one thread: what no way of taking it can do without.

    Forward, and the gradients of all weights and of all inputs but the first, on buffers that are used again.
    """
    shapes = list(itertools.pairwise(widths))
    given = [torch.randn(rows, width) for width in widths]
    weights, found = ([torch.randn(out, wide) for wide, out in shapes] for _ in range(2))
    took = []
    for _ in range(times):
        began = time.process_time()
        for i, weight in enumerate(weights):
            torch.mm(given[i], weight.t(), out=given[i + 1])
        for i in reversed(range(len(weights))):
            torch.mm(given[i + 1].t(), given[i], out=found[i])
            if i:
                torch.mm(given[i + 1], weights[i], out=given[i])
        took.append(time.process_time() - began)
        given = [torch.randn_like(rows_) for rows_ in given]  # or they would grow
    return float(np.median(took))


def test_a_step_of_a_larger_trial_and_its_parts(benchmark: Any, tmp_path: Path) -> None:
    """CPU of a trial, by its steps: alone by Lightning, in its turn by autograd, compiled; and the products alone."""
    n, batch, turns = 30_000, 1024, 3
    todo = job(tmp_path, 3 * turns, n, batch, **LARGE)
    tensors, by_code, steps = as_tensors(todo.train), Compiled(), -(-n // batch)

    def trial(index: int) -> PackedTrial:
        plan = todo.plans[index]
        return PackedTrial(todo, plan, make_keeper(todo, plan), tensors, lambda epoch: "")

    def one(kind: str, index: int) -> float:
        began = time.process_time()
        if kind == "alone":
            run_trial(todo, todo.plans[index], lambda epoch: True)
            return (time.process_time() - began) / steps
        made = trial(index)
        (by_code.train if kind == "compiled" else PackedTrial.train_alone)(made, Event())
        made.score()
        return (time.process_time() - began) / steps

    def all_ways() -> dict[str, float]:
        torch.set_num_threads(1)
        by_code.check(trial(0))
        one("alone", 0)  # imports
        kinds = ("alone", "in turn", "compiled")
        took = [[one(kind, 3 * turn + i) for i, kind in enumerate(kinds)] for turn in range(turns)]
        best = dict(zip(kinds, np.min(took, axis=0).tolist(), strict=True))
        return best | {"products": products(batch, (COLUMNS, *(LARGE["width"],) * LARGE["depth"], 1))}

    found = benchmark.pedantic(all_ways, rounds=1, iterations=1)
    ratio = found["alone"] / found["compiled"]
    benchmark.extra_info |= found | {"ratio": ratio}
    shown = {kind: f"{1e3 * seconds:.2f} ms" for kind, seconds in found.items()}
    print(f"3 x 128 at {batch} rows, load {os.getloadavg()[0]:.1f}: {shown}, {ratio:.2f} x")
    assert ratio >= STEP


RATES = tuple(float(f"{rate:.3e}") for rate in np.geomspace(5e-4, 1e-2, TRIALS))
MODEL = "model: {_target_: benchmarks.peers.net.Net}"


def command(folder: Path, rates: tuple[float, ...], more: str) -> tuple[float, int]:
    """`tidegate sweep` of trials of 3 x 128: its seconds and trials. `more`: lines of the group search.

    The built-in network: that of the script looks at an attribute in each step, which is a user's code.
    """
    bench_sweep.write_conf(folder, folder / f"out-{time.time_ns()}", rates, (LARGE["width"],))
    path = folder / "conf" / "experiment" / "bench.yaml"
    text = path.read_text()
    assert MODEL in text
    model = f"model: {{_target_: engine.train.model.TabularModel, depth: {LARGE['depth']}}}"
    path.write_text(text.replace(MODEL, model).replace("  num_samples: 1\n", f"  num_samples: 1\n{more}"))
    words = ["sweep", "--config-dir", str(folder / "conf"), "experiment=bench", "--json"]
    (_, _, seconds), answer = bench_sweep.timed([sys.executable, "-m", "engine.cli", *words], folder)
    trials = answer["candidate"]["trials"]
    assert {trial["state"] for trial in trials} == {"finished"}
    return seconds, len(trials)


def script(folder: Path, rates: tuple[float, ...]) -> tuple[float, int]:
    """The plain script on the same rows and trials."""
    todo = {
        "rows": str(folder / "windows" / "2026-01.parquet"),
        "train_rows": bench_sweep.TRAIN,
        "columns": bench_sweep.COLUMNS,
        "space": {"lr": rates, "width": [LARGE["width"]], "depth": [LARGE["depth"]]},
        "epochs": bench_sweep.EPOCHS,
        "batch_size": bench_sweep.BATCH,
        "workers": bench_sweep.WORKERS,
        "reuse_actors": False,
        "out": str(folder / f"plain-{time.time_ns()}"),
    }
    (folder / "job.json").write_text(json.dumps(todo))
    words = [sys.executable, "-m", "benchmarks.peers.plain_tune", str(folder / "job.json")]
    (_, _, seconds), answer = bench_sweep.timed(words, folder)
    assert answer["errors"] == 0
    return seconds, answer["trials"]


@pytest.mark.parametrize("trials", [int(os.environ.get("TIDEGATE_BENCH_PACK", TRIALS))])
def test_64_larger_trials_from_command_to_end(benchmark: Any, trials: int, tmp_path: Path) -> None:
    rates = RATES[:trials]
    bench_sweep.write_windows(tmp_path / "windows")

    def all_sides() -> dict[str, float]:
        found: dict[str, float] = {}
        for side, run, of in (
            ("packs, ray", lambda some: command(tmp_path, some, "  pack: auto\n"), rates),
            ("packs, local", lambda some: command(tmp_path, some, "  backend: local\n  pack: auto\n"), rates),
            ("no packs", lambda some: command(tmp_path, some, ""), rates),
            *((f"script, {n}", lambda some: script(tmp_path, some), RATES[:n]) for n in SCRIPT),
        ):
            found[side], count = run(of)
            assert count == len(of)
            print(f"{side}: {found[side]:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
        few, many = SCRIPT
        each = (found[f"script, {many}"] - found[f"script, {few}"]) / (many - few)
        return found | {"script": found[f"script, {many}"] + (trials - many) * each}

    found = benchmark.pedantic(all_sides, rounds=1, iterations=1)
    ratios = {pair: found[pair[0]] / found[pair[1]] for pair in FLOORS}
    benchmark.extra_info |= found | {" / ".join(pair): ratio for pair, ratio in ratios.items()}
    print(f"{trials} trials: {found}, {ratios}")
    for pair, floor in FLOORS.items():
        assert ratios[pair] >= floor, pair
