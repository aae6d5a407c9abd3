"""Counts of a window in pieces: any split gives the same integers, and bounds hold the exact value."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from kernels.drift import Profile, Reason
from kernels.drift.values import BINNED, CATEGORICAL, EXTREME, STATISTICS, SUMMED
from kernels.errors import ProfileError


def window(seed: int, rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "x": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(0.02 * seed, 1, rows)),
        "k": rng.integers(0, 12, rows),
        "c": rng.choice(np.array(["a", "b", "c", "d"], dtype=object), rows),
    }


def cut(columns: dict[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    return {name: values[first:last] for name, values in columns.items()}


def test_any_split_and_order_gives_the_same() -> None:
    reference, live = window(0, 9000), window(1, 6000)
    fitted = Profile.fit(reference)
    whole = fitted.compare_counts(fitted.count([live]), STATISTICS)
    rng = np.random.default_rng(5)
    for _ in range(12):
        borders = [0, *sorted(rng.integers(0, 6001, rng.integers(0, 9)).tolist()), 6000]
        parts = [cut(live, a, b) for a, b in itertools.pairwise(borders)]
        rng.shuffle(parts)
        middle = len(parts) // 2
        merged = fitted.count(parts[:middle]).merge(fitted.count(parts[middle:]))
        assert fitted.compare_counts(merged, STATISTICS) == (
            whole if parts[:middle] and parts[middle:] else fitted.compare_counts(fitted.count(parts), STATISTICS)
        )


def test_counted_statistics_are_those_of_the_whole_window() -> None:
    reference, live = window(0, 9000), window(2, 6000)
    fitted = Profile.fit(reference)
    counted = fitted.compare_counts(fitted.count([cut(live, 0, 10), cut(live, 10, 6000)]), STATISTICS)
    exact = fitted.compare(live, STATISTICS)
    for mine, theirs in zip(counted, exact, strict=True):
        if mine.statistic in (*BINNED, *CATEGORICAL, "missing"):
            assert (mine.value, mine.pvalue, mine.error) == (theirs.value, theirs.pvalue, 0.0)
        elif mine.statistic in EXTREME:
            assert mine.value is not None
            assert theirs.value is not None
            assert mine.value <= theirs.value <= mine.value + mine.error + 1e-15
            assert mine.error < 0.002
        else:
            assert mine.statistic in SUMMED
            assert (mine.value, mine.reason) == (None, Reason.NEEDS_ROWS)


def test_bounds_are_exact_where_values_repeat() -> None:
    """Twelve integers: every value has its own bin, so nothing is hidden between edges."""
    fitted = Profile.fit({"k": window(0, 9000)["k"]})
    live = {"k": window(3, 5000)["k"] // 2}
    mine = fitted.compare_counts(fitted.count([live]), ("ks", "kuiper"))
    theirs = fitted.compare(live, ("ks", "kuiper"))
    assert [(row.value, row.error) for row in mine] == [(row.value, 0.0) for row in theirs]


def test_a_column_that_one_batch_lacks_is_not_guessed() -> None:
    fitted = Profile.fit(window(0, 500))
    live = window(1, 400)
    counts = fitted.count([live, {name: values for name, values in live.items() if name != "x"}])
    table = fitted.compare_counts(counts, ("ks", "tv"))
    assert table.row("x", "ks").reason is Reason.COLUMN_ABSENT
    assert table.row("c", "tv").n_live == 800


def test_counts_travel_without_reference_rows() -> None:
    fitted = Profile.fit({"x": np.random.default_rng(0).normal(size=200_000)})
    counts = fitted.counter()
    assert len(pickle.dumps(counts)) < 120_000
    assert fitted.compare_counts(pickle.loads(pickle.dumps(counts))).row("x", "ks").reason is Reason.EMPTY_LIVE


def test_counts_of_two_profiles_do_not_merge() -> None:
    a, b = Profile.fit(window(0, 500)), Profile.fit(window(1, 500))
    with pytest.raises(ProfileError, match="counts of different profiles - start both from the same profile"):
        a.counter().merge(b.counter())
