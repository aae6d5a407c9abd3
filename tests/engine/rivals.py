"""Several loops of one name at once, killed again and again, while windows arrive late, twice and out of order.

    python -m tests.engine.rivals <inbox> <world> <rivals> <kills> <lease: yes or no>

`inbox` holds the windows that arrive; `world` is where they arrive and where the loops run. A program of its own,
because it forks. Prints one JSON object: kills, starts, deliveries.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from engine.verbs import running
from tests.engine.prepared import prepare
from tests.engine.promote.crash import warm
from tests.engine.world import World

WORDS = ("decide=never", "train.max_epochs=1")  # a founding, then one decision a window
FOUNDING = 2
BLOCK = 7  # arrivals are shuffled within so many windows
LATE = 10  # one window in so many comes after all others


def arrivals(names: list[str], chance: random.Random) -> list[str]:
    """The order in which windows arrive: shuffled a little, some very late, some twice."""
    rest = names[FOUNDING:]
    late = rest[3::LATE]
    order: list[str] = []
    for start in range(0, len(rest), BLOCK):
        block = [name for name in rest[start : start + BLOCK] if name not in late]
        order += chance.sample(block, len(block))
    again = chance.sample(rest, len(rest) // 5)
    order += chance.sample(late, len(late))
    for name in again:
        order.insert(chance.randrange(order.index(name), len(order)) + 1, name)
    return order


def deliver(inbox: Path, world: World, name: str) -> None:
    """Put a window where the loop looks, in one move; its labels first."""
    for kind in ("labels", "windows"):
        target = world.folder / kind / f"{name}.parquet"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(inbox / kind / target.name, target.with_suffix(".part"))
        os.replace(target.with_suffix(".part"), target)


def decided(world: World) -> int:
    """Decisions so far; 0 while there is no ledger."""
    try:
        with closing(sqlite3.connect(f"file:{world.out}/ledger.db?mode=ro", uri=True, timeout=30)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM tidegate_row WHERE kind = 'decision'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def spawn(task: Callable[[], object]) -> int:
    """A fork that shows nothing and ends with the task; its number."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = int(bool(task()))
        os._exit(code)
    return child


def main(inbox: Path, folder: Path, rivals: int, kills: int, lease: bool) -> dict[str, object]:
    """Until every window has arrived and every rival has ended by itself."""
    world, chance = World(folder, folder / "run"), random.Random(11)
    names = sorted(path.stem for path in (inbox / "windows").glob("*.parquet"))
    for name in names[:FOUNDING]:
        deliver(inbox, world, name)
    order = arrivals(names, chance)
    deliveries, killed, starts, failed = len(order), 0, 0, 0
    loop = prepare(world, *WORDS)
    warm(lambda: str(prepare(World(folder, folder / "warm"), *WORDS)()))
    if not lease:  # ids alone keep the story one
        opened = running.opened
        running.opened = lambda *a, alone, **more: opened(*a, **more)  # type: ignore[assignment]
    alive: set[int] = set()
    pace, seen = max(1, len(order) // (kills + 1)), 0  # arrivals between two kills, and so far
    while order or alive:
        while len(alive) < rivals and order:
            alive.add(spawn(loop))
            starts += 1
        if order and decided(world) >= seen // 2:  # half of what has arrived: the next ones come, and somebody dies
            for name in order[:pace]:
                deliver(inbox, world, name)
            order, seen = order[pace:], seen + pace
            if killed < kills:
                time.sleep(chance.uniform(0.0, 0.3))
                os.kill(chance.choice(sorted(alive)), signal.SIGKILL)
                killed += 1
        for child in sorted(alive):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                alive.discard(child)
                failed += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
        time.sleep(0.02)
    code = os.waitstatus_to_exitcode(os.waitpid(spawn(loop), 0)[1])
    return {"kills": killed, "starts": starts, "deliveries": deliveries, "failed": failed, "code": code}


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(main(Path(words[0]), Path(words[1]), int(words[2]), int(words[3]), words[4] == "yes")))
