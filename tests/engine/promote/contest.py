"""Processes that start at a barrier and want the same thing: the load of test_concurrency."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from typing import Any

from engine.errors import ConflictError
from engine.promote.ledger import Ledger
from engine.records import Route, Stage, StageChange

WAIT = 120.0  # seconds until a barrier is given up


@dataclass
class Report:
    """What one process saw."""

    won: dict[int, str] = field(default_factory=dict)  # round -> model that it brought into production
    lost: dict[int, str] = field(default_factory=dict)  # round -> what it was told
    seconds: list[float] = field(default_factory=list)  # of each attempt
    fault: str = ""


def run(
    task: Callable[..., Report], processes: int, *, beside: Callable[[Barrier], None] | None = None, **arguments: Any
) -> list[Report]:
    """Run a task in so many processes at once; `beside` runs in a thread here, one more party of the barrier.

    They are forks of a server that has imported what they need and done nothing else: to import it takes each a second.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "psycopg", "sqlalchemy.dialects.postgresql.psycopg"])
    barrier = context.Barrier(processes + (beside is not None))
    queue = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(queue, task, barrier, number, arguments), daemon=True)
        for number in range(processes)
    ]
    if beside:
        threading.Thread(target=beside, args=(barrier,), daemon=True).start()
    for worker in workers:
        worker.start()
    reports: list[Report] = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    queue.close()
    return reports


def _work(queue: Any, task: Callable[..., Report], barrier: Barrier, number: int, arguments: Any) -> None:
    try:
        report = task(barrier, number, **arguments)
    except BaseException:
        barrier.abort()
        report = Report(fault=traceback.format_exc())
    queue.put(report)


def promote(barrier: Barrier, number: int, *, url: str, rounds: int, build: tuple[int, ...] = ()) -> Report:
    """Each round, everybody wants their own new model in production, in the generation that everybody saw."""
    if build:
        sqlite3.sqlite_version_info = build  # type: ignore[assignment]  # decides the journal mode
    report = Report()
    with Ledger.open(url, "contest") as ledger:
        for turn in range(rounds):
            model = f"m{turn}-{number}"
            change = StageChange(
                id=f"{model}:new", model=model, source=None, target=Stage.CANDIDATE, reason="", window=""
            )
            ledger.change(change)
            wish = StageChange(
                id=f"{model}:wish",
                model=model,
                source=Stage.CANDIDATE,
                target=Stage.PRODUCTION,
                reason="contest",
                window="",
                actor=f"process-{number}",
                route=Route.MANUAL,
            )
            barrier.wait(WAIT)
            started = time.perf_counter()
            try:
                ledger.change(wish, expected_generation=turn)
                report.won[turn] = model
            except ConflictError as error:
                report.lost[turn] = str(error)
            report.seconds.append(time.perf_counter() - started)
            barrier.wait(WAIT)
    return report


def start(barrier: Barrier, number: int, *, urls: list[str]) -> Report:
    """Everybody opens the same empty databases, and writes one row each."""
    report = Report()
    for turn, url in enumerate(urls):
        barrier.wait(WAIT)
        started = time.perf_counter()
        with Ledger.open(url, "contest") as ledger:
            ledger.append("decision", f"d{number}", {})
        report.seconds.append(time.perf_counter() - started)
        report.won[turn] = "opened"
    return report


def endure(barrier: Barrier, number: int, *, url: str, rows: int) -> Report:
    """Write one row after the other, whatever the server goes through; each acknowledged one is reported."""
    report = Report()
    with Ledger.open(url, "contest") as ledger:
        barrier.wait(WAIT)
        for turn in range(rows):
            started = time.perf_counter()
            row = ledger.append("decision", f"{number}:{turn}", {})
            report.won[turn] = row.hash
            report.seconds.append(time.perf_counter() - started)
    return report


def decide(barrier: Barrier, number: int, *, url: str, windows: int) -> Report:
    """Everybody decides every window, some twice, in an order of their own."""
    report = Report()
    order = sorted(range(windows), key=lambda w: (w * 7919 + number * 104729) % 1009)
    barrier.wait(WAIT)
    with Ledger.open(url, "contest") as ledger:
        for window in order + order[:3]:
            row = ledger.append("decision", f"decision of {window}", {"by": number}, window=str(window))
            report.won[window] = f"{row.seq} by {row.payload['by']}"
    return report
