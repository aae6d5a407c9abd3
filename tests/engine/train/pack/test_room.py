"""Packs of the size that memory allows: with a little of it, and measured again from outside."""

from __future__ import annotations

import gc
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.records import Trial, TrialState
from engine.train.conf import TrainConf
from engine.train.pack import device, gauge, mapped, room, together
from engine.train.pack.device import Device
from engine.train.pack.gauge import HostGauge, Storages
from engine.train.pack.room import KEPT, Here
from tests.engine.train.made import MODEL, make_job, make_plan, outcome
from tests.engine.train.pack.packing import gap, of, packed

ROOT = Path(__file__).parents[4]
WIDE = {**MODEL, "width": 64, "depth": 2, "dropout": 0.1}  # 20 KB of parameters
CURVE = 1e-5


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[tuple[Trial, ...], int]]:
    """Trains a pack in this thread, with so many bytes free; its trials, and the most that its tensors took."""
    monkeypatch.setattr(together, "ThreadPoolExecutor", lambda *rest, **words: Here())

    def train(folder: Path, free: float, plans: Any, **conf: Any) -> tuple[tuple[Trial, ...], int]:
        monkeypatch.setattr(HostGauge, "free", lambda self: float(free))
        with Storages() as found:
            trials = packed(make_job(folder, *plans, trusted=("tests",)), **{"workers": 1, **conf})
        return trials, found.most

    return train


def sizes(trials: tuple[Trial, ...]) -> set[float]:
    return {trial.use.trial_bytes for trial in trials if trial.use is not None}


@pytest.mark.parametrize("way", ["vectorised", "in turn", "gpu"])
def test_a_pack_takes_no_more_than_there_is(
    way: str, watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, Any], None]
) -> None:
    """24 trials want more than the megabyte that there is. What was measured is near what a pack really takes."""
    if way == "in turn":
        monkeypatch.setattr(together, "WORK", 0)
    if way == "gpu":
        monkeypatch.setattr(device, "of", lambda conf: Device("gpu", torch.device("cpu"), "32-true"))
    plans = [make_plan(i, WIDE, seed=i, max_epochs=1, batch_size=64) for i in range(24)]
    free = 1_200_000
    trials, most = watched(tmp_path / "job", free, plans)
    whole, all_at_once = watched(tmp_path / "whole", 1e12, plans)
    assert most <= free < all_at_once
    assert most >= 0.4 * free  # it is used
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    assert gap(trials, whole) <= CURVE
    (each,) = sizes(trials)
    at_once = {int(note.split(" for more than ")[1].split()[0]) for trial in trials for note in trial.notes}
    assert 2 <= max(at_once) < 24
    assert (max(at_once) + 2) * each > (1 - KEPT) * free / 2
    assert all(math.isnan(size) for size in sizes(whole))  # there it did not matter
    assert {trial.notes for trial in whole} == {()}
    told = trials[0].notes[0]
    assert told.startswith(f"its pack had no room for more than {max(at_once)} trials: one more takes 0.")
    assert told.endswith(f" MiB, and {(1 - KEPT) * free / 2**20:.3g} may be taken")
    record_property(f"a pack's tensors at most, where 1.2 MB are free ({way})", f"{most / free:.2f} of them")


def test_the_size_that_memory_gave_is_the_same_in_every_run(watched: Any, tmp_path: Path) -> None:
    plans = [make_plan(i, WIDE, seed=i, max_epochs=2) for i in range(6)]
    _, first, second = (watched(tmp_path / name, 500_000, plans)[0] for name in "abc")  # one makes what stays
    assert outcome(first) == outcome(second)
    assert [trial.notes for trial in first] == [trial.notes for trial in second]
    assert sizes(first) == sizes(second)


def test_garbage_of_earlier_packs_is_not_taken_off() -> None:
    """Mapped memory in a circle, which Python finds in the middle of a measurement."""
    gc.disable()  # not before it
    try:
        circle: list[Any] = [mapped.zeros(2_000_000)]
        circle[0].add_(1.0)
        circle.append(circle)
        del circle
        with HostGauge().watched() as taken:
            kept = mapped.zeros(100_000)
            kept.add_(1.0)
            gc.collect()
    finally:
        gc.enable()
    assert taken.end == taken.most == pytest.approx(4 * len(kept), abs=2 * 4096)


