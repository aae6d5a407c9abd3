"""The primary metric against its reference: a ranking that breaks is found, a quiet year raises nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.monitor import decay as decaying
from engine.monitor.conf import MonitorConf
from engine.monitor.risk import begin as begin_risk
from engine.monitor.risk import follow as follow_risk
from engine.monitor.risk import losses
from engine.records import Decay, Estimate, RiskOutcome, Task, from_plain, to_plain
from engine.scoring.intervals import Rows
from engine.scoring.intervals import estimate as measured

CONF = MonitorConf()
METRICS = EvaluateConf()
AUC = "roc_auc_score"
YEAR = 52
QUANTILE = NormalDist().inv_cdf(0.975)
STRENGTH = 0.55  # of the score: an AUROC of .65 at a base rate of .3
BASE = math.log(0.3 / 0.7)


def rows_of(rng: Any, rows: int, *, strength: float = STRENGTH, moved: float = 0.0) -> tuple[Rows, np.ndarray]:
    """Labels that follow a feature with this strength, and what the model says, which holds it for STRENGTH; `moved`
    moves the feature, and what follows from it stays.
    """
    x = rng.normal(moved, 1, rows)
    target = (rng.random(rows) < 1 / (1 + np.exp(-BASE - strength * x))).astype(float)
    told = 1 / (1 + np.exp(-BASE - STRENGTH * x))
    return Rows(task=Task.BINARY, target=target, ids=np.arange(rows), cluster=None), told


def auc(rng: Any, rows: int, **more: float) -> Estimate:
    return measured(AUC, *rows_of(rng, rows, **more), METRICS)


def told(value: float, error: float = 0.01, n: int = 1000, **more: Any) -> Estimate:
    half = error * QUANTILE
    known: dict[str, Any] = {"low": value - half, "high": value + half, "confidence_level": 0.95, "method": "said"}
    return Estimate(value=value, n=n, **({"name": AUC} | known | more))


def begun(source: Estimate | None, conf: MonitorConf = CONF, *, greater_is_better: bool = True) -> Decay:
    return decaying.begin(AUC, source, "w0", conf, point=0.01, greater_is_better=greater_is_better)


def watched(values: list[Estimate], source: Estimate, conf: MonitorConf = CONF) -> list[Decay]:
    """The record after each window."""
    found = [begun(source, conf)]
    for k, value in enumerate(values, 1):
        found.append(decaying.follow(found[-1], f"w{k}", value, conf))
    return found[1:]


def alarmed(seen: list[Decay]) -> int | None:
    """The first window of an alarm, from 1."""
    return next((k for k, one in enumerate(seen, 1) if one.outcome is RiskOutcome.ALARM), None)


# ---- what this is for ------------------------------------------------------------------------------------------------


def test_a_ranking_that_breaks_where_calibration_and_base_rate_stay(record_property: Any) -> None:
    """AUROC falls from .65 to .45 and stays: the mean loss remains within what its bound allows, so the risk is silent
    for all twelve windows, and the primary metric is not."""
    rng = np.random.default_rng(5)
    held, said = rows_of(rng, 500)
    risk = begin_risk("brier", "w0", losses("brier", Task.BINARY, held.target, said), "row", CONF)
    decay = begun(measured(AUC, held, said, METRICS))
    delay = None
    for k in range(1, 13):
        rows, said = rows_of(rng, 500, strength=-0.2)
        assert 0.25 < rows.target.mean() < 0.35
        risk = follow_risk(risk, f"w{k}", losses("brier", Task.BINARY, rows.target, said), CONF)
        decay = decaying.follow(decay, f"w{k}", measured(AUC, rows, said, METRICS), CONF)
        delay = delay or (k if decay.since else None)
    assert risk.outcome is RiskOutcome.NO_ALARM
    assert decay.outcome is RiskOutcome.ALARM
    assert decay.drop.low <= 20.0 <= decay.drop.high
    assert delay == 1
    record_property("AUROC from .65 to .45 at 500 rows a window, Brier in its bound", f"found in {delay} window")


@pytest.mark.parametrize(
    ("rows", "drop", "within"),
    [(500, 0.2, 1), (500, 0.1, 8), (2000, 0.1, 2), (2000, 0.05, 16), (10_000, 0.05, 4)],
)
def test_delay_until_a_drop_is_found(rows: int, drop: float, within: int, record_property: Any) -> None:
    """After six quiet windows; the median of twelve pasts."""
    check_delay(rows, drop, within, 12, record_property)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "drop", "within"),
    [(500, 0.2, 1), (500, 0.1, 4), (2000, 0.2, 1), (2000, 0.1, 2), (2000, 0.05, 8), (10_000, 0.2, 1),
     (10_000, 0.1, 1), (10_000, 0.05, 3)],
)  # fmt: skip
def test_delay_until_a_drop_is_found_in_many_pasts(rows: int, drop: float, within: int, record_property: Any) -> None:
    check_delay(rows, drop, within, 200, record_property)


def check_delay(rows: int, drop: float, within: int, pasts: int, record_property: Any) -> None:
    strength = strength_of(0.65 - drop)
    delays = []
    for seed in range(pasts):
        rng = np.random.default_rng([seed, rows])
        found = begun(auc(rng, rows))
        for k in range(1, 7 + 2 * within + 1):
            found = decaying.follow(found, f"w{k}", auc(rng, rows, strength=STRENGTH if k <= 6 else strength), CONF)
            if found.since:
                break
        delays.append(k - 6 if found.since else math.inf)
    middle = float(np.median(delays))
    assert 1 <= middle <= within
    late = float(np.quantile(delays, 0.9, method="higher"))
    said = f"{late:g}" if math.isfinite(late) else f"more than {2 * within + 1}"
    record_property(
        f"windows until a drop of {drop:g} AUROC alarms, {rows:,} rows a window",
        f"{middle:g} (median of {pasts}), 90 % within {said}",
    )


def strength_of(value: float) -> float:
    """The strength whose AUROC this is: by a large sample, on a grid."""
    grid = np.linspace(-0.8, STRENGTH, 28)
    values = [auc(np.random.default_rng(0), 100_000, strength=s).value for s in grid]
    return float(np.interp(value, values, grid))


# ---- false alarms ----------------------------------------------------------------------------------------------------


def check_false_alarms(pasts: int, rows: int, record_property: Any, **more: float) -> None:
    """A year of windows of a model that loses nothing, each window looked at."""
    alarms = 0
    for seed in range(pasts):
        rng = np.random.default_rng([seed, rows, 1])
        found = begun(auc(rng, rows))
        for k in range(1, YEAR + 1):
            found = decaying.follow(found, f"w{k}", auc(rng, rows, **more), CONF)
            if found.since:
                alarms += 1
                break
    assert alarms <= stats.binom.ppf(0.999, pasts, CONF.decay_delta)
    what = "covariate shift by 1.5 sd that does no harm" if more else "decay, nothing has happened"
    record_property(f"{what}: false alarms in {YEAR} windows of {rows:,} rows", f"{alarms} of {pasts} pasts (5 % said)")


def test_a_quiet_year_raises_nothing(record_property: Any) -> None:
    check_false_alarms(25, 500, record_property)


def test_a_benign_covariate_shift_raises_nothing(record_property: Any) -> None:
    """The feature moves far, every second label is positive then instead of three in ten, and the ranking holds."""
    (before, said), (after, later) = (rows_of(np.random.default_rng(1), 50_000, moved=m) for m in (0.0, 1.5))
    assert stats.ks_2samp(said, later).statistic > 0.4
    assert after.target.mean() > before.target.mean() + 0.15
    assert measured(AUC, after, later, METRICS).value == pytest.approx(0.65, abs=0.01)
    check_false_alarms(30, 500, record_property, moved=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"moved": 1.5}])
@pytest.mark.parametrize("rows", [500, 2000])
def test_quiet_years_raise_nothing(rows: int, more: dict[str, float], record_property: Any) -> None:
    check_false_alarms(200, rows, record_property, **more)


def check_boundary(pasts: int, error: float, record_property: Any) -> None:
    """The worst that is allowed: every window lies below the hold-out by just the tolerance, and differs by just what
    windows may differ by. Estimates are normal, as the bound takes them."""
    alarms = 0
    rng = np.random.default_rng(int(error * 1e4))
    wide = math.hypot(error, 0.01)
    for _ in range(pasts):
        source, level = told(0.7 + wide * rng.normal(), error), 0.69
        found = begun(source)
        for k in range(1, YEAR + 1):
            found = decaying.follow(found, f"w{k}", told(level + wide * rng.normal(), error), CONF)
            if found.since:
                alarms += 1
                break
    assert alarms <= stats.binom.ppf(0.999, pasts, CONF.decay_delta)
    record_property(
        f"decay at its tolerance: false alarms in {YEAR} windows, standard error {error:g}",
        f"{alarms} of {pasts} pasts (5 % said)",
    )


@pytest.mark.parametrize("error", [0.028, 0.006])
def test_at_the_tolerance_the_chance_is_kept(error: float, record_property: Any) -> None:
    check_boundary(60, error, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("error", [0.028, 0.014, 0.006])
def test_at_the_tolerance_the_chance_is_kept_in_many_pasts(error: float, record_property: Any) -> None:
    check_boundary(1000, error, record_property)


def test_a_hold_out_that_was_chosen_because_it_looked_good(record_property: Any) -> None:
    """The gate lets through what is better on the hold-out, so its metric there is too good on average: here of two
    models alike, 500 rows, the one that was seen to be better."""
    alarms, pasts = 0, 60
    rng = np.random.default_rng(8)
    for _ in range(pasts):
        found = begun(told(0.65 + 0.028 * rng.normal(size=2).max(), 0.028))
        for k in range(1, YEAR + 1):
            found = decaying.follow(found, f"w{k}", told(0.65 + 0.028 * rng.normal(), 0.028), CONF)
            if found.since:
                alarms += 1
                break
    assert alarms <= stats.binom.ppf(0.999, pasts, CONF.decay_delta)
    record_property("decay, the better of two hold-outs as reference: false alarms", f"{alarms} of {pasts} pasts")


# ---- the numbers -----------------------------------------------------------------------------------------------------


def test_the_mixture_is_the_integral() -> None:
    for s, v in ((3.0, 0.4), (-2.0, 1.5), (40.0, 2.0), (0.0, 0.01)):
        density = stats.halfnorm(scale=decaying.SPREAD).pdf
        whole, _ = integrate.quad(
            lambda d, s=s, v=v, density=density: density(d) * math.exp(d * s - d * d * v / 2), 0, 80, points=[s / v]
        )
        assert decaying.mixture(s, v) == pytest.approx(math.log(whole), abs=1e-6)
    far = decaying.mixture(-30.0, 1.0)
    assert decaying.mixture(-30.1, 1.0) < far < decaying.mixture(-15.0, 1.0) < 0
    assert decaying.mixture(-1e6, 1.0) < far


def test_the_evidence_is_the_likelihood_ratio_of_the_windows() -> None:
    """Against SciPy's normal law with the covariance that a shared reference makes."""
    values = [told(0.70, 0.012), told(0.69, 0.02), told(0.61, 0.011), told(0.60, 0.014)]
    found = watched(values, told(0.69, 0.013))[-1]
    variances = {0: 1.3**2 + 1.0, 1: 1.2**2 + 1.0, 2: 2.0**2 + 1.0, 3: 1.1**2 + 1.0, 4: 1.4**2 + 1.0}
    points = {0: 69.0, 1: 70.0, 2: 69.0, 3: 61.0, 4: 60.0}
    best = -math.inf
    for first in range(1, 5):
        before, after = range(first), range(first, 5)
        lack = 1 / sum(1 / variances[k] for k in before)
        reference = lack * sum(points[k] / variances[k] for k in before)
        below = np.array([reference - points[k] - CONF.decay_tolerance for k in after])
        law = stats.multivariate_normal(cov=lack + np.diag([variances[k] for k in after]))
        ratio, _ = integrate.quad(
            lambda d, law=law, below=below: (
                stats.halfnorm(scale=5.0).pdf(d) * math.exp(law.logpdf(below - d) - law.logpdf(below))
            ),
            0,
            60,
        )
        best = max(best, math.log(ratio) - math.log(first * (first + 1)))
    assert found.evidence == pytest.approx(best, abs=1e-6)
    assert found.began == "w3"
    assert found.reference == pytest.approx(0.6941, abs=1e-3)


