"""Bounds and alarms that hold at every row at once: errors of the first kind by simulation, and power beside them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kernels.errors import MissingValueError, OptionError
from kernels.stream import Betting, ConfidenceSequence, from_state, upper_bound


def most(delta: float, n: int) -> float:
    """A share of n that a chance of `delta` exceeds once in a million times."""
    return float(stats.binom.ppf(1 - 1e-6, n, delta)) / n


LAWS = {
    "errors": lambda rng, shape: (rng.random(shape) < 0.1).astype(float),
    "squares": lambda rng, shape: rng.beta(0.2, 1.8, shape),
    "means of clusters": lambda rng, shape: rng.beta(20, 180, shape),
}
MEAN = 0.1


@pytest.mark.parametrize("law", LAWS)
def test_bounds_hold_at_every_row_at_once(law: str, record_property: Any) -> None:
    columns, rows, delta = 1000, 2000, 0.1
    sequence = ConfidenceSequence(columns, delta=delta)
    sequence.update(LAWS[law](np.random.default_rng(0), (rows, columns)))
    mean, low, high = sequence.bounds  # the tightest that ever were
    missed = float(((low > MEAN) | (high < MEAN)).mean())
    assert missed <= most(delta, columns)
    assert np.abs(mean - MEAN).max() < 0.1
    assert np.median(high - low) < 0.15
    record_property(
        f"confidence sequence of {law}", f"missed {missed:.1%} of {columns} x {rows} looks (at most {delta:.0%})"
    )


def check_betting(columns: int, rows: int, record_property: Any) -> None:
    """The mean lies at the bound, or below it now and then; somebody looks after every value."""
    delta = 0.05
    for law, draw in LAWS.items():
        rng, test = np.random.default_rng(1), Betting(columns, bound=MEAN, delta=delta)
        alarmed = np.zeros(columns, bool)
        for start in range(0, rows, 500):
            values = draw(rng, (500, columns))
            if start // 500 % 3 == 1:
                values = values * 0.3  # a benign turn, after which it comes back to the bound
            alarmed[test.update(values).column] = True
        share = float(alarmed.mean())
        assert share <= most(delta, columns)
        assert np.array_equal(test.alarm, alarmed)
        figure = f"{share:.2%} of {columns} streams x {rows} looks (at most {delta:.0%})"
        record_property(f"risk at its bound: false alarms, {law}", figure)


def test_false_alarms_at_any_time_looked(record_property: Any) -> None:
    check_betting(500, 3000, record_property)


@pytest.mark.slow
def test_false_alarms_at_any_time_looked_in_full(record_property: Any) -> None:
    check_betting(20_000, 5000, record_property)


def test_a_rise_is_found_soon_also_after_a_long_calm(record_property: Any) -> None:
    rng = np.random.default_rng(2)
    for calm in (0, 20_000):
        test = Betting(40, bound=0.12)
        assert not len(test.update(rng.random((calm, 40)) < 0.1))
        late = test.update(rng.random((3000, 40)) < 0.2).row - calm
        assert len(late) == 40  # once each
        delay = float(np.median(late))
        assert delay < 700
        record_property(
            f"0.1 -> 0.2 against a bound of 0.12, after {calm} rows", f"found after {delay:.0f} rows (median)"
        )


@pytest.mark.parametrize("make", [lambda **more: Betting(3, bound=0.15, every=7, **more), ConfidenceSequence])
def test_chunks_checkpoints_and_backends_change_nothing(make: Any) -> None:
    make = make if make is not ConfidenceSequence else lambda **more: ConfidenceSequence(3, **more)
    values = np.random.default_rng(0).beta(1, 4, (800, 3))
    values[5, 1] = np.nan
    whole, definition, pieces = make(), make(backend="reference"), make()
    expected = whole.update(values)
    assert definition.update(values).row.tolist() == expected.row.tolist()
    assert definition._state == pytest.approx(whole._state, rel=1e-12)
    rows: list[int] = []
    for chunk in np.split(values, [1, 6, 300]):
        rows += pieces.update(chunk).row.tolist()
        header, arrays = pieces.state()
        stored = io.BytesIO()
        np.savez(stored, **arrays)
        stored.seek(0)
        with np.load(stored, allow_pickle=False) as archive:
            pieces = from_state(header, dict(archive))
    assert rows == expected.row.tolist()
    assert np.array_equal(pieces._state, whole._state)


@pytest.mark.parametrize("n", [30, 1000])
def test_the_upper_bound_covers(n: int) -> None:
    delta, rounds = 0.1, 300
    for draw in LAWS.values():
        rng = np.random.default_rng(3)
        bounds = np.array([upper_bound(draw(rng, n), delta=delta) for _ in range(rounds)])
        assert (bounds < MEAN).mean() <= most(delta, rounds)
        assert np.median(bounds) < MEAN + (0.15 if n == 30 else 0.03)


def test_without_a_miss_the_bound_is_near_the_exact_one() -> None:
    exact = 1 - 0.05 ** (1 / 200)  # Clopper and Pearson
    assert exact < upper_bound(np.zeros(200)) < 2.5 * exact
    assert upper_bound(np.zeros(0)) == 1.0


def test_refusals() -> None:
    with pytest.raises(OptionError, match="bound: 1 - choose a number between 0 and 1"):
        Betting(bound=1.0)
    with pytest.raises(OptionError, match=r"x: 1\.5 in column 0 is not within 0 and 1 - clip it"):
        ConfidenceSequence().update(np.array([0.5, 1.5]))
    with pytest.raises(OptionError, match="x: holds values outside 0 to 1 - clip or scale them"):
        upper_bound(np.array([0.5, -0.1]))
    with pytest.raises(MissingValueError, match="x: 1 NaN"):
        upper_bound(np.array([0.5, np.nan]))
    with pytest.raises(OptionError, match="delta: 0 - choose a number between 0 and 1"):
        upper_bound(np.array([0.5]), delta=0.0)
