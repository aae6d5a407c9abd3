"""Trials in packs on one GPU: steps a second launched, as CUDA graphs and in bf16, beside their floor; trials a minute
beside trials that share the GPU without packs.

    python -m benchmarks.engine.train.gpu_packs                   256 trials of 3 x 128, 100k rows x 20, batches of 1024
    python -m benchmarks.engine.train.gpu_packs --trials 32 --alone 0

Steps are those of one stack of all trials, timed over a whole epoch that ends with a synchronisation, after one in
which it was settled whether a graph is faster. The floor of a step is the larger of two: its products (6 operations a
trained number, row and trial) at the rate of a batched product of this width, and the bytes that it must move (three
passes over activations, forward and backward; eleven over weights, gradients and moments) at the rate of a device copy;
both rates are measured in the same run. The trials without packs are `--alone` many (0: none), on Ray, `--at-once` of
them with an equal share of the GPU each; what `--trials` would take is that times their number.

Writes benchmarks/results/packs_<gpu>_<date>.json with the versions. Without a GPU it runs on the CPU, to be tried, and
writes nothing: those are no figures of a device. It has not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from threading import Event
from typing import Any

import torch

from benchmarks.engine.train.bench_pack import COLUMNS, job
from engine.train import capacity
from engine.train.checkpoint import Keeper
from engine.train.conf import SearchConf, TrainConf
from engine.train.pack import device, graph
from engine.train.pack.device import Device, Rows
from engine.train.pack.gpu import GpuVector
from engine.train.pack.search import PackSearch
from engine.train.pack.trial import PackedTrial
from engine.train.sweep import Search, SweepJob

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
ACTIVATIONS, STATE = 3, 11  # passes over each in a step
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Line:
    """One row of the table: steps of all trials together."""

    name: str
    seconds: float  # of a step
    floor: float
    note: str  # what the trials say of their steps

    @property
    def rate(self) -> float:
        """Steps a second."""
        return 1 / self.seconds


@contextlib.contextmanager
def somewhere() -> Iterator[None]:
    """Where there is no GPU, the CPU stands for one."""
    if torch.cuda.is_available():
        yield
        return
    real = device.of

    def of(conf: TrainConf) -> Device:
        return Device("gpu", torch.device("cpu"), PRECISIONS.get(conf.precision, "32-true"))

    device.of = of
    try:
        yield
    finally:
        device.of = real


def wait() -> None:
    """Until the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run: Callable[[], object], repeats: int = 10) -> float:
    """Seconds of a call, the mean of some after one."""
    run()
    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - began) / repeats


def rates(width: int, batch: int, trials: int, precision: str) -> tuple[float, float]:
    """(operations a second of a batched product of this width, bytes a second of a copy, read and written)."""
    where = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    given, weight = (torch.randn(trials, n, width, device=where, dtype=kind) for n in (batch, width))
    products = 2.0 * trials * batch * width * width / timed(lambda: torch.bmm(given, weight))
    target = torch.empty_like(given)
    return products, 2.0 * given.nbytes / timed(lambda: target.copy_(given))


def floor(widths: tuple[int, ...], batch: int, trials: int, precision: str) -> float:
    """Seconds that a step of all trials takes at least."""
    products, copies = rates(widths[1], batch, trials, precision)
    numbers = sum(one * two + two for one, two in itertools.pairwise(widths))
    size = 2 if precision == "bf16" else 4
    moved = ACTIVATIONS * 2 * size * batch * sum(widths[1:]) + STATE * 4 * numbers
    return max(6.0 * trials * batch * numbers / products, trials * moved / copies)


def of_precision(todo: SweepJob, precision: str, epochs: int, gpus: float | None = None) -> SweepJob:
    """The job, on whichever device there is."""
    changes: dict[str, Any] = {"accelerator": "auto", "precision": precision, "max_epochs": epochs, "gpus": gpus}
    return replace(todo, plans=tuple(replace(plan, train=replace(plan.train, **changes)) for plan in todo.plans))


def steps(todo: SweepJob, precision: str, graphs: bool, epochs: int) -> tuple[float, str]:
    """Seconds of a step of one stack of all trials, and what their records say of it; the first epoch is not timed."""
    made = of_precision(todo, precision, epochs + 1)
    rows = Rows(made.train).on(device.of(made.plans[0].train))
    trials = [PackedTrial(made, plan, Keeper(None, ""), rows, lambda epoch: "") for plan in made.plans]
    vector = GpuVector(trials)
    if not graphs:
        vector._steps = graph.Steps(None)
    vector.train(Event())
    wait()
    began = time.perf_counter()
    for _ in range(epochs):
        vector.train(Event())
    wait()
    count = epochs * len(trials[0].standing.train_dataloader)
    return (time.perf_counter() - began) / count, "; ".join(trials[0].keeper.notes)