def test_it_says_since_when_how_much_and_what_it_costs() -> None:
    quiet = [told(0.70)] * 5
    seen = watched([*quiet, *[told(0.60)] * 4], told(0.70))
    assert alarmed(seen[:5]) is None
    found = replace(seen[-1], point_value=150.0, currency="EUR")
    assert found.outcome is RiskOutcome.ALARM
    assert (found.began, found.since) == ("w6", f"w{alarmed(seen)}")
    assert found.drop.value == pytest.approx(10.0, abs=0.5)
    assert CONF.decay_tolerance <= found.drop.low < found.drop.value < found.drop.high
    assert found.cost == pytest.approx(1500, abs=75)
    assert found.reason == "roc_auc_score is 0.1 below its reference 0.7 since w6, shown beyond 1 point"
    assert found.detectable < 10.0 < seen[5].detectable or alarmed(seen) == 6


def test_what_would_be_seen_is_what_is_seen() -> None:
    """A drop of just that many points, in just those windows, has just the evidence of an alarm."""
    conf = MonitorConf(decay_tolerance=2.0)
    quiet = watched([told(0.7)] * 3, told(0.7), conf)[-1]
    assert 2.0 < quiet.detectable < 20.0
    first = [watched([told(0.7 - drop / 100)] * 3, told(0.7), conf)[-1] for drop in (0.0, 30.0)]
    assert [one.outcome for one in first] == [RiskOutcome.NO_ALARM, RiskOutcome.ALARM]
    grid = np.linspace(3.0, 20.0, 171)
    rung = next(d for d in grid if watched([told(0.7 - d / 100)] * 3, told(0.7), conf)[-1].since)
    assert rung == pytest.approx(quiet.detectable, abs=0.25)


