"""Kill -9 a watch inside of windows, each time just after a row of the ledger was committed; run the command again.

    python -m tests.engine.watch.killed <world> <out> <cases> <words of the command>...

Cases are a JSON list of [kind, window]; a watch is started for each, and goes on where the one before was killed. A
last one is left alone. Prints one JSON object: the last row after each kill, and how the last watch ended. A program of
its own, because it forks.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import cli
from engine.promote.chain import Row
from engine.promote.database import Database
from engine.verbs import watch
from tests.engine import prepared
from tests.engine.promote.crash import forked
from tests.engine.world import World

HEAVY = (watch, prepared)  # loaded once, by the parent
write = Database.write


def killer(kind: str, window: str) -> Callable[[Database, Callable[[Any], Any]], Any]:
    """`Database.write`, after which the process is gone once it has written that row."""

    def deadly(self: Database, body: Callable[[Any], Any]) -> Any:
        done = write(self, body)
        if told(done) == (kind, window):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return deadly


def told(done: Any) -> tuple[str, str]:
    """(kind, window) of what a transaction has written."""
    if isinstance(done, Row):
        return done.kind, done.window
    return ("stage", done[0].window) if isinstance(done, tuple) and done and hasattr(done[0], "target") else ("", "")


def watched(words: list[str]) -> str:
    """The command, in a fork: its exit code and what it said to people."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = cli.run(words)
    return json.dumps([code, said.getvalue()[-1000:]])


def main(world: World, cases: list[list[str]], words: list[str]) -> dict[str, Any]:
    """All kills, then a watch that lives."""
    command = world.words("watch", "--json", *words)
    last = []
    for kind, window in cases:

        def dying(kind: str = kind, window: str = window) -> str:
            Database.write = killer(kind, window)  # type: ignore[method-assign]
            return watched(command)

        status, text = forked(dying)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise SystemExit(f"{kind} of {window}: the watch was not killed: {text}")
        row = world.rows()[-1]
        last.append([row.kind, row.window])
    status, text = forked(lambda: watched(command))
    return {"last": last, "status": status, "ended": json.loads(text) if not status else text}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    found = World(Path(arguments[0]), Path(arguments[1]))
    print(json.dumps(main(found, json.loads(arguments[2]), arguments[3:])))
