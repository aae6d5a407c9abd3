"""The risk that is expected before labels are in: harm that rows show is found, nothing else, as often as stated."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from engine.monitor.conf import MonitorConf
from engine.monitor.expected_risk import Expectation, follow
from engine.monitor.labelfree import Estimator
from engine.monitor.labelled import Labelled, Live
from engine.monitor.risk import begin, by_unit, losses
from engine.records import Task, from_plain, to_plain
from engine.records.observed import ExpectedRisk, Risk, RiskOutcome
from engine.scoring.intervals import Rows
from tests.engine.monitor.shifted import Conf, features, labelled, live, truth
from tests.proofs import pieces

Record = Callable[[str, object], None]
CONF = MonitorConf(risk_tolerance=0.0)


def expectation(reference: Labelled, kind: str = "brier", conf: MonitorConf = CONF) -> Expectation:
    """A model's, from its hold-out, as the loop makes it."""
    rows, scale = reference.rows, 1.0
    if rows.task is Task.REGRESSION:
        scale = 5.0 * float(np.abs(rows.target - reference.prediction).mean())
    loss = by_unit(losses(kind, rows.task, rows.target, reference.prediction, scale), rows.cluster)
    unit = "row" if rows.cluster is None else "cluster"
    risk = begin(kind, reference.window, loss, unit, conf, scale)
    metrics = Conf(metrics=("mean_absolute_error",) if rows.task is Task.REGRESSION else ("log_loss",))
    return Expectation.of(Estimator.fit("m", reference, conf, metrics), risk)  # type: ignore[arg-type]


def followed(
    known: ExpectedRisk | None, made: Expectation, now: Labelled, *, refused: str = "", newest: Labelled | None = None
) -> ExpectedRisk:
    return follow(known, made, live(now, now.rows.cluster), refused=refused, newest=newest)


def unsure(rng: np.random.Generator, n: int, window: str) -> Labelled:
    """Rows on which the model is right to be less sure: it errs more there."""
    many = labelled(rng, 8 * n, "honest", window=window)
    at = np.flatnonzero(np.abs(many.prediction - 0.5) < 0.3)[:n]
    assert len(at) == n
    rows = dataclasses.replace(many.rows.take(at), ids=np.arange(n))
    return Labelled(window=window, rows=rows, prediction=many.prediction[at], features=many.features.take(at))


def watched(seed: list[int], *, harm: bool) -> ExpectedRisk:
    """From the third window on rows come from elsewhere."""
    rng, found = np.random.default_rng(seed), None
    made = expectation(labelled(rng, 3000, "honest"))
    for w in range(4):
        late = unsure(rng, 1000, f"w{w}") if harm else labelled(rng, 1000, "honest", "mean", f"w{w}")
        found = followed(found, made, late if w > 1 else labelled(rng, 1000, "honest", window=f"w{w}"))
    assert found is not None
    return found


def test_rows_that_move_to_where_the_model_errs_more_are_found_before_labels(record_property: Record) -> None:
    harm = [watched([0, seed], harm=True) for seed in range(6)]
    assert all(risk.outcome is RiskOutcome.ALARM and int(risk.since[1:]) >= 2 for risk in harm)
    assert all("is expected above" in risk.reason and "no label has shown it" in risk.reason for risk in harm)
    delay = np.mean([int(risk.since[1:]) - 1 for risk in harm])
    record_property(
        "harm that rows show, before any label", f"found in {delay:.1f} windows of 1000 rows (mean of {len(harm)})"
    )
    benign = [watched([1, seed], harm=False) for seed in range(6)]
    assert all(risk.outcome is RiskOutcome.NO_ALARM and not risk.since for risk in benign)


def level(seeds: range, windows: int) -> list[int]:
    """[streams that ever alarm, those in which a window's error ever exceeds what it is said to be at most]; rows of
    every second window come from elsewhere, where the true risk is no higher, and the calibration is learnt anew."""
    alarms = exceeded = 0
    for seed in seeds:
        rng = np.random.default_rng([2, seed])
        made, found, over = expectation(labelled(rng, 1500, "overconfident"), "error"), None, False
        for w in range(windows):
            now = labelled(rng, 400, "overconfident", "mixture" if w % 2 else "none", f"w{w}")
            found = followed(found, made, now)
            p = truth(now.features.numeric)
            over |= found.newest - float(np.where(now.prediction >= 0.5, 1 - p, p).mean()) > found.error
        assert found is not None
        alarms, exceeded = alarms + bool(found.since), exceeded + over
    return [alarms, exceeded]


