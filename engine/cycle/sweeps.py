"""A sweep that was started by hand, as people and programs are told of it: every trial, the best, what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine.records import Action, Candidate, Decision, Money, Trial, TrialState, to_plain
from engine.report.terminal import Console

# Keys that say how much is tried and how fast, not what: a sweep goes on where they change.
OPEN = ("time_budget", "compute_hours", "workers", "max_concurrent", "max_failures", "address")
MOST = 10  # lines about single trials


def inputs(plain: dict[str, Any]) -> dict[str, Any]:
    """The config without the keys that a sweep may be continued under: what the id of a sweep is made of."""
    search = {key: value for key, value in plain["search"].items() if key not in OPEN}
    track = {key: value for key, value in plain.get("track", {}).items() if key != "openmetrics"}  # a file beside it
    return {**plain, "search": search} | ({"track": track} if track else {})


def unweighed(id: str, window: str, policy: str, reason: str, currency: str) -> Decision:
    """To train, whatever it is worth: the word of a person, or of who tries everything."""
    nothing = Money(mean=0.0, std=0.0)
    return Decision(
        id=id,
        window=window,
        policy=policy,
        action=Action.RETUNE,
        reason=reason,
        waiting=nothing,
        acting=nothing,
        probability=0.0,
        currency=currency,
    )


def answer(candidate: Candidate) -> dict[str, Any]:
    """What --json prints of a sweep: the candidate with all its trials, the best one, and how many ended how."""
    counts = Counter(trial.state for trial in candidate.trials)
    winner = candidate.winner
    return {
        "candidate": to_plain(candidate),
        "best": to_plain(winner) if winner else None,
        "front": list(candidate.front),
        **{state.value: counts[state] for state in TrialState},
        "not_begun": max(0, candidate.planned - len(candidate.trials)),
    }


def unfinished(trials: Sequence[Trial]) -> str:
    """The warning where no trial finished; whether one fault of the config or the data is behind it."""
    reasons = {trial.reason for trial in trials if trial.state is TrialState.FAILED}
    alike = len(trials) > 1 and len(reasons) == 1 and all(trial.state is TrialState.FAILED for trial in trials)
    return "no trial finished" + (f": all {len(trials)} failed for one reason" if alike else "")


def lineage(trial: Trial) -> str:
    """Whose hyperparameters trained its weights, from which epoch on: of each stretch the keys that changed."""
    told, before = [], dict[str, Any]()
    for stretch in trial.schedule:
        changed = [f"{key}={_value(value)}" for key, value in stretch.params.items() if before.get(key) != value]
        told.append(f"{stretch.trial} from epoch {stretch.after + 1} ({', '.join(changed) or 'as before'})")
        before = stretch.params
    return ", ".join(told)


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def show(console: Console, candidate: Candidate) -> None:
    """The table of the best trials, the model's trial in words; a warning where trials failed or none finished."""
    console.swept(candidate)
    winner = candidate.winner
    if winner is not None:
        console.note(f"best: {winner.id}, epoch {winner.best_epoch}")
        if winner.schedule:
            console.note(f"its weights were trained by {lineage(winner)}")
    if candidate.front:
        console.note(f"no other is better in all metrics: {', '.join(candidate.front)}")
    total = len(candidate.trials)
    if candidate.planned > total:
        console.note(f"the budget is used up: {candidate.planned - total} of {candidate.planned} trials did not begin")
    failed = sum(trial.state is TrialState.FAILED for trial in candidate.trials)
    befallen = [trial for trial in candidate.trials if trial.notes]
    for trial in befallen[:MOST]:
        console.note(f"{trial.id}: {'; '.join(trial.notes)}")
    if len(befallen) > MOST:
        console.note(f"and {len(befallen) - MOST} more whose work was taken up again")
    if not candidate.model:
        console.warn(unfinished(candidate.trials))
    elif failed:
        console.warn(f"{failed} of {total} trials failed; the best of the others is given")
