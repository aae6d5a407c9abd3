from __future__ import annotations

from typing import Any

from engine.records import TrialState
from engine.train.told import remarks, unfinished
from tests.engine.train.test_sweep import make_trial

FAULT = "ValueError: no column 'age'"


def failed(name: str, reason: str = FAULT, **changes: Any) -> Any:
    return make_trial(name, state=TrialState.FAILED, reason=reason, weights="", **changes)


def test_a_shared_fault_is_told_once() -> None:
    trials = [failed("a"), make_trial("b"), failed("c"), failed("d", "diverged in epoch 2"), failed("e")]
    assert remarks(trials) == [FAULT, "", "as a", "diverged in epoch 2", "as a"]
    assert "\n".join(remarks(trials)).count(FAULT) == 1
    stopped = [make_trial(n, state=TrialState.STOPPED, reason="stopped by the scheduler after epoch 2") for n in "ab"]
    assert remarks(stopped) == ["stopped by the scheduler after epoch 2"] * 2  # no fault


def test_what_befell_a_trial_stands_behind() -> None:
    notes = ("its worker was lost after epoch 1", "it went on from epoch 1")
    assert remarks([make_trial(notes=notes), failed("b", notes=notes[:1])]) == [
        "its worker was lost after epoch 1; it went on from epoch 1",
        f"{FAULT}; its worker was lost after epoch 1",
    ]


def test_no_trial_finished_for_one_reason_or_for_several() -> None:
    assert unfinished([failed("a"), failed("b")]) == "no trial finished: all 2 failed for one reason"
    assert unfinished([failed("a"), failed("b", "another")]) == "no trial finished"
    assert unfinished([failed("a"), make_trial("b", state=TrialState.STOPPED)]) == "no trial finished"
    assert unfinished([failed("a")]) == "no trial finished"
