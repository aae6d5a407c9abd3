"""Estimates before labels are in, and what labels brought to light, on the page."""

from __future__ import annotations

import dataclasses
import math

from engine.records import Correction, EstimatedPerformance, EstimateScore, Scored
from engine.report import foreseen
from tests.engine.cycles import cycle, estimate


def test_a_window_without_an_estimate_has_no_table() -> None:
    assert foreseen.table([cycle()], "roc_auc_score") is None


def test_estimates_stand_beside_what_came() -> None:
    known = cycle().monitor
    made = EstimatedPerformance(
        model="m1", window="w2", n_rows=900, reference="w1", method="", metrics=(estimate(0.753),)
    )
    none = dataclasses.replace(made, window="w3", reason="it broke", metrics=(estimate(math.nan, reason="it broke"),))
    came = Scored(
        window="w2", model="m1", metric="roc_auc_score", estimated=0.753, low=0.743, high=0.763, realised=0.811
    )
    score = EstimateScore(metric="roc_auc_score", n=1, mean_absolute_error=0.058, coverage=0.0)
    first = cycle(monitor=dataclasses.replace(known, estimated=made))  # type: ignore[type-var]
    second = cycle(
        window="w3",
        monitor=dataclasses.replace(known, estimated=none, scored=(came,), scores=(score,)),  # type: ignore[type-var]
    )
    page = str(foreseen.table([first, second], "roc_auc_score"))
    assert "off by 0.058 on average over 1 windows" in page
    assert "0.811" in page
    assert ">no<" in page
    assert ">it broke<" in page
    assert foreseen.table([first], "log_loss") is None


def test_labels_that_are_not_trusted_or_corrected_are_said() -> None:
    known = cycle().monitor
    assert known is not None
    assert known.performance is not None
    biased = dataclasses.replace(known.performance, reason="biased: 3 of 9 rows are labelled")
    fixed = Correction(performance=known.performance, before=(), labels="x")
    told = list(foreseen.attention(cycle(monitor=dataclasses.replace(known, performance=biased, corrections=(fixed,)))))
    assert told == [
        "w2: performance on w1 is not trusted: biased: 3 of 9 rows are labelled.",
        "w2: labels of w1 were corrected; m1 was judged on it anew.",
    ]
    assert list(foreseen.attention(cycle())) == []
