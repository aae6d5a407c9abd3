from __future__ import annotations

import dataclasses
import math

import pytest

from engine.records import Action, CheckOutcome, Route, Stage
from engine.records.measured import PipelineMetrics
from engine.report.story import sentences, tell
from tests.engine.report.fixtures import FIRST, PRIMARY, SECOND, WINDOWS, change, cycle, validation, year

CYCLES = year()


def test_a_champion_below_its_floor_is_looked_at_first() -> None:
    """One line for the windows in a row in which it was, however long that is."""
    measured = [PipelineMetrics(window=w, currency="EUR", degraded_windows=float(i)) for i, w in enumerate(WINDOWS[:3])]
    below = [dataclasses.replace(c, pipeline=found) for c, found in zip(CYCLES[:3], measured, strict=True)]
    lines = [line for line in tell(below, PRIMARY).attention if "floor" in line]
    assert lines == [f"{WINDOWS[1]} to {WINDOWS[2]}: the model in production is below the floor of its own gate."]


def test_the_year_in_numbers() -> None:
    story = tell(CYCLES, PRIMARY)
    assert story.windows == 10
    assert (story.production, story.since, story.measured) == (SECOND, WINDOWS[3], WINDOWS[8])
    assert story.actions == {Action.KEEP: 6, Action.RETRAIN: 2, Action.RETUNE: 1}
    assert [fate.became for fate in story.fates] == ["promoted", "promoted", "rejected", "inconclusive"]
    assert story.spent == pytest.approx(4 * 31.5)
    assert story.avoided.mean == 410.0
    assert story.accepted.mean == 5 * 40.0
    assert story.accepted.std == pytest.approx(math.sqrt(5) * 40.0 / 3)
    assert story.currency == "EUR"


def test_the_sentences_stand_by_themselves() -> None:
    production, happened, money = sentences(tell(CYCLES, PRIMARY), PRIMARY)
    assert production == (
        "Model bbbbbbbb has been in production since window 2013-04. On 2013-09, the newest window with "
        "labels, production reached roc_auc_score 0.709 [0.702, 0.716] (95 % interval, delong, 26,000 rows)."
    )
    assert happened == (
        "In 10 windows, 6 decisions kept the model, 2 retrained it and 1 tuned it anew. "
        "Of 4 trained models: 2 promoted, 1 rejected, 1 left undecided."
    )
    assert money == (
        "Training cost 126 EUR. The promotions avoided an expected loss of 410 +-137 EUR. "
        "Keeping the model accepted an expected loss of 200 +-30 EUR."
    )


def test_attention_is_newest_first_and_names_the_cause() -> None:
    attention = tell(CYCLES, PRIMARY).attention
    assert [line[:7] for line in attention] == ["2013-08", "2013-08", "2013-05"]
    assert "told ml-oncall" in attention[0]
    assert "about 41,000 rows would decide" in attention[1]
    assert attention[2] == "2013-05 to 2013-06: drift of precipitation is undecidable."


def test_what_windows_in_a_row_say_alike_is_told_once() -> None:
    """An alarm that stands for months must not push everything else out of the eight lines that are shown."""
    same = dataclasses.replace(CYCLES[7].actions[0], message="risk.alarm = 1")
    alone = dataclasses.replace(same, message="something else")
    items = {1: (same,), 2: (same, alone), 3: (same,), 4: (), 5: (same,)}
    cycles = [cycle(index, actions=actions, monitor=None) for index, actions in items.items()]
    said = "suspected, risk.alarm = 1 (auroc_low, told ml-oncall)."
    other = "suspected, something else (auroc_low, told ml-oncall)."
    assert tell(cycles, PRIMARY).attention == (
        f"2013-06: {said}", f"2013-02 to 2013-04: {said}", f"2013-03: {other}",
    )  # fmt: skip


def test_a_blocked_window_needs_attention() -> None:
    report = validation("w", 1)
    check = dataclasses.replace(report.checks[0], outcome=CheckOutcome.VIOLATED)
    blocked = cycle(1, validation=dataclasses.replace(report, checks=(check,)))
    assert tell((blocked,), PRIMARY).attention == ("2013-02: the window was blocked by schema.",)


def test_a_model_that_waits_for_its_shadow_is_neither_promoted_nor_rejected() -> None:
    assert [f.became for f in tell(CYCLES[:3], PRIMARY).fates] == ["promoted", "waiting"]


def test_the_founding_is_no_decision_to_act() -> None:
    founded = dataclasses.replace(CYCLES[0], decision=CYCLES[2].decision)
    assert tell((founded,), PRIMARY).actions[Action.RETUNE] == 0


def test_a_sweep_that_left_no_model_is_rejected_by_its_own_cycle_alone() -> None:
    assert CYCLES[2].candidate is not None
    empty = dataclasses.replace(CYCLES[2].candidate, model="")
    failed = dataclasses.replace(CYCLES[5].verdicts[0], model="", reason="no trial of 4 finished", rules=())
    lost = dataclasses.replace(CYCLES[2], candidate=empty, evaluation=None, verdicts=(failed,), changes=())
    asked = dataclasses.replace(lost, window="2014-01", verdicts=())
    assert [f.became for f in tell((lost, asked), PRIMARY).fates] == ["rejected", "waiting"]


def test_a_rollback_is_no_promotion_but_dates_the_holder() -> None:
    back = dataclasses.replace(
        change(WINDOWS[4], FIRST, Stage.RETIRED, Stage.PRODUCTION, "rolled back"), route=Route.ROLLBACK
    )
    cycles = (*CYCLES[:4], dataclasses.replace(CYCLES[4], champion_after=FIRST, changes=(back,)))
    story = tell(cycles, PRIMARY)
    assert (story.production, story.since) == (FIRST, WINDOWS[4])
    assert story.count("promoted") == 2
    only = tell((dataclasses.replace(CYCLES[4], champion_after=FIRST, changes=(back,)),), PRIMARY)
    assert only.count("promoted") == 0


def test_nothing_and_a_refused_founder_are_told_plainly() -> None:
    nothing = tell((), PRIMARY)
    assert sentences(nothing, PRIMARY)[0] == "No model is in production."
    refused = dataclasses.replace(CYCLES[0], champion_after="", changes=(), verdicts=CYCLES[5].verdicts)
    assert sentences(tell((refused,), PRIMARY), PRIMARY)[0] == "No model is in production."


def test_without_labels_the_quality_is_not_known() -> None:
    cycles = (dataclasses.replace(CYCLES[1]),)
    assert "Its roc_auc_score is not known yet" in sentences(tell(cycles, PRIMARY), PRIMARY)[0]
