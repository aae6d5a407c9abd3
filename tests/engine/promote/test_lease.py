"""One process runs a loop at a time: a dead one is replaced once, a slow one is fenced."""

from __future__ import annotations

import itertools
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine.errors import LeaseError
from engine.promote import lease
from engine.promote.ledger import Ledger
from tests.engine.promote.conftest import bring
from tests.patience import ENOUGH

ROOT = Path(__file__).parents[3]
SECONDS = 2.0  # of the leases below, where nothing hangs on a holder that is held up
SIZES = [pytest.param(1, id="small"), pytest.param(20, id="full", marks=pytest.mark.slow)]
Record = Callable[[str, object], None]


class Process:
    """A holder, spoken to line by line."""

    def __init__(self, url: str, machine: str, seconds: float) -> None:
        command = [sys.executable, "-m", "tests.engine.promote.holder", url, str(seconds), machine]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def speaks(self, within: float = ENOUGH) -> bool:
        """Does it say anything more in so many seconds."""
        return bool(select.select([self.process.stdout], [], [], within)[0])

    def heard(self) -> list[object]:
        """The next thing it says."""
        assert self.process.stdout is not None
        assert self.speaks(), "nothing said"
        said: list[object] = json.loads(self.process.stdout.readline())
        return said

    def write(self, id: str) -> list[object]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{id}\n")
        self.process.stdin.flush()
        return self.heard()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()  # ends a frozen process, too
        self.process.wait()
        self.process.stdout.close()
        with suppress(BrokenPipeError):
            self.process.stdin.close()


@pytest.fixture
def started(url: str) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(machine: str = "here", seconds: float = SECONDS) -> Process:
        processes.append(Process(url, machine, seconds))
        return processes[-1]

    yield start
    for process in processes:
        process.end()


def who_holds(processes: list[Process], within: float) -> tuple[Process, int, list[Process]]:
    """The first process that says that it holds the lease, in which generation, and who was told to wait meanwhile."""
    outputs = {process.process.stdout: process for process in processes}
    told: list[Process] = []
    ends = time.monotonic() + within
    while (left := ends - time.monotonic()) > 0:
        for ready in select.select(list(outputs), [], [], left)[0]:
            said, word = outputs[ready].heard()
            if said == "held":
                assert isinstance(word, int)
                return outputs[ready], word, told
            told.append(outputs[ready])
    raise AssertionError(f"nobody holds it after {within} s")


@pytest.mark.parametrize(
    ("machine", "rounds"),
    [
        pytest.param("here", 1, id="small"),
        pytest.param("here", 20, id="full", marks=pytest.mark.slow),
        pytest.param("elsewhere", 20, id="by time", marks=pytest.mark.slow),
    ],
)
def test_a_killed_holder_is_replaced_once(
    started: Callable[..., Process], machine: str, rounds: int, record_property: Record
) -> None:
    """Two wait; one of them gets it: at once where it can be seen that the holder is gone, else after the lease."""
    seconds = SECONDS if machine != "here" else 10 * ENOUGH  # seen to be gone long before it runs out
    machines = (f"{machine} {number}" if machine != "here" else machine for number in itertools.count())
    holder = started(next(machines), seconds)
    assert holder.heard() == ["held", 1]
    waiting = [started(next(machines), seconds)]
    assert waiting[0].heard()[0] == "waiting"
    longest, shortest = 0.0, math.inf
    for turn in range(rounds):
        waiting.append(started(next(machines), seconds))
        assert waiting[-1].heard()[0] == "waiting"
        holder.signal(signal.SIGKILL)
        holder.process.wait()
        died = time.monotonic()
        holder, generation, told = who_holds(waiting, ENOUGH)
        took = time.monotonic() - died
        longest, shortest = max(longest, took), min(shortest, took)
        assert generation == turn + 2
        waiting.remove(holder)
        assert waiting == told or waiting[0].heard()[0] == "waiting", "the other one is told who was faster"
        assert holder.write(f"row {turn}") == ["wrote", f"row {turn}"]
    assert machine == "here" or shortest > seconds / 2, "a sign of life is never older than a quarter of the lease"
    assert longest < (2 * seconds if machine != "here" else 25), "it looks every second; a busy machine may be slow"
    record_property(
        f"a dead worker is replaced once ({'seen to be gone' if machine == 'here' else 'by time'})",
        f"{rounds} of {rounds} killed, replaced within {longest:.1f} s, by a lease of {seconds:.0f} s",
    )


