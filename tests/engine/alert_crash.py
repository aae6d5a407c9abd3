"""Kill -9 a loop that acts and tells, at every write and send; run it again; compare. A program, because it forks.

    python -m tests.engine.alert_crash <folder> <every n-th case> <double kills>

Every kind of action is carried out, of several rules in one window, and a channel is told. What was sent is a line of a
file each time. When a message is sent is a fact of the outside: the rows of deliveries may stand elsewhere, all others
must be the same, in the same order. Prints one JSON object: points, cases, killed, sent twice, and what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from engine import durable
from engine.act import EscalateConf
from engine.effects import Message
from engine.effects.channels import Sent
from engine.records import digest
from tests.engine.crash import alone, cases_of
from tests.engine.house import House, guarded, rule
from tests.engine.promote.crash import killer
from tests.engine.story import story

ROWS = (5, 20, 20, 20, 20, 5)


def command(folder: Path) -> str:
    """What is killed and run again; the digest of what it leads to."""
    told = folder / "sent"

    def send(message: Message) -> Sent:
        with told.open("a") as file:
            file.write(message.key + "\n")
        return Sent(ok=True, said="200")

    act = guarded(
        worse=rule(action="rollback", actions=["freeze", "retrain"], tell=["team"], cooldown=1),
        moved=rule(action="quarantine", tell=["team"], cooldown=9, escalate=EscalateConf(after=2, owner="head")),
        last=rule(action="fallback", actions=["retune"], windows=2, owner="ada", tell=["team"]),
    )
    house = House(folder, act, send)
    house.run(*ROWS)
    rows = house.rows()
    keys = {row.payload["message"]["key"] for row in rows if row.kind == "effect"}
    lines = told.read_text().split()
    if set(lines) != keys:
        raise AssertionError(f"{len(keys)} messages, and {len(set(lines))} were sent")
    told_of = sorted((row.id, row.payload["outcome"]) for row in rows if row.kind == "delivery")
    inside = [line[1:] for line in story([row for row in rows if row.kind != "delivery"])]
    return digest(inside, house.champion, sorted(keys), told_of)


def begin(folder: Path, start: Path) -> None:
    """A folder with three champions, from before the loop acts."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(start, folder)


def main(folder: Path, every: int, doubles: int) -> dict[str, object]:
    """All cases, one after the other."""
    start, work = folder / "start", folder / "work"
    House(start, guarded()).found("first", "second", "third", "fourth")
    begin(work, start)
    operations: list[str] = []

    def watched() -> str:
        def watch(step: durable.Step, execute: Callable[[], None]) -> None:
            operations.append(step.operation)
            execute()

        with durable.intercept(watch):
            result = command(work)
        (folder / "operations").write_text(json.dumps(operations))
        return result

    status, expected = alone(watched)
    if status:
        raise SystemExit(expected)
    operations = json.loads((folder / "operations").read_text())
    killed, twice, wrong = 0, 0, []
    cases = cases_of(operations, every, doubles)
    for case in cases:
        begin(work, start)
        for point, mode in case:

            def dying(point: int = point, mode: str = mode) -> str:
                with durable.intercept(killer(point, mode)):
                    return command(work)

            status, text = alone(dying)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                killed += 1
            elif status or text != expected:
                wrong.append([case, "instead of being killed", text])
        status, text = alone(lambda: command(work))
        if status or text != expected:
            wrong.append([case, status, text])
        twice += any(count > 1 for count in Counter((work / "sent").read_text().split()).values())
    sends = operations.count("send")
    return {
        "points": len(operations), "sends": sends, "cases": len(cases), "killed": killed, "twice": twice,
        "wrong": wrong[:5],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