def test_an_alarm_ends_where_windows_are_good_again() -> None:
    seen = watched([*[told(0.7)] * 4, *[told(0.55)] * 2, *[told(0.7)] * 8], told(0.7))
    assert alarmed(seen) in (5, 6)
    assert seen[-1].outcome is RiskOutcome.NO_ALARM
    assert (seen[-1].since, seen[-1].reason) == ("", "")


def test_an_error_that_grows_is_a_drop() -> None:
    source, worse = told(12.0, 0.05, name="x"), told(12.6, 0.05, name="x")
    found = decaying.begin("mean_absolute_error", source, "w0", CONF, point=0.1, greater_is_better=False)
    for k in range(1, 5):
        found = decaying.follow(found, f"w{k}", worse, CONF)
    assert found.outcome is RiskOutcome.ALARM
    assert found.reason.startswith("mean_absolute_error is 0.6 above its reference 12 since w1")
    better = decaying.begin("mean_absolute_error", worse, "w0", CONF, point=0.1, greater_is_better=False)
    assert not decaying.follow(better, "w1", source, CONF).since


# ---- what cannot be known --------------------------------------------------------------------------------------------


def test_too_few_rows_are_undecidable_and_say_why() -> None:
    seen = watched([told(0.7), told(math.nan, n=30, reason="too few rows of a class (9 of 20)")], told(0.7))
    assert [one.outcome for one in seen] == [RiskOutcome.NO_ALARM, RiskOutcome.UNDECIDABLE]
    assert seen[-1].reason == "w2: too few rows of a class (9 of 20)"
    assert math.isnan(seen[-1].outcome.number)
    assert seen[-1].evidence == seen[0].evidence
    few = watched([told(0.7, n=40)], told(0.7))[-1]
    assert (few.outcome, few.reason) == (RiskOutcome.UNDECIDABLE, "w1: too few rows (40 of 50)")
    assert watched([told(0.4)] * 3 + [told(0.4, n=3)], told(0.7))[-1].outcome is RiskOutcome.ALARM


