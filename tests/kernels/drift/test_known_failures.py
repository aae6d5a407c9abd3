"""Cases in which widely used drift tools were seen to miss a shift or to alarm on none."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import drift
from kernels.drift import Profile


@pytest.mark.parametrize("side", ["reference", "live"])
@pytest.mark.parametrize("outlier", [1000.0, 1e5, 1e30])
def test_one_outlier_hides_no_shift(side: str, outlier: float) -> None:
    """Equal-width bins over the range put everything else into one bin."""
    rng = np.random.default_rng(1)
    reference, live = rng.normal(size=50_000), rng.normal(1.0, 1.0, 5_000)
    clean = Profile.fit(reference).compare(live)
    (reference if side == "reference" else live)[0] = outlier
    table = Profile.fit(reference).compare(live)
    for name in ("ks", "psi"):
        row, without = table.row("0", name), clean.row("0", name)
        assert row.value == pytest.approx(without.value, rel=0.02)
        assert row.pvalue is not None
        assert row.pvalue < 1e-100
    assert table.row("0", "ks").value == pytest.approx(0.38, abs=0.02)
    if side == "reference":
        assert table.row("0", "wasserstein_normed").value > 0.9


@pytest.mark.parametrize("rows", [50, 100, 300, 1000])
@pytest.mark.parametrize("size", [1001, 10_000])
def test_identical_data_alarms_at_the_stated_rate(rows: int, size: int) -> None:
    """A threshold that ignores the number of live rows fires on most small windows without drift."""
    rng = np.random.default_rng(rows + size)
    columns, alpha = 300, 0.05
    table = Profile.fit(rng.normal(size=(size, columns))).compare(
        rng.normal(size=(rows, columns)), ("ks", "kuiper", "cvm", "anderson", "mannwhitney", "psi", "missing")
    )
    for name in ("ks", "kuiper", "cvm", "anderson", "mannwhitney", "psi", "missing"):
        alarms = sum(row.pvalue < alpha for row in table if row.statistic == name)
        assert alarms <= columns * alpha + 4 * np.sqrt(columns * alpha * (1 - alpha)), name
    corrected = table.adjusted("holm")
    assert sum(p < 0.001 for p in corrected if p is not None) == 0


@pytest.mark.parametrize("rows", [50, 300, 1000])
def test_identical_categories_alarm_at_the_stated_rate(rows: int) -> None:
    """Sparse categories are pooled before the chi-square limit is used."""
    rng = np.random.default_rng(rows)
    weights = np.array([0.5, 0.3, 0.15, 0.03, 0.01, 0.005, 0.003, 0.001, 0.001])
    reference, live = (rng.choice(9, (size, 300), p=weights) for size in (5000, rows))
    names = [str(f) for f in range(300)]
    table = Profile.fit(reference, categorical=names).compare(live, ("chi2",))
    alarms = sum(row.pvalue < 0.05 for row in table if row.pvalue is not None)
    assert alarms <= 300 * 0.05 + 4 * np.sqrt(300 * 0.05 * 0.95)


def test_a_shift_of_a_small_feature_is_seen() -> None:
    """A floor of 0.001 under the standard deviation hides every shift of a feature with deviation 1e-5."""
    rng = np.random.default_rng(2)
    table = Profile.fit(rng.normal(0, 1e-5, 5000)).compare(rng.normal(5e-5, 1e-5, 5000))
    assert table.row("0", "wasserstein_normed").value == pytest.approx(5.0, abs=0.2)
    assert table.row("0", "ks").value > 0.95


def test_a_rare_category_that_doubles_is_seen() -> None:
    rng = np.random.default_rng(3)
    reference = np.where(rng.random(100_000) < 0.002, "rare", "usual")
    live = np.where(rng.random(100_000) < 0.004, "rare", "usual")
    row = Profile.fit({"c": reference}).compare({"c": live}, ("chi2",)).rows[0]
    assert row.pvalue is not None
    assert row.pvalue < 1e-9


def test_an_integer_step_beyond_float64_is_seen_by_every_rank_statistic() -> None:
    names = ("ks", "kuiper", "cvm", "anderson", "mannwhitney")
    table = Profile.fit({"id": np.full(500, 2**53)}).compare(
        {"id": np.full(500, 2**53 + 1)}, (*names, "wasserstein", "energy", "psi")
    )
    for name in names:
        p = table.row("id", name).pvalue
        assert p is not None
        assert p < 1e-50
    assert table.row("id", "wasserstein").value == 1.0
    assert table.row("id", "energy").value == pytest.approx(2**0.5)
    assert table.row("id", "psi").value > 5


def test_ties_do_not_inflate_the_distance() -> None:
    """Three values in equal shares: a cumulative sum over an argsort of ties finds 0.3 where there is
    0.02."""
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 3, 4000), rng.integers(0, 3, 4000)
    shares = [np.cumsum(np.bincount(v, minlength=3)) / 4000 for v in (x, y)]
    assert drift.ks_2samp(x, y).statistic == pytest.approx(np.abs(shares[0] - shares[1]).max())
    assert drift.ks_2samp(x, y).statistic < 0.04
