"""Kill the loop anywhere; the same command goes on, and the ledger reads as if nothing had happened."""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.promote.chain import Row
from engine.system import durable
from tests.engine.deadly import killed
from tests.engine.story import story
from tests.engine.world import LAST, Answer, World, configure, make_world
from tests.patience import ENOUGH, until

ROOT = Path(__file__).parents[2]
UNTIL = f"loop.until={LAST}"
# A process that dies just after a commit does not live to see SQLAlchemy complain of the rollback; ours does.
AFTER_COMMIT = pytest.mark.filterwarnings("ignore:transaction already deassociated")


@pytest.fixture(scope="module")
def undisturbed(ended: tuple[World, Answer]) -> list[Any]:
    return story(ended[0].rows())


def proved(world: World) -> list[Row]:
    """The rows, once the chain is proved."""
    with world.ledger() as ledger:
        ledger.verify()
        return ledger.rows()


class Killed(BaseException):
    """The process is gone."""


def crash(at: int, *, before: bool) -> Callable[[durable.Step, Callable[[], None]], None]:
    """Die at the `at`-th step that touches the disk, before or after it is carried out."""
    steps = itertools.count(1)

    def intercept(step: durable.Step, execute: Callable[[], None]) -> None:
        number = next(steps)
        if number == at and before:
            raise Killed
        execute()
        if number == at:
            raise Killed

    return intercept


def crash_until_done(world: World, *, stride: int, before: bool) -> int:
    """Start the loop again and again; each start survives `stride` steps more than the last. How many it took."""
    for starts in itertools.count(1):
        try:
            with durable.intercept(crash(starts * stride, before=before)):
                assert world.run("loop", UNTIL) == 0
        except Killed:
            if (world.out / "ledger.db").exists():
                proved(world)
        else:
            return starts
    raise AssertionError


@AFTER_COMMIT
def test_crash_after_crash(fresh: World, undisturbed: list[Any]) -> None:
    assert crash_until_done(fresh, stride=24, before=True) > 4
    assert story(proved(fresh)) == undisturbed


@pytest.mark.slow
@AFTER_COMMIT
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_crash_after_crash_step_by_step(fresh: World, undisturbed: list[Any], before: bool) -> None:
    assert crash_until_done(fresh, stride=1, before=before) > 15
    assert story(proved(fresh)) == undisturbed


@pytest.mark.slow
@AFTER_COMMIT
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("window", ["2026-05", "2026-06", "2026-07"])
def test_crash_at_every_step(
    ended: tuple[World, Answer], young: World, tmp_path: Path, undisturbed: list[Any], window: str, before: bool
) -> None:
    """Every step of the windows in which something happens, each from the same beginning."""
    start = young.copy(tmp_path / "start")
    if window > "2026-05":
        assert start.run("loop", f"loop.until=2026-0{int(window[-1]) - 1}") == 0
    expected = [row for row in undisturbed if row[2] <= window]
    for at in itertools.count(1):
        world = start.copy(tmp_path / f"run-{at}")
        try:
            with durable.intercept(crash(at, before=before)):
                assert world.run("loop", f"loop.until={window}") == 0
        except Killed:
            assert world.run("loop", f"loop.until={window}") == 0
        else:
            assert at > 5
            return
        assert story(proved(world)) == expected


