from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

from engine.cycle import sweeps
from engine.records import Action, Candidate, Stretch, Trial, TrialState
from engine.report import evidence
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
    made = candidate(*trials, winner=trials[1], planned=6, front=("trial-001",), mode="min")
    lines = shown(made)
    assert [line.split()[0] for line in lines[1:5]] == ["trial-003", "trial-001", "trial-000", "trial-002"]
    assert lines[7:] == [
        "best: trial-001, epoch 2",
        "no other is better in all metrics: trial-001",
        "the budget is used up: 2 of 6 trials did not begin",
        "warning: 1 of 4 trials failed; the best of the others is given",
    ]
    answer = sweeps.answer(made)
    assert [t["state"] for t in answer["candidate"]["trials"]] == ["finished", "finished", "failed", "stopped"]
    assert answer["best"]["id"] == "trial-001"
    assert answer["front"] == ["trial-001"]
    assert (answer["finished"], answer["stopped"], answer["failed"], answer["not_begun"]) == (2, 1, 1, 2)


def test_where_no_trial_finished_there_is_no_best() -> None:
    made = candidate(trial(0, math.nan, FAILED, "diverged"), winner=None)
    assert shown(made)[-1] == "warning: no trial finished"
    assert sweeps.answer(made)["best"] is None


def test_one_fault_of_all_trials_is_said_to_be_one() -> None:
    alike = [trial(i, math.nan, FAILED, "ValueError: no column 'age'") for i in range(2)]
    assert sweeps.unfinished(alike) == "no trial finished: all 2 failed for one reason"
    assert sweeps.unfinished([alike[0], trial(1, math.nan, FAILED, "diverged")]) == "no trial finished"
    assert sweeps.unfinished([alike[0], trial(1, 0.4, STOPPED)]) == "no trial finished"


def test_what_befell_trials_is_told_of_a_few() -> None:
    notes = ("its worker was lost after epoch 1", "it went on from epoch 1")
    made = candidate(*(replace(trial(i, 0.5), notes=notes) for i in range(13)), winner=trial(0, 0.5))
    lines = shown(made)
    assert "trial-000: its worker was lost after epoch 1; it went on from epoch 1" in lines
    assert sum("went on from epoch" in line for line in lines) == sweeps.MOST
    assert lines[-1] == "and 3 more whose work was taken up again"


def test_a_sweep_goes_on_under_another_budget_and_not_under_another_space() -> None:
    search = {"space": {"a": "b"}, "time_budget": "1m", "workers": 2, "seed": 0}
    one = sweeps.inputs({"search": search, "train": {"lr": 1}})
    assert one == {"search": {"space": {"a": "b"}, "seed": 0}, "train": {"lr": 1}}
    assert sweeps.inputs({"search": {**search, "time_budget": "2m", "workers": 4}, "train": {"lr": 1}}) == one
    assert sweeps.inputs({"search": {**search, "seed": 1}, "train": {"lr": 1}}) != one


def test_where_its_numbers_are_written_is_no_part_of_a_sweep() -> None:
    told = [{"search": {}, "track": {"kind": "none", "openmetrics": path}} for path in (None, "/var/x.prom")]
    assert [sweeps.inputs(plain) for plain in told] == [{"search": {}, "track": {"kind": "none"}}] * 2


def test_the_schedule_of_the_best_is_told() -> None:
    """Of two trials with the same hyperparameters the one that gave the value is the best."""
    schedule = (
        Stretch(after=0, trial="trial-002", params={"train.lr": 0.0123456, "train.batch_size": 64}),
        Stretch(after=4, trial="trial-001", params={"train.lr": 0.01, "train.batch_size": 64}),
    )
    winner = replace(trial(1, 0.4), schedule=schedule)
    other = replace(trial(0, 0.6), params=winner.params)
    made = candidate(other, winner, winner=winner)
    assert (
        "its weights were trained by trial-002 from epoch 1 (train.lr=0.0123, train.batch_size=64), "
        "trial-001 from epoch 5 (train.lr=0.01)"
    ) in shown(made)
    best = sweeps.answer(made)["best"]
    assert best["id"] == "trial-001"
    assert [stretch["after"] for stretch in best["schedule"]] == [0, 4]  # for programs, in full


def test_of_trials_with_equal_hyperparameters_the_one_that_became_the_model_is_the_winner() -> None:
    """In the answer, and in the report: two members of a population may end with the same ones."""
    other, best = trial(1, 0.7), replace(trial(2, 0.5), params=trial(1, 0.7).params)
    made = candidate(other, best, winner=best)
    assert made.winner is best
    page = str(evidence._trials(made))
    assert page.count("chosen") == 1
    assert page.index(best.id) < page.index("chosen") < page.index(other.id)
    assert candidate(other, best, winner=None).winner is None


def test_an_order_by_hand_is_a_full_sweep_that_nobody_weighed() -> None:
    ordered = sweeps.unweighed("id", "w1", "train", "by hand", "EUR")
    assert (ordered.action, ordered.policy, ordered.reason) == (Action.RETUNE, "train", "by hand")
    assert (ordered.waiting.mean, ordered.acting.mean, ordered.probability, ordered.options) == (0.0, 0.0, 0.0, ())
