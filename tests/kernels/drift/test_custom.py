"""A statistic of the user's own: the built-in ones written in one line, and its refusals."""

from __future__ import annotations

import math
from typing import Any

import device
import numpy as np
import pytest

from kernels import drift
from kernels.errors import BackendUnavailable, MissingValueError, OptionError


def shares(f: int, g: int, n: int, m: int, width: float) -> float:
    return abs(f / n - g / m)


def area(f: int, g: int, n: int, m: int, width: float) -> float:
    return abs(f / n - g / m) * width


def hellinger(f: int, g: int, n: int, m: int, width: float) -> float:
    return (math.sqrt(f / n) - math.sqrt(g / m)) ** 2 * width


@pytest.mark.parametrize("name", ["reference", "cpu"])
@pytest.mark.parametrize("kind", ["float32", "float64", "ties", "int64", "uint64"])
def test_known_statistics_in_one_line(name: str, kind: str) -> None:
    rng = np.random.default_rng(51)
    x, y = rng.normal(50, 9, size=(400, 2)), rng.normal(52, 11, size=(300, 2))
    x, y = (np.round(v) if kind == "ties" else v.astype(kind.replace("ties", "float64")) for v in (x, y))
    largest = drift.custom(x, y, shares, largest=True, backend=name)
    assert largest == pytest.approx(drift.ks_2samp(x, y).statistic, rel=1e-12)
    assert drift.custom(x, y, area, backend=name) == pytest.approx(drift.wasserstein_distance(x, y), rel=1e-10)


def test_backends_agree_on_a_statistic_that_nobody_has() -> None:
    rng = np.random.default_rng(52)
    x, y = rng.normal(size=500).astype(np.float32), rng.normal(0.3, 1, 400).astype(np.float32)
    for largest in (False, True):
        got, truth = (drift.custom(x, y, hellinger, largest=largest, backend=b) for b in ("cpu", "reference"))
        assert float(got) == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_worked_example(name: str) -> None:
    """Reference [1, 2, 2], live [2, 5, NaN]: (1, 0, 1) at 1, (3, 1, 3) at 2, (3, 2, 0) at 5."""
    x, y = np.array([2.0, 1.0, 2.0]), np.array([5.0, np.nan, 2.0])
    got = drift.custom(x, y, lambda f, g, n, m, width: 100 * f + 10 * g + width, backend=name)
    assert got == (100 + 1) + (310 + 3) + (320 + 0)
    big = np.array([2**63]), np.array([2**63 + 1])
    assert drift.custom(*(v.astype(np.uint64) for v in big), lambda f, g, n, m, width: width, backend=name) == 1.0


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_missing_values(name: str) -> None:
    x, y = np.array([[1.0, np.nan], [2.0, np.nan]]), np.array([[1.5, 1.0], [np.nan, 2.0]])
    got = drift.custom(x, y, shares, largest=True, backend=name)
    assert got[0] == 0.5
    assert np.isnan(got[1])
    assert np.isnan(drift.custom(x, y, shares, nan_policy="propagate", backend=name)).all()
    with pytest.raises(MissingValueError, match="reference: 2 NaN"):
        drift.custom(x, y, shares, nan_policy="raise", backend=name)
    undefined = drift.custom(x[:, 0], y[:, 0], lambda f, g, n, m, width: math.nan, largest=True, backend=name)
    assert np.isnan(undefined)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(5.0)
    with pytest.raises(OptionError, match="step: 3 is not a function - pass one of"):
        drift.custom(x, x, 3)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"step: Numba cannot compile it \(.*\) - use numbers and the module math"):
        drift.custom(x, x, lambda f, g, n, m, width: str.no_such_method(f))
    device.install(monkeypatch)
    placed: Any = device.ndarray(x)
    with pytest.raises(BackendUnavailable, match="'custom' has no 'cuda' form - move the arrays to the CPU"):
        drift.custom(placed, placed, shares)
