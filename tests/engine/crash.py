"""Kill -9 a loop at every write point, run the same command again, compare. A program of its own, because it forks.

    python -m tests.engine.crash <world> <start or -> <until> <work> <every n-th case> <double kills>

Each case begins with a copy of the folder <start> (nothing for -). Prints one JSON object: points, cases, killed, and
what went wrong.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from engine import durable
from engine.promote.store import Store
from engine.records import digest
from tests.engine.prepared import prepare
from tests.engine.promote.crash import MODES, forked, killer
from tests.engine.story import story
from tests.engine.world import World

Case = tuple[tuple[int, str], ...]


def command(world: World, loop: Callable[[], int]) -> str:
    """What is killed and run again: the verb `loop`; the digest of what it leads to."""
    code = loop()
    if code:
        raise AssertionError(f"exit {code}")
    store = Store(world.out / "store")
    for artifact in store.list():
        store.verify(artifact)
    with world.ledger() as ledger:
        ledger.verify()
        rows = ledger.rows()
    cards = sorted(path.name for path in (world.out / "models").glob("*/card.*"))
    return digest(story(rows), cards)


def alone(task: Callable[[], str]) -> tuple[int, str]:
    """Run a task in a fork that shows nothing: how it ended, and what it returned."""

    def silent() -> str:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        return task()

    return forked(silent)


def count_points(world: World, loop: Callable[[], int]) -> tuple[list[str], str]:
    """The operations of an undisturbed run, and what it leads to."""

    def task() -> str:
        operations: list[str] = []

        def watch(step: durable.Step, execute: Callable[[], None]) -> None:
            operations.append(step.operation)
            execute()

        with durable.intercept(watch):
            result = command(world, loop)
        Path(f"{world.out}.operations").write_text(json.dumps(operations))
        return result

    status, text = alone(task)
    if status:
        raise SystemExit(text)
    return json.loads(Path(f"{world.out}.operations").read_text()), text


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


def main(folder: Path, start: str, until: str, work: Path, every: int, doubles: int) -> dict[str, object]:
    """All cases, one after the other."""
    world = World(folder, work)
    loop = prepare(world, f"loop.until={until}")

    def fresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        if start != "-":
            shutil.copytree(start, work)

    fresh()
    operations, expected = count_points(world, loop)
    killed, wrong = 0, []
    cases = cases_of(operations, every, doubles)
    for case in cases:
        fresh()
        for point, mode in case:

            def dying(point: int = point, mode: str = mode) -> str:
                with durable.intercept(killer(point, mode)):
                    return command(world, loop)

            status, text = alone(dying)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                killed += 1
            elif status or text != expected:
                wrong.append([case, "instead of being killed", text])
        status, text = alone(lambda: command(world, loop))
        if status or text != expected:
            wrong.append([case, status, text])
    return {"points": len(operations), "cases": len(cases), "killed": killed, "wrong": wrong[:5]}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    result = main(Path(arguments[0]), *arguments[1:3], Path(arguments[3]), *map(int, arguments[4:]))
    print(json.dumps(result))
