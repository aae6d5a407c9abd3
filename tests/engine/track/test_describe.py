"""What of monitoring and of the pipeline goes to the tracker, each by its own name."""

from __future__ import annotations

import dataclasses
import math

from engine.records import RiskOutcome
from engine.track.describe import describe_cycle
from tests.engine import cycles
from tests.engine.cycles import cycle, measure, pipeline


def test_both_readings_of_the_risk_are_numbers_and_facts() -> None:
    seen = cycles.cycle().monitor
    assert seen is not None
    own = cycles.risk(RiskOutcome.ALARM, since="w1", reason="too high", newest=0.2, evidence=4.0)
    lost = cycles.expected_risk(RiskOutcome.UNDECIDABLE, newest=math.nan, reason="rows lie elsewhere")
    found = describe_cycle(cycles.cycle(monitor=dataclasses.replace(seen, risk=own, expected_risk=lost)), {})
    risk = {name: value for name, value in found.numbers.items() if name.startswith("risk/")}
    assert risk == {
        "risk/bound": own.source.high + own.tolerance, "risk/newest": 0.2, "risk/evidence": 4.0, "risk/alarm": 1.0,
        "risk/mean": 0.16, "risk/mean/low": 0.15, "risk/mean/high": 0.17,
    }  # fmt: skip
    assert found.numbers["expected_risk/bound"] == 0.17
    assert "expected_risk/alarm" not in found.numbers  # undecidable: no zero stands for it
    assert {"expected_risk/alarm", "expected_risk/newest"} <= set(found.facts["undecidable"].split(", "))
    assert (found.facts["risk"], found.facts["expected_risk"]) == ("alarm", "undecidable")
    assert (found.facts["risk/reason"], found.facts["risk/since"]) == ("too high", "w1")
    without = describe_cycle(cycles.cycle(monitor=dataclasses.replace(seen, risk=None)), {})
    assert not [name for name in without.numbers if "risk" in name]


def test_bounds_that_no_longer_hold_a_risk_are_not_told() -> None:
    seen = cycles.cycle().monitor
    assert seen is not None
    moved = cycles.risk(risk=cycles.estimate(0.19, "brier", low=0.175, high=0.183))
    numbers = describe_cycle(cycles.cycle(monitor=dataclasses.replace(seen, risk=moved)), {}).numbers
    assert {name for name in numbers if name.startswith("risk/mean")} == {"risk/mean"}


def test_the_pipelines_numbers_are_one_group_beside_the_models() -> None:
    told = pipeline(freshness_hours=7.0)
    numbers = describe_cycle(cycle(pipeline=told), {}).numbers
    assert numbers["pipeline/freshness_hours"] == 7.0
    assert numbers["pipeline/cost"] == 301.5
    assert numbers["pipeline/rows_per_second/read"] == 500.0
    assert (numbers["pipeline/gain_points"], numbers["pipeline/gain_points/low"]) == (2.0, 1.0)
    assert numbers["performance/roc_auc_score"] == 0.75
    group = [name for name in numbers if name.startswith("pipeline/")]
    assert len(group) == len(told.numbers())


def test_an_undecidable_number_is_named_and_not_drawn() -> None:
    unknown = measure("return_on_retraining", math.nan, "EUR", low=math.nan, high=math.nan)
    found = describe_cycle(cycle(pipeline=pipeline(lasting=(unknown,), queue_seconds=math.nan)), {})
    assert "pipeline/return_on_retraining" not in found.numbers
    assert "pipeline/return_on_retraining" in found.facts["undecidable"]
    assert not any("queue" in name for name in (*found.numbers, *found.facts))


def test_the_classes_of_words_are_a_fact() -> None:
    judged = cycles.cycle().evaluation
    assert judged is not None
    named = dataclasses.replace(judged, classes=("stayed", "churned"))
    found = describe_cycle(cycles.cycle(evaluation=named), {})
    assert found.facts["classes"] == "churned is the positive class, stayed the other"
    assert "classes" not in describe_cycle(cycles.cycle(), {}).facts
