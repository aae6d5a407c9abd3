from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine import __version__
from engine.errors import DataError
from engine.evaluate.conf import EvaluateConf
from engine.models import challenger
from engine.models.challenger import TrainingRows, Warm, commit, judge_rows, labelled_rows, levels, train
from engine.models.predictor import Predictor, load
from engine.promote.store import Store
from engine.records import Action, Asked, AskedPerturbed, Candidate, Epoch, Perturbation, Trial, TrialState
from engine.scoring.scores import score
from engine.train import weights
from engine.train.conf import SearchConf
from engine.train.search_space import Space
from engine.train.sweep import LocalSearch, OnEpoch, OnTrial, SweepJob
from engine.train.watched import recorded_sweeps
from tests.engine.tides import Watcher, compose, make_conf, make_decision, make_recipe, make_rows, make_window


class Spy(LocalSearch):
    """A search that remembers its job."""

    job: SweepJob

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        self.job = job
        self.epochs: list[tuple[str, int]] = []

        def spied(trial: str, epoch: Epoch) -> None:
            self.epochs.append((trial, epoch.epoch))
            on_epoch(trial, epoch)

        return super().run(job, on_epoch=spied, on_trial=on_trial)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make(
    folder: Path,
    store: Store,
    *,
    rows: TrainingRows | None = None,
    action: Action = Action.RETUNE,
    warm: Warm | None = None,
    decision: str = "d" * 64,
    **recipe: Any,
) -> tuple[Candidate, Spy, Watcher]:
    """One challenger with LocalSearch."""
    made = make_recipe(folder / "sweeps", **recipe)
    spy, watcher = Spy(made.search), Watcher()
    candidate = train(make_decision(action, decision), rows or make_rows(), made, spy, store, warm=warm, watch=watcher)
    return candidate, spy, watcher


def test_a_challenger_from_labelled_windows_to_the_store(tmp_path: Path, store: Store) -> None:
    candidate, spy, watcher = make(tmp_path, store)
    rows = make_rows()
    held = set(rows.holdout.table["id"].to_pylist())
    trained, compared = set(spy.job.train.rows.tolist()), set(spy.job.validation.rows.tolist())
    every = {
        row: (at, label)
        for w in rows.windows
        for row, at, label in zip(*(w.table[c].to_pylist() for c in ("id", "at", "late")), strict=True)
    }
    labelled = {row for row, (_, label) in every.items() if label is not None}
    assert trained | compared == labelled  # each labelled row once
    assert not trained & compared
    assert not (trained | compared) & held  # the gate's rows are seen by nobody
    assert max(every[row][0] for row in trained) < min(every[row][0] for row in compared)  # as in production
    assert len(compared) / len(labelled) == pytest.approx(0.25, abs=0.02)

    assert [t.state for t in candidate.trials] == [TrialState.FINISHED] * 2
    assert sorted(t.params["train.lr"] for t in candidate.trials) == [0.02, 0.05]
    winner = max(candidate.trials, key=lambda t: t.value)
    assert (candidate.value, candidate.params, candidate.metric) == (winner.value, winner.params, "roc_auc_score")
    assert (candidate.training_windows, candidate.holdout_window) == (("w1", "w2"), "w3")
    assert (candidate.decision, candidate.n_rows) == ("d" * 64, len(trained))
    assert candidate.seconds == sum(t.seconds for t in candidate.trials) > 0
    assert candidate.cost == pytest.approx(candidate.seconds)  # at 3600 an hour

    stored = load(store, candidate.model)
    assert store.read(candidate.model, "weights.safetensors") == Path(winner.weights).read_bytes()
    assert spy.job.validation.target is not None
    table = pa.concat_tables([w.table for w in rows.windows])
    chosen = table.filter(pa.array([row in compared for row in table["id"].to_pylist()]))
    order = np.argsort(chosen["id"].to_numpy())
    ours = np.argsort(spy.job.validation.rows)
    predicted = stored.predict(chosen)[order]
    assert score("roc_auc_score", stored.task, spy.job.validation.target[ours], predicted) == pytest.approx(
        winner.value
    )

    assert [told[:2] for told in watcher.told] == [
        (kind, trial) for trial in ("trial-000", "trial-001") for kind in ("begins", "epoch", "epoch", "ended")
    ]
    assert (watcher.total, watcher.closed) == (2, True)
    for begun, trial in zip((told for told in watcher.told if told[0] == "begins"), candidate.trials, strict=True):
        assert begun[2:] == (trial.params, trial.config)
        assert trial.config["train"]["lr"] == trial.params["train.lr"]
        assert trial.config["model"]["width"] == 8


