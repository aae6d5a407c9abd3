"""The interval of the calibration error: what it covers, where it is one-sided, and that both ways of drawing agree.

With uniform p and outcomes of probability 1/2 + s (p - 1/2), the error is (1 - s) / 4 for any even number of bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.dispatch import load
from kernels.errors import OptionError
from kernels.reference import scores as reference
from kernels.resample import MetricOptions, bootstrap
from kernels.resample.calibration import BONFERRONI, ONE_SIDED, Gaps, path_of
from tests.kernels.conftest import Backend
from tests.kernels.placed import get, put

ECE = "expected_calibration_error"


def sample(rng: np.random.Generator, n: int, s: float) -> tuple[np.ndarray, np.ndarray]:
    proba = rng.random(n)
    return (rng.random(n) < 0.5 + s * (proba - 0.5)).astype(int), proba


def misses(s: float, n: int, bins: int, sets: int, seed: int) -> tuple[int, int, int]:
    """How often the interval lies above and below the truth, and how often it is one-sided."""
    rng = np.random.default_rng(seed)
    options, truth = MetricOptions(n_bins=bins), (1.0 - s) / 4.0
    above = below = sided = 0
    for turn in range(sets):
        result = bootstrap(ECE, *sample(rng, n, s), n_resamples=400, seed=turn, options=options)
        above, below = above + (result.low > truth), below + (result.high < truth)
        sided += result.note == ONE_SIDED
        assert (result.note == ONE_SIDED) == (result.low == 0.0)
    return above, below, sided


@pytest.mark.parametrize("sets", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_perfect_calibration_is_one_sided_and_covered(sets: int, record_property: Any) -> None:
    above, below, sided = misses(1.0, 1000, 15, sets, 1)
    record_property("calibration error, perfect: share one-sided", f"{sided / sets:.3f} of {sets} sets")
    assert above <= 0.025 * sets + 4 * np.sqrt(0.025 * sets)
    assert below == 0
    assert sided >= 0.94 * sets


@pytest.mark.parametrize("sets", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_mild_miscalibration_is_covered(sets: int, record_property: Any) -> None:
    """Half of the bins have a gap within twice its noise; percentiles of the replicates cover 0.80 of 300 sets here."""
    above, below, sided = misses(0.8, 2000, 10, sets, 2)
    share = 1.0 - (above + below) / sets
    record_property("calibration error, mild: coverage of 95 % intervals", f"{share:.3f} of {sets} sets")
    full = sets >= 2000  # where most gaps are clear it is 0.95, see the proofs
    assert (0.94 if full else 0.88) <= share <= (0.98 if full else 1.0)
    assert sided <= 0.03 * sets + 4 * np.sqrt(0.03 * sets)


@pytest.mark.parametrize("sets", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_paired_difference_is_covered(sets: int, record_property: Any) -> None:
    """The second model has an error of its own: 0.9 of the first's confidence, so that only s - 0.9 is left."""
    rng = np.random.default_rng(3)
    hits = 0
    for turn in range(sets):
        label, proba = sample(rng, 2000, 0.6)
        other = 0.5 + 0.9 * (proba - 0.5)
        result = bootstrap(ECE, label, proba, other, n_resamples=400, seed=turn, options=MetricOptions(n_bins=2))
        # Two bins: half of the rows each, mean gap (1 - s) / 4 and (0.9 - s) / 4.
        hits += result.low <= (0.9 - 0.6) / 4 - (1 - 0.6) / 4 <= result.high
    record_property("calibration error, paired difference: coverage", f"{hits / sets:.3f} of {sets} sets")
    assert hits / sets == pytest.approx(0.95, abs=0.03 if sets >= 500 else 0.1)


