"""Detectors of kernels.stream over F streams against River on one core, both sides in one run, same alarms asserted.

    python -m pytest benchmarks/peers/river_detectors.py -s

River reads one stream value by value, so its time is that of `PEER_ROWS` values of one stream, scaled to all.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
from river import drift
from river.drift import binary

from kernels.stream import ADWIN, DDM, EDDM, KSWIN, PageHinkley

STREAMS = int(os.environ.get("STREAMS", "100"))
ROWS = int(os.environ.get("ROWS", "1000000"))
CHUNK = 50_000
PEER_ROWS = 100_000


def values(kind: str, seed: int, rows: int = CHUNK, columns: int = STREAMS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)) if kind == "numbers" else (rng.random((rows, columns)) < 0.2) * 1.0


@pytest.mark.parametrize(
    ("name", "make", "peer", "kind", "share"),
    [
        ("Page-Hinkley", PageHinkley, drift.PageHinkley, "numbers", 1.0),
        ("ADWIN", ADWIN, drift.ADWIN, "numbers", 1.0),
        ("DDM", DDM, binary.DDM, "errors", 1.0),
        ("EDDM", EDDM, binary.EDDM, "errors", 1.0),
        ("KSWIN", KSWIN, lambda: drift.KSWIN(seed=1), "numbers", 0.01),
    ],
)
def test_against_river(name: str, make: Any, peer: Any, kind: str, share: float) -> None:
    """`share` of the rows on both sides: what River's KSWIN takes for all of them is hours."""
    make().update(values(kind, 0, 100, 1)[:, 0])  # compiles
    rows = int(ROWS * share)
    detector, taken, seen = make(STREAMS), 0.0, 0
    chunk = min(CHUNK, rows)
    for seed in range(rows // chunk):
        part = values(kind, seed, chunk)
        began = time.perf_counter()
        detector.update(part)
        taken += time.perf_counter() - began
        seen += part.size
    one = values(kind, 0, max(int(PEER_ROWS * share), 1000), 1)[:, 0]
    theirs, alarms = peer(), []
    plain = one.tolist()
    began = time.perf_counter()
    for row, value in enumerate(plain):
        theirs.update(value)
        if theirs.drift_detected:
            alarms.append(row)
    each = (time.perf_counter() - began) / len(plain)
    if make is not KSWIN:  # it draws at random
        assert make().update(one).row.tolist() == alarms
    ours = taken / seen
    print(
        f"\n{name}: ours {ours * 1e9:.1f} ns a value over {STREAMS} x {rows}, River {each * 1e9:.0f} ns over {len(one)}"
    )
    print(f"{name}: {each / ours:.0f} x")
