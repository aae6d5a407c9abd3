"""A whole sweep in this process: what comes next, what is stopped, what goes on after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.records import Epoch, Trial, TrialState
from engine.train import front
from engine.train.conf import SearchConf
from engine.train.course import Course
from engine.train.search_space import Point
from engine.train.searchers import Seen
from engine.train.sweep import Further, LocalSearch, SweepJob, TrialPlan, best, read_trial
from tests.engine.train.made import SPACE, adaptive, compose, ignore_epoch, make_job, make_plan, outcome


def run(conf: SearchConf, job: SweepJob, on_epoch: Callable[[str, Epoch], None] = ignore_epoch) -> tuple[Trial, ...]:
    return LocalSearch(conf).run(job, on_epoch=on_epoch, on_trial=lambda trial: None)


class Killed(BaseException):
    pass


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("none", "hyperband", "median")]


@pytest.mark.parametrize("scheduler", ["asha", "paired", *SLOW])
def test_a_sweep_that_is_killed_anywhere_goes_on_as_it_would_have(scheduler: str, tmp_path: Path) -> None:
    conf = SearchConf(
        backend="local",
        searcher="tpe",
        space=SPACE,
        num_samples=7,
        startup=3,
        scheduler=scheduler,
        grace_period=1,
        min_trials=2,
        seed=5,
    )
    whole = run(conf, adaptive(tmp_path / "whole", conf))
    assert len(whole) == 7
    epochs = sum(len(t.curve) for t in whole)
    if scheduler != "none":
        assert TrialState.STOPPED in {t.state for t in whole}

    def killed_after(n: int) -> Callable[[str, Epoch], None]:
        left = iter(range(n - 1, -1, -1))

        def kill(trial: str, epoch: Epoch) -> None:
            if next(left) == 0:
                raise Killed

        return kill

    for cut in (1, epochs // 3, epochs - 3):  # in its first epoch, midway, and near its end; and once more soon after
        folder = tmp_path / str(cut)
        for n in (cut, 2):
            with pytest.raises(Killed):
                run(conf, adaptive(folder, conf), killed_after(n))
        again = run(conf, adaptive(folder, conf))
        assert outcome(again) == outcome(whole)
        for trial in again:
            if trial.weights:
                other = next(t for t in whole if t.id == trial.id)
                assert Path(trial.weights).read_bytes() == Path(other.weights).read_bytes()


def test_nothing_but_our_own_record_is_read_back(tmp_path: Path) -> None:
    conf = SearchConf(backend="local", searcher="tpe", space=SPACE, num_samples=3, startup=1, scheduler="none")
    run(conf, adaptive(tmp_path, conf))
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"spent.json", "plan.json", "trial.json", "weights.safetensors"}


def test_a_point_that_had_begun_is_kept(tmp_path: Path) -> None:
    """Also where several ran at once, and others have ended since that would lead the searcher elsewhere."""
    conf = SearchConf(searcher="tpe", space=SPACE, num_samples=5, startup=1)
    job = adaptive(tmp_path, conf)
    course = Course(conf, job, ignore_epoch, lambda trial: None)
    begun = [course.next() for _ in range(3)]
    again = Course(conf, job, ignore_epoch, lambda trial: None)
    assert [again.next() for _ in range(3)] == begun
    assert again.left == 2
    (tmp_path / "trial-001" / "plan.json").write_text("{")  # torn: chosen anew, and what came after it too
    torn = Course(conf, job, ignore_epoch, lambda trial: None)
    assert torn.left == 5
    assert torn.next() == begun[0]


def test_a_damaged_later_record_is_not_taken_for_another_point(tmp_path: Path) -> None:
    conf = SearchConf(backend="local", searcher="tpe", space=SPACE, num_samples=4, startup=1, scheduler="none")
    first = run(conf, adaptive(tmp_path, conf))
    (tmp_path / "trial-001" / "plan.json").unlink()
    ran: list[str] = []
    again = run(conf, adaptive(tmp_path, conf), lambda trial, epoch: ran.append(trial))
    assert set(ran) == {"trial-001", "trial-002", "trial-003"}
    assert outcome(again) == outcome(first)


def test_the_searcher_is_told_every_trial_in_order(tmp_path: Path) -> None:
    heard: list[list[Seen]] = []

    class Listening:
        def suggest(self, seen: Sequence[Seen]) -> Point | None:
            heard.append(list(seen))
            return {"train.lr": 0.01 * (len(seen) + 1)} if len(seen) < 3 else None

    conf = SearchConf(backend="local", scheduler="none", max_failures=0)
    job = replace(make_job(tmp_path), plans=(), further=Further(searcher=Listening(), plan=compose, size=9))
    trials = run(conf, job)
    assert len(trials) == 3
    assert [len(seen) for seen in heard] == [0, 1, 2, 3]
    assert [s.trial for s in heard[-1]] == list(trials)


def test_the_first_point_comes_first(tmp_path: Path) -> None:
    conf = SearchConf(backend="local", searcher="tpe", space=SPACE, num_samples=2, startup=1, scheduler="none")
    warm = {"train.lr": 0.02, "model.width": 8}
    trials = run(conf, adaptive(tmp_path, conf, warm))
    assert trials[0].params == warm
    assert len(trials) == 2


def test_a_point_that_composes_to_nothing_is_a_failed_trial(tmp_path: Path) -> None:
    def refusing(index: int, point: Point) -> TrialPlan:
        if index == 1:
            raise ConfigError("train.lr", "is too\nlarge", "choose less")
        return compose(index, point)

    conf = SearchConf(backend="local", searcher="tpe", space=SPACE, num_samples=3, startup=1, scheduler="none")
    job = adaptive(tmp_path, conf)
    assert job.further is not None
    trials = run(conf, replace(job, further=replace(job.further, plan=refusing)))
    assert [t.state.value for t in trials] == ["finished", "failed", "finished"]
    assert trials[1].reason == "train.lr: is too large - choose less"
    found = read_trial(tmp_path, "trial-001", failed=True)
    assert found is not None
    assert found.reason == trials[1].reason


@pytest.mark.parametrize("key", ["time_budget", "compute_hours"])
def test_a_budget_ends_the_sweep_with_its_best_so_far(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is the epochs: each takes ten seconds, and 100 are given."""
    clock = {"now": 0.0}
    monkeypatch.setattr("engine.train.budget.time.monotonic", lambda: clock["now"])
    real = Course.after

    def slow(self: Course, plan: TrialPlan, epoch: Epoch, losses: Any) -> str:
        clock["now"] += 10.0
        return real(self, plan, replace(epoch, seconds=10.0), losses)

    monkeypatch.setattr(Course, "after", slow)
    plans = [make_plan(i, lr=0.05 - i / 100, max_epochs=4) for i in range(4)]

    def conf(seconds: int) -> SearchConf:
        budget = {"time_budget": f"{seconds}s"} if key == "time_budget" else {"compute_hours": seconds / 3600}
        return SearchConf(backend="local", scheduler="none", **budget)  # type: ignore[arg-type]

    job = make_job(tmp_path / "job", *plans)
    trials = run(conf(100), job)
    assert [(t.state.value, len(t.curve)) for t in trials] == [("finished", 4), ("finished", 4), ("stopped", 2)]
    assert trials[2].reason.startswith(f"stopped: the budget is used up (search.{key}=")
    assert best(trials, "max") == trials[0]  # the longest trained ones alone
    assert {path.parent.name for path in job.folder.rglob("checkpoint-*")} == {"trial-002"}  # where it can go on
    again = run(conf(100), job)  # nothing is left: nothing runs
    assert again == trials
    more = run(conf(300), job)
    assert more[2].notes == ("it went on from epoch 2",)
    assert list(job.folder.rglob("checkpoint-*")) == []
    monkeypatch.setattr(Course, "after", real)
    alone = run(SearchConf(backend="local", scheduler="none"), make_job(tmp_path / "alone", plans[2]))
    assert Path(more[2].weights).read_bytes() == Path(alone[0].weights).read_bytes()
    if key == "compute_hours":
        assert json.loads((job.folder / "spent.json").read_text())["compute"] == 160.0  # no epoch was paid twice
    assert [(t.state.value, len(t.curve)) for t in more] == [("finished", 4)] * 4
    assert more[:2] == trials[:2]