def test_what_the_trials_have_in_common_is_recorded(tmp_path: Path, store: Store) -> None:
    candidate, spy, watcher = make(tmp_path, store)
    sweep = watcher.sweep
    assert (sweep.id, sweep.loop, sweep.window, sweep.decision) == (spy.job.id, "tides", "w4", "d" * 64)
    assert (sweep.metric, sweep.mode, sweep.action) == ("roc_auc_score", "max", "retune")
    assert sweep.config == {"train": {"lr": 0.05}, "track": {"api_key": "***"}}
    assert (candidate.sweep, candidate.mode) == (sweep.id, "max")
    ((recorded, trials),) = recorded_sweeps(tmp_path / "sweeps")
    assert recorded == replace(sweep, model=candidate.model)
    assert [replace(t, weights="") for t in trials] == [replace(t, weights="") for t in candidate.trials]


def test_a_sweep_that_was_cut_short_is_recorded_too(tmp_path: Path, store: Store) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    watcher = Watcher()
    watcher.ended = stop  # type: ignore[method-assign]
    recipe = make_recipe(tmp_path / "sweeps")
    with pytest.raises(KeyboardInterrupt):
        train(make_decision(), make_rows(), recipe, LocalSearch(recipe.search), store, warm=None, watch=watcher)
    assert watcher.closed
    ((sweep, trials),) = recorded_sweeps(tmp_path / "sweeps")
    assert (sweep.model, [t.id for t in trials]) == ("", ["trial-000"])
    (tmp_path / "sweeps" / sweep.id[:16] / "trial-000" / "trial.json").write_text('{"id": "trial-0')
    assert recorded_sweeps(tmp_path / "sweeps") == [(sweep, ())]


def test_the_encoder_sees_training_rows_alone(tmp_path: Path, store: Store) -> None:
    rows = make_rows()
    last = rows.windows[1].table
    strange = pa.array(["violet" if i >= 190 else c for i, c in enumerate(last["colour"].to_pylist())])
    far = pa.array([1e6 if i >= 190 else v for i, v in enumerate(last["pull"].to_pylist())])
    last = last.set_column(last.column_names.index("colour"), "colour", strange)
    last = last.set_column(last.column_names.index("pull"), "pull", far)
    rows = replace(rows, windows=(rows.windows[0], replace(rows.windows[1], table=last)))
    candidate, _, _ = make(tmp_path, store, rows=rows)
    encoder = load(store, candidate.model).encoder
    assert "violet" not in encoder.vocabularies[0]
    assert abs(encoder.means[0]) < 1.0


def test_the_manifest_says_where_a_model_comes_from(tmp_path: Path, store: Store) -> None:
    candidate, spy, _ = make(tmp_path, store)
    manifest = store.manifest(candidate.model)
    rows = make_rows()
    assert manifest["kind"] == "model"
    assert manifest["data"] == {w.name: w.fingerprint for w in rows.windows}
    assert manifest["rows"] == {"train": len(spy.job.train), "validation": len(spy.job.validation)}
    assert manifest["config"]["train"] == {"lr": 0.05}
    assert "hush" not in str(manifest)
    assert (manifest["decision"], manifest["window"], manifest["params"]) == ("d" * 64, "w4", candidate.params)
    assert manifest["metrics"] == {"validation.roc_auc_score": candidate.value}
    assert manifest["code"]["tidegate"] == __version__
    assert manifest["code"]["commit"] == commit()
    assert {"torch", "lightning", "numpy", "pyarrow"} <= set(manifest["packages"])
    assert set(manifest["files"]) == {"weights.safetensors", "encoder.json", "model.json", "probe.json"}


def test_the_same_command_makes_the_same_model_without_training_again(tmp_path: Path, store: Store) -> None:
    first, _, _ = make(tmp_path, store)
    again, spy, watcher = make(tmp_path, store)
    assert again == first
    assert spy.epochs == []
    assert [told[:2] for told in watcher.told] == [("ended", "trial-000"), ("ended", "trial-001")]
    record = spy.job.folder / "trial-001" / "trial.json"
    record.unlink()  # killed before its end
    again, spy, _ = make(tmp_path, store)
    assert spy.epochs == [("trial-001", 1), ("trial-001", 2)]
    assert again.model == first.model


