"""A sweep told to W&B: live by its driver, from the record, and when W&B breaks on the way."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.records import Stretch, Sweep, Trial, TrialState
from engine.track import BEST, TrackConf, make_tracker, settings, tell_sweep
from engine.track.describe import describe_trial
from engine.track.runs import group_of, run_id
from engine.track.weights_and_biases import WandbTracker
from tests.engine.report.sweeps import METRIC, make_epoch, make_sweep, make_trial
from tests.engine.track.offline import OfflineRun, read_runs
from tests.patience import ENOUGH, until

TRIALS = (
    make_trial(0, 0.7),
    make_trial(1, 0.8, state=TrialState.STOPPED, epochs=2),
    make_trial(2, state=TrialState.FAILED, epochs=1),
    make_trial(3, 0.75),
)


@pytest.fixture
def tracker(tmp_path: Path, warnings: list[str]) -> Iterator[WandbTracker]:
    made = make_tracker(TrackConf(project="demo"), tmp_path / "loop", warn=warnings.append, patience=ENOUGH)
    assert isinstance(made, WandbTracker)
    yield made
    made.finish()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is handed on at once."""
    monkeypatch.setattr("engine.track.weights_and_biases.LIVE_EVERY", 0.0)


def live(tracker: WandbTracker, sweep: Sweep, trials: tuple[Trial, ...] = TRIALS) -> None:
    """The sweep as its driver tells it: trials side by side."""
    with tracker.sweep(sweep) as told:
        for trial in trials:
            told.begins(trial.id, trial.params, trial.config)
        for number in range(max(len(trial.curve) for trial in trials)):
            for trial in trials:
                if number < len(trial.curve):
                    told.epoch(trial.id, trial.curve[number])
        for trial in trials:
            told.ended(trial)


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    """What every run says, by its id; what no reviewer sees, and no two writings share, left out."""
    runs = read_runs(folder)
    assert len({run.id for run in runs}) == len(runs)
    return {run.id: said(run) for run in runs}


def said(run: OfflineRun) -> dict[str, Any]:
    history = [
        {k: v for k, v in entry.items() if k not in ("_timestamp", "_runtime") and not k.startswith("tables/")}
        for entry in run.history
    ]
    summary = {k: v for k, v in run.summary.items() if not k.startswith(("_", "tables/"))}
    config = {k: v for k, v in run.config.items() if k != "_wandb"}
    named = (run.name, run.group, run.project, run.job_type, sorted(run.tags), run.exit_code)
    tables = {name: (table["columns"], table["data"]) for name, table in run.tables.items()}
    return {"run": named, "config": config, "history": history, "summary": summary, "tables": tables}


def test_one_group_a_sweep_one_run_a_trial(tracker: WandbTracker, tmp_path: Path, unhurried: None) -> None:
    sweep = make_sweep()
    tracker.start("tides", {})
    live(tracker, sweep)
    tracker.finish()
    runs = {run.id: run for run in read_runs(tmp_path / "loop")}
    assert {run.group for run in runs.values()} == {group_of(sweep)} == {"tides 2026-05 sweep 55555555"}
    assert set(runs) == {run_id(sweep.id), *(run_id(sweep.id, trial.id) for trial in TRIALS)}
    for trial in TRIALS:
        run = runs[run_id(sweep.id, trial.id)]
        assert (run.name, run.job_type) == (f"2026-05 {trial.id}", "trial")
        assert set(run.tags) == {"loop:tides", "window:2026-05", f"state:{trial.state.value}"}
        assert run.config["train.lr"] == trial.params["train.lr"]
        assert run.config["composed"] == trial.config
        assert run.config["sweep"]["id"] == sweep.id
        curve = [(entry["_step"], entry[METRIC], entry["train_loss"], entry["epoch_seconds"]) for entry in run.history]
        assert curve == [(e.epoch, e.value, e.train_loss, e.seconds) for e in trial.curve]
        ended = {name: run.summary.get(name) for name in ("state", "best_epoch", "seconds", "best_value")}
        value = None if trial.state is TrialState.FAILED else trial.value
        assert ended == {
            "state": trial.state.value, "best_epoch": trial.best_epoch, "seconds": trial.seconds, "best_value": value,
        }  # fmt: skip
        assert run.summary.get("reason", "") == trial.reason
        assert run.exit_code == (1 if trial.state is TrialState.FAILED else 0)
    whole = runs[run_id(sweep.id)]
    assert whole.job_type == "sweep"
    assert (whole.summary["best_trial"], whole.summary["best_value"]) == ("trial-003", 0.75)  # no stopped one
    assert {state.value: whole.summary[f"trials/{state.value}"] for state in TrialState} == {
        "finished": 2, "stopped": 1, "failed": 1,
    }  # fmt: skip
    table = whole.tables["tables/trials"]
    assert [row[:2] for row in table["data"]] == [[t.id, t.state.value] for t in TRIALS]
    assert whole.config["ledger"] == {"url": "postgresql://***@db/gate"}


