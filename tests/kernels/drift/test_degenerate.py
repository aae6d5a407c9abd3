"""Every degenerate column against every statistic: a finite value, or None with a named reason; never a
warning.

Warnings are errors in this suite, so a warning from inside fails the test.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from kernels.drift import Profile, Reason
from kernels.drift.values import STATISTICS
from kernels.errors import DTypeError

RNG = np.random.default_rng(17)
COLUMNS: dict[str, Any] = {
    "normal": RNG.normal(size=120),
    "all nan": np.full(50, np.nan),
    "half nan": np.where(np.arange(80) % 2, np.nan, RNG.normal(size=80)),
    "one nan": np.append(RNG.normal(size=40), np.nan),
    "with inf": np.append(RNG.normal(size=40), np.inf),
    "with -inf": np.append(RNG.normal(size=40), -np.inf),
    "all inf": np.full(30, np.inf),
    "both inf": np.where(np.arange(30) % 2, np.inf, -np.inf),
    "constant": np.full(60, 3.5),
    "zero": np.zeros(60),
    "one row": np.array([1.0]),
    "two rows": np.array([1.0, 2.0]),
    "empty": np.empty(0),
    "ties": RNG.integers(0, 2, 70).astype(np.float64),
    "signed zero": np.where(np.arange(40) % 2, 0.0, -0.0),
    "denormal": RNG.integers(0, 5, 60) * 5e-324,
    "huge": RNG.choice([-1e308, 1e308], 50),
    "float32": RNG.normal(size=90).astype(np.float32),
    "float16": RNG.normal(size=90).astype(np.float16),
    "uint8": RNG.integers(0, 255, 90).astype(np.uint8),
    "bool": RNG.random(90) < 0.5,
    "int64": RNG.integers(-5, 5, 90),
    "beyond 2**53": 2**53 + RNG.integers(0, 3, 60),
    "int64 ends": RNG.choice(np.array([-(2**63), 2**63 - 1]), 40),
    "uint64 max": np.full(40, 2**64 - 1, np.uint64),
}
NUMERIC = tuple(name for name in STATISTICS if name not in ("chi2", "tv", "linf"))


@pytest.mark.parametrize("reference", COLUMNS)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_every_cell_is_typed(reference: str, backend: str) -> None:
    fitted = Profile.fit({"x": COLUMNS[reference]})
    for live, values in COLUMNS.items():
        table = fitted.compare({"x": values}, NUMERIC, backend=backend)
        assert [row.statistic for row in table] == list(NUMERIC)
        for row in table:
            where = f"{reference} -> {live}: {row}"
            if row.reason is Reason.NONE:
                assert row.value is not None, where
                assert math.isfinite(row.value), where
            else:
                assert row.value is None, where
                assert row.pvalue is None, where
            assert row.pvalue is None or 0.0 <= row.pvalue <= 1.0, where
        json.dumps(table.to_dicts(), allow_nan=False)


@pytest.mark.parametrize("reference", COLUMNS)
def test_every_cell_of_a_stream_is_that_of_the_window(reference: str) -> None:
    """In three batches, the reference held or in batches, too: the same value, reason or refusal."""

    def batches(values: Any) -> Any:
        return lambda: [{"x": part} for part in np.array_split(values, 3)]

    fitted, pieces = Profile.fit({"x": COLUMNS[reference]}), Profile.fit_batches(batches(COLUMNS[reference]))
    for live, values in COLUMNS.items():
        whole = fitted.compare({"x": values}, NUMERIC)
        held = fitted.compare_batches(batches(values), NUMERIC)
        streamed = pieces.compare_batches(batches(values), NUMERIC, reference=batches(COLUMNS[reference]))
        for expected, *rows in zip(whole, held, streamed, strict=True):
            for row in rows:
                where = f"{reference} -> {live}: {row} for {expected}"
                assert row.reason == expected.reason, where
                assert row.value == (None if expected.value is None else pytest.approx(expected.value, rel=1e-9)), where
                assert (row.pvalue is None) == (expected.pvalue is None), where
                assert (row.n_live, row.missing_live) == (expected.n_live, expected.missing_live), where


def test_what_cannot_be_decided_says_why() -> None:
    def reason(reference: str, live: str, statistic: str) -> Reason:
        fitted = Profile.fit({"x": COLUMNS[reference]})
        return fitted.compare({"x": COLUMNS[live]}, (statistic,)).rows[0].reason

    assert reason("normal", "empty", "ks") is Reason.EMPTY_LIVE
    assert reason("normal", "all nan", "psi") is Reason.EMPTY_LIVE
    assert reason("all nan", "normal", "cvm") is Reason.EMPTY_REFERENCE
    assert reason("constant", "constant", "anderson") is Reason.CONSTANT
    assert reason("one row", "two rows", "anderson") is Reason.TOO_FEW_ROWS
    assert reason("normal", "with inf", "wasserstein") is Reason.INFINITE
    assert reason("normal", "with inf", "ks") is Reason.NONE
    assert reason("constant", "normal", "wasserstein_normed") is Reason.CONSTANT
    assert reason("normal", "beyond 2**53", "ks") is Reason.NOT_COMPARABLE
    assert reason("int64", "uint64 max", "ks") is Reason.NOT_COMPARABLE


def test_the_same_degenerate_window_twice_is_no_drift() -> None:
    for name, values in COLUMNS.items():
        for row in Profile.fit({"x": values}).compare({"x": values}, NUMERIC):
            if row.pvalue is not None:
                assert row.pvalue > 0.3, (name, row)
            if row.value is not None and row.statistic not in ("cvm", "anderson", "mannwhitney"):
                assert row.value == 0.0, (name, row)


def test_lost_values_alarm_by_themselves() -> None:
    fitted = Profile.fit({"x": COLUMNS["normal"]})
    for name in ("half nan", "all nan"):
        row = fitted.compare({"x": COLUMNS[name]}, ("missing",)).rows[0]
        assert row.pvalue is not None
        assert row.pvalue < 1e-9
    row = fitted.compare({"x": COLUMNS["one nan"]}, ("missing",)).rows[0]
    assert row.pvalue is not None
    assert row.pvalue > 0.05


CATEGORIES: dict[str, Any] = {
    "words": np.array(["a", "b", "a", "c"] * 20, dtype=object),
    "one word": np.array(["a"] * 30, dtype=object),
    "none": np.array([None] * 10, dtype=object),
    "half none": np.array(["a", None] * 10, dtype=object),
    "mixed": np.array(["a", 1, 2.5, True, None, float("nan")] * 5, dtype=object),
    "empty": np.array([], dtype=object),
    "unseen": np.array(["z"] * 12, dtype=object),
    "numbers": np.array([1, 2, 2, 3] * 9),
}


def test_every_pair_of_categories_is_typed() -> None:
    names = ("psi", "kl", "js", "hellinger", "chi2", "tv", "linf", "missing")
    for reference, live in itertools.product(CATEGORIES, repeat=2):
        fitted = Profile.fit({"x": CATEGORIES[reference]}, categorical=["x"])
        for row in fitted.compare({"x": CATEGORIES[live]}, names):
            assert (row.value is None) == (row.reason is not Reason.NONE), (reference, live, row)
            assert row.value is None or math.isfinite(row.value), (reference, live, row)


def test_what_is_no_category_is_refused_when_fitting() -> None:
    for values, message in (
        ([[1], [2, 3]], "x: holds values that are no categories"),
        ([b"a"], "x: a bytes is no category"),
    ):
        with pytest.raises(DTypeError, match=message):
            Profile.fit({"x": np.array([*values, None], dtype=object)[:-1]})