@pytest.mark.parametrize(
    "change",
    [
        {"space": Space.of({"train.lr": "choice(0.04, 0.03)"})},
        {"search": SearchConf(num_samples=2, metric="log_loss", mode="min")},
        {"compose": lambda point: compose({**point, "train.max_epochs": 1})},
        {"compose": lambda point: compose({**point, "model.width": 9})},
        {"data": make_conf(numeric=["pull"])},
        {"decision": "e" * 64},
    ],
    ids=["points", "metric", "train", "model", "data", "decision"],
)
def test_a_changed_config_does_not_find_the_trials_of_the_old_one(
    change: dict[str, Any], tmp_path: Path, store: Store
) -> None:
    _, before, _ = make(tmp_path, store)
    _, after, _ = make(tmp_path, store, **change)
    assert after.job.id != before.job.id
    assert after.job.folder != before.job.folder
    assert len({trial for trial, _ in after.epochs}) == 2


def test_a_retrain_keeps_the_encoder_and_starts_from_the_champion(tmp_path: Path, store: Store) -> None:
    champion, _, _ = make(tmp_path, store)
    predictor = load(store, champion.model)
    later = TrainingRows(windows=(make_window(2), make_window(3)), holdout=make_window(4))
    slow = {"compose": lambda point: compose({**point, "train.lr": 1e-9, "train.max_epochs": 1})}
    warm = Warm(predictor, {"train.lr": 0.05})
    made, spy, watcher = make(tmp_path, store, rows=later, action=Action.RETRAIN, warm=warm, **slow)
    assert (watcher.sweep.window, watcher.sweep.action) == ("w4", "retrain")
    assert [plan.params for plan in spy.job.plans] == [{"train.lr": 0.05}]
    assert made.params == {"train.lr": 0.05}
    assert spy.job.warm_start == store.read(champion.model, "weights.safetensors")
    new = load(store, made.model)
    assert new.encoder == predictor.encoder
    table = later.holdout.table
    np.testing.assert_allclose(new.predict(table), predictor.predict(table), atol=1e-5)

    other, spy, _ = make(tmp_path, store, rows=later, action=Action.RETUNE, warm=warm)
    assert spy.job.warm_start == b""
    assert spy.job.plans[0].params == {"train.lr": 0.05}  # the champion's point is tried first
    assert load(store, other.model).encoder != predictor.encoder


def test_a_retrain_without_a_champion_is_a_sweep(tmp_path: Path, store: Store) -> None:
    _, spy, _ = make(tmp_path, store, action=Action.RETRAIN)
    assert len(spy.job.plans) == 2
    assert spy.job.warm_start == b""


def test_where_no_trial_finishes_there_is_no_model(tmp_path: Path, store: Store) -> None:
    candidate, _, watcher = make(tmp_path, store, compose=lambda point: compose({**point, "train.lr": 1e30}))
    assert candidate.model == ""
    assert math.isnan(candidate.value)
    assert candidate.params == {}
    assert {t.state for t in candidate.trials} == {TrialState.FAILED}
    assert all("diverged" in t.reason for t in candidate.trials)
    assert store.list() == []
    assert watcher.told[-1][:2] == ("ended", "trial-001")
    assert watcher.sweep.model == ""


def test_regression_is_trained_to_the_smallest_error(tmp_path: Path, store: Store) -> None:
    search = SearchConf(num_samples=1, metric="mean_absolute_error", mode="min")
    conf = make_conf(task="regression")
    candidate, _, watcher = make(tmp_path, store, rows=make_rows("regression"), data=conf, search=search, space=Space())
    assert 0 < candidate.value < 1.2
    best = min(epoch.value for epoch in candidate.trials[0].curve)
    assert candidate.value == best
    assert (watcher.sweep.mode, candidate.mode) == ("min", "min")


def test_windows_of_whole_numbers_and_of_fractions_train_together(tmp_path: Path, store: Store) -> None:
    rows = make_rows()
    first = rows.windows[0].table
    whole = first.set_column(3, "age", pa.array(np.arange(len(first))))
    rows = replace(rows, windows=(replace(rows.windows[0], table=whole), rows.windows[1]))
    assert rows.table["age"].type == pa.float64()
    assert make(tmp_path, store, rows=rows)[0].model


