"""`tidegate resync`: whatever a kill or an outage left out of W&B, our own records bring back; twice is once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.cycle.loop import Loop
from engine.records import Cycle, Trial, from_plain
from engine.track.runs import run_id
from engine.train.sweep import LocalSearch
from engine.verbs import running
from tests.engine.deadly import killed
from tests.engine.track.offline import OfflineRun, read_runs
from tests.engine.world import Answer, World
from tests.patience import until

ROOT = Path(__file__).parents[3]
OFFLINE = ("track=wandb", "track.mode=offline")
# wandb leaves its own process to the garbage collector, once it has been made to forget it
pytestmark = pytest.mark.filterwarnings("ignore:subprocess \\d+ is still running:ResourceWarning")
SWEEP = (*OFFLINE, "search.num_samples=4", "train.lr=choice(0.01, 0.02, 0.03, 1e30)", "search.max_failures=0")


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def runs_of(world: World) -> dict[str, OfflineRun]:
    """Every run that lies there, whole, by its id."""
    found = read_runs(world.out / "wandb")
    assert len({run.id for run in found}) == len(found)
    return {run.id: run for run in found}


def records(world: World) -> dict[str, Trial]:
    """Every trial that our own record holds, by the id of its run."""
    found = {}
    for path in (world.out / "sweeps").glob("*/*/trial.json"):
        sweep = json.loads((path.parent.parent / "sweep.json").read_text())["id"]
        found[run_id(sweep, path.parent.name)] = from_plain(Trial, json.loads(path.read_text()))
    return found


def assert_all_there(world: World) -> dict[str, OfflineRun]:
    """Each recorded trial has its run, with every epoch of it, and its state."""
    runs, recorded = runs_of(world), records(world)
    assert {id for id, run in runs.items() if run.job_type == "trial"} == set(recorded)
    for id, trial in recorded.items():
        usable = [epoch for epoch in trial.curve if epoch.value == epoch.value]
        shown = [(entry["_step"], entry["roc_auc_score"]) for entry in runs[id].history if "roc_auc_score" in entry]
        assert shown == [(epoch.epoch, epoch.value) for epoch in usable]
        assert (runs[id].summary["state"], runs[id].summary.get("reason", "")) == (trial.state.value, trial.reason)
        assert runs[id].exit_code is not None
    return runs


def test_a_sweep_of_a_person_is_told_as_it_runs_and_again_from_its_record(fresh: World) -> None:
    answer = fresh.ask("sweep", *SWEEP)
    assert answer.code == 3  # one of its trials failed
    where = fresh.out / "wandb"
    assert f"offline runs of W&B lie in {where}: `wandb sync {where}/offline-run-*` sends them" in answer.err
    before = assert_all_there(fresh)
    trials = answer.value["candidate"]["trials"]
    assert sorted(t["state"] for t in trials) == ["failed", "finished", "finished", "finished"]
    (whole,) = [run for run in before.values() if run.job_type == "sweep"]
    (artifact,) = whole.artifacts
    assert "best" in artifact.aliases
    assert "weights.safetensors" in [entry.path for entry in artifact.manifest.contents]
    model = answer.value["candidate"]["model"]
    for run in before.values():
        if run.job_type == "trial":
            assert run.config["composed"]["train"]["lr"] == run.config["train.lr"]
            assert run.config["composed"]["model"]["width"] == 8

    shutil.rmtree(fresh.out / "wandb")
    for _ in range(2):
        again = fresh.ask("resync", *OFFLINE)
        assert again.code == 0, again.err
        assert again.value == {"loop": "world", "cycles": 0, "sweeps": 1, "trials": 4, "faults": []}
        after = assert_all_there(fresh)
        assert set(after) == set(before)
        (whole,) = [run for run in after.values() if run.job_type == "sweep"]
        assert (whole.summary["model"], len(whole.artifacts)) == (model, 1)


def test_a_loop_is_told_again_from_its_ledger_alone(old: World) -> None:
    shutil.rmtree(old.out / "sweeps")
    answer = old.ask("resync", *OFFLINE)
    assert answer.code == 0, answer.err
    cycles = old.cycles()
    sweeps = [cycle.candidate for cycle in cycles.values() if cycle.candidate]
    assert sweeps
    trials = {run_id(c.sweep, t.id): t for c in sweeps for t in c.trials}
    assert answer.value == {
        "loop": "world", "cycles": len(cycles), "sweeps": len(sweeps), "trials": len(trials), "faults": [],
    }  # fmt: skip
    runs = runs_of(old)
    assert sorted(run.name for run in runs.values() if run.job_type == "cycle") == sorted(cycles)
    assert {id for id, run in runs.items() if run.job_type == "trial"} == set(trials)
    for id, trial in trials.items():
        assert len([entry for entry in runs[id].history if "roc_auc_score" in entry]) == len(trial.curve)
        assert runs[id].config["composed"]["train"]["lr"] == trial.params.get("train.lr", 0.02)
    assert sum(len(run.artifacts) for run in runs.values()) == sum(
        change.target.value == "production" for cycle in cycles.values() for change in cycle.changes
    )
    assert {run.group for run in runs.values() if run.job_type == "cycle"} == {"world"}
    assert len({run.group for run in runs.values() if run.job_type == "trial"}) == len(sweeps)


def test_the_loop_tells_the_same_runs_by_itself(grown: World) -> None:
    """One run a trial, whether it was told live, at the end of its cycle, or from the ledger."""
    assert grown.run("loop", *OFFLINE, "loop.until=2026-05") == 0
    by_itself = runs_of(grown)
    shutil.rmtree(grown.out / "wandb")
    assert grown.run("resync", *OFFLINE) == 0
    again = runs_of(grown)
    assert set(by_itself) == set(again)
    assert run_id("world", "report") in again
    for id, run in again.items():
        assert (run.name, run.group, run.summary.get("state")) == (
            by_itself[id].name, by_itself[id].group, by_itself[id].summary.get("state"),
        )  # fmt: skip


def test_the_page_of_the_loop_is_told_again_with_all_that_the_file_shows(old: World) -> None:
    """What W&B shows under `report` is the page that `tidegate report` writes, byte for byte."""
    assert old.run("resync", *OFFLINE) == 0
    (run,) = [run for run in runs_of(old).values() if run.job_type == "report"]
    assert (run.id, run.group, run.exit_code) == (run_id("world", "report"), "world", 0)
    (folder,) = old.out.glob(f"wandb/offline-run-*-{run.id}")
    (shown,) = run.history
    assert shown["report._type"] == "html-file"
    page = (folder / "files" / shown["report.path"]).read_text()
    assert old.run("report", *OFFLINE) == 0
    assert page == (old.out / "report.html").read_text()
    assert all(window in page for window in old.cycles())


def marks(world: World) -> dict[str, int]:
    """When each run was written."""
    return {path.name: path.stat().st_mtime_ns for path in (world.out / "wandb").glob("offline-run-*/*.wandb")}


def test_a_loop_that_is_done_says_so_and_tells_nothing_again(old: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert old.run("loop", *OFFLINE) == 0  # the tracker hears of it for the first time
    assert sorted(r.name for r in runs_of(old).values() if r.job_type == "cycle") == sorted(old.cycles())
    before, rows = marks(old), old.rows()
    with monkeypatch.context() as patch:
        patch.setattr("engine.train.sweep.LocalSearch.start", lambda self: pytest.fail("there is nothing to train"))
        answer = old.ask("loop", *OFFLINE)
    assert answer.code == 0
    assert f"nothing is left to do: every window up to {max(old.cycles())} is decided on\n" in answer.err
    assert (marks(old), old.rows()) == (before, rows)
    shutil.rmtree(old.out / "wandb")
    assert old.run("loop", *OFFLINE) == 0
    assert len(marks(old)) == len(before)


def test_a_loop_that_goes_on_tells_what_is_new(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "make_search", lambda config: LocalSearch(config.search))
    assert grown.run("loop", *OFFLINE, "loop.until=2026-04") == 0
    before = marks(grown)
    answer = grown.ask("loop", *OFFLINE, "loop.until=2026-05", "search.backend=ray")
    assert answer.code == 0
    assert "nothing is left to do" not in answer.err
    assert "\nRay starts beside this; the first training waits for it, some seconds or a minute\n" in answer.err
    page = run_id("world", "report")
    kept = {name: mark for name, mark in before.items() if page not in name}
    assert kept.items() <= marks(grown).items()
    assert sorted(r.name for r in runs_of(grown).values() if r.job_type == "cycle") == sorted(grown.cycles())


def test_the_page_is_told_after_ctrl_c_too(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Loop.window

    def interrupted(loop: Loop, name: str) -> Cycle:
        if name == "2026-05":
            raise KeyboardInterrupt
        return whole(loop, name)

    monkeypatch.setattr(Loop, "window", interrupted)
    assert grown.run("loop", *OFFLINE) == 130
    (run,) = [run for run in runs_of(grown).values() if run.job_type == "report"]
    (folder,) = grown.out.glob(f"wandb/offline-run-*-{run.id}")
    shown = (folder / "files" / run.history[0]["report.path"]).read_text()
    assert shown == (grown.out / "report.html").read_text()
    assert [window in shown for window in ("2026-04", "2026-05")] == [True, False]


def start(world: World, verb: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "engine.cli", *world.words(verb, *words)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_when(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> bool:
    """Kill -9 as soon as `reached`; False where the process ended before."""
    until(lambda: process.poll() is not None or reached(), every=0.005)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0, 3), err.decode()
    return process.returncode == -signal.SIGKILL


def written(world: World) -> int:
    """Bytes in the offline files."""
    return sum(path.stat().st_size for path in (world.out / "wandb").glob("offline-run-*/*.wandb"))


def resynced(world: World) -> dict[str, Any]:
    """Every record is there after it, and there was something to heal."""
    assert world.run("resync", *OFFLINE) == 0
    return assert_all_there(world)


def test_kill_9_while_it_is_told(fresh: World) -> None:
    """The sweep is killed as its second trial has ended: W&B lost what it had not flushed, our record nothing."""
    killed(fresh, "sweep", *SWEEP, after=("replace", "trial.json", 2))
    assert len(records(fresh)) == 2
    assert torn(fresh) > 0
    resynced(fresh)
    assert fresh.ask("sweep", *SWEEP).code == 3  # the same command goes on, and tells the others
    assert len(assert_all_there(fresh)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(16))
def test_kill_9_at_any_moment(fresh: World, moment: int, record_property: pytest.RecordProperty) -> None:
    """By bytes that W&B has written, or by our own records; then the resync itself is killed, and run again."""
    by_record = moment % 2 == 0
    process = start(fresh, "sweep", *SWEEP)
    kill_when(process, lambda: len(records(fresh)) > moment // 4 if by_record else written(fresh) > 700 * moment)
    if not records(fresh):
        return
    lost, held = torn(fresh), len(records(fresh))
    kill_when(start(fresh, "resync", *OFFLINE), lambda: written(fresh) > 500 * moment)
    resynced(fresh)
    record_property(f"W&B killed at moment {moment}: lost there, found again", f"{lost} of {held} trials, all {held}")


def torn(world: World) -> int:
    """How many recorded trials W&B has not whole."""
    whole = 0
    for id, trial in records(world).items():
        for path in (world.out / "wandb").glob(f"offline-run-*-{id}"):
            try:
                (run,) = read_runs(path)
            except ValueError:
                continue
            whole += run.exit_code is not None and len(run.history) >= len(trial.curve)
    return len(records(world)) - whole


def test_wandb_is_down_and_the_sweep_goes_on(
    fresh: World, monkeypatch: pytest.MonkeyPatch, line: Callable[[], str]
) -> None:
    """Nobody listens there. One line of warning, every run offline; nothing is left for resync to mend."""
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("engine.track.settings.INIT_TIMEOUT", 2.0)
    answer = fresh.ask("train", "track=wandb")
    assert answer.code == 0
    assert answer.err.count("warning: ") == answer.err.count("W&B: not reachable, runs go to ") == 1
    assert len(assert_all_there(fresh)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "track.kind: is none: there is nobody to tell - choose track=wandb"),
        (OFFLINE, "there is no record of a loop or a sweep - run `tidegate loop` or `tidegate sweep` first"),
    ],
)
def test_nothing_to_tell_or_nobody(fresh: World, line: Callable[[], str], words: tuple[str, ...], message: str) -> None:
    assert fresh.run("resync", *words) == 2
    assert message in line()
    assert not fresh.out.exists()


def test_a_tracker_that_is_switched_off(ended: tuple[World, Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    answer = ended[0].ask("resync", "track=wandb")
    assert (answer.code, answer.out) == (2, "")
    assert "WANDB_MODE: is disabled: there is nobody to tell" in answer.err


def test_what_cannot_be_told_is_a_negative_answer(old: World) -> None:
    (old.out / "wandb").write_text("a file, not a folder")
    answer = old.ask("resync", *OFFLINE)
    assert answer.code == 3
    (fault,) = answer.value["faults"]
    assert "is not shown" in fault
