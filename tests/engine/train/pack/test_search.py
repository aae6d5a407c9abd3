"""Sweeps whose trials train together, against the same sweeps one trial after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.records import Epoch, Task, TrialState
from engine.train.conf import SearchConf
from engine.train.pack import together
from engine.train.pack.sizes import MOST, size
from engine.train.sweep import TrialPlan, read_trial
from tests.engine.train.everywhere import killed_everywhere, kills
from tests.engine.train.made import (
    MODEL,
    RESIDUAL,
    SPACE,
    adaptive,
    make_job,
    make_plan,
    make_rows,
    make_spec,
    outcome,
)
from tests.engine.train.pack.packing import gap, of, packed, unpacked, weights

ROOT = Path(__file__).parents[4]
CURVE = 1e-5  # relative, of a loss curve in float32: what was promised
VALUE = 2e-3  # of an AUROC on 128 rows: two pairs of rows that change places


def plans_of(*models: dict[str, Any], rate: float = 0.01, **train: Any) -> list[TrialPlan]:
    return [
        make_plan(i, model, lr=rate * (i + 1), seed=i, weight_decay=0.1 * i, **train) for i, model in enumerate(models)
    ]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("task", list(Task))
def test_trials_of_one_shape_are_vectorised_and_equal_to_themselves_alone(
    task: Task, tmp_path: Path, vectorised: list[int], record_property: Callable[[str, object], None]
) -> None:
    """Rates, decays, seeds and dropout differ; 104 steps."""
    metric, mode = ("mean_squared_error", "min") if task is Task.REGRESSION else ("log_loss", "min")
    values: dict[str, Any] = {
        "spec": make_spec(task),
        "train": make_rows(task, n=832, seed=1),
        "validation": make_rows(task, n=128, seed=2),
        "metric": metric,
        "mode": mode,
    }
    models = [{**MODEL, "dropout": 0.15 * i} for i in range(3)]
    plans = plans_of(*models, max_epochs=4)
    ours = packed(make_job(tmp_path / "packed", *plans, **values))
    theirs = unpacked(make_job(tmp_path / "alone", *plans, **values))
    assert all(trial.notes == () for trial in ours)
    worst = gap(ours, theirs)
    assert vectorised == [3]
    assert worst <= CURVE
    for one, other in zip(ours, theirs, strict=True):
        assert one.best_epoch == other.best_epoch
        assert one.value == pytest.approx(other.value, rel=1e-4)
    record_property(f"packed = alone, {task.value}: loss curves", f"{worst:.1e} relative, 3 trials, 104 steps")


@pytest.mark.usefixtures("uncompiled")
def test_large_trials_take_turns_and_are_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WORK", 0)
    plans = plans_of({**MODEL, "dropout": 0.3}, {**RESIDUAL, "dropout": 0.2}, {**MODEL, "width": 9})
    ours = packed(make_job(tmp_path / "packed", *plans))
    theirs = unpacked(make_job(tmp_path / "alone", *plans))
    assert outcome(ours) == outcome(theirs)
    assert [weights(t) for t in ours] == [weights(t) for t in theirs]


@pytest.mark.usefixtures("uncompiled")
def test_shapes_that_differ_make_packs_of_their_own(tmp_path: Path, vectorised: list[int]) -> None:
    models = [{**MODEL, "width": 8 + 8 * (i % 2)} for i in range(5)]
    plans = plans_of(*models, {**RESIDUAL, "dropout": 0.1}, {**RESIDUAL, "dropout": 0.0}, rate=0.002)
    ours = packed(make_job(tmp_path / "packed", *plans))
    assert sorted(vectorised) == [2, 2, 3]
    assert gap(ours, unpacked(make_job(tmp_path / "alone", *plans))) <= CURVE
    assert {trial.notes for trial in ours} == {()}


OWN = [
    ("Own", {}, ""),
    ("Sgd", {}, ""),
    ("CoupledAdam", {}, ""),
    ("FromHparams", {}, ""),
    ("Annealed", {}, "not vectorised: its training step reads trainer.current_epoch, which may differ between trials"),
    ("Normed", {}, "not vectorised: "),
    ("Branching", {}, "not vectorised: "),
    ("Hooked", {}, "trained alone, not in a pack: it has a hook of its own, on_train_batch_end"),
    ("Noisy", {}, "trained alone, not in a pack: its training step draws random numbers beside those of nn.Dropout"),
    ("ByHand", {}, "trained alone, not in a pack: it optimizes by hand (automatic_optimization=False)"),
]


@pytest.mark.parametrize(("name", "params", "note"), OWN, ids=[name for name, *_ in OWN])
def test_a_users_network_trains_as_it_would_alone_and_says_how(
    name: str, params: dict[str, Any], note: str, tmp_path: Path, vectorised: list[int]
) -> None:
    models = [of(name, weight=1.0 + i, smoothing=0.1 * i, dropout=0.2 * i, **params) for i in range(3)]
    plans = plans_of(*models, max_epochs=2)
    ours = packed(make_job(tmp_path / "packed", *plans, trusted=("tests",)))
    theirs = unpacked(make_job(tmp_path / "alone", *plans, trusted=("tests",)))
    assert {t.state for t in ours} == {TrialState.FINISHED}
    if not note:
        assert vectorised == [3]
        assert gap(ours, theirs) <= CURVE
        assert {trial.notes for trial in ours} == {()}
        return
    assert outcome(ours) == outcome(theirs)
    assert [weights(t) for t in ours] == [weights(t) for t in theirs]
    assert all(trial.notes[0].startswith(note) and len(trial.notes) == 1 for trial in ours), ours[0].notes


def test_stopped_trials_leave_and_new_ones_join(tmp_path: Path) -> None:
    """ASHA, four at a time; each trial's curve is a piece of what it is alone."""
    plans = [make_plan(i, lr=(0.05, 1e-6, 0.03, 1e-6)[i % 4], max_epochs=4, seed=i) for i in range(10)]
    alone = unpacked(make_job(tmp_path / "alone", *plans))
    ran: list[tuple[str, int]] = []
    ours = packed(
        make_job(tmp_path / "packed", *plans),
        "4",
        lambda trial, epoch: ran.append((trial, epoch.epoch)),
        scheduler="asha",
        grace_period=1,
    )
    states = [t.state for t in ours]
    assert states.count(TrialState.STOPPED) >= 3
    assert TrialState.FINISHED in states
    assert all(t.reason.startswith("stopped by the scheduler after epoch ") for t in ours if t.reason)
    first = {trial: i for i, (trial, epoch) in reversed(list(enumerate(ran))) if epoch == 1}
    assert first["trial-003"] < first["trial-004"] < len(ran) - 1  # joined while others ran
    assert ran.index(("trial-000", 2)) < first["trial-009"]
    for one, other in zip(ours, alone, strict=True):
        for mine, its in zip(one.curve, other.curve, strict=False):
            assert mine.train_loss == pytest.approx(its.train_loss, rel=CURVE)
            assert mine.value == pytest.approx(its.value, abs=VALUE)