@pytest.mark.parametrize(
    ("source", "why"),
    [(None, "it was not measured on its hold-out"), (told(0.7, high=math.inf), "it is not finite"),
     (told(math.nan, reason="the labels are all the same"), "all the same"),
     (told(0.7, n=10), "too few rows (10 of 50)")],
)  # fmt: skip
def test_without_a_reference_nothing_is_ever_said(source: Estimate | None, why: str) -> None:
    found = begun(source)
    assert (found.outcome, found.reason.startswith("w0: ")) == (RiskOutcome.UNDECIDABLE, True)
    after = decaying.follow(found, "w1", told(0.2), CONF)
    assert after.outcome is RiskOutcome.UNDECIDABLE
    assert why in after.reason
    assert after.windows == ("w1",)


def test_before_the_first_labels_nothing_is_known() -> None:
    found = begun(told(0.7))
    assert (found.outcome, found.reason) == (RiskOutcome.UNDECIDABLE, "no labels have come in since")
    assert math.isnan(found.cost)


# ---- what lasts ------------------------------------------------------------------------------------------------------


def test_the_record_is_all_that_goes_on() -> None:
    """Through JSON after each window: the same to the bit."""
    rng = np.random.default_rng(2)
    values = [told(0.7 + 0.02 * rng.normal()) for _ in range(8)]
    straight = watched(values, told(0.7))[-1]
    found = begun(told(0.7))
    for k, value in enumerate(values, 1):
        found = decaying.follow(from_plain(Decay, json.loads(json.dumps(to_plain(found)))), f"w{k}", value, CONF)
    assert to_plain(found) == to_plain(straight)
    assert decaying.settings(found) == decaying.settings(begun(told(0.7)))
    assert decaying.settings(found) != decaying.settings(begun(told(0.71)))


