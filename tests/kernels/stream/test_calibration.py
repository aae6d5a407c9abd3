"""The mean run length in control is what was asked for. Truth: the Markov chain of a CUSUM (Brook and Evans 1972)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from kernels.errors import MissingValueError, OptionError, ShapeError
from kernels.stream import ADWIN, CUSUM, DDM, KSWIN, PageHinkley, calibrate


def one_sided(threshold: float, slack: float = 0.5, cells: int = 200) -> float:
    """Mean run length of an upper CUSUM of standard normal values from 0."""
    width = 2 * threshold / (2 * cells + 1)
    centres = np.arange(cells + 1) * width
    upper = stats.norm.cdf(centres[None, :] + width / 2 - centres[:, None] + slack)
    lower = stats.norm.cdf(centres[None, :] - width / 2 - centres[:, None] + slack)
    lower[:, 0] = 0.0
    return float(np.linalg.solve(np.eye(cells + 1) - (upper - lower), np.ones(cells + 1))[0])


def two_sided(threshold: float) -> float:
    return one_sided(threshold) / 2  # 1 / L = 1 / L_up + 1 / L_down


def normal(rows: int, columns: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def test_the_run_length_of_cusum_is_that_of_its_markov_chain() -> None:
    assert two_sided(4.0) == pytest.approx(168, rel=0.01)  # Montgomery 2019, table 9.3
    assert two_sided(5.0) == pytest.approx(465, rel=0.01)
    rows, columns = 50_000, 10
    for threshold in (3.0, 4.0):
        alarms = len(CUSUM(columns, threshold=threshold).update(normal(rows, columns, 0)))
        assert rows * columns / alarms == pytest.approx(two_sided(threshold), rel=4 / np.sqrt(alarms))


def test_a_calibrated_cusum_has_the_threshold_of_the_markov_chain(record_property: Any) -> None:
    reference = normal(20_000, 3, 1)
    reference = (reference - reference.mean(0)) / reference.std(0)
    found = calibrate(CUSUM(3), arl=250, reference=reference)
    truth = brentq(lambda h: two_sided(h) - 250, 2.0, 8.0)
    # an error of one per cent of the run length is one of 0.01 in the threshold
    assert found.threshold == pytest.approx([truth] * 3, abs=0.15)
    assert np.all(np.abs(found.arl / 250 - 1) < 4 * np.sqrt(2 / 1000))
    assert found.detector.rows == 0
    worst = max(abs(found.threshold - truth))
    record_property(
        "CUSUM calibrated to a run length", f"threshold within {worst:.3f} sd of Brook and Evans' {truth:.3f}"
    )


@pytest.mark.parametrize("make", [PageHinkley, KSWIN, ADWIN, CUSUM])
def test_false_alarms_come_as_rarely_as_asked_on_data_of_its_own(make: Any, record_property: Any) -> None:
    """Skewed values: no normal law helps. New data of the same law, not the reference again."""
    arl, more = 300, {"window": 40, "recent": 20} if make is KSWIN else {"clock": 8} if make is ADWIN else {}
    n_alarms = 100 if make is KSWIN else 600  # KSWIN takes a microsecond a value
    if make is CUSUM:
        more = {"mean": 1.0}
    rng = np.random.default_rng(3)
    found = calibrate(make(**more), arl=arl, reference=rng.exponential(size=100_000), n_alarms=n_alarms)
    rows = 90_000
    alarms = len(found.detector.update(rng.exponential(size=rows)))
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], [2 * alarms, 2 * alarms + 2]) / 2  # exact Poisson limits
    slack = 1 + 4 / np.sqrt(n_alarms)  # of the search
    assert rows / low >= arl / slack
    if make in (CUSUM, PageHinkley):  # the tests of the others have steps, and keep their contract from above
        assert rows / high <= arl * slack
    record_property(f"{make.__name__}: false alarms as rare as asked", f"{rows / alarms:.0f} values for {arl}")


def test_blocks_keep_what_follows_in_time() -> None:
    """Values that move together alarm more often; a threshold for independent ones would be too low."""
    rng = np.random.default_rng(0)
    values = np.zeros(20_000)
    for t in range(1, len(values)):
        values[t] = 0.7 * values[t - 1] + rng.normal() * np.sqrt(1 - 0.49)
    naive, blocks = (calibrate(CUSUM(), arl=200, reference=values, n_alarms=200, block=b) for b in (1, 100))
    assert blocks.threshold[0] > 1.5 * naive.threshold[0]


def test_refusals() -> None:
    values = normal(100, 1, 0)
    with pytest.raises(OptionError, match="detector: 'ddm' has no mean run length - choose one of cusum, "):
        calibrate(DDM(), arl=100, reference=values)
    with pytest.raises(OptionError, match="arl: 1 - choose 2 or more"):
        calibrate(CUSUM(), arl=1, reference=values)
    with pytest.raises(ShapeError, match=r"reference: shape \(100, 1\) - pass \(N, 2\)"):
        calibrate(CUSUM(2), arl=100, reference=values)
    with pytest.raises(MissingValueError, match="reference: 1 NaN"):
        calibrate(CUSUM(), arl=100, reference=np.array([1.0, np.nan]))
    with pytest.raises(
        OptionError, match="reference: column 0 alarms more often than every 50 values at any threshold"
    ):
        calibrate(CUSUM(mean=-1e5), arl=50, reference=values, n_alarms=2)
