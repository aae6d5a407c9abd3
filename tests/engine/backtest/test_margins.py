"""The paired bootstrap against SciPy and against one that draws; how often equal policies are told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from engine.backtest.margins import block_of, margins
from engine.contested import Line


def line(policy: str, costs: np.ndarray) -> Line:
    return Line(
        policy=policy,
        parameters="",
        cost=float(costs.sum()),
        regret=0.0,
        lost=0.0,
        spent=0.0,
        attempts=0,
        promoted=0,
        degraded=0,
        windows=len(costs),
        below=(),
        acted=(),
        costs=tuple(costs.tolist()),
    )


def lines(seed: int, means: tuple[float, ...], n: int = 200, correlation: float = 0.0) -> list[Line]:
    """Policies that share most of their noise; the rest is an AR(1) of unit variance."""
    rng = np.random.default_rng(seed)
    shared = 5 * rng.standard_normal(n)
    found = []
    for k, mean in enumerate(means):
        own = rng.standard_normal(n)
        for t in range(1, n):
            own[t] = correlation * own[t - 1] + np.sqrt(1 - correlation**2) * own[t]
        found.append(line(f"p{k}", mean + shared + own))
    return found


def drawn(values: np.ndarray, block: int, resamples: int) -> np.ndarray:
    """Sums (resamples,) of a circular block bootstrap, drawn one by one."""
    rng, n = np.random.default_rng(7), len(values)
    starts = rng.integers(0, n, (resamples, n // block))
    return values[(starts[:, :, None] + np.arange(block)) % n].sum(axis=(1, 2))


def test_of_pasts_it_is_the_interval_of_a_paired_t_test() -> None:
    first, second = lines(1, (0.0, 0.3), 30)
    (margin,) = margins([first, second], block=1, total=False, level=0.95)
    truth = stats.ttest_rel(second.costs, first.costs).confidence_interval(0.95)
    assert (margin.low, margin.high) == pytest.approx((truth.low, truth.high))
    assert margin.more == pytest.approx(np.mean(second.costs) - np.mean(first.costs))


@pytest.mark.parametrize("block", [1, 3, 5])
def test_of_windows_the_error_is_that_of_the_bootstrap_that_draws(block: int) -> None:
    first, second = lines(2, (0.0, 0.3), 60, 0.5)
    (margin,) = margins([first, second], block=block, total=True, level=0.95)
    blocks = 60 // block
    error = (margin.high - margin.low) / 2 / stats.t.ppf(0.975, blocks - 1)
    apart = np.subtract(second.costs, first.costs)
    assert margin.more == pytest.approx(apart.sum())
    assert error * np.sqrt((blocks - 1) / blocks) == pytest.approx(drawn(apart, block, 20_000).std(), rel=0.02)


def test_with_more_rivals_each_interval_is_wider() -> None:
    """Of five policies there are ten pairs, and each interval has level 1 - 0.05 / 10."""
    found = lines(2, (0.0, 0.3, 0.3, 0.3, 0.3))
    alone, beside = (margins(some, block=1, total=False, level=0.95)[0] for some in (found[:2], found))
    widths = [margin.high - margin.low for margin in (alone, beside)]
    expected = stats.t.ppf(1 - 0.0025, 199) / stats.t.ppf(0.975, 199)
    assert widths[1] / widths[0] == pytest.approx(expected, rel=1e-6)


def told_apart(n: int, correlation: float, pasts: int) -> float:
    """How often one of five equal policies is told apart from the cheapest of them."""
    alarms = 0
    for seed in range(pasts):
        found = sorted(lines(seed, (0.0,) * 5, n, correlation), key=lambda one: one.cost)
        drawn = margins(found, block=block_of(n), total=True, level=0.95)
        alarms += any(margin.told_apart for margin in drawn)
    return alarms / pasts


@pytest.mark.parametrize("n", [10, 60])
def test_equal_policies_are_rarely_told_apart(n: int, record_property: Callable[[str, object], None]) -> None:
    """The cheapest is chosen on the same figures; windows that follow each other are alike (AR(1), 0.3)."""
    share = told_apart(n, 0.3, 400)
    record_property("equal policies told apart, of 5 %", f"{share:.1%} of 400 pasts of {n} windows, AR(1) 0.3")
    assert share < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_what_differs_is_told_apart() -> None:
    found = margins(lines(3, (0.0, 1.0), 60), block=block_of(60), total=True, level=0.95)
    assert found[0].told_apart
    assert found[0].low < 60 < found[0].high


def test_what_is_equal_everywhere_is_not_told_apart() -> None:
    one, two = line("a", np.arange(9.0)), line("b", np.arange(9.0))
    (margin,) = margins([one, two], block=2, total=True, level=0.95)
    assert (margin.more, margin.low, margin.high, margin.told_apart) == (0, 0, 0, False)
    assert [block_of(n) for n in (1, 6, 10, 60)] == [1, 2, 2, 4]
