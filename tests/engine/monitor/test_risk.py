"""The risk of a deployed model: harm is found, benign drift is not, and the ledger's numbers are all there is."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss

from engine.monitor.conf import MonitorConf
from engine.monitor.risk import begin, by_unit, expected_losses, follow, kind_of, losses
from engine.records import Risk, RiskOutcome, Task, from_plain, to_plain

CONF = MonitorConf()


def scored(rng: Any, rows: int, *, shift: float = 0.0, flip: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the probabilities of a model that knows the law; `shift` moves the rows, `flip` breaks the law."""
    truth = 1 / (1 + np.exp(-2 * rng.normal(shift, 1, rows)))
    label = (rng.random(rows) < truth).astype(float)
    return np.where(rng.random(rows) < flip, 1 - label, label), truth


def watched(seed: int, windows: int = 10, rows: int = 500, tolerance: float = 0.01, **late: float) -> Risk:
    """From the hold-out over calm windows; `late` holds from the fifth on."""
    rng, conf = np.random.default_rng(seed), MonitorConf(risk_tolerance=tolerance)
    risk = begin("brier", "w0", losses("brier", Task.BINARY, *scored(rng, 2000)), "row", conf)
    for w in range(1, windows + 1):
        more = late if w >= 5 else {}
        risk = follow(risk, f"w{w}", losses("brier", Task.BINARY, *scored(rng, rows, **more)), conf)
    return risk


def test_harm_is_found_and_benign_drift_is_not(record_property: Any) -> None:
    harm = [watched(seed, flip=0.15) for seed in range(20)]
    assert all(risk.outcome is RiskOutcome.ALARM for risk in harm)
    assert all(int(risk.since[1:]) >= 5 for risk in harm)
    assert all(risk.risk.low >= risk.bound and "is above" in risk.reason for risk in harm)
    delays = [int(risk.since[1:]) - 4 for risk in harm]
    record_property(
        "harmful shift (15 % of labels flip)", f"found in {np.mean(delays):.1f} windows of 500 rows (mean of 20)"
    )
    benign = [watched(seed, shift=1.5) for seed in range(20)]  # far away, where the model is surer
    assert all(risk.outcome is RiskOutcome.NO_ALARM and not risk.since for risk in benign)
    assert all(risk.newest < risk.source.value for risk in benign)
    record_property("covariate shift by 1.5 sd that does no harm", "0 alarms of 20")


