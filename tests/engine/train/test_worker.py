"""A training process, here as a plain object in this process: Ray only adds the wire."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.records import TrialState
from engine.system import durable
from engine.train import worker as module
from engine.train.sweep import SweepJob, TrialPlan, make_keeper, read_trial, run_trial
from engine.train.worker import Handoff, LostLease, Worker
from tests.engine.train.made import make_job, make_plan


@pytest.fixture
def job(tmp_path: Path) -> SweepJob:
    return make_job(tmp_path, make_plan(0), make_plan(1))


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(1, [])
    yield made
    made.settle()


def begin(worker: Worker, owner: str, job: SweepJob, plan: TrialPlan) -> None:
    arrays = {"train": vars(job.train), "validation": vars(job.validation)}
    assert worker.claim(owner)
    worker.begin(owner, job, plan, arrays)


def epochs(worker: Worker, owner: str) -> list[int]:
    """All epochs up to the end of the trial."""
    found = []
    while (epoch := worker.step(owner)) is not None:
        found.append(epoch.epoch)
    return found


def test_an_epoch_at_a_time(job: SweepJob) -> None:
    handoff = Handoff(job, job.plans[0])
    found = [handoff.next(first=True), handoff.next(first=False), handoff.next(first=False), handoff.next(first=False)]
    assert [epoch and epoch.epoch for epoch in found] == [1, 2, 3, None]
    assert handoff.fault == ""
    trial = read_trial(job.folder, "trial-000")
    assert trial is not None
    assert trial.state is TrialState.FINISHED
    assert trial.curve == tuple(found[:3])


def test_nothing_is_trained_ahead_of_the_word(job: SweepJob) -> None:
    handoff = Handoff(job, job.plans[0])
    handoff.next(first=True)
    assert handoff._epochs.empty()
    handoff._thread.join(0.3)
    assert handoff._thread.is_alive()
    assert handoff._epochs.empty()
    handoff.stop(recorded=False)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_stopping_midway_writes_the_record_before_it_returns(steps: int, job: SweepJob) -> None:
    handoff = Handoff(job, job.plans[0])
    for step in range(steps):
        handoff.next(first=not step)
    handoff.stop(recorded=True)
    trial = read_trial(job.folder, "trial-000")
    assert trial is not None
    assert (trial.state, len(trial.curve)) == (TrialState.STOPPED, max(1, steps))


def test_an_interrupted_trial_leaves_no_record(job: SweepJob) -> None:
    handoff = Handoff(job, job.plans[0])
    handoff.next(first=True)
    handoff.stop(recorded=False)
    assert not handoff._thread.is_alive()
    assert handoff.fault == "it was interrupted"
    assert read_trial(job.folder, "trial-000", failed=True) is None
    assert [path.name for path in (job.folder / "trial-000").iterdir()] == ["checkpoint-1"]


def test_one_trial_after_the_other_in_one_worker(job: SweepJob, worker: Worker) -> None:
    for plan in job.plans:
        begin(worker, plan.id, job, plan)
        assert epochs(worker, plan.id) == [1, 2, 3]
        worker.release(plan.id)
    assert all(read_trial(job.folder, plan.id) for plan in job.plans)
    assert worker.ready()


def test_a_trial_that_the_scheduler_ended_is_recorded_when_it_is_let_go(job: SweepJob, worker: Worker) -> None:
    begin(worker, "first", job, job.plans[0])
    worker.step("first")
    worker.ends("trial-000")
    worker.ends("trial-001")  # that of a neighbour
    worker.release("first")
    trial = read_trial(job.folder, "trial-000")
    assert trial is not None
    assert trial.state is TrialState.STOPPED


@pytest.mark.parametrize("end", ["release", "settle"])
def test_a_trial_that_is_let_go_otherwise_runs_again(end: str, job: SweepJob, worker: Worker) -> None:
    worker.ends("trial-000")  # of an earlier sweep: forgotten when the trial begins
    begin(worker, "first", job, job.plans[0])
    worker.step("first")
    if end == "release":
        worker.release("first")
    else:
        worker.settle()
    assert read_trial(job.folder, "trial-000", failed=True) is None
    begin(worker, "again", job, job.plans[0])
    assert epochs(worker, "again") == [1, 2, 3]


def test_a_lease_is_for_one_owner(job: SweepJob, worker: Worker) -> None:
    begin(worker, "first", job, job.plans[0])
    assert not worker.claim("second")
    assert worker.claim("first")
    for call in (lambda: worker.step("second"), lambda: worker.begin("second", job, job.plans[1], {})):
        with pytest.raises(LostLease, match=r"^trial second has lost its worker to first$"):
            call()
    worker.release("second")  # not its own
    assert epochs(worker, "first") == [1, 2, 3]
    worker.release("first")
    with pytest.raises(RuntimeError, match=r"^trial first has lost its worker to nobody$"):
        worker.step("first")
    assert worker.claim("second")


def test_an_owner_that_was_killed_loses_its_lease(
    job: SweepJob, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(worker, "killed", job, job.plans[0])
    worker.step("killed")
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LEASE_SECONDS - 1)
    assert not worker.claim("next")
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LEASE_SECONDS + 1)
    begin(worker, "next", job, job.plans[1])
    assert read_trial(job.folder, "trial-000", failed=True) is None  # its trial will run again
    assert epochs(worker, "next") == [1, 2, 3]


def test_an_owner_that_is_being_started_has_longer(
    job: SweepJob, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.claim("coming", module.START_SECONDS)
    worker.begin("coming", job, job.plans[0], {"train": vars(job.train), "validation": vars(job.validation)})
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LEASE_SECONDS + 1)
    assert not worker.claim("next")
    worker.step("coming")  # it is there: from now on it has as long as anybody
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 2 * module.LEASE_SECONDS + 3)
    assert worker.claim("next")


def test_a_step_waits_for_the_begin_of_its_trial(
    job: SweepJob, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes call: what the driver called first need not come first."""
    assert worker.claim("coming", module.START_SECONDS)
    found: list[int] = []
    stepping = threading.Thread(target=lambda: found.extend(epochs(worker, "coming")))
    stepping.start()
    stepping.join(0.1)
    assert stepping.is_alive()
    worker.begin("coming", job, job.plans[0], {"train": vars(job.train), "validation": vars(job.validation)})
    stepping.join(60)
    assert found == [1, 2, 3]
    monkeypatch.setattr(module, "START_SECONDS", 0.01)
    worker.release("coming")
    assert worker.claim("other")
    with pytest.raises(LostLease, match=r"^trial other was never begun$"):
        worker.step("other")


