"""promote: what a decision costs above the disk itself, and how fast the way back is.

    python -m pytest benchmarks/engine/promote/bench_ledger.py -s

The other side of each ratio is the same durable write done bare: one row and one commit by sqlite3, the same
settings; the same bytes written, synced and renamed. MOST is the largest ratio that we claim.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.promote.database import journal
from engine.promote.ledger import Ledger
from engine.promote.rollback import rollback
from engine.promote.store import Store
from engine.records import Stage, StageChange

MOST_APPEND = 3.0
MOST_PUT = 3.0
ROLLBACK_SECONDS = 1.0
STAGES = (None, Stage.CANDIDATE, Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)


def median(action: Callable[[], object], rounds: int) -> float:
    """Seconds of one call."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[rounds // 2]


def test_append(benchmark: Any, tmp_path: Path) -> None:
    mode, level = journal(sqlite3.sqlite_version_info[:3])
    bare = sqlite3.connect(tmp_path / "bare.db", isolation_level=None)
    bare.execute(f"PRAGMA journal_mode = {mode}")
    bare.execute(f"PRAGMA synchronous = {level}")
    bare.execute("CREATE TABLE row (id TEXT PRIMARY KEY, payload TEXT)")
    numbers = itertools.count()
    payload = {"window": "2026-01", "reason": "x" * 500}

    def write_bare() -> None:
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO row VALUES (?, ?)", (str(next(numbers)), str(payload)))
        bare.execute("COMMIT")

    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "bench") as ledger:
        benchmark.pedantic(lambda: ledger.append("decision", str(next(numbers)), payload), rounds=100)
        floor = median(write_bare, 100)
    bare.close()
    ratio = benchmark.stats.stats.median / floor
    benchmark.extra_info["ratio to a bare commit"] = ratio
    print(f"\nappend {benchmark.stats.stats.median * 1e3:.2f} ms, {ratio:.2f} times a bare commit")
    assert ratio < MOST_APPEND


def test_put(benchmark: Any, tmp_path: Path) -> None:
    """A model of 20 MB and two small files."""
    weights = os.urandom(20_000_000)
    files = {"weights.safetensors": weights, "encoder.json": b"{}" * 1000, "model.json": b"{}" * 100}
    store = Store(tmp_path / "store")
    numbers = itertools.count()

    def write_bare() -> None:
        for name, data in {**files, "manifest": b"{}" * 500}.items():
            temporary = tmp_path / f"{name}.tmp"
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, tmp_path / name)
            folder = os.open(tmp_path, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    benchmark.pedantic(lambda: store.put(files, {"number": next(numbers)}), rounds=10)
    ratio = benchmark.stats.stats.median / median(write_bare, 10)
    benchmark.extra_info["ratio to bare writes"] = ratio
    print(f"\nput {benchmark.stats.stats.median * 1e3:.1f} ms, {ratio:.2f} times bare writes")
    assert ratio < MOST_PUT


def test_rollback_in_a_long_ledger(benchmark: Any, tmp_path: Path) -> None:
    """A year of promotions of models of 20 MB, a thousand other rows."""
    store = Store(tmp_path / "store")
    weights = os.urandom(20_000_000)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "bench") as ledger:
        for number in range(12):
            model = store.put({"weights.safetensors": weights}, {"number": number})
            ledger.append("verdict", f"{number}verdict", {"model": model, "outcome": "pass"})
            for source, target in itertools.pairwise(STAGES):
                assert target is not None
                change = {"id": f"{number}{target.value}", "reason": "bench", "window": ""}
                ledger.change(StageChange(model=model, source=source, target=target, **change))
        for number in range(1000):
            ledger.append("decision", str(number), {"reason": "x" * 300})
        benchmark.pedantic(lambda: rollback(ledger, store, reason="bench", actor="bench"), rounds=5)
        print(f"\nrollback {benchmark.stats.stats.max * 1e3:.0f} ms at worst")
        assert benchmark.stats.stats.max < ROLLBACK_SECONDS
        started = time.perf_counter()
        rows = ledger.verify()
        print(f"verify {(time.perf_counter() - started) / rows * 1e6:.0f} us a row")
