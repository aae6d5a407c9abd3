"""Packs in Ray's workers: killed and interrupted, they go on. One Ray and two workers serve the short tests."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from engine.records import Epoch, Trial, TrialState
from engine.train.conf import SearchConf
from engine.train.pack import driver
from engine.train.pack.sizes import ON_GPU
from engine.train.sweep import SweepJob, TrialPlan, read_trial
from engine.train.tune import RaySearch
from tests.engine.train.made import MODEL, make_job, make_plan
from tests.engine.train.pack.packing import lines, of, unpacked, weights
from tests.engine.train.test_nothing_lost import Sweep, disturbed

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[4]
CURVE = 1e-5  # relative, of a loss curve in float32: what was promised
EPOCHS = 3


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaySearch]:
    """Two workers, a pack each, on a GPU each that Ray only believes to be there; ASHA may stop a trial after its first
    epoch.
    """
    conf = SearchConf(workers=2, pack="auto", grace_period=1, max_failures=0)
    made = RaySearch(conf, scratch=tmp_path_factory.mktemp("scratch"), paths=(str(ROOT),))
    real = ray.init
    with pytest.MonkeyPatch.context() as patch:
        more = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": 200_000_000}
        patch.setattr(ray, "init", lambda **words: real(**{**words, **more}))
        made.start()
        made._wait()
    yield made
    made.close()


def run(search: RaySearch, job: SweepJob, on_epoch: Any = lambda trial, epoch: None) -> tuple[Trial, ...]:
    ended: list[str] = []
    trials = search.run(job, on_epoch=on_epoch, on_trial=lambda trial: ended.append(trial.id))
    assert sorted(ended) == [plan.id for plan in job.plans]  # each of them, once
    return trials


def turning(told: Path, n: int, **deadly: Any) -> list[TrialPlan]:
    """Trials that take turns; the second one dies as it says."""
    return [
        make_plan(
            i,
            of("Turning", told=str(told), dropout=0.1, **(deadly if i == 1 else {})),
            lr=0.05 + i / 1000,
            max_epochs=EPOCHS,
            checkpoint_seconds=0.0,
        )
        for i in range(n)
    ]


def same(ours: tuple[Trial, ...], theirs: tuple[Trial, ...]) -> None:
    """Bit for bit, as far as each was trained."""
    for one, other in zip(ours, theirs, strict=True):
        losses = [[epoch.train_loss for epoch in trial.curve] for trial in (one, other)]
        assert losses[0] == losses[1][: len(losses[0])]
        assert one.state is not TrialState.FINISHED or weights(one) == weights(other)


def test_two_workers_train_a_pack_each(search: RaySearch, tmp_path: Path) -> None:
    """Two trials of ten cannot learn; ASHA stops them, and the others are what they are alone."""
    rates = [1e-6 if i in (4, 5) else 0.03 + i / 1000 for i in range(10)]
    plans = [make_plan(i, {**MODEL, "dropout": 0.1}, lr=rate, seed=i) for i, rate in enumerate(rates)]
    told: list[tuple[str, int]] = []
    trials = run(search, make_job(tmp_path / "job", *plans), lambda trial, epoch: told.append((trial, epoch.epoch)))
    whole = unpacked(make_job(tmp_path / "alone", *plans))
    for one, other in zip(trials, whole, strict=True):
        assert [epoch for trial, epoch in told if trial == one.id] == list(range(1, len(one.curve) + 1))
        assert one.notes == ()
        for mine, alone in zip(one.curve, other.curve, strict=False):
            assert mine.train_loss == pytest.approx(alone.train_loss, rel=CURVE)
        assert one.use is not None
        assert 0 < one.use.cpu_seconds < 60
    assert TrialState.FINISHED in {trial.state for trial in trials}
    assert {trials[4].state, trials[5].state} <= {TrialState.STOPPED, TrialState.FINISHED}
    assert [read_trial(tmp_path / "job", trial.id) for trial in trials] == list(trials)


def test_every_pack_has_a_gpu_of_its_own(
    patient: RaySearch, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Whole GPUs: each process sees the one that Ray gave it. How trials are dealt is test_driver.py's."""
    crew, told = patient._crew, tmp_path / "told"
    assert (crew.share, len(crew.nodes), len(set(crew.nodes))) == (1.0, 2, 1)
    plans = [make_plan(i, of("Placed", told=str(told)), lr=0.05 + i / 1000, seed=i) for i in range(10)]
    orders: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        real = driver.Order

        def order(**values: Any) -> Any:
            orders.append(real(**values))
            return orders[-1]

        patch.setattr(driver, "Order", order)
        trials = run(patient, make_job(tmp_path / "job", *plans, trusted=("tests",)))
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    gpus = {gpu: pid for pid, gpu in lines(told)}
    assert set(gpus) == {"0", "1"}
    assert len(set(gpus.values())) == 2
    assert [(one.size, one.packs) for one in orders] == [(ON_GPU, 2)] * 2
    steps = Counter(gpu for _, gpu in lines(told))
    record_property("packs on two GPUs that Ray believes in", f"steps {dict(steps)}")