def rows_written(path: Path) -> int:
    """Rows in a ledger that somebody else is writing; 0 while there is none."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM tidegate_row").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def start(world: World) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "engine.cli", *world.words("loop", UNTIL)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_when(world: World, reached: Callable[[], bool]) -> None:
    """Start the loop and kill it as soon as `reached`."""
    process = start(world)
    until(lambda: process.poll() is not None or reached(), every=0.01)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err.decode()


def trials(world: World) -> int:
    """Records of trials that ended."""
    return len(list((world.out / "sweeps").glob("*/*/trial.json")))


def test_sigkill(fresh: World, undisturbed: list[Any]) -> None:
    """In the middle of the founding sweep, and between two stages of a later window; then to the end."""
    killed(fresh, "loop", UNTIL, after=("replace", "trial.json", 1))
    assert trials(fresh) == 1
    killed(fresh, "loop", UNTIL, after=("commit", "ledger.db", 20))
    assert 20 <= rows_written(fresh.out / "ledger.db") < len(undisturbed)
    assert fresh.run("loop", UNTIL) == 0
    assert story(proved(fresh)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 36))
def test_sigkill_after_every_row(fresh: World, undisturbed: list[Any], at: int) -> None:
    kill_when(fresh, lambda: rows_written(fresh.out / "ledger.db") >= at)
    assert fresh.run("loop", UNTIL) == 0
    assert story(proved(fresh)) == undisturbed


def test_sigterm_is_an_interrupt(fresh: World) -> None:
    """What a cluster's scheduler sends: the command ends in order, and says so."""
    process = start(fresh)
    until(lambda: process.poll() is not None or rows_written(fresh.out / "ledger.db"), every=0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=ENOUGH)
    assert process.returncode == 130
    assert out == b""
    assert err.decode().endswith("interrupted - the same command goes on where it stopped\n")
    assert "Traceback" not in err.decode()


def test_two_at_once_write_one_story(fresh: World, undisturbed: list[Any]) -> None:
    """A scheduler that starts a command again while the first still runs: both end, and one story is told."""
    both = [start(fresh), start(fresh)]
    answers = [process.communicate(timeout=ENOUGH)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert story(proved(fresh)) == undisturbed


# ---- programs of their own: they fork, and kill -9 for real ----------------------------------------------------------


def program(module: str, *arguments: object) -> dict[str, Any]:
    """What a program of ours answers."""
    command = [sys.executable, "-m", f"tests.engine.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=14_400)
    assert done.returncode == 0, done.stderr or done.stdout
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("part", "every", "doubles"),
    [
        pytest.param("retrain", 320, 1, id="small"),
        pytest.param("founding", 1, 100, id="founding", marks=pytest.mark.slow),
        pytest.param("retrain", 1, 100, id="retrain", marks=pytest.mark.slow),
    ],
)
def test_kill_9_anywhere(
    young: World, tmp_path: Path, part: str, every: int, doubles: int, record_property: Callable[[str, object], None]
) -> None:
    """A founding; or a retrain that is rejected, a retune that passes its gate, and its shadow."""
    start, until = ("-", "2026-02") if part == "founding" else (str(young.out), LAST)
    result = program("crash", young.folder, start, until, tmp_path / "run", every, doubles)
    assert result["wrong"] == []
    assert result["killed"] >= result["cases"], "each case kills once, some of them twice"
    assert result["points"] > 80
    record_property(
        f"kill -9 anywhere in a loop ({part})",
        f"{result['cases']} of {result['cases']} cases at K = {result['points']} write points reach the same digest,"
        f" {result['killed']} kills, {doubles} of the cases doubly",
    )


@pytest.mark.parametrize(
    ("lease", "windows", "kills"),
    [
        pytest.param("no", 12, 4, id="small"),
        pytest.param("no", 300, 60, id="without the lease", marks=pytest.mark.slow),
        pytest.param("yes", 300, 60, id="full", marks=pytest.mark.slow),
    ],
)
def test_each_window_is_decided_once(
    tmp_path: Path, lease: str, windows: int, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """Three loops of one name, killed again and again; windows come late, twice and out of order."""
    names = [f"{2000 + month // 12}-{month % 12 + 1:02d}" for month in range(windows + 1)]
    make_world(tmp_path / "inbox", windows=names, rows=100)
    world = configure(tmp_path / "world")
    result = program("rivals", tmp_path / "inbox", world.folder, 3, kills, lease)
    assert (result["code"], result["kills"], result["failed"]) == (0, kills, 0)
    assert result["deliveries"] > windows - 1, "some windows came twice"
    rows = proved(world)
    decided = [row.window for row in rows if row.kind == "decision"]
    assert sorted(decided) == names[1:], "each once: the first window is only trained on"
    assert sorted(row.window for row in rows if row.kind == "cycle") == names[1:]
    assert decided != sorted(decided), "some came late"
    record_property(
        f"each window decided once ({'one at a time' if lease == 'yes' else 'without the lease'})",
        f"{len(decided)} decisions on {windows} windows, {kills} kills of 3 loops, {result['starts']} starts,"
        f" {result['deliveries']} arrivals",
    )
