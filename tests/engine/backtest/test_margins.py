"""Intervals against SciPy and by hand; how often equal policies are told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import fft, stats

from engine.backtest.margins import cosines_of, margins
from engine.records.contested import Line, Margin

BEYOND = {"AR(1) 0.7": 0.065, "two before, 0.3 each": 0.11}  # more persistent than is promised: the share that is told


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


def error(found: tuple[Margin, ...]) -> float:
    """Standard error behind an interval of one rival over windows, at 95 %."""
    (margin,) = found
    freedom = cosines_of(240)
    return float((margin.high - margin.low) / 2 / stats.t.ppf(0.975, freedom))


def test_of_pasts_it_is_the_interval_of_a_paired_t_test() -> None:
    first, second = lines(1, (0.0, 0.3), 30)
    (margin,) = margins([first, second], windows=False, level=0.95)
    truth = stats.ttest_rel(second.costs, first.costs).confidence_interval(0.95)
    assert (margin.low, margin.high) == pytest.approx((truth.low, truth.high))
    assert margin.more == pytest.approx(np.mean(second.costs) - np.mean(first.costs))


def test_of_windows_the_error_of_white_noise_is_that_of_cosines_by_hand() -> None:
    """The alternating part makes the estimated persistence negative: it is taken as 0 and nothing is prewhitened."""
    n = 27
    costs = np.random.default_rng(3).standard_normal(n) + 4 * (-1.0) ** np.arange(n)
    (margin,) = margins([line("a", np.zeros(n)), line("b", costs)], windows=True, level=0.9)
    assert cosines_of(n) == 4  # half of 27 ** (2 / 3) is 4.5
    spectrum = fft.dct(costs, type=2, norm="ortho")[1:5]
    error = np.sqrt(n * np.mean(spectrum**2))
    assert margin.more == pytest.approx(costs.sum())
    assert (margin.high - margin.low) / 2 == pytest.approx(error * stats.t.ppf(0.95, 4))


def test_the_error_of_a_sum_is_the_true_one_on_average_whatever_the_persistence() -> None:
    """Of an AR(1) of unit variance the sum over n windows has variance n (1 + r) / (1 - r), nearly; the mean square of
    the error must not lie below it, and not far above.
    """
    n, pasts = 240, 200
    for correlation in (0.0, 0.5):
        truth = n * (1 + correlation) / (1 - correlation)
        rows = series(np.random.default_rng(11), (pasts, 1, n), correlation)
        found = [error(margins([line("a", np.zeros(n)), line("b", row[0])], windows=True, level=0.95)) for row in rows]
        assert 0.9 < np.mean(np.square(found)) / truth < 1.5


def test_with_more_rivals_each_interval_is_wider() -> None:
    """Of five policies there are ten pairs, and each interval has level 1 - 0.05 / 10."""
    found = lines(2, (0.0, 0.3, 0.3, 0.3, 0.3))
    alone, beside = (margins(some, windows=False, level=0.95)[0] for some in (found[:2], found))
    widths = [margin.high - margin.low for margin in (alone, beside)]
    expected = stats.t.ppf(1 - 0.0025, 199) / stats.t.ppf(0.975, 199)
    assert widths[1] / widths[0] == pytest.approx(expected, rel=1e-6)


def series(rng: np.random.Generator, shape: tuple[int, int, int], correlation: float) -> np.ndarray:
    """AR(1) of unit variance along the last axis, begun in its stationary law."""
    found = rng.standard_normal(shape)
    for t in range(1, shape[2]):
        found[..., t] = correlation * found[..., t - 1] + np.sqrt(1 - correlation**2) * found[..., t]
    return found


def second_order(rng: np.random.Generator, shape: tuple[int, int, int], correlation: float) -> np.ndarray:
    """AR(2) with 0.3 and 0.3: what it remembers fades more slowly than its neighbours say."""
    pasts, policies, n = shape
    found = rng.standard_normal((pasts, policies, n + 60))
    for t in range(2, n + 60):
        found[..., t] += 0.3 * found[..., t - 1] + 0.3 * found[..., t - 2]
    return found[..., 60:]


def summed(rng: np.random.Generator, shape: tuple[int, int, int], correlation: float) -> np.ndarray:
    """Four windows feel each shock alike: correlated, and by no AR(1)."""
    pasts, policies, n = shape
    shocks = rng.standard_normal((pasts, policies, n + 3))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(shocks, 4, axis=2).sum(axis=3) / 2)


def rare(rng: np.random.Generator, shape: tuple[int, int, int], correlation: float) -> np.ndarray:
    """As costs come: a loss begins in an eighth of the windows, of an exponential size, and lasts while it lasts."""
    pasts, policies, n = shape
    found, lasting = np.empty((pasts, policies, n)), np.zeros((pasts, policies))
    for t in range(-20, n):
        begun = (rng.random((pasts, policies)) < 0.12) * rng.exponential(1.0, (pasts, policies))
        lasting = lasting * (rng.random((pasts, policies)) < correlation) + begun
        if t >= 0:
            found[..., t] = lasting + 0.1 * rng.standard_normal((pasts, policies))
    return found


def told_apart(values: np.ndarray, better: float = 0.0) -> float:
    """How often the cheapest of the policies in `values` (pasts, policies, windows) is told apart from another one; the
    first of them is `better` by so much a window, and where it is, how often it is told apart from the second.
    """
    values[:, 1:] += better
    count = 0
    for past in values:
        found = sorted((line(f"p{k}", row) for k, row in enumerate(past)), key=lambda one: one.cost)
        told = [one.policy for one in margins(found, windows=True, level=0.95) if one.told_apart]
        count += (found[0].policy == "p0" and "p1" in told) if better else bool(told)
    return count / len(values)


@pytest.mark.parametrize("policies", [2, 5])
@pytest.mark.parametrize("n", [12, 60])
def test_equal_policies_are_rarely_told_apart(n: int, policies: int) -> None:
    """The cheapest is chosen on the same figures; windows that follow each other are alike (AR(1), 0.5)."""
    share = told_apart(series(np.random.default_rng(5), (1000, policies, n), 0.5))
    assert share < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
@pytest.mark.parametrize("policies", [2, 5, 7])
@pytest.mark.parametrize("kind", ["AR(1) 0", "AR(1) 0.3", "AR(1) 0.5", "four alike", "rare losses 0.6", *BEYOND])
def test_equal_policies_are_told_apart_as_rarely_as_stated(
    kind: str, policies: int, record_property: Callable[[str, object], None]
) -> None:
    """At full size. What is more persistent than an AR(1) of 0.5 lies beyond what is promised, and has a limit of its
    own.
    """
    draw = {"AR": series, "tw": second_order, "fo": summed, "ra": rare}[kind[:2]]
    correlation = float(kind.split()[-1]) if draw in (series, rare) else 0.0
    pasts, shares = 4000, []
    for n in (10, 12, 20, 30, 60, 120):
        shares.append(told_apart(draw(np.random.default_rng([n, policies]), (pasts, policies, n), correlation)))
        limit = BEYOND.get(kind, 0.05)
        assert shares[-1] < limit + 3 * np.sqrt(limit * (1 - limit) / pasts)
    said = ", ".join(f"{share:.1%}" for share in shares)
    size = f"{pasts} pasts each of 10, 12, 20, 30, 60, 120 windows, {kind}"
    record_property(f"{policies} equal policies told apart, of 5 %", f"{said} ({size})")


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_how_often_a_better_policy_is_told_apart(
    correlation: float, record_property: Callable[[str, object], None]
) -> None:
    """Better by one and by two standard deviations of a window, than one rival and than four."""
    for policies in (2, 5):
        said = []
        for better in (1.0, 2.0):
            powers = [
                told_apart(series(np.random.default_rng([n, 9]), (1000, policies, n), correlation), better)
                for n in (12, 24, 60)
            ]
            assert powers == sorted(powers)
            said.append(f"{better:g} sd: " + ", ".join(f"{power:.0%}" for power in powers))
        what = f"power of a backtest, {policies} policies, AR(1) {correlation:g}"
        record_property(what, "; ".join(said) + " (1000 pasts each of 12, 24, 60 windows)")


def test_too_few_windows_tell_nothing() -> None:
    """Not even what differs as clearly as can be."""
    found = margins([line("a", np.zeros(7)), line("b", np.full(7, 1e6))], windows=True, level=0.95)
    assert found[0].more == 7e6
    assert found[0].undecidable
    assert not found[0].told_apart
    assert [cosines_of(n) for n in (2, 7, 8, 12, 27, 60, 120)] == [0, 0, 2, 3, 4, 8, 12]


def test_what_differs_is_told_apart() -> None:
    found = margins(lines(3, (0.0, 1.0), 60), windows=True, level=0.95)
    assert found[0].told_apart
    assert found[0].low < 60 < found[0].high


def test_what_is_equal_everywhere_is_not_told_apart() -> None:
    one, two = line("a", np.arange(9.0)), line("b", np.arange(9.0))
    (margin,) = margins([one, two], windows=True, level=0.95)
    assert (margin.more, margin.low, margin.high, margin.told_apart) == (0, 0, 0, False)


def test_one_attempt_that_was_paid_for_nothing_is_not_told_apart() -> None:
    """Two policies that differ in a single window, wherever it is: one draw tells nothing."""
    for at in range(12):
        costs = np.zeros(12)
        costs[at] = 300.0
        (margin,) = margins([line("a", np.zeros(12)), line("b", costs)], windows=True, level=0.95)
        assert not margin.told_apart
