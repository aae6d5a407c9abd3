"""What must be said of bad input, and how a corpus of it is tried.

An answer is right where the door refused with one line `where: what - what to do` (at most two), without a traceback,
without hanging, and without a file written. Most cases go straight to the door they are about: the command line would
compose a config for each, which takes 0.2 s; what the command line makes of a door's refusal is tried in
test_command_lines.py and test_bad_input.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.config.explain import one_line
from engine.errors import InputError, LedgerError
from tests.patience import timed

SHAPE = re.compile(r"^\S.*?: .+ - .+$")
PATIENCE = 10.0  # seconds; who waits longer, each time, calls it a hang
LONGEST = 700  # characters of a line that a person still reads


@dataclass(frozen=True)
class Case:
    """One bad thing, and how it reaches a door."""

    name: str
    attempt: Callable[[], object]


def wrong(cases: Iterable[Case], folder: Path | None = None) -> tuple[int, list[str]]:
    """(number of cases, what is wrong with the answers). `folder` must be left as it was."""
    count, faults = 0, []
    before = snapshot(folder)
    for case in cases:
        count += 1
        said, seconds = timed(lambda case=case: answer(case.attempt), PATIENCE)  # type: ignore[misc]
        fault = f"took {seconds:.0f} s" if seconds > PATIENCE else fault_of(said)
        if fault:
            faults.append(f"{case.name}: {fault}")
    if snapshot(folder) != before:
        faults.append(f"{folder} was written to")
    return count, faults


def answer(attempt: Callable[[], object]) -> str:
    """The line a person would see; what begins with '!' is none."""
    try:
        attempt()
    except (InputError, LedgerError) as error:
        return str(error)
    except Exception as error:
        return one_line(error) or f"!traceback of {error!r}"
    return "!accepted"


def fault_of(said: str) -> str:
    """What is wrong with an answer; empty where it is right."""
    lines = said.rstrip("\n").split("\n")
    if said.startswith("!"):
        return said[1:300]
    if "Traceback" in said or len(lines) > 2 or len(said) > LONGEST:
        return f"too much: {said[:300]!r}"
    if not SHAPE.match(lines[-1]) or not said.isprintable():
        return f"not `where: what - what to do`: {said[:300]!r}"
    return ""


def snapshot(folder: Path | None) -> dict[str, int]:
    """Every file below a folder with its size; empty where there is none."""
    return {} if folder is None else {str(p): p.lstat().st_size for p in sorted(folder.rglob("*")) if not p.is_dir()}