def test_from_the_record_it_reads_as_it_did_live(tracker: WandbTracker, tmp_path: Path, unhurried: None) -> None:
    sweep = make_sweep()
    tracker.start("tides", {})
    live(tracker, sweep)
    tracker.finish()
    before = shown(tmp_path / "loop")
    for _ in range(2):
        tracker.start("tides", {})
        tell_sweep(tracker, sweep, TRIALS)
        tracker.finish()
        assert shown(tmp_path / "loop") == before


def test_the_best_model_is_shown_with_its_sweep(tracker: WandbTracker, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    tracker.start("tides", {})
    live(tracker, make_sweep())
    tracker.artifact("a" * 64, {"weights.safetensors": weights}, BEST)
    tracker.finish()
    (run,) = [run for run in read_runs(tmp_path / "loop") if run.artifacts]
    (artifact,) = run.artifacts
    assert (run.job_type, run.summary["model"]) == ("sweep", "a" * 64)
    assert (artifact.type, artifact.name) == ("model", "tides-model")
    assert set(artifact.aliases) >= {"best", "sweep-55555555"}
    assert [entry.path for entry in artifact.manifest.contents] == ["weights.safetensors"]


def test_the_machine_of_the_driver_is_measured_while_a_sweep_runs(
    tracker: WandbTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = settings.quiet_settings

    def often(wandb: Any, *, stats: bool = False) -> Any:
        made = real(wandb, stats=stats)
        made.x_stats_sampling_interval = 0.1
        return made

    monkeypatch.setattr("engine.track.wandb_writer.quiet_settings", often)
    monkeypatch.setattr("socket.gethostname", lambda: "the-name-of-this-host")
    for seconds in (1.5, 6.0, 24.0):  # wandb's own process may take its time to begin
        tracker.start("tides", {})
        with tracker.sweep(make_sweep()) as told:
            told.begins("trial-000", {}, {})
            time.sleep(seconds)
            told.ended(TRIALS[0])
        tracker.finish()
        if any(run.system for run in read_runs(tmp_path / "loop")):
            break
    found = {run.job_type: {key for point in run.system for key in point} for run in read_runs(tmp_path / "loop")}
    assert any(key.startswith("cpu") for key in found["sweep"])
    assert any("memory" in key for key in found["sweep"])
    assert found["trial"] == set()
    files = [path for path in (tmp_path / "loop").rglob("*") if path.is_file()]
    assert not [path for path in files if b"the-name-of-this-host" in path.read_bytes()]
    assert {path.name for path in files}.isdisjoint({"requirements.txt", "wandb-metadata.json", "output.log"})


def test_a_trial_that_was_tried_again_shows_the_try_that_counts(
    tracker: WandbTracker, tmp_path: Path, unhurried: None
) -> None:
    trial = make_trial(0, 0.8)
    tracker.start("tides", {})
    with tracker.sweep(make_sweep()) as told:
        told.begins(trial.id, trial.params, trial.config)
        told.epoch(trial.id, make_epoch(1, 0.1))
        told.epoch(trial.id, make_epoch(2, 0.2))
        for epoch in trial.curve:
            told.epoch(trial.id, epoch)
        told.ended(trial)
    tracker.finish()
    run = next(run for run in read_runs(tmp_path / "loop") if run.job_type == "trial")
    assert [(entry["_step"], entry[METRIC]) for entry in run.history] == [(e.epoch, e.value) for e in trial.curve]


def test_calls_are_bounded(tracker: WandbTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of a millisecond are handed on once a second, and forty trials at once do not open forty runs."""
    calls: list[int] = []
    most: list[int] = []
    real = tracker._writer.__class__.log

    def counted(self: Any, id: str, steps: Any) -> None:
        calls.append(len(steps))
        most.append(len(self._open))
        real(self, id, steps)

    monkeypatch.setattr("engine.track.wandb_writer.Writer.log", counted)
    monkeypatch.setattr("engine.track.weights_and_biases.time", SimpleNamespace(monotonic=lambda: 7.0))
    trials = tuple(make_trial(i, epochs=50) for i in range(40))
    tracker.start("tides", {})
    live(tracker, make_sweep(), trials)
    tracker.finish()
    assert len(calls) == 40  # the first epoch of each; the record brought the others
    assert max(most) == 16
    runs = [run for run in read_runs(tmp_path / "loop") if run.job_type == "trial"]
    assert [len(run.history) for run in runs] == [50] * 40


def test_an_interrupted_sweep_says_so(tracker: WandbTracker, tmp_path: Path, unhurried: None) -> None:
    tracker.start("tides", {})

    def stop() -> None:
        with tracker.sweep(make_sweep()) as told:
            for trial in TRIALS[:2]:
                told.begins(trial.id, trial.params, trial.config)
                told.epoch(trial.id, trial.curve[0])
            told.ended(TRIALS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    tracker.finish()
    states = {run.name: run.summary["state"] for run in read_runs(tmp_path / "loop")}
    assert states == {
        "2026-05 trial-000": "finished",
        "2026-05 trial-001": "interrupted",
        "2026-05 sweep": "interrupted",
    }


def service() -> int:
    """The process of wandb that this one has started; 0: it runs none."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()
        if name == "wandb-core" and int(fields[1]) == os.getpid() and fields[0] != "Z":
            return int(entry.name)
    return 0


def test_wandb_dies_in_the_middle(tracker: WandbTracker, tmp_path: Path, warnings: list[str], unhurried: None) -> None:
    """Its process is killed between two epochs: every trial is there in the end, those that were open among them."""
    sweep = make_sweep()
    tracker.start("tides", {})
    with tracker.sweep(sweep) as told:
        for trial in TRIALS:
            told.begins(trial.id, trial.params, trial.config)
            told.epoch(trial.id, trial.curve[0])
        told.ended(TRIALS[0])
        settled(tracker)
        assert service()
        os.kill(service(), signal.SIGKILL)
        until(lambda: service() == 0)
        for trial in TRIALS[1:]:
            for epoch in trial.curve[1:]:
                told.epoch(trial.id, epoch)
            told.ended(trial)
    tracker.finish()
    told_again = tmp_path / "again"
    other = make_tracker(TrackConf(project="demo"), told_again, warn=warnings.append, patience=ENOUGH)
    other.start("tides", {})
    tell_sweep(other, sweep, TRIALS)
    other.finish()
    expected = shown(told_again)
    found = read_runs(tmp_path / "loop")  # a file that was killed before its first record names no run
    assert {run.id: said(run) for run in found if run.id and run.name != "2026-05 trial-000"} == {
        id: what for id, what in expected.items() if id != run_id(sweep.id, TRIALS[0].id)
    }
    assert warnings == []  # nothing was lost but what its dead process held: one that had ended before


def test_no_name_vanishes_from_the_environment_while_it_is_told(tracker: WandbTracker) -> None:
    """Whoever goes through it in another thread (Ray, a redaction) would stumble."""
    before = dict(os.environ)
    tracker.start("tides", {})
    tell_sweep(tracker, make_sweep(), TRIALS * 3)
    done = threading.Event()
    tracker._thread.submit(done.set)
    while not done.is_set():
        assert set(before) < set(dict(os.environ))
    tracker.finish()
    assert {name for name in os.environ if name not in before} <= {"WANDB_SERVICE"}  # of wandb itself


def settled(tracker: WandbTracker) -> None:
    """Wait until all that was handed over is done."""
    done = threading.Event()
    tracker._thread.submit(done.set)
    assert done.wait(ENOUGH)


@contextmanager
def held_up(tracker: WandbTracker) -> Iterator[None]:
    """For the time of the block nothing that is handed over is done: nobody may wait for it there."""
    gate, ended = threading.Event(), list[bool]()
    tracker._submit(lambda: ended.append(gate.wait(ENOUGH)))
    yield
    assert ended == []
    gate.set()


@pytest.fixture
def silent_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A W&B that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
        monkeypatch.setattr("engine.track.settings.INIT_TIMEOUT", 2.0)
        yield


def test_a_server_that_is_down_keeps_no_sweep_waiting(
    tracker: WandbTracker, tmp_path: Path, warnings: list[str], silent_server: None
) -> None:
    tracker.start("tides", {})
    with held_up(tracker):
        live(tracker, make_sweep())
    tracker.finish()
    (line,) = warnings
    assert line.startswith("W&B: not reachable, runs go to ")
    assert line.endswith("the work goes on, later faults are not repeated, `tidegate resync` tells all again")
    assert len([run for run in read_runs(tmp_path / "loop") if run.exit_code is not None]) == 5


def test_a_command_does_not_end_later_than_it_must(tmp_path: Path, warnings: list[str]) -> None:
    made = make_tracker(TrackConf(), tmp_path, warn=warnings.append, patience=0.3)
    assert isinstance(made, WandbTracker)
    made.start("tides", {})
    with held_up(made):
        thread = made._thread._thread
        tell_sweep(made, make_sweep(), TRIALS)
        made.finish()
        (line,) = warnings
        assert "runs or epochs are not sent after 0.3 s" in line
    assert thread is not None
    thread.join(ENOUGH)
    assert not list(tmp_path.iterdir()), "what was dropped is not begun later"


def test_what_it_costs(tracker: WandbTracker, record_property: pytest.RecordProperty) -> None:
    """Seconds that the driver waits for a trial of eight epochs, and seconds of a CPU that the thread beside it takes
    (wandb's own process comes on top of these).
    """
    trials = tuple(make_trial(i, epochs=8) for i in range(30))
    tracker.start("tides", {})
    tell_sweep(tracker, make_sweep(id="0" * 64), trials[:1])
    settled(tracker)
    began, busy, spent = time.perf_counter(), time.thread_time(), time.process_time()
    live(tracker, make_sweep(), trials)
    driver, busy = time.perf_counter() - began, time.thread_time() - busy
    tracker.finish()
    spent = time.process_time() - spent
    figure = f"{1e3 * driver / 30:.1f} ms of the driver, {1e3 * spent / 30:.0f} ms CPU beside it, a trial of 8 epochs"
    record_property("W&B keeps no sweep waiting", figure)
    assert busy / 30 < 0.1  # and it waits for nobody: see above


def test_a_trial_of_a_population_has_a_table_of_its_hyperparameters() -> None:
    schedule = (
        Stretch(after=0, trial="trial-002", params={"train.lr": 0.02}),
        Stretch(after=4, trial="trial-001", params={"train.lr": 0.016}),
    )
    trial = Trial(
        id="trial-001",
        params={"train.lr": 0.016},
        state=TrialState.FINISHED,
        reason="",
        curve=(),
        best_epoch=5,
        value=0.9,
        seconds=1.0,
        schedule=schedule,
    )
    sweep = Sweep(
        id="s", loop="l", window="w", policy="", action="", decision="", metric="roc_auc_score", mode="max", config={}
    )
    found = describe_trial(sweep, trial).tables["schedule"]
    assert found.columns == ("after epoch", "trial", "train.lr")
    assert found.rows == ((0, "trial-002", 0.02), (4, "trial-001", 0.016))
    assert describe_trial(sweep, replace(trial, schedule=())).tables == {}
