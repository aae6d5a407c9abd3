from __future__ import annotations

import dataclasses
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.records import Stage
from engine.track import NullTracker, TrackConf, make_tracker, resync, sweep_of, tell_sweep
from engine.track.runs import group_of, run_id
from engine.track.weights_and_biases import WandbTracker
from tests.engine.report.fixtures import FIRST, LOOP, PRIMARY, SECOND, WINDOWS, year
from tests.engine.track.offline import OfflineRun, read_runs
from tests.patience import ENOUGH

CONFIG = {"seed": 7, "ledger": {"url": "postgresql://me:hunter2@db/gate"}, "act": {"api_key": "hunter2"}}
CYCLES = year()
HOST, ARGUMENT = "the-name-of-this-host", "+password=on-the-command-line"


@pytest.fixture
def tracker(tmp_path: Path, warnings: list[str]) -> Iterator[WandbTracker]:
    made = make_tracker(TrackConf(project="demo"), tmp_path / "loop", warn=warnings.append, patience=ENOUGH)
    assert isinstance(made, WandbTracker)
    yield made
    made.finish()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[OfflineRun]]:
    """The whole year, told twice: the second telling must leave nothing behind."""
    folder = tmp_path_factory.mktemp("exported")
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"weights")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setattr("socket.gethostname", lambda: HOST)
        patch.setattr("sys.argv", ["tidegate", ARGUMENT])
        warnings: list[str] = []
        made = make_tracker(TrackConf(project="demo"), folder, warn=warnings.append, patience=ENOUGH)
        for _ in range(2):
            resync(made, LOOP, CONFIG, CYCLES, lambda model: {"weights.safetensors": weights})
        assert warnings == []
    return folder, read_runs(folder)


def by_name(runs: list[OfflineRun], name: str) -> OfflineRun:
    (found,) = [run for run in runs if run.name == name]
    return found


def test_one_group_a_loop_and_one_a_sweep(exported: tuple[Path, list[OfflineRun]]) -> None:
    _, runs = exported
    sweeps = [(c, c.candidate.trials) for c in CYCLES if c.candidate]
    trials = sum(len(told) for _, told in sweeps)
    assert {run.project for run in runs} == {"demo"}
    assert {run.group for run in runs if run.job_type == "cycle"} == {LOOP}
    assert [run.name for run in runs if run.job_type == "cycle"] == list(WINDOWS)
    assert len([run for run in runs if run.job_type == "trial"]) == trials == 10
    assert len({run.id for run in runs}) == len(runs) == len(CYCLES) + trials + len(sweeps)
    for cycle, told in sweeps:
        sweep = sweep_of(cycle, {})
        assert sweep is not None
        held = [run for run in runs if run.group == group_of(sweep)]
        assert sorted(run.job_type for run in held) == ["sweep", *["trial"] * len(told)]
    assert all(run.exit_code is not None for run in runs)


def test_a_cycle_run_shows_intervals_money_verdicts_and_timings(
    exported: tuple[Path, list[OfflineRun]],
) -> None:
    run = by_name(exported[1], WINDOWS[2])
    cycle = CYCLES[2]
    assert cycle.evaluation is not None
    assert cycle.decision is not None
    metric = cycle.evaluation.metric(PRIMARY)
    assert len(run.history) == 1
    assert run.history[0]["_step"] == 2
    assert run.summary[f"evaluation/challenger/{PRIMARY}"] == pytest.approx(metric.value)
    assert run.summary[f"evaluation/challenger/{PRIMARY}/low"] == pytest.approx(metric.low)
    assert run.summary["decision/waiting/mean"] == cycle.decision.waiting.mean
    assert run.summary["decision/action"] == "retune"
    assert run.summary["gate/offline"] == "pass"
    assert run.summary["gate/offline/reason"] == cycle.verdicts[0].reason
    assert run.summary["seconds/train"] == cycle.timings["train"]
    assert run.config["cycle"]["window"] == WINDOWS[2]
    assert run.config["seed"] == 7


def test_tables_hold_every_column_and_rule(exported: tuple[Path, list[OfflineRun]]) -> None:
    run, cycle = by_name(exported[1], WINDOWS[2]), CYCLES[2]
    assert cycle.monitor is not None
    assert cycle.monitor.consecutive is not None
    drift = run.tables["tables/drift"]
    assert len(drift["data"]) == len(cycle.monitor.baseline.columns) + len(cycle.monitor.consecutive.columns)
    gates = run.tables["tables/gates"]
    assert len(gates["data"]) == sum(len(v.rules) for v in cycle.verdicts)
    assert {row[gates["columns"].index("rule")] for row in gates["data"]} == {
        "superiority", "floor", "slice_guard", "cold_start",
    }  # fmt: skip


