"""A watch that lives long: its memory, its deaths inside of windows, and a bucket as the place where windows land."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.system import reach
from tests.engine.story import story
from tests.engine.verbs.test_watch import ONCE, ONE_STAGE, ROOT, events, without_landings
from tests.engine.world import LAST, WINDOWS, YOUNG, Answer, World, make_world

Record = Callable[[str, object], None]
OWN = ("landed", "arrival", "inputs")  # rows of a watch alone; inputs are written with the row that they belong to


def rows_after(ended: tuple[World, Answer], young: World) -> list[tuple[str, str]]:
    """(kind, window) of what the loop writes in the windows after `young`, each pair once."""
    known = {(row.kind, row.window) for row in young.rows()}
    pairs = dict.fromkeys((row.kind, row.window) for row in ended[0].rows() if row.kind not in OWN)
    return [pair for pair in pairs if pair not in known]


def first_of_each_kind(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for kind, window in pairs:
        found.setdefault(kind, window)
    return list(found.items())


@pytest.mark.parametrize("size", ["small", pytest.param("full", marks=pytest.mark.slow)])
def test_kill_9_inside_of_a_window(
    young: World, ended: tuple[World, Answer], tmp_path: Path, size: str, record_property: Record
) -> None:
    """After each kill the same command goes on; at the end the ledger is that of a loop that nobody killed."""
    world = young.copy(tmp_path / "run")
    pairs = rows_after(ended, young)
    firsts = first_of_each_kind(pairs)
    assert {kind for kind, _ in firsts} >= {
        "opened",
        "decision",
        "candidate",
        "stage",
        "evaluation",
        "verdict",
        "cycle",
    }
    cases = firsts[1::3] if size == "small" else pairs
    words = [*ONCE, f"watch.until={LAST}"]
    command = [sys.executable, "-m", "tests.engine.watch.killed", str(world.folder), str(world.out)]
    done = subprocess.run(
        [*command, json.dumps(cases), *words], cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    assert [tuple(pair) for pair in answer["last"]] == cases, "each died just after its row"
    assert answer["status"] == 0, answer
    assert answer["ended"][0] == 0, answer
    with world.ledger() as ledger:
        ledger.verify()
    assert without_landings(world) == story(ended[0].rows())
    kinds = len({kind for kind, _ in cases})
    record_property("kill -9 inside of a watched window", f"{len(cases)} kills after rows of {kinds} kinds, one story")


def resident(pid: int) -> float:
    """MiB of a process that runs."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


@pytest.mark.parametrize(
    ("early", "late", "bound"),
    [pytest.param(6, 18, 24, id="small"), pytest.param(20, 200, 64, id="full", marks=pytest.mark.slow)],
)
def test_memory_over_many_windows(tmp_path: Path, early: int, late: int, bound: int, record_property: Record) -> None:
    """A real watch that never retrains: what it holds after many windows is at most `bound` MiB more than after few.

    Its records grow by a cycle a window, and each turn reads all of them for the report; nothing else may.
    """
    names = [f"{2000 + month // 12}-{month % 12 + 1:02d}" for month in range(late + 1)]
    world = make_world(tmp_path / "world", windows=names, rows=100)
    words = [*ONCE, "decide=never", "train.max_epochs=1", f"watch.until={names[-1]}"]
    command = [sys.executable, "-m", "engine.cli", *world.words("watch", "--json", *words)]
    sizes: list[float] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "decided":
                sizes.append(resident(process.pid))
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert len(sizes) == late, "the first window is trained on alone"
    grown = sizes[-1] - sizes[early - 1]
    record_property(
        "memory of a watch",
        f"{sizes[early - 1]:.0f} MiB after {early} windows, {sizes[-1]:.0f} MiB after {late}, at most {bound} MiB more",
    )
    assert grown < bound, sizes[:: max(1, late // 10)]


def test_a_bucket_is_watched_like_a_folder(
    new: World, young: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects land, come twice, and are written again; a bucket that says no for a while is a line, and no end."""
    from tests.engine.promote import buckets

    world = young.copy(tmp_path / "run")
    with buckets.serve() as server:
        for name, value in {**buckets.ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        client = server.client()
        client.create_bucket(Bucket="tide")

        def deliver(name: str, kinds: tuple[str, ...] = ("labels", "windows"), called: str = "") -> None:
            for kind in kinds:
                body = (new.folder / kind / f"{name}.parquet").read_bytes()
                client.put_object(Bucket="tide", Key=f"{kind}/{called or name}.parquet", Body=body)

        place = ("data.path=s3://tide/windows", "data.labels=s3://tide/labels")
        words = [*ONCE, *ONE_STAGE, *place]
        for name in WINDOWS[: WINDOWS.index(YOUNG) + 2]:
            deliver(name)
        first = world.ask("watch", *words)
        assert (first.code, events(first, "decided")) == (0, [("decided", "2026-05")]), first.err
        deliver("2026-05", ("windows",), called="2026-06")
        deliver("2026-07", ("windows",), called="2026-05")
        deliver("2026-08", ("windows",), called="2026-07.tmp")
        second = world.ask("watch", *words)
        assert sorted(events(second, "duplicate", "rewritten", "decided", "landed")) == [
            ("duplicate", "2026-06"),
            ("rewritten", "2026-05"),
        ], second.err
        server.rule = lambda _: buckets.error("403 Forbidden", "AccessDenied", "not you")
        refused = world.ask("watch", *words)
        assert refused.code == 2
        assert "warning: error: s3://tide/labels: cannot be listed" in refused.err
        assert "Traceback" not in refused.err
        assert buckets.SECRET not in refused.err + refused.out
        server.rule = None
        deliver("2026-07")
        last = world.ask("watch", *words)
        assert (last.code, events(last, "gap", "decided")) == (0, [("decided", "2026-07")]), last.err
    monkeypatch.setattr(reach, "RECENT", 0.0)
    gone = world.ask("watch", *words)
    assert gone.code == 2
    assert "warning: error: s3://tide/labels: 127.0.0.1:" in gone.err
    assert "cannot be reached: " in gone.err