@pytest.mark.parametrize("sets", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_difference_beside_perfect_calibration_is_wide_and_says_so(sets: int) -> None:
    """Replicates of the difference alone would cover half of the time: both errors drown in one noise."""
    rng = np.random.default_rng(11)
    hits = wide = 0
    for turn in range(sets):
        label, proba = sample(rng, 1000, 1.0)
        other = 0.5 + 0.9 * (proba - 0.5)
        result = bootstrap(ECE, label, proba, other, n_resamples=300, seed=turn, options=MetricOptions(n_bins=10))
        wide += result.note == BONFERRONI
        hits += result.low <= 0.025 <= result.high
    assert wide >= 0.93 * sets
    assert hits >= 0.95 * sets


def test_no_other_method_is_taken_for_it() -> None:
    label, proba = sample(np.random.default_rng(4), 100, 0.5)
    for method in ("percentile", "bca"):
        with pytest.raises(OptionError, match=f"method: '{method}' does not cover for {ECE}"):
            bootstrap(ECE, label, proba, method=method)
    assert bootstrap(ECE, label, proba, n_resamples=50).method == "inversion"


def test_cells_and_rows_give_one_interval() -> None:
    for s, norm in ((0.5, "l1"), (0.5, "l2"), (0.5, "max"), (1.0, "l1")):
        label, proba = sample(np.random.default_rng(5), 60_000, s)
        options = MetricOptions(norm=norm)
        cells = bootstrap(ECE, label, proba, options=options, resampling="cells")
        rows = bootstrap(ECE, label, proba, options=options, resampling="rows")
        assert (cells.resampling, rows.resampling) == ("cells", "rows")
        assert cells.estimate == pytest.approx(rows.estimate, rel=1e-12)
        assert cells.standard_error == pytest.approx(rows.standard_error, rel=0.1)
        assert cells.low == pytest.approx(rows.low, abs=0.4 * rows.standard_error)
        assert cells.high == pytest.approx(rows.high, abs=0.4 * rows.standard_error)


def test_many_classes_go_by_cell_as_well() -> None:
    rng = np.random.default_rng(6)
    proba = rng.dirichlet(np.ones(4), 50_000)
    label = np.where(rng.random(50_000) < 0.7, proba.argmax(axis=1), rng.integers(0, 4, 50_000))
    cells = bootstrap(ECE, label, proba, n_resamples=300)
    rows = bootstrap(ECE, label, proba, n_resamples=300, resampling="rows")
    assert (cells.resampling, rows.resampling) == ("cells", "rows")
    assert cells.estimate == pytest.approx(rows.estimate, rel=1e-12)
    assert cells.low == pytest.approx(rows.low, abs=0.8 * rows.standard_error)
    with pytest.raises(OptionError, match=r"outside \[0, 1\]"):
        bootstrap(ECE, label, proba + 0.5, n_resamples=10)


def test_clusters_and_slices_have_their_own() -> None:
    rng = np.random.default_rng(7)
    label, proba = sample(rng, 3000, 0.3)
    twice = np.tile(label, 2), np.tile(proba, 2)
    cluster, slices = np.tile(np.arange(3000), 2), np.repeat([0, 1], 3000)
    result = bootstrap(ECE, *twice, cluster=cluster, slices=slices, n_resamples=400)
    once = bootstrap(ECE, label, proba, n_resamples=400, resampling="rows")
    # Every row twice, in one cluster: nothing was learned, and either slice is the whole.
    assert (result.low, result.high) == pytest.approx((once.low, once.high), rel=2e-3)
    assert result.slices["slice"].low == pytest.approx(np.full(2, once.low), rel=2e-3)
    assert bootstrap(ECE, *twice, n_resamples=400).standard_error < 0.8 * once.standard_error


def test_the_path_runs_from_the_data_to_perfect_calibration() -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(2, 5, 800)) * 0.01
    gap = np.array([[0.2, -0.1, 0.001, -0.002, 0.0], [0.3, -0.3, 0.3, -0.3, 0.3]])
    path = path_of(Gaps(gap, np.full((2, 5), 0.2), np.zeros((2, 5)), noise, "l1"))
    assert (path.at(path.last) == 0.0).all()
    data = path.at(np.zeros(2))
    np.testing.assert_allclose(data[1], gap[1])
    np.testing.assert_allclose(data[0, :2], gap[0, :2])
    assert np.abs(data[0, 2:]).sum() == pytest.approx(np.abs(gap[0, 2:]).sum(), rel=0.1)  # the unclear share their size
    places = np.linspace(path.last, -path.last, 50)
    assert (np.diff([path.below(place) for place in places], axis=0) <= 0).all()
    assert path.below(path.where(np.full(2, 0.3))) == pytest.approx(np.full(2, 0.3), abs=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_by_cell_are_the_references(dtype: type, backend: Backend) -> None:
    rng = np.random.default_rng(9)
    outcome, confidence = rng.integers(0, 2, 5001).astype(np.uint8), rng.random(5001).astype(dtype)
    confidence[:7] = [0.0, 1.0, 0.2, 0.6, 1.5, -0.5, 0.2]
    expected = reference.calibration_sums(outcome, confidence, n_bins=15)
    got = load("scores", backend.name).calibration_sums(*put(backend, outcome, confidence), n_bins=15)
    for field, left, right in zip(expected._fields, got, expected, strict=True):
        np.testing.assert_allclose(get(left), right, rtol=1e-12, err_msg=field)
    assert int(expected.outside) == 2
    wide = confidence.astype(np.float64)
    by_hand = [((outcome == o) & (wide > 0.2) & (wide <= np.linspace(0, 1, 16)[4])).sum() for o in (0, 1)]
    assert expected.rows[3].tolist() == by_hand


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    label, proba = sample(np.random.default_rng(10), 100_000, 0.8)
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("KERNELS_NUM_THREADS", threads)
        results.append(bootstrap(ECE, label, proba, n_resamples=100))
    assert (results[0].low, results[0].high) == (results[1].low, results[1].high)
