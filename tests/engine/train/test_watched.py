from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.records import Epoch, Trial, TrialState
from engine.train.sweep import LocalSearch, OnEpoch, OnTrial, SweepJob, write_trial
from engine.train.watched import run_watched, together
from tests.engine.tides import Watcher
from tests.engine.train.made import make_job, make_plan


class Late(LocalSearch):
    """Tells of a stopped trial only in the end, as Ray Tune does."""

    def __init__(self) -> None:
        """No settings."""

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Two trials; the record of the first is there long before its end is told."""
        epoch = Epoch(epoch=1, train_loss=0.5, value=0.7, seconds=1.0)
        ended = []
        for plan in job.plans:
            on_epoch(plan.id, epoch)
            trial = Trial(
                id=plan.id, params=plan.params, state=TrialState.STOPPED, reason="", curve=(epoch,), best_epoch=1,
                value=0.7, seconds=1.0,
            )  # fmt: skip
            ended.append(write_trial(job.folder, trial, b""))
        for trial in ended:
            on_trial(trial)
        return tuple(ended)


def test_an_end_is_told_once_and_as_soon_as_it_is_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.watched.LOOK_EVERY", 0.0)
    watcher = Watcher()
    job = make_job(tmp_path, make_plan(0, lr=0.1), make_plan(1, lr=0.2))
    run_watched(Late(), job, watcher)
    assert [told[:2] for told in watcher.told] == [
        ("begins", "trial-000"),
        ("epoch", "trial-000"),
        ("begins", "trial-001"),
        ("epoch", "trial-001"),
        ("ended", "trial-000"),  # its record was there
        ("ended", "trial-001"),
    ]
    assert watcher.told[0][2] == {"train.lr": 0.1}
    assert watcher.told[0][3]["train"]["lr"] == 0.1


def test_a_plan_that_nobody_knows_yet_is_shown_without_its_point(tmp_path: Path) -> None:
    class Unplanned(LocalSearch):
        def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
            on_epoch("trial-099", Epoch(epoch=1, train_loss=0.5, value=0.7, seconds=1.0))
            return ()

    watcher = Watcher()
    run_watched(Unplanned(None), make_job(tmp_path), watcher)  # type: ignore[arg-type]
    assert watcher.told[0] == ("begins", "trial-099", {}, {})


def test_all_look_on_and_all_are_closed() -> None:
    closed: list[str] = []

    @contextlib.contextmanager
    def looking(name: str, watcher: Watcher) -> Iterator[Watcher]:
        try:
            yield watcher
        finally:
            closed.append(name)

    first, second = Watcher(), Watcher()
    epoch = Epoch(epoch=1, train_loss=0.5, value=0.7, seconds=1.0)

    def look() -> None:
        with together(looking("first", first), looking("second", second)) as told:
            told.begins("t", {"a": 1}, {})
            told.epoch("t", epoch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert first.told == second.told == [("begins", "t", {"a": 1}, {}), ("epoch", "t", epoch)]
    assert closed == ["second", "first"]
