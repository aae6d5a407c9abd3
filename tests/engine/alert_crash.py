"""Kill -9 a loop that acts and tells, at every write and send; run it again; compare. A program, because it forks.

    python -m tests.engine.alert_crash <folder> <every n-th case> <double kills>

Every kind of action is carried out, of several rules in one window, and a channel is told. What was sent is a line of a
file each time. When a message is sent is a fact of the outside: the rows of deliveries may stand elsewhere, all others
must be the same, in the same order. Prints one JSON object: points, cases, killed, sent twice, and what went wrong.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

from engine.act import EscalateConf
from engine.effects import Message
from engine.effects.channels import Sent
from engine.records import digest
from tests.engine.crash import alone
from tests.engine.house import House, guarded, rule
from tests.engine.promote.crash import cases_of, deaths, undisturbed, warm
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
    operations, expected = undisturbed(lambda: command(work), alone)
    begin(work, start)
    warm(lambda: command(work))  # after the undisturbed run, which is a process that begins from nothing
    killed, twice, wrong = 0, 0, []
    cases = cases_of(operations, every, doubles)
    for case in cases:
        begin(work, start)
        for dead, status, text in deaths(case, lambda: command(work), alone):
            killed += dead
            if not dead and (status or text != expected):
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