def test_what_is_held_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """After VIEW windows the oldest are two sums; what began with the first one is the same as if all were held."""
    rng = np.random.default_rng(3)
    values = [told(0.69 - 0.0005 * k + 0.01 * rng.normal()) for k in range(decaying.VIEW + 40)]
    seen = watched(values, told(0.7))
    sizes = [len(json.dumps(to_plain(one))) for one in (seen[decaying.VIEW - 1], seen[-1])]
    assert sizes[1] < sizes[0] + 200
    assert seen[-1].older == 40
    starts = list(decaying._starts(seen[-1]))
    monkeypatch.setattr(decaying, "VIEW", 1000)
    whole = watched(values, told(0.7))[-1]
    every = {start.window: start for start in decaying._starts(whole)}
    assert len(starts) == 61
    for start in starts:
        assert start.evidence(1.0) == pytest.approx(every[start.window].evidence(1.0), abs=1e-9)
        assert start.number == every[start.window].number


@pytest.mark.parametrize(
    ("more", "said"),
    [({"decay_tolerance": -1.0}, "monitor.decay_tolerance: -1.0 is no number of points"),
     ({"decay_between": math.inf}, "monitor.decay_between: inf is no number of points"),
     ({"decay_delta": 1.0}, "monitor.decay_delta: 1.0 is no probability")],
)  # fmt: skip
def test_settings_that_are_none_are_refused(more: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MonitorConf(**more)  # type: ignore[arg-type]
