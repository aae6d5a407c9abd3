"""Which bounds an interval is widened to: rankings by Johnson's t, few clusters less strictly than few rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.records import Estimate, Task
from engine.scoring.firm import firm
from engine.scoring.studentized import CLUSTERS, RESTS_ON, logit_ends, tilted_ends
from kernels.resample import moments

DAYS = 30
LEVEL = 0.95


def found(metric: str) -> Estimate:
    return Estimate(name=metric, value=0.66, low=0.65, high=0.67, n=DAYS, confidence_level=LEVEL, method="bootstrap")


def some_days_make_it(weight: float) -> np.ndarray:
    """Contributions (30,) of which two weigh that much more than the others."""
    own = np.tile([0.05, -0.05], DAYS // 2)
    own[:2] += weight
    return own - own.mean()


def widened(metric: str, own: np.ndarray, *, clustered: bool) -> Estimate:
    target, cluster = np.arange(DAYS) % 2, np.arange(DAYS) if clustered else None
    return firm(found(metric), Task.BINARY, target, cluster, (np.full(DAYS, 0.5),), [own])


def test_a_ranking_by_days_is_as_wide_as_johnsons_t() -> None:
    own = some_days_make_it(0.5)
    known = moments(own, cluster=np.arange(DAYS))
    told = widened("roc_auc_score", own, clustered=True)
    assert told.high == pytest.approx(tilted_ends(0.66, known, LEVEL)[1])
    assert told.high > logit_ends(0.66, known, LEVEL)[1] + 0.005  # or this would prove nothing
    assert told.low == pytest.approx(logit_ends(0.66, known, LEVEL)[0])
    assert told.method == "bootstrap; widened by the logit and Johnson's t"


def test_an_interval_that_is_wide_enough_stays_as_it_is() -> None:
    wide = replace(found("log_loss"), low=0.0, high=2.0)
    assert firm(wide, Task.BINARY, np.arange(DAYS) % 2, None, (np.full(DAYS, 0.5),), [some_days_make_it(0.0)]) == wide


def test_a_loss_may_rest_on_fewer_clusters_than_rows() -> None:
    own = some_days_make_it(1.0)
    assert CLUSTERS < moments(own, cluster=np.arange(DAYS)).effective < RESTS_ON
    assert widened("log_loss", own, clustered=True).reason == ""
    assert "of them make the number" in widened("log_loss", own, clustered=False).reason
