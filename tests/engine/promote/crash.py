"""Kill -9 at every write point, run the same command again, compare. A program of its own, because it forks.

    python -m tests.engine.promote.crash <folder> <url> <every n-th point> <double kills>

The url holds {} for the number of the case, or is @<file>, a JSON list of one url a case.
Prints one JSON object: points, cases, killed, and what went wrong.
"""

from __future__ import annotations

import functools
import gc
import itertools
import json
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from engine.promote.ledger import Ledger
from engine.promote.rollback import rollback
from engine.promote.store import Store
from engine.records import Stage, StageChange, digest
from engine.system import durable

PATH = (None, Stage.CANDIDATE, Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)
MODES = ("before", "torn", "after")
Case = tuple[tuple[int, str], ...]
Alone = Callable[[Callable[[], str]], tuple[int, str]]  # runs a task in a process of its own: status, what it returned


def command(folder: Path, url: str) -> str:
    """What is killed and run again: two models are made, judged and promoted; the second is rolled back."""
    store = Store(folder / "artifacts")
    with Ledger.open(url, "crash", now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as ledger:
        for name in ("first", "second"):
            ledger.append("decision", f"{name}:decision", {"window": name})
            model = store.put({"weights": name.encode() * 1000, "config": b"{}"}, {"window": name})
            verdict = {"model": model, "window": name, "outcome": "pass"}
            for source, target in itertools.pairwise(PATH):
                assert target is not None
                ledger.append("verdict", f"{name}:{target.value}:verdict", verdict)
                ledger.change(
                    StageChange(
                        id=f"{name}:{target.value}",
                        model=model,
                        source=source,
                        target=target,
                        reason="passed",
                        window=name,
                    )
                )
        rollback(ledger, store, reason="harm", actor="rule", id="action")
        ledger.verify()
        for artifact in store.list():
            store.verify(artifact)
        heads = [ledger.head(stage) for stage in Stage]
        shown = [(h.stage, h.model, h.generation, h.since) for h in heads if h]
        return digest(ledger.tip().hash, shown, store.list(), [b.name for b in store.blobs()])


def warm(task: Callable[[], str]) -> None:
    """Run a task once in this process: its forks begin with all imported and compiled that it needs.

    What is there is frozen, so that no fork's collector looks through it (and has its pages copied). A fork has only
    one thread of those that it is made from, so no other may be left here.
    """
    task()
    if threading.active_count() > 1:
        raise AssertionError(f"threads are left: {threading.enumerate()}")
    gc.collect()
    gc.freeze()


def killer(point: int, mode: str) -> durable.Interceptor:
    """Dies at step number `point`: before it, in the middle of its write, or after it."""
    count = itertools.count()

    def intercept(step: durable.Step, execute: Callable[[], None]) -> None:
        if next(count) != point:
            execute()
            return
        if mode == "torn" and step.operation == "write":
            with open(step.path, "ab") as file:
                file.write(step.data[: len(step.data) // 2])
        elif mode == "after":
            execute()
        os.kill(os.getpid(), signal.SIGKILL)

    return intercept


def forked(task: Callable[[], str]) -> tuple[int, str]:
    """Run a task in a fork: how it ended (0: well), and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, task().encode())
            os._exit(0)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return status, text


def deaths(
    case: Case,
    task: Callable[[], str],
    alone: Alone | None = None,
) -> Iterator[tuple[bool, int, str]]:
    """Run a task once for each point of a case, killed there: (was it killed, how it ended, what it returned).

    `alone` runs it in a process of its own; None: `forked`.
    """
    for point, mode in case:

        def dying(point: int = point, mode: str = mode) -> str:
            with durable.intercept(killer(point, mode)):
                return task()

        status, text = (alone or forked)(dying)
        yield os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status, text


def undisturbed(run: Callable[[], str], alone: Alone | None = None) -> tuple[list[str], str]:
    """The operations of an undisturbed run, and what it leads to."""

    def task() -> str:
        operations: list[str] = []

        def watch(step: durable.Step, execute: Callable[[], None]) -> None:
            operations.append(step.operation)
            execute()

        with durable.intercept(watch):
            return json.dumps([run(), operations])

    status, text = (alone or forked)(task)
    if status:
        raise SystemExit(text)
    result, operations = json.loads(text)
    return operations, result


def cases_of(operations: list[str], every: int, doubles: int) -> list[Case]:
    """Each point in each mode, then pairs: a second kill, while the first is being recovered from."""
    singles: list[Case] = [
        ((point, mode),)
        for point, operation in enumerate(operations)
        for mode in (MODES if operation == "write" else ("before", "after"))
    ]
    chance = random.Random(7)
    pairs: list[Case] = []
    for _ in range(doubles):
        first = chance.randrange(len(operations))
        second = chance.randrange(max(1, len(operations) - first))  # what is there already is only found
        pairs.append(((first, chance.choice(MODES)), (second, chance.choice(MODES))))
    return singles[::every] + pairs


def main(folder: Path, url: str, every: int, doubles: int) -> dict[str, object]:
    """All cases, one after the other."""
    numbers = itertools.count()
    listed = json.loads(Path(url[1:]).read_text()) if url.startswith("@") else None

    def fresh() -> tuple[Path, str]:
        number = next(numbers)
        shutil.rmtree(folder / str(number - 1), ignore_errors=True)
        return folder / str(number), listed[number] if listed else url.format(number)

    operations, expected = undisturbed(functools.partial(command, *fresh()))
    warm(functools.partial(command, *fresh()))  # after the undisturbed run, which is a process that begins from nothing
    cases = cases_of(operations, every, doubles)
    killed, wrong = 0, []
    for case in cases:
        attempt = functools.partial(command, *fresh())
        for dead, status, text in deaths(case, attempt):
            killed += dead
            if not dead and (status or text != expected):
                wrong.append([case, "instead of being killed", text])
        status, text = forked(attempt)
        if status or text != expected:
            wrong.append([case, status, text])
    return {"points": len(operations), "cases": len(cases), "killed": killed, "wrong": wrong[:5]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
