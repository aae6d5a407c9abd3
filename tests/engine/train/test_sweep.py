from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.records import Epoch, Trial, TrialState
from engine.scoring.scores import score
from engine.train import weights
from engine.train.conf import SearchConf
from engine.train.inference import build, predict
from engine.train.model import TabularModel
from engine.train.sweep import Interrupted, LocalSearch, SweepJob, best, read_trial, run_trial, write_trial
from tests.engine.train.made import MODEL, ignore_epoch, make_job, make_plan, make_rows, make_spec

BROKEN_LR = 1e30


def search(job: SweepJob, max_failures: int = 0) -> tuple[list[tuple[str, int]], tuple[Trial, ...]]:
    """Run the job; (trial, epoch) of every epoch trained now, and the trials."""
    ran: list[tuple[str, int]] = []
    told: list[str] = []
    conf = SearchConf(backend="local", max_failures=max_failures, scheduler="none")
    trials = LocalSearch(conf).run(
        job,
        on_epoch=lambda trial, epoch: ran.append((trial, epoch.epoch)),
        on_trial=lambda trial: told.append(trial.id),
    )
    assert told == [plan.id for plan in job.plans] == [trial.id for trial in trials]
    return ran, trials


def make_trial(name: str = "t", **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "id": name,
        "params": {"train.lr": 0.1},
        "state": TrialState.FINISHED,
        "reason": "",
        "curve": (Epoch(epoch=1, train_loss=0.5, value=0.7, seconds=1.0),),
        "best_epoch": 1,
        "value": 0.7,
        "seconds": 1.5,
        "weights": "w",
    }
    return Trial(**values | changes)


def test_every_trial_is_on_disk_with_the_weights_of_its_value(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_plan(0, lr=0.05), make_plan(1, lr=0.001))
    ran, trials = search(job)
    assert ran == [(f"trial-{i:03d}", epoch) for i in (0, 1) for epoch in (1, 2, 3)]
    for trial, plan in zip(trials, job.plans, strict=True):
        assert trial.state is TrialState.FINISHED
        assert trial.params == plan.params
        assert read_trial(tmp_path, trial.id) == trial
        assert trial.weights == str(tmp_path / trial.id / "weights.safetensors")
        model = build(plan.model, job.spec, plan.train)
        weights.load(model, Path(trial.weights).read_bytes(), trial.weights)
        assert job.validation.target is not None
        predicted = predict(model, job.validation, job.spec.task)
        assert score(job.metric, job.spec.task, job.validation.target, predicted) == trial.value
    assert trials[0].value > trials[1].value
    assert best(trials, "max") == trials[0]


def test_the_same_command_runs_only_what_has_not_ended(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_plan(0), make_plan(1, lr=0.01), make_plan(2, lr=BROKEN_LR))
    ran, trials = search(job)
    assert [t.state for t in trials] == [TrialState.FINISHED, TrialState.FINISHED, TrialState.FAILED]
    assert {trial for trial, _ in search(job)[0]} <= {"trial-002"}  # the failed one is tried again
    (tmp_path / "trial-001" / "trial.json").unlink()
    ran, again = search(job)
    assert ran == [("trial-001", epoch) for epoch in (1, 2, 3)]
    assert again[1].value == trials[1].value
    assert again[0] == trials[0]


