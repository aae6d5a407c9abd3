"""Kill -9 anywhere: the same command again leads to the same ledger, heads and artifacts, hash for hash."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.system import durable
from tests.engine.promote import servers
from tests.engine.promote.crash import command
from tests.memory import in_memory


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses nothing that it handed to the kernel."""
    made = Path(tempfile.mkdtemp(prefix="tg-", dir=in_memory()))
    yield made
    shutil.rmtree(made)


def crash(folder: Path, url: str, every: int, doubles: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.promote.crash", str(folder), url, str(every), str(doubles)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def figure(result: dict[str, Any]) -> str:
    """What a run of `crash` has shown."""
    right = result["cases"] - len(result["wrong"])
    return f"{right} of {result['cases']} end alike ({result['points']} write points, {result['killed']} kills)"


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(9, 6, id="small"), pytest.param(1, 200, id="full", marks=pytest.mark.slow)],
)
def test_kill_at_every_write_point_on_sqlite(
    folder: Path, every: int, doubles: int, record_property: Callable[[str, object], None]
) -> None:
    result = crash(folder, f"sqlite:///{folder}/{{}}/ledger.db", every, doubles)
    record_property("kill -9 in promotion: SQLite", figure(result))
    assert result["wrong"] == []
    assert result["points"] > 50
    assert result["killed"] >= result["cases"], "each case kills once, some of them twice"


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(17, 2, id="small"), pytest.param(1, 50, id="full", marks=pytest.mark.slow)],
)
def test_kill_at_every_write_point_on_postgresql(
    folder: Path,
    postgresql: servers.Server,
    every: int,
    doubles: int,
    record_property: Callable[[str, object], None],
) -> None:
    databases = [postgresql.database() for _ in range(3 + 200 // every + doubles)]
    names = folder / "databases.json"
    names.write_text(json.dumps(databases))
    result = crash(folder, f"@{names}", every, doubles)
    record_property("kill -9 in promotion: PostgreSQL", figure(result))
    assert result["wrong"] == []
    assert result["killed"] >= result["cases"]


def attempt(folder: Path, point: int, code: int, lasting: bool) -> tuple[str, str]:
    """Run the command on a disk that fails from step `point` on, or there alone, then again on a good one."""
    count = itertools.count()

    def fail(_step: durable.Step, execute: Callable[[], None]) -> None:
        number = next(count)
        if number == point or (lasting and number > point):
            raise OSError(code, os.strerror(code))
        execute()

    url = f"sqlite:///{folder}/ledger.db"
    with durable.intercept(fail), pytest.raises(InputError) as caught:
        command(folder, url)
    with Ledger.open(url, "crash") as ledger:  # what is there is whole
        ledger.verify()
        for artifact in Store(folder / "artifacts").list():
            Store(folder / "artifacts").verify(artifact)
    return str(caught.value), command(folder, url)


@pytest.mark.parametrize("every", [pytest.param(23, id="small"), pytest.param(1, id="full", marks=pytest.mark.slow)])
def test_a_disk_that_fails_at_any_write_point_is_one_line_and_does_no_harm(
    folder: Path, every: int, record_property: Callable[[str, object], None]
) -> None:
    operations: list[str] = []

    def watch(step: durable.Step, execute: Callable[[], None]) -> None:
        operations.append(step.operation)
        execute()

    with durable.intercept(watch):
        expected = command(folder / "undisturbed", f"sqlite:///{folder}/undisturbed/ledger.db")
    codes = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)
    cases = list(itertools.product(range(len(operations)), codes, (False, True)))[::every]
    for number, (point, code, lasting) in enumerate(cases):
        line, result = attempt(folder / str(number), point, code, lasting)
        assert f": cannot be written: {os.strerror(code)} - " in line
        assert "\n" not in line
        assert result == expected
        shutil.rmtree(folder / str(number))
    said = f"{len(cases)} of {len(cases)} one line, state whole ({len(operations)} write points, 4 errors)"
    record_property("full disk, EIO, denied, read-only", said)