def check_level(streams: int, windows: int, record: Record) -> None:
    alarms, exceeded = pieces(__file__, "expected risk", streams, 10, lambda seeds: level(seeds, windows))
    record(
        "expected risk, calibration holds, benign shift: false alarms",
        f"{alarms} of {streams} streams of {windows} windows (at most {CONF.risk_delta:.0%}); the error exceeded in "
        f"{exceeded} (at most {CONF.risk_delta / 4:.2%})",
    )
    assert alarms <= stats.binom.ppf(0.999, streams, CONF.risk_delta)
    assert exceeded <= stats.binom.ppf(0.999, streams, CONF.risk_delta / 4)


def test_a_false_alarm_is_rare_where_calibration_holds(record_property: Record) -> None:
    check_level(30, 8, record_property)


@pytest.mark.slow
def test_a_false_alarm_is_rare_where_calibration_holds_in_full(record_property: Record) -> None:
    check_level(200, 12, record_property)


def test_what_labels_mean_cannot_be_seen_and_ends_it_once_they_come() -> None:
    rng = np.random.default_rng(30)
    made = expectation(labelled(rng, 4000, "honest"))
    turned = labelled(rng, 2000, "honest", window="w0")
    turned.rows.target[:600] = 1.0 - turned.rows.target[:600]
    blind = followed(None, made, turned)
    assert blind.outcome is RiskOutcome.NO_ALARM
    after = followed(blind, made, labelled(rng, 2000, "honest", window="w1"), newest=turned)
    assert after.outcome is RiskOutcome.UNDECIDABLE
    assert after.reason.startswith("w0: brier came to ")
    assert after.windows == ("w0",)  # what is not believed does not enter
    calm = labelled(rng, 2000, "honest", window="w1")
    assert followed(after, made, labelled(rng, 2000, "honest", window="w2"), newest=calm).windows == ("w0", "w2")


def test_an_alarm_is_remembered_and_stands_while_it_is_believed() -> None:
    rng = np.random.default_rng(4)
    made = expectation(labelled(rng, 4000, "honest"))
    found = None
    for w in range(2):
        found = followed(found, made, unsure(rng, 1000, f"w{w}"))
    assert found is not None
    assert found.outcome is RiskOutcome.ALARM
    assert found.evidence >= math.log(4 / CONF.risk_delta)
    refused = followed(found, made, labelled(rng, 500, "honest", window="w2"), refused="rows lie elsewhere")
    assert (refused.outcome, refused.reason, refused.since) == (
        RiskOutcome.UNDECIDABLE, "rows lie elsewhere", found.since
    )  # fmt: skip
    assert math.isnan(refused.newest)
    assert followed(refused, made, labelled(rng, 500, "honest", window="w3")).outcome is RiskOutcome.ALARM
    other = expectation(labelled(rng, 4000, "honest"), conf=MonitorConf(risk_tolerance=0.2))
    anew = followed(found, other, labelled(rng, 500, "honest", window="w4"))
    assert (anew.outcome, anew.windows, anew.since) == (RiskOutcome.NO_ALARM, ("w4",), "")


def test_the_record_is_the_whole_state_and_a_window_enters_once() -> None:
    rng = np.random.default_rng(5)
    made = expectation(labelled(rng, 1000, "overconfident"))
    through = stored = None
    for w in range(4):
        now = labelled(rng, 500, "overconfident", "mean", f"w{w}")
        through = followed(through, made, now)
        before = stored and from_plain(ExpectedRisk, json.loads(json.dumps(to_plain(stored))))
        stored = followed(before, made, now)
    assert through is not None
    assert stored == through == followed(through, made, now)
    assert through.risk.n == 2000
    assert through.risk.low <= through.risk.value <= through.risk.high
    assert through.widest >= through.error > 0


