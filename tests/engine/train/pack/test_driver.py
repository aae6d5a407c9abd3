"""Packs in several workers, here as plain objects in this process: Ray only adds the wire, and ends of processes."""

from __future__ import annotations

import concurrent.futures
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError

from engine.errors import ConfigError, InputError
from engine.records import Epoch, Trial, TrialState
from engine.train.conf import SearchConf
from engine.train.course import Course
from engine.train.home import Home, Place
from engine.train.pack import driver
from engine.train.pack import worker as module
from engine.train.pack.driver import Packs
from engine.train.pack.sizes import at_once
from engine.train.pack.trial import PackedTrial
from engine.train.pack.worker import Next, Order, Over, PackWorker
from engine.train.sweep import SweepJob, TrialPlan
from engine.train.tune import RaySearch
from tests.engine.train.made import MODEL, ignore_epoch, make_job, make_plan, outcome
from tests.engine.train.pack.packing import gap, lines, of, packed, unpacked, weights

CURVE = 1e-5  # relative, of a loss curve in float32: what was promised


@dataclass
class Method:
    """A method of an actor: called in a thread."""

    actor: Actor
    name: str

    def remote(self, *values: Any) -> Any:
        return self.actor.pool.submit(self.actor.call, self.name, *values)


@dataclass
class Actor:
    """A worker on the wire. Where its pack raises Died its process is gone, and a new one takes its place."""

    pool: concurrent.futures.ThreadPoolExecutor
    death: Callable[[], Exception] = RayActorError
    gone: bool = False  # for good
    begun: list[Order] = field(default_factory=list)
    worker: PackWorker = field(default_factory=lambda: PackWorker(1, []))

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)

    def call(self, name: str, *values: Any) -> Any:
        if self.gone:
            raise RayActorError
        if name == "begin":
            self.begun.append(values[1])
        told = getattr(self.worker, name)(*values)
        if isinstance(told, Over) and told.fault is not None and "Died" in str(told.fault):
            self.worker = PackWorker(1, [])
            raise self.death()
        return told