@pytest.mark.parametrize("rounds", SIZES)
def test_a_frozen_holder_is_fenced(
    started: Callable[..., Process], ledger: Ledger, url: str, rounds: int, record_property: Record
) -> None:
    holder = started()
    assert holder.heard() == ["held", 1]
    for turn in range(rounds):
        assert holder.write(f"early {turn}") == ["wrote", f"early {turn}"]
        holder.signal(signal.SIGSTOP)
        rival = started()
        assert rival.heard()[0] == "waiting"
        assert who_holds([rival], ENOUGH)[1] == turn + 2
        holder.signal(signal.SIGCONT)
        said, line = holder.write(f"late {turn}")
        assert said == "refused"
        assert str(line).startswith(f"loop world: it is run by process {rival.process.pid} on ")
        assert str(line).endswith(" UTC now, and this late write is refused")
        holder = rival
    with Ledger.open(url, "world") as seen:
        assert [row.id for row in seen.rows()] == [f"early {turn}" for turn in range(rounds)]
        seen.verify()
    record_property("a slow worker is fenced", f"{rounds} of {rounds} late writes refused")


def test_a_holder_that_lives_keeps_it(started: Callable[..., Process]) -> None:
    for seconds in (SECONDS, 5 * SECONDS, 25 * SECONDS):  # one that is held up for a whole lease loses it
        holder = started("elsewhere", seconds)
        who_holds([holder], ENOUGH)
        rival = started("here", seconds)
        said, line = rival.heard()
        assert said == "waiting"
        assert str(line).startswith(f"loop world is run by process {holder.process.pid} on ")
        assert str(line).endswith(" UTC: waiting until it ends")
        if not rival.speaks(within=2 * seconds):
            return
        holder.end()
        rival.end()
    raise AssertionError("it was taken from a holder that lives")


def test_a_holder_that_ends_gives_it_back(started: Callable[..., Process]) -> None:
    holder = started("elsewhere", 600.0)
    assert holder.heard() == ["held", 1]
    rival = started("here", 600.0)
    assert rival.heard()[0] == "waiting"
    assert holder.process.stdin is not None
    holder.process.stdin.close()
    assert rival.heard() == ["held", 2], "given back, not run out"


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As another machine sees us."""
    with monkeypatch.context() as patched:
        patched.setattr(lease, "machine", lambda: "elsewhere")
        yield


def test_who_does_not_wait_is_told_who_runs_it(ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ledger.leased(60, wait=0, say=pytest.fail), elsewhere(monkeypatch), Ledger.open(url, ledger.loop) as other:
        monkeypatch.setattr(lease.time, "sleep", pytest.fail)
        with (
            pytest.raises(LeaseError, match=rf"^loop flights is run by process {os.getpid()} on .*: end it, or wait"),
            other.leased(60, wait=0, say=pytest.fail),
        ):
            pass
        assert LeaseError.exit_code == 1


def test_a_process_takes_its_own_lease_again(ledger: Ledger, url: str) -> None:
    """It was interrupted in the middle, and the same process starts over."""
    with (
        ledger.leased(60, wait=0, say=pytest.fail) as first,
        Ledger.open(url, ledger.loop) as again,
        again.leased(60, wait=0, say=pytest.fail) as second,
    ):
        assert (first.generation, second.generation) == (1, 2)
        again.append("decision", "mine", {})
        with pytest.raises(LeaseError, match="this late write is refused"):
            ledger.append("decision", "late", {})
        with pytest.raises(LeaseError, match="this late write is refused"):
            bring(ledger, "late")
    assert [row.id for row in ledger.rows()] == ["mine"]


def test_people_are_not_fenced(ledger: Ledger, url: str) -> None:
    """A lease is about the loop: a person moves models while it runs."""
    with ledger.leased(60, wait=0, say=pytest.fail), Ledger.open(url, ledger.loop) as person:
        bring(person, "a")
        ledger.append("decision", "d", {})
    assert ledger.verify() == 6


def test_loops_of_one_database_have_leases_of_their_own(ledger: Ledger, url: str) -> None:
    with (
        ledger.leased(60, wait=0, say=pytest.fail),
        Ledger.open(url, "other") as other,
        other.leased(60, wait=0, say=pytest.fail) as held,
    ):
        assert held.generation == 1


def test_a_number_that_another_process_got_is_not_the_holder() -> None:
    me = lease.Holder.this()
    assert not me.gone()
    assert lease.Holder(**{**vars(me), "started": "1"}).gone()
    assert lease.Holder(**{**vars(me), "pid": 4_000_000}).gone()
    assert not lease.Holder(**{**vars(me), "pid": 4_000_000, "machine": "other"}).gone(), "who knows"
    assert not lease.Holder(**{**vars(me), "pid": 4_000_000, "machine": "", "started": ""}).gone()
