from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

from engine import sweeps
from engine.records import Candidate, Trial, TrialState
from engine.report.terminal import Console

FINISHED, STOPPED, FAILED = TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED


def trial(index: int, value: float, state: TrialState = FINISHED, reason: str = "") -> Trial:
    return Trial(
        id=f"trial-{index:03d}",
        params={"train.lr": index / 100},
        state=state,
        reason=reason,
        curve=(),
        best_epoch=2,
        value=value,
        seconds=1.0,
    )


def candidate(*trials: Trial, winner: Trial | None, **changes: Any) -> Candidate:
    made = Candidate(
        model="m" * 64 if winner else "",
        decision="d",
        metric="log_loss",
        value=winner.value if winner else math.nan,
        params=winner.params if winner else {},
        trials=trials,
        training_windows=("w0",),
        holdout_window="w1",
        n_rows=10,
        seconds=1.0,
        cost=0.0,
        planned=len(trials),
    )
    return replace(made, **changes)


def shown(made: Candidate) -> list[str]:
    stream = io.StringIO()
    sweeps.show(Console(stream=stream, width=200), made)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_every_trial_is_told_the_best_first() -> None:
    trials = (
        trial(0, 0.6),
        trial(1, 0.4),
        trial(2, math.nan, FAILED, "ValueError: no"),
        trial(3, 0.3, STOPPED, "slow"),
    )
    made = candidate(*trials, winner=trials[1], planned=6, front=("trial-001",))
    lines = shown(made)
    assert [line.split()[0] for line in lines[:4]] == ["trial-003", "trial-001", "trial-000", "trial-002"]
    assert lines[0].endswith("log_loss 0.3000  train.lr=0.03  stopped  slow")
    assert lines[1].endswith("finished front")
    assert "best: trial-001, epoch 2" in lines[4]
    assert "the budget is used up: 2 of 6 trials did not begin" in lines[5]
    assert "1 of 4 trials failed; the best of the others is given" in lines[6]
    answer = sweeps.answer(made)
    assert [t["state"] for t in answer["candidate"]["trials"]] == ["finished", "finished", "failed", "stopped"]
    assert answer["best"]["id"] == "trial-001"
    assert answer["front"] == ["trial-001"]
    assert (answer["finished"], answer["stopped"], answer["failed"], answer["not_begun"]) == (2, 1, 1, 2)


def test_where_no_trial_finished_there_is_no_best() -> None:
    made = candidate(trial(0, math.nan, FAILED, "diverged"), winner=None)
    assert "no trial finished" in shown(made)[-1]
    assert sweeps.answer(made)["best"] is None


def test_a_sweep_goes_on_under_another_budget_and_not_under_another_space() -> None:
    search = {"space": {"a": "b"}, "time_budget": "1m", "workers": 2, "seed": 0}
    one = sweeps.inputs({"search": search, "train": {"lr": 1}})
    assert one == {"search": {"space": {"a": "b"}, "seed": 0}, "train": {"lr": 1}}
    assert sweeps.inputs({"search": {**search, "time_budget": "2m", "workers": 4}, "train": {"lr": 1}}) == one
    assert sweeps.inputs({"search": {**search, "seed": 1}, "train": {"lr": 1}}) != one