def check_false_alarms(streams: int, rows: int, record_property: Any) -> None:
    """The hold-out is drawn, too; no tolerance; every row is looked at."""
    conf = MonitorConf(risk_tolerance=0.0)
    alarms = 0
    for seed in range(streams):
        rng = np.random.default_rng(seed)
        risk = begin("error", "w0", (rng.random(1000) < 0.2) * 1.0, "row", conf)
        for w in range(rows // 1000):
            risk = follow(risk, f"w{w + 1}", (rng.random(1000) < 0.2) * 1.0, conf)
        alarms += risk.outcome is RiskOutcome.ALARM
    assert alarms <= stats.binom.ppf(1 - 1e-6, streams, conf.risk_delta)
    record_property("risk as on the hold-out: false alarms", f"{alarms} of {streams} x {rows} looks (at most 5%)")


def test_a_false_alarm_is_rare_however_long_one_looks(record_property: Any) -> None:
    check_false_alarms(150, 3000, record_property)


@pytest.mark.slow
def test_a_false_alarm_is_rare_however_long_one_looks_in_full(record_property: Any) -> None:
    check_false_alarms(2000, 5000, record_property)


def test_the_record_is_the_whole_state() -> None:
    rng = np.random.default_rng(0)
    units = rng.random((6, 40))
    through = stored = begin("error", "w0", rng.random(300) * 0.5, "cluster", CONF)
    for w, part in enumerate(units):
        through = follow(through, f"w{w}", part, CONF)
        stored = follow(from_plain(Risk, json.loads(json.dumps(to_plain(stored)))), f"w{w}", part, CONF)
    assert stored == through
    assert stored.windows == tuple(f"w{w}" for w in range(6))
    assert stored.risk.n == 240
    assert stored.risk.value == pytest.approx(units.mean())


def test_an_alarm_stays_and_what_cannot_be_known_is_said() -> None:
    risk = watched(0, flip=0.3)
    broken = follow(risk, "w11", np.array([0.1, np.nan]), CONF)
    assert (broken.outcome, broken.since) == (RiskOutcome.ALARM, risk.since)
    calm = follow(watched(0), "w11", np.array([np.nan]), CONF)
    assert (calm.outcome, calm.reason) == (RiskOutcome.UNDECIDABLE, "w11: a loss is not finite")
    assert follow(calm, "w12", np.full(10, 0.1), CONF).outcome is RiskOutcome.NO_ALARM
    few = begin("error", "w0", np.ones(3), "row", CONF)
    assert few.reason == "the 3 rows of w0 leave no risk that would be too high"
    assert follow(few, "w1", np.ones(50), CONF).outcome is RiskOutcome.UNDECIDABLE
    lost = begin("error", "w0", np.array([np.nan]), "row", CONF)
    assert lost.reason == "the losses on w0 are not finite"
    assert follow(lost, "w1", np.ones(50), CONF).outcome is RiskOutcome.UNDECIDABLE


def test_losses_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    label, score = scored(rng, 500)
    assert losses("brier", Task.BINARY, label, score).mean() == pytest.approx(brier_score_loss(label, score))
    assert losses("error", Task.BINARY, label, score).mean() == ((score >= 0.5) != label).mean()
    many = rng.dirichlet([1, 1, 1], 400)
    target = np.array([rng.choice(3, p=p) for p in many])
    assert losses("brier", Task.MULTICLASS, target, many).mean() == pytest.approx(brier_score_loss(target, many) / 2)
    assert losses("error", Task.MULTICLASS, target, many).mean() == (many.argmax(1) != target).mean()
    values = losses("absolute", Task.REGRESSION, np.array([0.0, 1.0, 9.0]), np.array([1.0, 1.0, 0.0]), 4.0)
    assert values.tolist() == [0.25, 0.0, 1.0]
    assert math.isnan(losses("error", Task.BINARY, np.ones(1), np.array([np.nan]))[0])
    assert kind_of(CONF, Task.REGRESSION) == "absolute"
    assert kind_of(MonitorConf(risk_loss="error"), Task.BINARY) == "error"


def test_calibrated_probabilities_expect_the_loss_that_comes() -> None:
    rng = np.random.default_rng(1)
    label, score = scored(rng, 40_000)
    many = rng.dirichlet([1, 1, 1], 40_000)
    target = (many.cumsum(1) < rng.random((40_000, 1))).sum(1)
    for task, truth, p in ((Task.BINARY, label, score), (Task.MULTICLASS, target, many)):
        for kind in ("brier", "error"):
            found = losses(kind, task, truth, p)
            error = 4 * found.std() / 200
            assert expected_losses(kind, task, p).mean() == pytest.approx(found.mean(), abs=error)


def test_probabilities_expect_the_loss_of_a_model_that_is_off() -> None:
    rng = np.random.default_rng(2)
    label, score = scored(rng, 40_000)
    many = rng.dirichlet([1, 1, 1], 40_000)
    target = (many.cumsum(1) < rng.random((40_000, 1))).sum(1)
    off = many**2 / (many**2).sum(1, keepdims=True)[:, [0]] * [0.5, 1.0, 1.0]
    off /= off.sum(1, keepdims=True)
    for task, truth, p, said in (
        (Task.BINARY, label, score, np.clip(score * 1.4, 0, 1)),
        (Task.MULTICLASS, target, many, off),
    ):
        for kind in ("brier", "error"):
            found = losses(kind, task, truth, said)
            own = expected_losses(kind, task, np.stack([p, p]), said)  # sets of probabilities
            assert own.shape == (2, 40_000)
            assert own[0].mean() == pytest.approx(found.mean(), abs=4 * found.std() / 200)
            assert abs(expected_losses(kind, task, said).mean() - found.mean()) > 4 * found.std() / 200


def test_clusters_are_units_in_the_order_they_come() -> None:
    loss, cluster = np.array([1.0, 0.0, 0.5, 0.0]), np.array([7, 2, 2, 7])
    assert by_unit(loss, cluster).tolist() == [0.5, 0.25]
    assert by_unit(loss, None) is loss