def test_where_one_trial_fits_alone_they_train_one_after_the_other(watched: Any, tmp_path: Path) -> None:
    plans = [make_plan(i, WIDE, seed=i, max_epochs=1) for i in range(3)]
    trials, _ = watched(tmp_path / "job", 1000, plans)
    theirs = packed(make_job(tmp_path / "alone", *plans), "1")
    assert outcome(trials) == outcome(theirs)
    assert all(" for more than 1 trials: " in trial.notes[0] for trial in trials)


def test_a_number_that_was_asked_for_is_not_measured(watched: Any, tmp_path: Path) -> None:
    plans = [make_plan(i, WIDE, max_epochs=1) for i in range(3)]
    trials, _ = watched(tmp_path / "job", 1000, plans, pack="3")
    assert all(math.isnan(size) for size in sizes(trials))
    assert {trial.notes for trial in trials} == {()}


def test_larger_trials_are_counted_as_what_they_are(watched: Any, tmp_path: Path) -> None:
    """Small ones join until there is no room for one more like the largest."""
    plans = [make_plan(i, {**WIDE, "width": 128 if i % 2 else 16}, seed=i, max_epochs=1) for i in range(10)]
    free = 2_000_000
    trials, most = watched(tmp_path / "job", free, plans)
    assert most <= free
    small, large = sorted({trial.use.trial_bytes for trial in trials if trial.use is not None})
    assert large > 4 * small


def test_a_trial_that_fails_in_its_rehearsal_fails_as_it_would(watched: Any, tmp_path: Path) -> None:
    plans = [make_plan(i, of("Raising"), max_epochs=1) for i in range(3)]
    trials, _ = watched(tmp_path / "job", 10_000, plans)
    assert all(trial.reason.startswith("ValueError: no more") for trial in trials)


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_where_memory_runs_out_in_the_rehearsal_a_trial_is_alone(
    kind: type[Exception], watched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*rest: Any) -> Any:
        raise kind("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(room.Room, "_rehearse", short)
    trials, _ = watched(tmp_path / "job", 100_000, [make_plan(i, WIDE, max_epochs=1) for i in range(3)])
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    assert all(" for more than 1 trials: " in trial.notes[0] for trial in trials)


def test_packs_of_one_machine_share_its_memory_and_a_gpu_is_shared_by_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    class Fixed(HostGauge):
        def free(self) -> float:
            return 1000.0

    def gauge_of(where: Device, share: float) -> HostGauge:
        asked.append(share)
        return Fixed()

    monkeypatch.setattr(gauge, "of", gauge_of)
    job = make_job(tmp_path, make_plan(0), make_plan(1, gpus=0.25))
    rows = device.Rows(job.train)
    found = []
    for plan, kind in zip(job.plans, ("cpu", "gpu"), strict=True):
        monkeypatch.setattr(device, "of", lambda conf, kind=kind: Device(kind, torch.device("cpu"), "32-true"))
        trial = room.PackedTrial(job, plan, room.Keeper(None, ""), rows.on(device.of(TrainConf())), lambda epoch: "")
        made = room.Room(job, 8, packs=4)
        made.joined(trial, rows.on(trial.device))
        found += made._free.values()
    assert found == [pytest.approx((1 - KEPT) * 250), pytest.approx((1 - KEPT) * 1000)]
    assert (asked[0], 0.25 in asked) == (1.0, True)


WITHIN = (0.7, 1.6)  # what was foretold, of what the process took: pages are used again, and lines kept free


@pytest.mark.parametrize(
    ("way", "rows", "batch"),
    [pytest.param("in turn", 2_100, 1024, marks=pytest.mark.slow), ("vectorised", 330, 11)],
    ids=["in turn", "vectorised"],
)
def test_what_is_foretold_is_what_the_process_takes(
    way: str, rows: int, batch: int, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    """Resident memory, from outside of torch, of further trials of 3 x 128."""
    words = ["tests.engine.train.pack.foretold", str(tmp_path), str(rows), str(batch)]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ratio = found["foretold"] / found["took"]
    record_property(f"memory of a further trial of 3 x 128, foretold over taken ({way})", f"{ratio:.2f}")
    assert WITHIN[0] <= ratio <= WITHIN[1], found