def test_a_trial_that_diverges_harms_nobody(tmp_path: Path) -> None:
    plans = [make_plan(0), make_plan(1, lr=1e30), make_plan(2, lr=0.02), make_plan(3, {"_target_": "os.system"})]
    ours = packed(make_job(tmp_path / "packed", *plans), max_failures=1)
    theirs = unpacked(make_job(tmp_path / "alone", *plans))
    assert [t.state.value for t in ours] == ["finished", "failed", "finished", "failed"]
    assert [t.reason for t in ours] == [t.reason for t in theirs]
    assert gap([ours[0], ours[2]], [theirs[0], theirs[2]]) <= CURVE


@pytest.mark.parametrize("work", [together.WORK, 0])
def test_each_trial_records_its_share_of_time_and_cpu(
    work: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together no more than the sweep took; of a pack of many the last one has not waited for all."""
    monkeypatch.setattr(together, "WORK", work)
    plans = plans_of(*[{**MODEL, "dropout": 0.1}] * 8, rate=0.001, max_epochs=4)
    began, used = time.perf_counter(), time.process_time()
    trials = packed(make_job(tmp_path, *plans), workers=1)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    for trial in trials:
        assert trial.seconds == pytest.approx(sum(epoch.seconds for epoch in trial.curve))
    assert 0 < sum(trial.seconds for trial in trials) <= wall
    uses = [trial.use.cpu_seconds for trial in trials if trial.use is not None]
    assert len(uses) == 8
    assert min(uses) > 0
    assert sum(uses) <= cpu


class Killed(BaseException):
    pass


@pytest.mark.parametrize("work", [together.WORK, 0])
def test_a_pack_that_is_killed_goes_on_from_its_checkpoints(
    work: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "WORK", work)
    plans = plans_of(*[{**MODEL, "dropout": 0.1 * i} for i in range(3)], max_epochs=4, checkpoint_seconds=0.0)
    whole = packed(make_job(tmp_path / "whole", *plans))
    folder = tmp_path / "killed"
    for cut in (1, 5, 8):  # epochs that the course hears of in one run
        left = iter(range(cut - 1, -1, -1))

        def kill(trial: str, epoch: Epoch, left: Any = left) -> None:
            if next(left) == 0:
                raise Killed

        with pytest.raises(Killed):
            packed(make_job(folder, *plans), on_epoch=kill)
    again = packed(make_job(folder, *plans))
    assert gap(again, whole) <= CURVE
    assert any("it went on from epoch" in note for trial in again for note in trial.notes)
    if not work:
        assert outcome(again) == outcome(whole)
        assert [weights(t) for t in again] == [weights(t) for t in whole]
    assert list(folder.rglob("checkpoint-*")) == []


def test_either_goes_on_from_the_others_checkpoint(tmp_path: Path) -> None:
    plans = plans_of({**MODEL, "dropout": 0.2}, {**MODEL, "dropout": 0.1}, max_epochs=4, checkpoint_seconds=0.0)

    def kill(trial: str, epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise Killed

    whole = unpacked(make_job(tmp_path / "whole", *plans))
    with pytest.raises(Killed):
        packed(make_job(tmp_path / "a", *plans), on_epoch=kill)
    alone = unpacked(make_job(tmp_path / "a", *plans))
    assert alone[0].notes == ("it went on from epoch 2",)
    assert gap(alone, whole) <= CURVE

    stopping = make_job(tmp_path / "b", *plans)
    with pytest.raises(Killed):
        unpacked(stopping, on_epoch=kill)
    together_again = packed(stopping)
    assert together_again[0].notes == ("it went on from epoch 2",)
    assert gap(together_again, whole) <= CURVE


def test_searchers_and_budgets_work_on_packs(tmp_path: Path) -> None:
    conf = {"searcher": "tpe", "space": SPACE, "num_samples": 9, "startup": 3, "scheduler": "asha", "grace_period": 1}
    job = adaptive(tmp_path / "job", SearchConf(**conf))  # type: ignore[arg-type]
    trials = packed(job, "3", **conf)
    assert len(trials) == 9
    assert outcome(packed(job, "3", **conf)) == outcome(trials)  # from the record
    again = packed(adaptive(tmp_path / "again", SearchConf(**conf)), "3", **conf)  # type: ignore[arg-type]
    assert outcome(again) == outcome(trials)  # nothing depends on clocks
    spent = packed(make_job(tmp_path / "spent", *[make_plan(i) for i in range(4)]), compute_hours=1e-9)
    assert {t.reason for t in spent} == {"stopped: the budget is used up (search.compute_hours=1e-09)"}
    assert list((tmp_path / "spent").rglob("checkpoint-*"))  # a larger one lets them go on
    more = packed(make_job(tmp_path / "spent", *[make_plan(i) for i in range(4)]))
    assert {t.notes for t in more} == {("it went on from epoch 1",)}


def test_paired_compares_rows_of_packed_trials(tmp_path: Path) -> None:
    plans = [make_plan(i, lr=lr, max_epochs=4) for i, lr in enumerate((0.05, 1e-6, 0.05, 1e-6))]
    job = make_job(tmp_path, *plans, metric="log_loss", mode="min")
    trials = packed(job, scheduler="paired", metric="log_loss", grace_period=1)
    assert [t.state.value for t in trials][1:] == ["stopped", "finished", "stopped"]
    found = read_trial(tmp_path, "trial-001")
    assert found is not None
    assert "worse than trial-" in found.reason


@pytest.mark.parametrize(
    ("conf", "trials"),
    [
        ({}, MOST),
        ({"pack": "7"}, 7),
        ({"max_concurrent": 3}, 3),
        ({"searcher": "tpe", "num_samples": 40}, 5),
        ({"searcher": "tpe", "num_samples": 4}, 1),
    ],
)
def test_the_size_of_a_pack(conf: dict[str, Any], trials: int) -> None:
    assert size(SearchConf(**{"backend": "local", "pack": "auto", **conf})) == trials


@pytest.mark.parametrize(
    ("conf", "line"),
    [
        ({"pack": "all"}, "search.pack: 'all' is unknown - choose none, auto, or a number such as 16"),
        ({"pack": "0"}, "search.pack: '0' is unknown - choose none, auto, or a number such as 16"),
        (
            {"pack": "4", "scheduler": "pbt"},
            "search.pack: a population hands its checkpoints on from trial to trial, and each waits for all - "
            "choose none",
        ),
    ],
)
def test_packs_that_cannot_be(conf: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchConf(**{"backend": "local", **conf})
    assert str(caught.value) == line


@kills(40, 1, 40)
def test_killed_at_every_write_point(
    every: int, doubles: int, part: int, parts: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = killed_everywhere("tests.engine.train.pack.crash", tmp_path / "work", every, doubles, part, parts)
    record_property(
        "a sweep of packed trials killed at any write point ends as undisturbed",
        f"{found['killed']} kills in {found['cases']} cases of {found['points']} points, 0 wrong;"
        f" losses within {found['worst']:.1e} relative",
    )
