"""Kill -9 a loop at every write point, run the same command again, compare. A program of its own, because it forks.

    python -m tests.engine.crash <world> <start or -> <until> <work> <every n-th case> <double kills>

Each case begins with a copy of the folder <start> (nothing for -). Prints one JSON object: points, cases, killed, and
what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from engine.promote.store import Store
from engine.records import digest
from tests.engine.prepared import prepare
from tests.engine.promote.crash import cases_of, deaths, forked, undisturbed, warm
from tests.engine.story import story
from tests.engine.world import World


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


def main(folder: Path, start: str, until: str, work: Path, every: int, doubles: int) -> dict[str, object]:
    """All cases, one after the other."""
    world = World(folder, work)
    loop = prepare(world, f"loop.until={until}")

    def fresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        if start != "-":
            shutil.copytree(start, work)

    fresh()
    operations, expected = undisturbed(lambda: command(world, loop), alone)
    fresh()
    warm(lambda: command(world, loop))  # after the undisturbed run, which is a process that begins from nothing
    killed, wrong = 0, []
    cases = cases_of(operations, every, doubles)
    for case in cases:
        fresh()
        for dead, status, text in deaths(case, lambda: command(world, loop), alone):
            killed += dead
            if not dead and (status or text != expected):
                wrong.append([case, "instead of being killed", text])
        status, text = alone(lambda: command(world, loop))
        if status or text != expected:
            wrong.append([case, status, text])
    return {"points": len(operations), "cases": len(cases), "killed": killed, "wrong": wrong[:5]}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    result = main(Path(arguments[0]), *arguments[1:3], Path(arguments[3]), *map(int, arguments[4:]))
    print(json.dumps(result))
