"""Kill -9 whoever posts and delivers, between any two steps, and run it again. A program of its own, because it forks.

    python -m tests.engine.effects.crash <folder> <ledgers> <HTTP port> <SMTP port> <every n-th point> <double kills>

The keys of a case begin with its number, so that the receivers, which live in another process, can tell what each got.
Prints one JSON object: points, cases, killed, the kills of each case, and what went wrong.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from engine.effects import ChannelConf, Message, Outbox, make_channels
from engine.effects.command import LIST
from engine.effects.guard import Guard
from engine.promote.ledger import Ledger
from engine.system import durable
from tests.engine.effects.servers import NAME
from tests.engine.promote.crash import forked, killer, warm

MESSAGES = 2
CHANNELS = ("hook", "mail", "page")
SOON = 100.0  # seconds


def page(folder: Path) -> Path:
    """A program that writes down each key that it is given."""
    program = folder / "page"
    program.write_text(f'#!/bin/sh\necho "$TIDEGATE_KEY" >> {folder}/paged\n')
    program.chmod(0o755)
    return program


def outbox(ledger: Ledger, folder: Path, http: int, smtp: int) -> Outbox:
    """An outbox with a channel of each kind."""
    confs = {
        "hook": ChannelConf(kind="webhook", timeout=SOON, url_env="URL", hosts=[f"{NAME}:{http}"]),
        "mail": ChannelConf(
            kind="email", timeout=SOON, server="127.0.0.1", port=smtp, tls="none", networks=["127.0.0.0/8"],
            sender="a@b.c", to=["d@e.f"],
        ),
        "page": ChannelConf(kind="command", timeout=SOON, argv=[str(folder / "page")]),
    }  # fmt: skip
    environment = {"URL": f"http://{NAME}:{http}/", LIST: str(folder / "page")}

    def guard(hosts: list[str], networks: list[str]) -> Guard:
        return Guard(hosts, networks, resolve=lambda *_: ["127.0.0.1"], plain=True)

    return Outbox(ledger, make_channels(confs, environment, guard))


def command(folder: Path, ledgers: Path, case: str, http: int, smtp: int) -> str:
    """What is killed and run again: messages are posted, then delivered by who holds the lease; how they stand."""
    with (
        Ledger.open(f"sqlite:///{ledgers / case}/ledger.db", "loop") as ledger,
        ledger.leased(SOON, wait=SOON, say=lambda _line: None),
    ):
        box = outbox(ledger, folder, http, smtp)
        for number in range(MESSAGES):
            key = f"{case}-{number}"
            box.post(Message(key=key, loop="loop", window=f"w{number}", event="raised", text="it moved"), CHANNELS)
            box.deliver(SOON)
        ledger.verify()
        return json.dumps(sorted((s.channel, s.message.key[-1], s.outcome, s.tries) for s in box.state()))


def main(folder: Path, ledgers: Path, http: int, smtp: int, every: int, doubles: int) -> dict[str, object]:
    """All cases, one after the other."""
    page(folder)
    numbers = itertools.count()
    operations: list[str] = []

    def watch(step: durable.Step, execute: Callable[[], None]) -> None:
        operations.append(step.operation)
        execute()

    def undisturbed() -> str:
        with durable.intercept(watch):
            result = command(folder, ledgers, f"case{next(numbers)}", http, smtp)
        return json.dumps([operations, result])

    status, text = forked(undisturbed)
    if status:
        raise SystemExit(text)
    steps, expected = json.loads(text)
    warm(lambda: command(folder, ledgers, "warm", http, smtp))  # after the undisturbed run, which begins from nothing
    cases = [((point, mode),) for point in range(len(steps)) for mode in ("before", "after")][::every]
    chance = random.Random(7)
    for _ in range(doubles):
        first, second = chance.randrange(len(steps)), chance.randrange(len(steps) // 2)
        cases.append(((first, chance.choice(("before", "after"))), (second, chance.choice(("before", "after")))))  # type: ignore[arg-type]
    kills: dict[str, int] = {"case0": 0}
    next(numbers)
    wrong = []
    for case in cases:
        name = f"case{next(numbers)}"
        kills[name] = 0
        for point, mode in case:

            def dying(name: str = name, point: int = point, mode: str = mode) -> str:
                with durable.intercept(killer(point, mode)):
                    return command(folder, ledgers, name, http, smtp)

            status, text = forked(dying)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                kills[name] += 1
            elif status or text != expected:
                wrong.append([case, "instead of being killed", text])
        status, text = forked(lambda name=name: command(folder, ledgers, name, http, smtp))
        if status or text != expected:
            wrong.append([case, status, text])
        shutil.rmtree(ledgers / name, ignore_errors=True)
    return {"steps": steps, "cases": len(cases), "kills": kills, "wrong": wrong[:5]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))))
