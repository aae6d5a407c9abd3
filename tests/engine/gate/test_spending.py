"""Critical values against published tables and SciPy's multivariate normal."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from engine.gate.spending import SPENDING, critical, crossings, obrien_fleming, pocock

# Lan-DeMets bounds of five equal looks at one-sided 0.025, as gsDesign (sfLDOF, sfLDPocock) and Jennison and Turnbull
# print them.
PUBLISHED = {
    "obrien_fleming": (4.877, 3.357, 2.680, 2.290, 2.031),
    "pocock": (2.438, 2.427, 2.410, 2.397, 2.386),
}
# Jennison and Turnbull 2000, tables 2.1 and 2.3: constants of the classical tests at two-sided 0.05.
POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555}
OBRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087}


def bounds(spending: str, information: list[float], alpha: float = 0.025) -> list[float]:
    """All looks, the fraction that is spent being that of the information."""
    found: list[float] = []
    for k, now in enumerate(information, 1):
        spend = SPENDING[spending](alpha, now / information[-1])
        found.append(critical(information[:k], found, spend))
    return found


@pytest.mark.parametrize("spending", PUBLISHED)
def test_five_equal_looks_have_the_published_bounds(spending: str) -> None:
    assert bounds(spending, [1, 2, 3, 4, 5]) == pytest.approx(PUBLISHED[spending], abs=6e-4)


@pytest.mark.parametrize("looks", POCOCK)
def test_the_classical_tests_err_as_their_tables_say(looks: int) -> None:
    """One side of a two-sided test at 0.05; the constants are printed to three decimals."""
    information = [float(k) for k in range(1, looks + 1)]
    constant = crossings(information, [POCOCK[looks]] * looks)
    falling = crossings(information, [OBRIEN_FLEMING[looks] * math.sqrt(looks / k) for k in information])
    assert sum(constant) == pytest.approx(0.025, abs=6e-5)
    assert sum(falling) == pytest.approx(0.025, abs=6e-5)


@pytest.mark.parametrize("information", [[1.0, 1.1, 3.0], [0.2, 5.0, 5.2], [1.0, 40.0, 41.0], [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("values", [[2.0, 2.1, 1.9], [math.inf, 2.5, 2.0], [0.3, 0.2, 0.1], [4.9, 3.4, 2.0]])
def test_crossings_are_those_of_a_multivariate_normal(information: list[float], values: list[float]) -> None:
    correlation = np.array([[math.sqrt(min(a, b) / max(a, b)) for b in information] for a in information])
    inside = [1.0]
    for k in (1, 2, 3):
        law = stats.multivariate_normal(np.zeros(k), correlation[:k, :k])
        inside.append(law.cdf(np.minimum(values[:k], 20), rng=np.random.default_rng(0)))
    expected = [before - after for before, after in itertools.pairwise(inside)]
    assert crossings(information, values) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("spending", SPENDING)
@pytest.mark.parametrize("information", [[1, 2, 3, 4, 5], [1, 1.5, 7, 7.1, 9], [3, 4], [1], [1, 2, 3, 4, 5, 6, 7, 8]])
def test_all_of_alpha_is_spent_and_no_more(spending: str, information: list[float]) -> None:
    for alpha in (0.025, 0.005, 0.25):
        found = crossings(information, bounds(spending, information, alpha))
        assert sum(found) == pytest.approx(alpha, rel=1e-6)
        spent = [SPENDING[spending](alpha, v / information[-1]) for v in information]
        assert np.cumsum(found) == pytest.approx(spent, rel=1e-5, abs=1e-12)


def test_a_single_look_is_the_ordinary_test() -> None:
    for spending in SPENDING.values():
        assert spending(0.025, 1.0) == pytest.approx(0.025, rel=1e-12)
        assert critical([7.0], [], spending(0.025, 1.0)) == pytest.approx(stats.norm.isf(0.025), abs=1e-12)


def test_what_is_used_up_cannot_be_spent_again() -> None:
    """A look under another plan starts from what the looks before it have used."""
    used = -stats.norm.isf(0.975)
    assert critical([1, 2], [used], 0.025) == math.inf
    assert critical([1], [], 0.0) == math.inf
    later = critical([1, 2], [critical([1], [], pocock(0.025, 0.5))], obrien_fleming(0.025, 1.0))
    assert later == pytest.approx(bounds("pocock", [1, 2])[1], abs=1e-6)