def test_a_long_epoch_is_no_lost_lease(job: SweepJob, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(*args: object, **more: object) -> None:
        reached.set()
        assert go_on.wait(60)

    monkeypatch.setattr(module, "run_trial", slow)
    begin(worker, "slow", job, job.plans[0])
    stepping = threading.Thread(target=worker.step, args=("slow",))
    stepping.start()
    assert reached.wait(60)
    while not worker._busy:  # the step has begun
        stepping.join(0.01)
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 100 * module.LEASE_SECONDS)
    assert not worker.claim("next")
    go_on.set()
    stepping.join(60)
    assert not stepping.is_alive()


def test_a_trial_that_cannot_be_recorded_tells_its_owner_why(tmp_path: Path, worker: Worker) -> None:
    (tmp_path / "file").write_text("")
    job = make_job(tmp_path / "file", make_plan(max_epochs=1))
    begin(worker, "first", job, job.plans[0])
    assert worker.step("first") is not None
    with pytest.raises(
        RuntimeError, match=r"^the trial left no record: InputError: .*file.*cannot be written: "
    ) as error:
        worker.step("first")
    assert "\n" not in str(error.value)


def test_a_trial_that_was_let_go_goes_on_from_where_it_was(job: SweepJob, worker: Worker) -> None:
    begin(worker, "first", job, job.plans[0])
    worker.step("first")
    worker.release("first")
    again = Worker(1, [])  # another process
    begin(again, "again", job, job.plans[0])
    assert epochs(again, "again") == [1, 2, 3]
    trial = read_trial(job.folder, "trial-000")
    assert trial is not None
    assert trial.notes == ("it went on from epoch 1",)


def test_a_record_that_is_there_already_is_the_end(job: SweepJob, worker: Worker) -> None:
    """The worker before was lost between the record and the word that it is there."""
    begin(worker, "first", job, job.plans[0])
    epochs(worker, "first")
    record = (job.folder / "trial-000" / "trial.json").read_text()
    begin(worker, "first", job, job.plans[0])
    assert epochs(worker, "first") == []
    assert (job.folder / "trial-000" / "trial.json").read_text() == record


def test_a_failed_record_is_no_end(job: SweepJob, worker: Worker) -> None:
    plan = make_plan(0, lr=1e30)
    begin(worker, "first", job, plan)
    epochs(worker, "first")
    failed = read_trial(job.folder, plan.id, failed=True)
    assert failed is not None
    assert failed.state is TrialState.FAILED
    begin(worker, "first", job, job.plans[0])
    assert epochs(worker, "first") == [1, 2, 3]
    assert read_trial(job.folder, plan.id) is not None


def test_a_member_of_a_population_rests_with_the_checkpoint_of_that_epoch(tmp_path: Path, worker: Worker) -> None:
    job = make_job(tmp_path, make_plan(0, lr=0.05, max_epochs=4), make_plan(1, lr=0.01, max_epochs=4))
    begin(worker, "first", job, job.plans[0])
    told = [worker.step("first"), worker.step("first")]
    assert worker.rests("trial-001") == ""  # it does not run here
    assert worker.rests("trial-000") == ""
    assert read_trial(tmp_path, "trial-000", failed=True) is None
    adopter = replace(job.plans[1], since=2)
    data = make_keeper(job, job.plans[0]).bytes_of(2)
    make_keeper(job, adopter).adopt(data)
    begin(worker, "first", job, adopter)
    assert epochs(worker, "first") == [3, 4]  # those of before are told by nobody
    trial = read_trial(tmp_path, "trial-001")
    assert trial is not None
    assert list(trial.curve[:2]) == told
    assert trial.notes == ()
    alone = run_trial(replace(job, folder=tmp_path / "alone"), job.plans[1], lambda epoch: True)
    assert trial.curve[2].value != alone.curve[2].value


def test_a_member_that_leaves_no_checkpoint_does_not_rest(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(step: durable.Step, execute: Callable[[], None]) -> None:
        if step.operation == "write" and "checkpoint" in str(step.path):
            raise OSError(errno.ENOSPC, "No space left on device")
        execute()

    job = make_job(tmp_path, make_plan(0, max_epochs=4))
    begin(worker, "first", job, job.plans[0])
    worker.step("first")
    with durable.intercept(full):
        said = worker.rests("trial-000")
    assert said.startswith(f"InputError: {tmp_path / 'trial-000'}: no checkpoint after epoch 1: ")
    assert "No space left on device" in said


def test_its_process_finds_the_packages_beside_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/known"])
    threads = torch.get_num_threads()
    try:
        Worker(1, ["/known", "/elsewhere"])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert sys.path.count("/known") == 1
    assert sys.path[-1] == "/elsewhere"