def test_undecidable_numbers_are_named_not_logged(exported: tuple[Path, list[OfflineRun]]) -> None:
    run = by_name(exported[1], WINDOWS[1])
    assert "decision/waiting/mean" not in run.summary
    assert run.summary["undecidable"] == "decision/probability, decision/waiting/mean, decision/waiting/std"
    drift = by_name(exported[1], WINDOWS[4]).tables["tables/drift"]
    rows = [r for r in drift["data"] if r[drift["columns"].index("column")] == "precipitation"]
    assert [r[drift["columns"].index("effect")] for r in rows if r[-2] == "undecidable"] == [None]


def test_trials_show_curve_params_and_state(exported: tuple[Path, list[OfflineRun]]) -> None:
    candidate = CYCLES[2].candidate
    assert candidate is not None
    for trial in candidate.trials:
        run = by_name(exported[1], f"{WINDOWS[2]} {trial.id}")
        assert run.id == run_id(candidate.decision, trial.id)
        assert run.config["train.lr"] == trial.params["train.lr"]
        assert run.summary["state"] == trial.state.value
        assert run.summary.get("reason", "") == trial.reason
        assert run.summary["best_epoch"] == trial.best_epoch
        assert run.summary["seconds"] == trial.seconds
        assert run.summary.get("best_value", trial.value) == pytest.approx(trial.value, nan_ok=True)
        assert run.exit_code == (1 if trial.state.value == "failed" else 0)
        shown = {entry["_step"]: entry[PRIMARY] for entry in run.history if PRIMARY in entry}
        usable = {e.epoch: e.value for e in trial.curve if e.value == e.value}
        assert shown == pytest.approx(usable)
        assert ("undecidable" in run.summary) == (trial.value != trial.value)


def test_artifacts_go_to_the_cycle_that_promoted_them(exported: tuple[Path, list[OfflineRun]]) -> None:
    folder, runs = exported
    holders = {run.name: run.artifacts for run in runs if run.artifacts}
    assert sorted(holders) == [WINDOWS[0], WINDOWS[3]]
    for window, model in ((WINDOWS[0], FIRST), (WINDOWS[3], SECOND)):
        (artifact,) = holders[window]
        assert artifact.type == "model"
        assert artifact.name == "flights-model"
        assert "production" in artifact.aliases
        assert model in artifact.metadata
        (entry,) = artifact.manifest.contents
        assert entry.path == "weights.safetensors"
        assert Path(entry.local_path) == folder / "weights.safetensors"


def test_no_secret_and_no_machine_is_written(exported: tuple[Path, list[OfflineRun]]) -> None:
    folder, runs = exported
    assert by_name(runs, WINDOWS[0]).config["ledger"] == {"url": "postgresql://***@db/gate"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > len(runs)
    for path in files:
        content = path.read_bytes()
        assert b"hunter2" not in content, path
        assert HOST.encode() not in content, path
        assert ARGUMENT.encode() not in content, path
    names = {path.name for path in files}
    assert names.isdisjoint({"requirements.txt", "wandb-metadata.json", "output.log", "diff.patch"})


def test_an_artifact_told_after_its_cycle_rewrites_that_run(
    tracker: WandbTracker, tmp_path: Path, warnings: list[str]
) -> None:
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"w")
    tracker.start(LOOP, {})
    tracker.cycle(CYCLES[0])
    tracker.artifact(FIRST, {"w.bin": weights}, Stage.PRODUCTION.value)
    tracker.finish()
    (run,) = read_runs(tmp_path / "loop")
    assert len(run.artifacts) == 1
    assert warnings == []


def test_an_artifact_without_a_cycle_is_told_of(tracker: WandbTracker, warnings: list[str]) -> None:
    tracker.start(LOOP, {})
    tracker.artifact(FIRST, {}, "production")
    tracker.finish()
    (line,) = warnings
    assert "belongs to no cycle" in line
    assert "\n" not in line


def test_the_newest_page_is_shown_as_it_is(tracker: WandbTracker, tmp_path: Path, warnings: list[str]) -> None:
    tracker.start(LOOP, CONFIG)
    tracker.page("<!doctype html><title>old</title>")
    tracker.page("<!doctype html><title>new</title>")
    tracker.finish()
    (run,) = read_runs(tmp_path / "loop")
    assert (run.job_type, run.group) == ("report", LOOP)
    (shown,) = (tmp_path / "loop").rglob("media/html/*.html")
    assert shown.read_text() == "<!doctype html><title>new</title>"
    assert warnings == []


