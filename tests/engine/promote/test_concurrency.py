"""Many processes at once: one winner a round, everybody starts, each window decided once."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import pytest

from engine.promote.ledger import Ledger
from engine.records import Stage
from tests.engine.promote import contest, servers

Record = Callable[[str, object], None]
SMALL = (6, 50)  # processes, rounds
FULL = (16, 500)
SIZES = [pytest.param(*SMALL, id="small"), pytest.param(*FULL, id="full", marks=pytest.mark.slow)]


def one_winner(url: str, processes: int, rounds: int, build: tuple[int, ...] = ()) -> str:
    """Let them fight it out, and prove it; the figure."""
    reports = contest.run(contest.promote, processes, url=url, rounds=rounds, build=build)
    assert [r.fault for r in reports if r.fault] == []
    with Ledger.open(url, "contest") as ledger:
        for turn in range(rounds):
            winners = [r.won[turn] for r in reports if turn in r.won]
            assert len(winners) == 1, f"round {turn}: {winners}"
            told = {r.lost[turn] for r in reports if turn in r.lost}
            number = winners[0].split("-")[1]
            line = f"lost to generation {turn + 1} by process-{number}: model {winners[0]}"
            assert told == {f"{line}; expected generation {turn}"}
            assert len([r for r in reports if turn in r.lost]) == processes - 1
        changes = ledger.changes()
        promoted = [c.generation for c in changes if c.target is Stage.PRODUCTION]
        assert promoted == list(range(1, rounds + 1))
        assert len(changes) == processes * rounds + rounds + (rounds - 1), "made, promoted, displaced"
        assert ledger.verify() == len(changes)
        assert ledger.generation(Stage.PRODUCTION) == rounds
    seconds = sorted(s for r in reports for s in r.seconds)
    p50, p99 = (seconds[int(len(seconds) * q)] * 1e3 for q in (0.5, 0.99))
    return f"{rounds} of {rounds} rounds, {processes} processes, every loser told; p50 {p50:.1f} ms, p99 {p99:.1f} ms"


@pytest.mark.parametrize(("processes", "rounds"), SIZES)
def test_one_winner_a_round(url: str, processes: int, rounds: int, record_property: Record) -> None:
    where = "SQLite journal" if url.startswith("sqlite") else "PostgreSQL"
    record_property(f"one winner ({where})", one_winner(url, processes, rounds))


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "rounds"), [SMALL, FULL])
def test_one_winner_a_round_with_a_write_ahead_log(
    tmp_path: Path, processes: int, rounds: int, record_property: Record
) -> None:
    figure = one_winner(f"sqlite:///{tmp_path}/ledger.db", processes, rounds, build=(3, 51, 3))
    record_property("one winner (SQLite WAL)", figure)


@pytest.mark.parametrize(
    ("processes", "databases"),
    [pytest.param(6, 4, id="small"), pytest.param(16, 20, id="full", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_everybody_may_start_on_an_empty_database(
    kind: str,
    processes: int,
    databases: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Record,
) -> None:
    if kind == "sqlite":
        urls = [f"sqlite:///{tmp_path}/{i}/ledger.db" for i in range(databases)]
    else:
        server: servers.Server = request.getfixturevalue("postgresql")
        urls = [server.database() for _ in range(databases)]
    reports = contest.run(contest.start, processes, urls=urls)
    assert [r.fault for r in reports if r.fault] == []
    assert sum(len(r.won) for r in reports) == processes * databases
    for url in urls:
        with Ledger.open(url, "contest") as ledger:
            assert sorted(row.id for row in ledger.rows()) == sorted(f"d{i}" for i in range(processes))
            assert ledger.verify() == processes
    started = sum(len(r.won) for r in reports)
    record_property(f"first start ({kind})", f"{started} of {processes * databases} opened an empty database at once")


@pytest.mark.slow
def test_a_server_that_crashes_loses_nothing_that_was_acknowledged(record_property: Record) -> None:
    programs = servers.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with servers.serve(programs) as server:
        url = server.database()
        over, ended = threading.Event(), threading.Event()
        crashes = 0

        def crash(barrier: Barrier) -> None:
            """Once all have opened the ledger: an open that meets a dead server is refused, with one line."""
            nonlocal crashes
            with contextlib.suppress(BrokenBarrierError):
                barrier.wait(contest.WAIT)
            while not over.wait(0.7):
                server.crash()
                crashes += 1
            ended.set()

        try:
            reports = contest.run(contest.endure, 4, beside=crash, url=url, rows=600)
        finally:
            over.set()
            assert ended.wait(60)
        assert [r.fault for r in reports if r.fault] == []
        with Ledger.open(url, "contest") as ledger:
            found = [row.hash for row in ledger.rows()]
            assert sorted(found) == sorted(h for r in reports for h in r.won.values())
            assert ledger.verify() == 4 * 600
    record_property("a server that crashes", f"{len(found)} acknowledged rows are there after {crashes} crashes")
    assert crashes > 2


def test_a_decision_that_many_make_is_recorded_once(url: str) -> None:
    """Of whole loops: tests/engine/test_recovery.py."""
    windows = 40
    reports = contest.run(contest.decide, 3, url=url, windows=windows)
    assert [r.fault for r in reports if r.fault] == []
    assert reports[0].won == reports[1].won == reports[2].won, "all were given the one decision"
    with Ledger.open(url, "contest") as ledger:
        rows = ledger.rows("decision")
        assert sorted(int(re.sub(r"\D", "", row.id)) for row in rows) == list(range(windows))
        assert ledger.verify() == windows