def minutes(search: Search, todo: SweepJob) -> float:
    """Trials a minute of a whole sweep, workers started beforehand."""
    search.start()
    try:
        before = search.startup_seconds
        began = time.perf_counter()
        trials = search.run(todo, on_epoch=lambda trial, epoch: None, on_trial=lambda trial: None)
        seconds = time.perf_counter() - began - (search.startup_seconds - before)
    finally:
        search.close()
    states = {trial.state.value for trial in trials}
    if states != {"finished"}:
        raise SystemExit(f"trials ended as {sorted(states)}: {trials[0].reason}")
    return 60.0 * len(trials) / seconds


def sweeps(words: argparse.Namespace, folder: Path, todo: SweepJob) -> dict[str, float]:
    """Trials a minute, in a pack of this process and without packs."""
    pack = PackSearch(SearchConf(backend="local", scheduler="none", pack="auto"))
    found = {"packed": minutes(pack, of_precision(replace(todo, folder=folder / "packed"), "auto", words.epochs))}
    if words.alone:
        from engine.train.tune import RaySearch

        share = 1 / words.at_once if torch.cuda.is_available() else None
        part = replace(todo, folder=folder / "alone", plans=todo.plans[: words.alone])
        conf = SearchConf(scheduler="none", workers=words.at_once)
        alone = RaySearch(conf, scratch=folder / "ray", gpus=share, paths=(str(Path.cwd()),))
        found["alone"] = minutes(alone, of_precision(part, "auto", words.epochs, share))
        found["ratio"] = found["packed"] / found["alone"]
    return found


def measure(words: argparse.Namespace) -> tuple[list[Line], dict[str, float]]:
    """All of it."""
    widths = (COLUMNS, *(words.width,) * words.depth, 1)
    lines = []
    with somewhere(), tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        todo = job(folder, words.trials, words.rows, words.batch, width=words.width, depth=words.depth)
        for precision in PRECISIONS:
            least = floor(widths, words.batch, words.trials, precision)
            for graphs in (False, True):
                seconds, note = steps(todo, precision, graphs, words.epochs)
                name = f"{'graph' if graphs else 'launched'}, {precision}"
                lines.append(Line(name, seconds, least, note))
        return lines, sweeps(words, folder, todo)


def show(words: argparse.Namespace, lines: list[Line], trials: dict[str, float]) -> None:
    """The table."""
    print(f"{words.trials} trials of {words.depth} x {words.width}, batches of {words.batch}, on {name_of()}")
    for line in lines:
        times = f"{1e3 * line.seconds:9.3f} ms {line.rate:9.1f} steps/s {line.seconds / line.floor:7.1f} x floor"
        print(f"  {line.name:16s}{times}  {line.note}")
    print("  trials a minute: " + ", ".join(f"{name} {value:.1f}" for name, value in trials.items()))


def name_of() -> str:
    """Of the GPU, or what stands for it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU: no figures of a device"


def write(words: argparse.Namespace, lines: list[Line], trials: dict[str, float], results: Path = RESULTS) -> Path:
    """The result with what made it. SystemExit without a GPU."""
    if not torch.cuda.is_available():
        raise SystemExit("gpu_packs: no GPU was found, nothing is written - run it where there is one")
    versions = {name: metadata.version(name) for name in ("torch", "lightning", "ray", "numpy")}
    versions |= {"python": platform.python_version(), "cuda": str(torch.version.cuda)}
    found = {"gpu": name_of(), "sizes": vars(words), "versions": versions, "trials_a_minute": trials}
    found["steps"] = [asdict(line) for line in lines]
    results.mkdir(parents=True, exist_ok=True)
    day = datetime.now(tz=UTC).date().isoformat()
    path = results / f"packs_{name_of().lower().replace(' ', '-')}_{day}.json"
    path.write_text(json.dumps(found, indent=1))
    return path


def read(arguments: list[str]) -> argparse.Namespace:
    """The sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine.train.gpu_packs")
    sizes = {"trials": 256, "rows": 100_000, "batch": 1024, "width": 128, "depth": 3, "epochs": 2, "alone": 32}
    for name, value in (sizes | {"at-once": min(16, capacity.cpus())}).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure, show, and write where there is a GPU."""
    words = read(arguments)
    lines, trials = measure(words)
    show(words, lines, trials)
    print(f"written: {write(words, lines, trials)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