def test_clusters_are_units() -> None:
    rng = np.random.default_rng(6)
    plain = labelled(rng, 1000, "honest")
    by_day = dataclasses.replace(plain, rows=dataclasses.replace(plain.rows, cluster=np.arange(1000) // 10))
    units, _ = expectation(by_day).units(live(by_day, by_day.rows.cluster))
    rows, _ = expectation(plain).units(live(plain))
    assert units.shape == (100,)
    assert units.mean() == pytest.approx(rows.mean())


def wavering(rng: np.random.Generator, n: int, shift: float, window: str) -> Labelled:
    """A regression whose error grows with x0."""
    x = rng.normal(size=(n, 3))
    x[:, 0] += shift
    y = x[:, 0] + rng.normal(size=n) * (0.5 + np.log1p(np.exp(x[:, 0])))
    rows = Rows(task=Task.REGRESSION, target=y, ids=np.arange(n), cluster=None)
    return Labelled(window=window, rows=rows, prediction=x[:, 0], features=features(x))


def test_a_regression_expects_the_capped_loss_that_comes() -> None:
    rng = np.random.default_rng(7)
    made = expectation(wavering(rng, 4000, 0.0, "May"), "absolute")
    now = wavering(rng, 4000, 0.5, "June")
    units, error = made.units(live(now))
    came = losses("absolute", Task.REGRESSION, now.rows.target, now.prediction, made.risk.scale)
    assert abs(units.mean() - came.mean()) < 4 * math.hypot(error, came.std() / math.sqrt(4000))
    assert followed(None, made, now).outcome is RiskOutcome.ALARM  # its risk is a third higher
    assert followed(None, made, wavering(rng, 4000, -0.5, "June")).outcome is RiskOutcome.NO_ALARM


def three(rng: np.random.Generator, n: int, sure: float, window: str) -> Labelled:
    """Three classes, and a model that is too sure of itself; the rows are the surer the larger `sure`."""
    z = sure * rng.normal(size=(n, 3))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)
    said = np.exp(1.5 * z) / np.exp(1.5 * z).sum(axis=1, keepdims=True)
    rows = Rows(task=Task.MULTICLASS, target=y, ids=np.arange(n), cluster=None)
    return Labelled(window=window, rows=rows, prediction=said, features=features(z))


@pytest.mark.parametrize("kind", ["brier", "error"])
def test_several_classes_expect_the_loss_that_comes(kind: str) -> None:
    rng = np.random.default_rng(10)
    made = expectation(three(rng, 4000, 1.5, "May"), kind)
    now = three(rng, 4000, 1.0, "June")
    units, error = made.units(live(now))
    came = losses(kind, Task.MULTICLASS, now.rows.target, now.prediction)
    assert 0 < error < 0.02
    assert abs(units.mean() - came.mean()) < 4 * math.hypot(error, came.std() / math.sqrt(4000))
    assert followed(None, made, now).outcome is RiskOutcome.ALARM


def test_where_no_risk_would_be_too_high_it_is_undecidable() -> None:
    rng = np.random.default_rng(8)
    reference = labelled(rng, 300, "honest")
    made = expectation(reference, conf=MonitorConf(risk_tolerance=0.9))
    found = followed(None, made, labelled(rng, 300, "honest", window="w0"))
    assert (found.outcome, found.reason) == (RiskOutcome.UNDECIDABLE, "no risk would be too high")
    few = Live(window="w", n_rows=300, prediction=np.full(300, np.nan), features=reference.features)
    lost = follow(None, expectation(reference), few, refused="", newest=None)
    assert (lost.outcome, lost.reason) == (RiskOutcome.UNDECIDABLE, "an expected loss is not finite")


def test_it_is_compared_with_the_risk_of_the_same_model() -> None:
    rng = np.random.default_rng(9)
    made = expectation(labelled(rng, 1000, "honest"))
    assert isinstance(made.risk, Risk)
    found = followed(None, made, labelled(rng, 500, "honest", window="w0"))
    assert (found.model, found.bound, found.loss) == ("m", made.risk.source.high, "brier")