def test_a_budget_that_was_used_up_before_the_first_trial(tmp_path: Path) -> None:
    (tmp_path / "spent.json").write_text(json.dumps({"wall": 60.0, "compute": 0.0, "running": {}}))
    assert run(SearchConf(backend="local", time_budget="1m"), make_job(tmp_path)) == ()


def test_several_metrics_are_recorded_and_one_trial_of_the_front_is_chosen(tmp_path: Path) -> None:
    conf = SearchConf(
        backend="local",
        searcher="tpe",
        space=SPACE,
        num_samples=6,
        startup=3,
        metrics=["log_loss", "brier_score_loss:min"],
        scheduler="none",
    )
    job = adaptive(tmp_path, conf, others=tuple(conf.further))
    trials = run(conf, job)
    modes = ("max", "min", "min")
    found = front.of(trials, modes)
    assert 1 <= len(found) <= 6
    assert front.chosen(trials, modes) in found
    assert all(len(epoch.others) == 2 for trial in trials for epoch in trial.curve)
    assert outcome(run(conf, job)) == outcome(trials)  # from the record


def test_paired_looks_at_the_rows_and_keeps_no_more_than_it_needs(tmp_path: Path) -> None:
    conf = SearchConf(backend="local", scheduler="paired", metric="log_loss", grace_period=1)
    plans = [make_plan(i, lr=lr, max_epochs=4) for i, lr in enumerate((0.05, 1e-6, 0.05, 1e-6))]
    trials = run(conf, make_job(tmp_path, *plans, metric="log_loss", mode="min"))
    assert [t.state.value for t in trials] == ["finished", "stopped", "finished", "stopped"]
    assert trials[1].reason.startswith("stopped by the scheduler after epoch 1: worse than trial-000 on the same 128 r")
    kept = {path.parent.name for path in tmp_path.rglob("losses-*.npy")}
    assert kept == {best(trials, "min").id}  # type: ignore[union-attr]
    clusters = np.arange(128) % 5  # five clusters say nothing
    calm = run(conf, make_job(tmp_path / "calm", *plans, metric="log_loss", mode="min", clusters=clusters))
    assert {t.state.value for t in calm} == {"finished"}


def test_a_failed_trial_is_held_against_nobody(tmp_path: Path) -> None:
    conf = SearchConf(backend="local", scheduler="asha", grace_period=1, max_failures=0)
    plans = [make_plan(0, lr=1e30), make_plan(1, lr=1e-6), make_plan(2, lr=0.05)]
    trials = run(conf, make_job(tmp_path, *plans))
    assert [t.state.value for t in trials] == ["failed", "finished", "finished"]
    assert not math.isnan(trials[2].value)