def test_too_few_rows_are_told_in_one_line(tmp_path: Path, store: Store) -> None:
    window = make_window(1, n=1)
    with pytest.raises(DataError, match=r"^at: all 1 rows have one time - "):
        make(tmp_path, store, rows=TrainingRows(windows=(window,), holdout=make_window(2)))
    one = make_window(1)
    table = one.table.set_column(5, "late", pa.array(np.ones(200, dtype=np.int64)))
    with pytest.raises(DataError, match=r"^late: all \d+ training rows have the label 1 - "):
        make(tmp_path, store, rows=TrainingRows(windows=(replace(one, table=table),), holdout=make_window(2)))
    assert store.list() == []


def test_both_models_are_judged_on_the_labelled_rows(tmp_path: Path, store: Store) -> None:
    new, old = (
        load(store, make(tmp_path, store, compose=lambda p, e=e: compose({**p, "train.max_epochs": e}))[0].model)
        for e in (6, 1)
    )
    conf = EvaluateConf(metrics=["roc_auc_score", "log_loss"], n_resamples=100, min_slice_rows=40)
    window = make_window(3)
    data = make_conf(cluster="day", slices=["colour"])
    report = judge_rows(new, old, window, data, conf)
    labelled = window.table.filter(window.table["late"].is_valid())
    assert (report.model, report.champion) == (new.artifact, old.artifact)
    assert (report.window, report.fingerprint, report.n_rows) == ("w3", window.fingerprint, len(labelled))
    truth = labelled["late"].to_numpy()
    assert report.metric("log_loss").value == pytest.approx(score("log_loss", new.task, truth, new.predict(labelled)))
    difference = report.differences[1]
    assert difference.value == pytest.approx(report.metrics[1].value - report.champion_metrics[1].value)
    assert "cluster" in difference.method
    assert [s.level for s in report.slices] == ["(missing)", "blue", "green", "red"]
    assert "too few rows" in report.slices[0].estimate.reason
    before = AskedPerturbed(perturbation=Perturbation(kind="shifted", shift=-1), metric="log_loss")
    asked, near = Asked(perturbed=(before,)), {-1: make_window(2)}
    (shifted,) = judge_rows(new, old, window, data, conf, asked, near).robustness
    there = judge_rows(new, old, near[-1], data, conf)
    assert (shifted.estimate.value, shifted.difference.value) == (
        there.metric("log_loss").value, there.differences[1].value,
    )  # fmt: skip
    assert shifted.difference.method.endswith("; beside the champion, on the window before")
    (first,) = judge_rows(new, None, window, data, conf, asked, near).robustness
    assert "MOVER" in first.difference.method
    alone = judge_rows(new, None, window, data, conf)
    assert (alone.champion, alone.differences) == ("", ())
    assert alone.metrics == report.metrics
    with pytest.raises(DataError, match=r"^w3\.parquet:late: has no labels yet - wait for them, or name an earlier "):
        judge_rows(new, None, make_window(3, labelled=False), data, conf)


def test_levels_and_labelled_rows() -> None:
    window = make_window(1, n=30)
    found = levels(window.table, "colour")
    assert set(found) == {"red", "green", "blue", "(missing)"}
    assert (found == "(missing)").sum() == window.table["colour"].null_count
    rows = labelled_rows(window, make_conf())
    assert len(rows) == 30 - window.table["late"].null_count
    assert rows["late"].null_count == 0


def test_a_predictor_keeps_what_belongs_together(tmp_path: Path, store: Store) -> None:
    candidate, spy, _ = make(tmp_path, store)
    found = load(store, candidate.model)
    assert isinstance(found, Predictor)
    assert weights.dump(found.model) == store.read(candidate.model, "weights.safetensors")
    assert found.encoder.spec == spy.job.spec


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_code_and_not_of_a_checkout_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "engine"
    inside.mkdir()
    file = inside / "challenger.py"
    file.write_text("1")
    monkeypatch.setattr(challenger, "__file__", str(file))
    assert commit() == ""  # no checkout
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "one")
    assert commit() == ""  # a package installed below somebody's checkout
    git(tmp_path, "add", "engine")
    git(tmp_path, "commit", "-qm", "two")
    assert commit() == git(tmp_path, "rev-parse", "HEAD")
    file.write_text("2")
    assert commit() == git(tmp_path, "rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert commit() == ""  # no git