@pytest.fixture
def patient(search: RaySearch, monkeypatch: pytest.MonkeyPatch) -> RaySearch:
    """It stops no trial."""
    monkeypatch.setattr(search, "conf", replace(search.conf, scheduler="none"))
    return search


def test_a_killed_worker_gives_its_trials_back(
    patient: RaySearch, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    told = tmp_path / "told"
    plans = turning(told, 6, dies=1, how=int(signal.SIGKILL))
    trials = run(patient, make_job(tmp_path / "job", *plans, trusted=("tests",)))
    same(trials, unpacked(make_job(tmp_path / "alone", *turning(tmp_path / "a", 6), trusted=("tests",))))
    lost = [trial for trial in trials if any("its worker was lost after epoch" in note for note in trial.notes)]
    assert trials[1] in lost
    assert len(lost) < 6  # the other worker's pack goes on
    trained = Counter((rate, epoch) for rate, epoch, _ in lines(told))
    extra = sum(trained.values()) - len(trained)
    assert extra <= len(lost)  # the epoch that the pack was in
    record_property("packs whose worker is killed end as undisturbed", f"1 of 1, {extra} epochs trained twice")


def test_interrupted_packs_rest_and_go_on(patient: RaySearch, tmp_path: Path) -> None:
    told = tmp_path / "told"
    plans = turning(told, 6, seconds=0.2)
    job = make_job(tmp_path / "job", *plans, trusted=("tests",))

    pressed: list[str] = []

    def interrupt(trial: str, epoch: Epoch) -> None:
        if epoch.epoch == 2 and not pressed:
            pressed.append(trial)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        patient.run(job, on_epoch=interrupt, on_trial=lambda trial: None)
    before = {plan.id: read_trial(job.folder, plan.id) for plan in plans}
    assert None in before.values()
    assert list(job.folder.rglob("checkpoint-*"))
    trials = run(patient, job)
    assert any("it went on from epoch" in note for trial in trials for note in trial.notes)
    assert [trial for trial in trials if before[trial.id]] == [trial for trial in before.values() if trial]
    same(trials, unpacked(make_job(tmp_path / "alone", *turning(tmp_path / "a", 6), trusted=("tests",))))
    trained = Counter((rate, epoch) for rate, epoch, _ in lines(told))
    assert sum(trained.values()) - len(trained) <= 2  # the epoch that each worker was in
    assert list(job.folder.rglob("checkpoint-*")) == []


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the packed sweep of sweeping.py leads to when nobody disturbs it."""
    code, answer, err = Sweep(tmp_path_factory.mktemp("truth") / "sweep", 0.0, "packed").run()
    assert code == 0, err
    assert answer["states"] == ["finished"] * 6
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("what", ["command", "Ctrl-C", "SIGTERM", "worker", "raylet"])
def test_a_part_of_a_packed_sweep_is_killed_and_it_goes_on(
    what: str, truth: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sweep = Sweep(tmp_path / "sweep", 0.3, "packed")
    answer = disturbed(sweep, what, [15])  # of 24: each pack is in its second or third epoch
    assert (answer["states"], answer["outcome"]) == (truth["states"], truth["outcome"])
    trained = Counter((rate, epoch) for rate, epoch, _ in sweep.lines())
    extra = sum(trained.values()) - len(trained)
    assert extra <= 6  # the epoch that the packs were in
    record_property(f"packs whose {what} is hit end as undisturbed", f"1 of 1, {extra} epochs trained twice")