@pytest.mark.parametrize("damage", ["cut", "empty", "list", "unknown key", "unknown state", "weights gone"])
def test_a_damaged_record_counts_as_none(damage: str, tmp_path: Path) -> None:
    job = make_job(tmp_path)
    search(job)
    record = tmp_path / "trial-000" / "trial.json"
    text = record.read_text()
    if damage == "cut":
        record.write_text(text[: len(text) // 2])
    elif damage == "empty":
        record.write_text("")
    elif damage == "list":
        record.write_text("[]")
    elif damage == "unknown key":
        record.write_text(json.dumps({**json.loads(text), "more": 1}))
    elif damage == "unknown state":
        record.write_text(json.dumps({**json.loads(text), "state": "sleeping"}))
    else:
        (tmp_path / "trial-000" / "weights.safetensors").unlink()
    assert read_trial(tmp_path, "trial-000", failed=True) is None
    assert len(search(job)[0]) == 3


def test_a_folder_that_moved_finds_its_weights(tmp_path: Path) -> None:
    search(make_job(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    found = read_trial(tmp_path / "new", "trial-000")
    assert found is not None
    assert found.weights == str(tmp_path / "new" / "trial-000" / "weights.safetensors")


def test_a_failed_trial_is_tried_again_as_often_as_asked(tmp_path: Path) -> None:
    calls: list[int] = []

    def count(trial: str, epoch: Epoch) -> None:
        calls.append(epoch.epoch)
        raise OSError("the bar\nbroke")

    for failures in (0, 2):
        calls.clear()
        search_of = LocalSearch(SearchConf(max_failures=failures))
        (trial,) = search_of.run(make_job(tmp_path / str(failures)), on_epoch=count, on_trial=lambda trial: None)
        assert len(calls) == failures + 1
        place = f"tests/engine/train/test_sweep.py:{count.__code__.co_firstlineno + 2}"
        assert (trial.state, trial.reason) == (TrialState.FAILED, f"OSError: the bar broke ({place})")


def reason_of(folder: Path, **changes: Any) -> str:
    trial = run_trial(make_job(folder, **changes), make_plan(), lambda epoch: True)
    assert trial.state is TrialState.FAILED
    assert trial.weights == ""
    assert not list(folder.rglob("*.safetensors"))
    assert read_trial(folder, trial.id) is None
    found = read_trial(folder, trial.id, failed=True)
    assert found is not None
    assert (found.state, found.reason) == (trial.state, trial.reason)
    return trial.reason


def test_a_trial_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    rows = make_rows(seed=1)
    assert rows.target is not None
    broken = replace(rows, numeric=np.full_like(rows.numeric, np.nan))
    assert reason_of(tmp_path, train=broken) == "diverged in epoch 1, before any epoch gave a finite value"
    one_class = replace(rows, target=np.ones_like(rows.target))
    assert reason_of(tmp_path, validation=one_class) == (
        "roc_auc_score is undefined on the validation rows - look at their labels"
    )
    narrow = replace(rows, numeric=rows.numeric[:, :2])
    assert reason_of(tmp_path, train=narrow).startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    plan = make_plan(model={**MODEL, "_target_": "os.system"})
    trial = run_trial(make_job(tmp_path), plan, lambda epoch: True)
    assert trial.reason.startswith("model._target_:os.system: this class is not on the list of trusted ones - ")


def test_a_trial_that_diverges_after_good_epochs_is_no_finished_one(tmp_path: Path, monkeypatch: Any) -> None:
    class Late(TabularModel):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 2:
                with torch.no_grad():
                    self.embedding.weight.fill_(math.nan)

    monkeypatch.setattr("engine.train.inference.resolve", lambda target, trusted: Late)
    for epochs in (3, 6):  # in its last epoch or before
        trial = run_trial(make_job(tmp_path), make_plan(max_epochs=epochs), lambda epoch: True)
        assert (trial.state, trial.reason, trial.weights) == (TrialState.FAILED, "diverged in epoch 3", "")
        assert trial.best_epoch in (1, 2)


def test_a_stopped_trial_is_recorded_without_weights(tmp_path: Path) -> None:
    trial = run_trial(make_job(tmp_path), make_plan(), lambda epoch: epoch.epoch < 2)
    assert (trial.state, trial.reason) == (TrialState.STOPPED, "stopped by the scheduler after epoch 2")
    assert trial.weights == ""
    assert read_trial(tmp_path, trial.id) == trial
    whole = run_trial(make_job(tmp_path), make_plan(), lambda epoch: epoch.epoch < 3)
    assert whole.state is TrialState.FINISHED  # it was stopped when it was done anyway


def test_a_model_may_end_its_own_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Patient(TabularModel):
        def on_train_epoch_end(self) -> None:
            self.trainer.should_stop = self.current_epoch == 1

    monkeypatch.setattr("engine.train.inference.resolve", lambda target, trusted: Patient)
    trial = run_trial(make_job(tmp_path), make_plan(max_epochs=5), lambda epoch: True)
    assert (trial.state, trial.reason) == (TrialState.FINISHED, "its own model ended it after epoch 2")


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted])
def test_an_interrupted_trial_leaves_no_record(error: type[BaseException], tmp_path: Path) -> None:
    def after(epoch: Epoch) -> bool:
        raise error

    with pytest.raises(error):
        run_trial(make_job(tmp_path), make_plan(), after)
    assert read_trial(tmp_path, "trial-000", failed=True) is None


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: .* - ") as error:
        search(make_job(tmp_path / "file"))
    assert "\n" not in str(error.value)


def test_a_warm_start_begins_where_the_champion_is(tmp_path: Path) -> None:
    cold = search(make_job(tmp_path / "cold", make_plan(max_epochs=8)))[1][0]
    champion = Path(cold.weights).read_bytes()
    plan = make_plan(max_epochs=1, lr=1e-9)
    warm = search(make_job(tmp_path / "warm", plan, warm_start=champion))[1][0]
    assert warm.value == pytest.approx(cold.value, abs=1e-6)
    assert search(make_job(tmp_path / "none", plan))[1][0].value < cold.value - 0.1
    wider = make_plan(max_epochs=1, lr=1e-9, model={**MODEL, "width": 24})
    other = search(make_job(tmp_path / "wider", wider, warm_start=champion))[1][0]
    model = build(wider.model, make_spec(), wider.train)
    weights.load(model, Path(other.weights).read_bytes(), "w")
    assert other.state is TrialState.FINISHED  # shapes that do not agree start fresh


def test_the_best_is_never_failed_stopped_without_a_value_or_without_weights() -> None:
    good, better = make_trial("good", value=0.6), make_trial("better", value=0.8)
    others = (
        make_trial("failed", value=0.99, state=TrialState.FAILED),
        make_trial("stopped", value=0.99, state=TrialState.STOPPED),
        make_trial("nan", value=math.nan),
        make_trial("inf", value=math.inf),
        make_trial("lost", value=0.99, weights=""),
    )
    assert best((*others, good, better), "max") == better
    assert best((better, good, *others), "min") == good
    assert best(others, "max") is None
    assert best((), "max") is None


def test_a_record_with_numbers_that_are_not_finite_comes_back(tmp_path: Path) -> None:
    epoch = Epoch(epoch=1, train_loss=math.inf, value=math.nan, seconds=1.0)
    write_trial(tmp_path, make_trial(state=TrialState.FAILED, curve=(epoch,), value=math.nan, weights=""), b"")
    found = read_trial(tmp_path, "t", failed=True)
    assert found is not None
    assert math.isnan(found.value)
    assert math.isnan(found.curve[0].value)


def test_starting_and_closing_cost_nothing(tmp_path: Path) -> None:
    local = LocalSearch(SearchConf())
    local.start()
    local.run(make_job(tmp_path), on_epoch=ignore_epoch, on_trial=lambda trial: None)
    local.close()
    assert local.startup_seconds == 0.0
