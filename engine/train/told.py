"""What a list of trials says of each: a fault that several share is told once, not once a trial."""

from __future__ import annotations

from collections.abc import Sequence

from engine.records import Trial, TrialState


def remarks(trials: Sequence[Trial]) -> list[str]:
    """One line for each trial, in their order: its reason, or whose it shares; and what befell it on the way."""
    first: dict[str, str] = {}  # reason -> the trial that told it
    lines = []
    for trial in trials:
        teller = first.setdefault(trial.reason, trial.id) if trial.state is TrialState.FAILED else trial.id
        reason = trial.reason if teller == trial.id else f"as {teller}"
        lines.append("; ".join(part for part in (reason, *trial.notes) if part))
    return lines


def unfinished(trials: Sequence[Trial]) -> str:
    """The warning where no trial finished; whether one fault of the config or the data is behind it."""
    reasons = {trial.reason for trial in trials if trial.state is TrialState.FAILED}
    alike = len(trials) > 1 and len(reasons) == 1 and all(trial.state is TrialState.FAILED for trial in trials)
    return "no trial finished" + (f": all {len(trials)} failed for one reason" if alike else "")
