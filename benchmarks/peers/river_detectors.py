"""Detectors of kernels.stream over F streams against River on one core, both sides in one run, same alarms asserted.

    python -m pytest benchmarks/peers/river_detectors.py -s

River reads one stream value by value, so its time is that of `PEER_ROWS` values of one stream, scaled to all. Best
chunk on our side, best of three turns on River's: what else runs makes both slower. Ours may use all cores, River one:
the floor is of CPU time, which does not count that, and the ratio of wall time is printed beside it. 50 x is asked of
the set: all of them over the same values, River's sum of times against ours, with KSWIN and (harder) without. Each has
a floor of its own too; that of ADWIN, which River compiles, is far lower.
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
TURNS = 3
FLOOR = {"ADWIN": 10.0, "EDDM": 40.0}  # of CPU time; the others 50, and so the set
TAKEN: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by detector: seconds (wall, CPU) a value, ours and River's


def values(kind: str, seed: int, rows: int = CHUNK, columns: int = STREAMS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)) if kind == "numbers" else (rng.random((rows, columns)) < 0.2) * 1.0


def now() -> np.ndarray:
    """Wall time, and CPU time of all threads: where others use the machine the two tell apart."""
    return np.array([time.perf_counter(), time.process_time()])


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
    detector, chunk = make(STREAMS), min(CHUNK, rows)
    ours, seen = np.full(2, np.inf), 0
    for seed in range(rows // chunk):
        part = values(kind, seed, chunk)
        began = now()
        detector.update(part)
        ours = np.minimum(ours, (now() - began) / part.size)
        seen += part.size
    one = values(kind, 0, max(int(PEER_ROWS * share), 1000), 1)[:, 0]
    plain, each = one.tolist(), np.full(2, np.inf)
    for _ in range(TURNS):
        theirs, alarms = peer(), []
        began = now()
        for row, value in enumerate(plain):
            theirs.update(value)
            if theirs.drift_detected:
                alarms.append(row)
        each = np.minimum(each, (now() - began) / len(plain))
    if make is not KSWIN:  # it draws at random
        assert make().update(one).row.tolist() == alarms
    for clock, a, b in zip(("wall", "CPU"), ours * 1e9, each * 1e9, strict=True):
        print(
            f"\n{name}, {clock} time: ours {a:.1f} ns a value over {STREAMS} x {seen // STREAMS}, "
            f"River {b:.0f} ns over {len(one)}: {b / a:.0f} x",
            end="",
        )
    print(f"; load {os.getloadavg()[0]:.1f}", end="")
    TAKEN[name] = ours, each
    assert each[1] / ours[1] >= FLOOR.get(name, 50.0)


@pytest.mark.parametrize("left_out", ["KSWIN", "none"])
def test_the_set_against_river(left_out: str) -> None:
    """What a window costs that every detector reads."""
    if len(TAKEN) < 5:
        pytest.skip("needs the times of all five")
    ours, theirs = np.sum([taken for name, taken in TAKEN.items() if name != left_out], axis=0)
    print(f"\nall but {left_out}: ours {ours[1] * 1e9:.0f} ns of CPU a value, River {theirs[1] * 1e9:.0f} ns: ", end="")
    print(f"{theirs[1] / ours[1]:.0f} x in CPU time, {theirs[0] / ours[0]:.0f} x on the clock", end="")
    assert theirs[1] / ours[1] >= 50.0
