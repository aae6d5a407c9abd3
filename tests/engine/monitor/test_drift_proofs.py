"""The false-alarm rate a window, measured on windows without drift: in each cell at most alpha and 2 standard errors,
in exact binomial terms (the quantile at the normal probability of 2).

A cell is a number of rows and of columns. Columns are mixed: heavy tails, ties, missing values, frequent and rare
categories. Floors are 0: what holds the rate is the tests and their correction alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Reference, compare
from tests.proofs import pieces

Record = Callable[[str, object], None]
ZIPF = 1 / np.arange(1, 61) ** 1.2
REUSED = 10  # live windows a reference
TWO_ERRORS = float(stats.norm.cdf(2.0))


def columns(rng: np.random.Generator, rows: int, count: int) -> dict[str, pa.Array]:
    """Column k is of the kind k mod 5."""
    kinds: list[Callable[[], pa.Array]] = [
        lambda: pa.array(rng.normal(0, 1, rows)),
        lambda: pa.array(rng.standard_cauchy(rows), mask=rng.random(rows) < 0.05),
        lambda: pa.array(rng.poisson(2, rows)),
        lambda: pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 5, rows)), pa.array(list("abcde"))),
        lambda: pa.DictionaryArray.from_arrays(
            pa.array(rng.choice(60, rows, p=ZIPF / ZIPF.sum())), pa.array([f"s{k}" for k in range(60)])
        ),
    ]
    return {f"{k}": kinds[k % 5]() for k in range(count)}


def false_alarms(rows: int, count: int, windows: range, alpha: float) -> list[int]:
    """[windows with any alarm]; the reference has twice the rows and is drawn anew for every REUSED windows."""
    conf = MonitorConf(alpha=alpha, numeric_floor=0.0, categorical_floor=0.0, missing_floor=0.0)
    names = tuple(map(str, range(count)))
    numeric, categorical = (tuple(n for n in names if (int(n) % 5 < 3) is kind) for kind in (True, False))
    alarms, reference = 0, None
    for w in windows:
        rng = np.random.default_rng([rows, count, w])
        if w % REUSED == 0:
            table = pa.table(columns(rng, 2 * rows, count))
            reference = Reference(name="before", table=table, numeric=numeric, categorical=categorical)
        assert reference is not None
        alarms += bool(compare(reference, pa.table(columns(rng, rows, count)), "now", conf).drifted)
    return [alarms]


def check(rows: int, count: int, windows: int, alpha: float, record: Record) -> None:
    name = f"drift {rows} x {count}"
    (alarms,) = pieces(__file__, name, windows, REUSED, lambda part: false_alarms(rows, count, part, alpha))
    error = math.sqrt(alpha * (1 - alpha) / windows)
    record(
        f"false alarms a window, {rows:,} rows x {count:,} columns",
        f"{100 * alarms / windows:.2f} % of {windows:,} windows without drift, {100 * alpha:g} % stated, "
        f"SE {100 * error:.2f} %",
    )
    assert alarms <= stats.binom.ppf(TWO_ERRORS, windows, alpha)


@pytest.mark.parametrize(("rows", "count", "windows"), [(50, 1, 200), (50, 20, 100), (1000, 5, 100), (300, 100, 10)])
def test_false_alarms_stay_below_what_is_stated(rows: int, count: int, windows: int, record_property: Record) -> None:
    check(rows, count, windows, 0.05, record_property)


CELLS = {  # rows -> columns -> windows without drift: 10,000 in all, few where one costs seconds
    50: {1: 2500, 20: 1500, 100: 500, 1000: 100},
    1000: {1: 1500, 20: 1200, 100: 300, 1000: 60},
    10_000: {1: 800, 20: 600, 100: 150, 1000: 40},
    100_000: {1: 500, 20: 170, 100: 60, 1000: 20},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "count", "windows"), [(r, c, w) for r, cells in CELLS.items() for c, w in cells.items()]
)
def test_false_alarms_over_ten_thousand_windows(rows: int, count: int, windows: int, record_property: Record) -> None:
    check(rows, count, windows, 0.05, record_property)


def test_the_cells_are_ten_thousand_windows() -> None:
    assert sum(w for cells in CELLS.values() for w in cells.values()) == 10_000
