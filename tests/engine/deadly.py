"""A command of tidegate whose process is killed (-9) just after it has done something on disk for the n-th time.

    python -m tests.engine.deadly <operation> <file name> <n> <words of the command>...

By its own hand, so that nothing hangs on how fast somebody else looks. Operations are those of `durable.Step`.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from engine import cli
from engine.system import durable
from tests.engine.world import World

ROOT = Path(__file__).parents[2]


def deadly(operation: str, name: str, at: int) -> durable.Interceptor:
    """Dies after it has done that to a file of that name so many times."""
    count = itertools.count(1)

    def intercept(step: durable.Step, execute: Callable[[], None]) -> None:
        execute()
        if (step.operation, (step.target or step.path).name) == (operation, name) and next(count) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return intercept


def killed(world: World, verb: str, *words: str, after: tuple[str, str, int]) -> None:
    """Run a verb of a world until it dies so."""
    command = [sys.executable, "-m", "tests.engine.deadly", *map(str, after), *world.words(verb, *words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


if __name__ == "__main__":
    operation, name, at, *sys.argv[1:] = sys.argv[1:]
    with durable.intercept(deadly(operation, name, int(at))):
        sys.exit(cli.main())