def test_a_fault_of_wandb_is_one_line_and_nothing_else(
    tracker: WandbTracker, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    import wandb

    def broken(**_: object) -> None:
        raise RuntimeError("the service is gone, token=hunter2\nsecond line")

    monkeypatch.setattr(wandb, "init", broken)
    tracker.start(LOOP, {})
    for cycle in CYCLES[:3]:
        sweep = sweep_of(cycle, {})
        if sweep is not None and cycle.candidate is not None:
            tell_sweep(tracker, sweep, cycle.candidate.trials)
        tracker.cycle(cycle)
    tracker.finish()
    (line,) = warnings
    assert "the service is gone" in line
    assert "\n" not in line
    assert "hunter2" not in line


class FullDisk(logging.Handler):
    """What the file of wandb's own log does where nothing can be written any more."""

    tries = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.tries += 1
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            self.handleError(record)


def test_a_log_of_wandb_that_cannot_be_written_leaves_no_traceback(
    tracker: WandbTracker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    full, log = FullDisk(), logging.getLogger("wandb")
    log.addHandler(full)
    try:
        tracker.start(LOOP, CONFIG)
        tracker.cycle(CYCLES[0])
        tracker.finish()
    finally:
        log.removeHandler(full)
    assert full.tries > 0
    assert "Logging error" not in capsys.readouterr().err


def test_a_missing_artifact_file_is_one_line(tracker: WandbTracker, tmp_path: Path, warnings: list[str]) -> None:
    tracker.start(LOOP, {})
    tracker.artifact(FIRST, {"w.bin": tmp_path / "absent.bin"}, "production")
    tracker.cycle(CYCLES[0])
    tracker.cycle(CYCLES[1])
    tracker.finish()
    assert len(warnings) == 1
    assert WINDOWS[1] in [run.name for run in read_runs(tmp_path / "loop")]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "loop").write_text("a file, not a folder")
    made = WandbTracker(TrackConf(), tmp_path / "loop", warn=warnings.append, patience=ENOUGH)
    made.start(LOOP, {})
    made.cycle(CYCLES[0])
    made.cycle(CYCLES[1])
    made.finish()
    assert len(warnings) == 1


def test_online_that_fails_goes_on_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    import wandb

    real, modes = wandb.init, []

    def unreachable(**arguments: object) -> object:
        modes.append(arguments["mode"])
        if arguments["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return real(**arguments)

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(wandb, "init", unreachable)
    made = make_tracker(TrackConf(), tmp_path, warn=warnings.append, patience=ENOUGH)
    made.start(LOOP, {})
    made.cycle(CYCLES[0])
    made.cycle(CYCLES[1])
    made.finish()
    assert modes == ["online", "offline", "offline"]
    assert [run.name for run in read_runs(tmp_path)] == list(WINDOWS[:2])
    assert len(warnings) == 1
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"x" * 40 not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_API_KEY": "", "WANDB_MODE": "online"}, "offline"),
        ("online", {}, "online"),
        ("offline", {"WANDB_API_KEY": "k"}, "offline"),
    ],
)
def test_online_only_with_a_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    environment: dict[str, str],
    expected: str,
    warnings: list[str],
) -> None:
    import wandb

    modes = []

    def note(**arguments: object) -> None:
        modes.append(arguments["mode"])
        raise wandb.errors.CommError("enough")

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(wandb, "init", note)
    made = make_tracker(TrackConf(mode=mode), tmp_path, warn=warnings.append, patience=ENOUGH)
    made.start(LOOP, {})
    made.cycle(dataclasses.replace(CYCLES[0], candidate=None))
    made.finish()
    assert modes[0] == expected


def test_the_environment_is_left_as_it_was(tracker: WandbTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_CACHE_DIR", "mine")
    before = dict(os.environ)
    tracker.start(LOOP, {})
    tracker.cycle(CYCLES[1])
    tracker.finish()
    after = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    assert after["WANDB_CACHE_DIR"] == "mine"
    assert "WANDB_DATA_DIR" not in after
    assert set(before) <= set(os.environ)


def test_none_is_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(make_tracker(TrackConf(kind="none"), tmp_path), NullTracker)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    made = make_tracker(TrackConf(), tmp_path)
    assert isinstance(made, NullTracker)
    resync(made, LOOP, CONFIG, CYCLES, lambda model: {})
    assert list(tmp_path.iterdir()) == []
