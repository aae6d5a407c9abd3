"""What a reviewer sees of the pipeline beside the model."""

from __future__ import annotations

import math

from engine.track.describe import describe_cycle
from tests.engine.cycles import cycle, measure, pipeline


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