class Wire:
    """What the driver uses of Ray."""

    @staticmethod
    def wait(calls: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        done, waiting = concurrent.futures.wait(calls, timeout, return_when=concurrent.futures.FIRST_COMPLETED)
        return list(done), list(waiting)

    @staticmethod
    def get(call: Any) -> Any:
        return call.result()


Make = Callable[..., list[Any]]


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(driver, "ray", Wire)
    monkeypatch.setattr(driver, "AGAIN_SECONDS", 0.05)
    building = threading.Lock()

    def build(*values: Any) -> PackedTrial:
        """Packs of one process share torch's generator, which initial weights are drawn from."""
        with building:
            return PackedTrial(*values)

    monkeypatch.setattr("engine.train.pack.run.PackedTrial", build)
    made: list[Actor] = []
    pool = concurrent.futures.ThreadPoolExecutor(8)

    def make(n: int, **values: Any) -> list[Any]:
        made.extend(Actor(pool, **values) for _ in range(n))
        return made

    yield make
    for actor in made:
        actor.worker.settle()
    pool.shutdown()


def run(workers: list[Any], job: SweepJob, on_epoch: Any = ignore_epoch, **values: Any) -> tuple[Trial, ...]:
    conf = SearchConf(**{"pack": "auto", "scheduler": "none", "max_failures": 0, **values})
    course = Course(conf, job, on_epoch, lambda trial: None)
    rows = {"train": vars(job.train), "validation": vars(job.validation)}
    Packs(course, workers, job, rows).run()
    return course.close()


def turning(told: Path, n: int, epochs: int = 3, **deadly: dict[str, Any]) -> list[TrialPlan]:
    """Trials that take turns; those named `t<index>` die as it says."""
    return [
        make_plan(
            i,
            of("Turning", told=str(told), dropout=0.1, **deadly.get(f"t{i}", {})),
            lr=0.01 * (i + 1),
            max_epochs=epochs,
            checkpoint_seconds=0.0,
        )
        for i in range(n)
    ]


def test_two_workers_share_the_trials_and_each_is_what_it_is_alone(actors: Make, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    plans = [make_plan(i, {**MODEL, "dropout": 0.1 * i}, lr=0.01 * (i + 1), seed=i) for i in range(6)]
    job = make_job(tmp_path / "job", *plans)
    workers = actors(2)
    trials = run(workers, job, lambda trial, epoch: told.append((trial, epoch.epoch)))
    assert 0 < gap(trials, unpacked(make_job(tmp_path / "alone", *plans))) <= CURVE
    assert {t.state for t in trials} == {TrialState.FINISHED}
    for plan in plans:
        assert [epoch for trial, epoch in told if trial == plan.id] == [1, 2, 3]
    assert [len(worker.begun) for worker in workers] == [1, 1]
    turns = turning(tmp_path / "told", 4)
    ours = run(workers, make_job(tmp_path / "turns", *turns, trusted=("tests",)))
    theirs = packed(make_job(tmp_path / "local", *turns, trusted=("tests",)))
    assert outcome(ours) == outcome(theirs)
    assert [weights(t) for t in ours] == [weights(t) for t in theirs]


def test_a_worker_has_no_more_than_its_part(actors: Make, tmp_path: Path) -> None:
    """Ten trials, two workers: five each, however fast one of them asks; and no more than may run at once."""
    course = Course(SearchConf(pack="auto"), make_job(tmp_path, *map(make_plan, range(10))), ignore_epoch, print)
    packs = Packs(course, actors(2), course.job, {})
    first, second = packs._seats
    assert [packs._answer(first, Next()) is not None for _ in range(7)] == [True] * 5 + [False] * 2
    assert [packs._answer(second, Next()) is not None for _ in range(7)] == [True] * 5 + [False] * 2
    job = make_job(tmp_path / "few", *map(make_plan, range(10)))
    few = Course(SearchConf(pack="auto", max_concurrent=3), job, ignore_epoch, print)
    packs = Packs(few, actors(0), few.job, {})
    assert sum(packs._answer(seat, Next()) is not None for seat in packs._seats * 5) == 3


def test_a_lost_worker_costs_its_trials_nothing_but_a_note(actors: Make, tmp_path: Path) -> None:
    plans = turning(tmp_path / "told", 4, t1={"dies": 1})
    whole = unpacked(make_job(tmp_path / "whole", *turning(tmp_path / "w", 4), trusted=("tests",)))
    trials = run(actors(2), make_job(tmp_path / "job", *plans, trusted=("tests",)))
    assert [[e.train_loss for e in t.curve] for t in trials] == [[e.train_loss for e in t.curve] for t in whole]
    assert [weights(t) for t in trials] == [weights(t) for t in whole]
    lost = [t for t in trials if any("its worker was lost after epoch 1" in note for note in t.notes)]
    assert 2 <= len(lost) < 4  # the other worker's pack goes on
    assert trials[1] in lost
    assert any("it went on from epoch 1" in note for note in trials[1].notes)


def test_packs_that_die_again_are_cut_in_two_until_one_trial_is_to_blame(actors: Make, tmp_path: Path) -> None:
    told = tmp_path / "told"
    plans = turning(told, 5, t1={"dies": 1, "times": 99})
    workers = actors(1)
    trials = run(workers, make_job(tmp_path / "job", *plans, trusted=("tests",)))
    assert [t.state.value for t in trials] == ["finished", "failed", "finished", "finished", "finished"]
    assert trials[1].reason == "its worker died in epoch 2, again and again: perhaps for want of memory"
    sizes = [order.size for order in workers[0].begun]
    assert sizes[:2] == [driver.size(SearchConf(pack="auto"))] * 2
    assert sizes[-1] == 1
    assert sorted(sizes, reverse=True) == sizes
    assert any("with a pack of 4: packs of 2 at most from there on" in note for note in trials[2].notes)
    begun = [tuple(line[:2]) for line in lines(told)]
    # a thread that lives on may begin one more, where a real process has ended: what comes next after a death
    counted = [one for before, one in itertools.pairwise([("", ""), *begun]) if before != ("0.02", "1")]
    assert sum(rate != "0.02" and epoch == "2" for rate, epoch in counted) <= 4  # nobody's last epoch twice


def test_a_pack_that_needs_too_much_memory_is_cut_at_once(actors: Make, tmp_path: Path) -> None:
    workers = actors(1, death=lambda: OutOfMemoryError("this node is full"))
    plans = turning(tmp_path / "told", 4, t0={"dies": 1})
    trials = run(workers, make_job(tmp_path / "job", *plans, trusted=("tests",)))
    assert {t.state for t in trials} == {TrialState.FINISHED}
    assert [order.size for order in workers[0].begun][:2] == [64, 2]


def test_what_a_pack_on_another_machine_writes_goes_home(
    actors: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    monkeypatch.setattr(module, "_home", lambda name: name or None)
    monkeypatch.setattr(
        Place, "_ask", lambda self, method, *values: getattr(Home(), method)(self._folder, self._trial, *values)
    )
    plans = turning(tmp_path / "told", 3)
    job = make_job(tmp_path / "job", *plans, trusted=("tests",))
    kept: list[str] = []

    def look(trial: str, epoch: Epoch) -> None:
        kept.extend(path.name for path in (job.folder / trial).glob("checkpoint-*") if epoch.epoch == 2)

    trials = run(actors(1, worker=PackWorker(1, [], "home")), job, look)
    assert sorted(kept) == ["checkpoint-0"] * 3 + ["checkpoint-1"] * 3
    theirs = packed(make_job(tmp_path / "here", *plans, trusted=("tests",)))
    assert outcome(trials) == outcome(theirs)
    assert [weights(t) for t in trials] == [weights(t) for t in theirs]
    assert all(Path(trial.weights).is_relative_to(job.folder) for trial in trials)
    assert list(job.folder.rglob("checkpoint-*")) == list(elsewhere.iterdir()) == []


def test_where_no_worker_is_left_the_round_ends(actors: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "GONE_SECONDS", 0.2)
    course = Course(SearchConf(pack="auto"), make_job(tmp_path, *map(make_plan, range(3))), ignore_epoch, print)
    Packs(course, actors(2, gone=True), course.job, {}).run()
    assert (course.left, course.unfinished) == (3, [])


def test_what_the_record_refuses_ends_the_sweep(actors: Make, tmp_path: Path) -> None:
    def full(trial: str, epoch: Epoch) -> None:
        raise InputError("disk", "is full", "make room")

    with pytest.raises(InputError, match="disk: is full - make room"):
        run(actors(2), make_job(tmp_path, *map(make_plan, range(3))), full)


def test_a_trial_that_cannot_be_recorded_ends_the_sweep(
    actors: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.train.pack.trial.record_trial", _refuse)
    with pytest.raises(InputError, match="disk: is full - make room"):
        run(actors(1), make_job(tmp_path, *map(make_plan, range(3))))


def _refuse(*values: Any) -> Trial:
    raise InputError("disk", "is full", "make room")


@pytest.mark.parametrize(
    ("conf", "packs", "trials"),
    [
        ({}, 2, 128),
        ({"pack": "7"}, 3, 21),
        ({"max_concurrent": 5}, 2, 5),
        ({"searcher": "tpe", "num_samples": 40}, 2, 5),
        ({"searcher": "tpe", "num_samples": 8}, 4, 4),
    ],
)
def test_trials_at_once_in_all_packs(conf: dict[str, Any], packs: int, trials: int) -> None:
    assert at_once(SearchConf(**{"pack": "auto", **conf}), packs) == trials


def test_trials_of_several_processes_are_not_packed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        RaySearch(SearchConf(pack="auto"), scratch=tmp_path, members=2)
    assert str(caught.value) == (
        "search.pack: a trial of train.workers=2 processes is not packed - choose none, or train.workers=1"
    )
