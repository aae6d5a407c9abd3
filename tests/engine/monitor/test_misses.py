"""What estimates missed on labelled windows widens the next one, as much as is due and no more."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from engine.monitor.conf import MonitorConf
from engine.monitor.labelfree import Estimator
from engine.monitor.misses import factor, missed, widened
from engine.records import Estimate, Missed
from engine.scoring import student
from engine.scoring.scores import score
from tests.engine.monitor.shifted import Conf, labelled, live

Record = Callable[[str, object], None]


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 31, 200])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_student_is_scipys(degrees: int, level: float) -> None:
    assert student.within(level, degrees) == pytest.approx(stats.t.ppf(0.5 + level / 2, degrees), rel=1e-7)


def test_windows_that_move_are_held(record_property: Record) -> None:
    """The distance of the next window from its estimate, after windows that moved as it does."""
    rng = np.random.default_rng(0)
    told = []
    for windows in (1, 2, 4, 8):
        for moved in (0.0, 1.0, 2.0):
            apart = rng.normal(0, math.hypot(1.0, moved), (4000, windows + 1))
            half = np.array([1.96 * factor(row[:-1].tolist(), 0.95) for row in apart])
            held = float((np.abs(apart[:, -1]) < half).mean())
            assert held > 0.92, (windows, moved, held)
            told.append(held)
    assert 1.0 <= factor([0.1] * 50, 0.95) < 1.05  # nothing moves: as it was
    record_property(
        "label-free intervals hold where windows move by up to 2 sd", f"{min(told):.1%} at least (12 x 4000 windows)"
    )


def test_it_becomes_wider_and_never_narrower() -> None:
    one = Estimate(
        name="roc_auc_score", value=0.7, low=0.66, high=0.72, n=100, confidence_level=0.95, method="m", reason=""
    )
    first = widened(one, [])
    assert (first.low, first.high) == (0.66, 0.72)
    assert first.method == "m; no labelled window has come since to show what it misses"
    far = [Missed(window=f"w{k}", metric="roc_auc_score", apart=3.0) for k in range(3)]
    wide = widened(one, far)
    times = math.sqrt(28 / 4) * stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    assert (wide.low, wide.high) == pytest.approx((0.7 - 0.04 * times, 0.7 + 0.02 * times))
    assert wide.method == f"m; {times:.2f} times as wide by 3 labelled windows since"
    assert widened(one, [*far, Missed(window="w4", metric="log_loss", apart=9.0)]) == wide
    assert widened(one, far * 30).high <= 1.0
    loss = Estimate(name="log_loss", value=0.3, low=0.2, high=0.5, n=1, confidence_level=0.95, method="", reason="")
    assert widened(loss, [Missed(window="w", metric="log_loss", apart=20.0)]).low == 0.0


def test_labels_that_moved_widen_the_next_estimate() -> None:
    """The label follows the row otherwise than in the reference, which only labelled windows can tell."""
    rng = np.random.default_rng(1)
    conf = Conf(metrics=("log_loss", "accuracy_score"))
    made = Estimator.fit("m", labelled(rng, 2000, "honest"), MonitorConf(calibration_floor=0.9), conf)  # type: ignore[arg-type]
    now, calm = live(labelled(rng, 1000, "honest", window="July")), labelled(rng, 1000, "honest", window="June")
    turned = labelled(rng, 1000, "honest", window="June")
    turned.rows.target[:150] = 1.0 - turned.rows.target[:150]
    plain, held, moved = (made.estimate(now, newest) for newest in (None, calm, turned))
    assert plain.missed == ()
    assert [one.metric for one in moved.missed] == ["log_loss", "accuracy_score"]
    for name in conf.metrics:
        widths = [found.metric(name).high - found.metric(name).low for found in (plain, held, moved)]
        assert widths[0] <= widths[1] < widths[2]
        assert widths[2] > 3 * widths[0]
    again = made.estimate(now, calm, [*moved.missed, Missed(window="May", metric="log_loss", apart=5.0)])
    assert again.missed == held.missed
    assert "by 2 labelled windows since" in again.metric("log_loss").method  # June counts once
    found = made.fitted.estimates(["log_loss"], live(calm), 250)  # type: ignore[union-attr]
    (one,) = missed(found, calm)
    came = score("log_loss", calm.rows.task, calm.rows.target, calm.prediction)
    assert one.apart == pytest.approx((came - found[0].value) / (found[0].high - found[0].low) * 2 * 1.959964)
