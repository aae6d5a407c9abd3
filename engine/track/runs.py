"""What each run of W&B holds, made from our records. Pure: writing the same thing twice gives the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.records import Cycle, Sweep, Trial, TrialState
from engine.records.plain import digest
from engine.track.describe import (
    Description,
    describe_cycle,
    describe_sweep,
    describe_trial,
    steps_of,
    trial_config,
)

LONGEST = 64  # characters of a tag


@dataclass(frozen=True)
class Artifact:
    """Files of a model that reached a stage."""

    model: str
    files: Mapping[str, Path]
    stage: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """All of one run."""

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...] = ()
    failed: bool = False
    described: Description
    steps: tuple[tuple[int, dict[str, float]], ...] = ()  # (step, numbers), steps rising
    artifacts: tuple[Artifact, ...] = ()
    page: str = ""  # HTML


def run_id(*parts: str) -> str:
    """The id of a run: the same sweep and trial, or loop and cycle, give the same id."""
    return digest(*parts)[:16]


def group_of(sweep: Sweep) -> str:
    """The group of a sweep and its trials."""
    asked = sweep.policy if sweep.policy in ("sweep", "train") else sweep.action
    return f"{sweep.loop} {sweep.window} {asked} {sweep.id[:8]}"


def cycle_run(cycle: Cycle, config: Mapping[str, Any], artifacts: tuple[Artifact, ...]) -> Run:
    """One cycle, of job type `cycle`, in the group of its loop."""
    described = describe_cycle(cycle, config)
    return Run(
        id=run_id(cycle.loop, cycle.id),
        name=cycle.window,
        group=cycle.loop,
        job_type="cycle",
        tags=_tags(window=cycle.window),
        described=described,
        steps=((cycle.index, described.numbers),),
        artifacts=artifacts,
    )


def trial_run(sweep: Sweep, trial: Trial) -> Run:
    """One trial that ended, of job type `trial`; a FAILED one has exit code 1."""
    return Run(
        id=run_id(sweep.id, trial.id),
        name=f"{sweep.window} {trial.id}",
        group=group_of(sweep),
        job_type="trial",
        tags=_tags(loop=sweep.loop, window=sweep.window, state=trial.state.value),
        failed=trial.state is TrialState.FAILED,
        described=describe_trial(sweep, trial),
        steps=steps_of(trial.curve, sweep.metric),
    )


def running_trial(sweep: Sweep, trial: str, params: Mapping[str, Any], composed: Mapping[str, Any]) -> Run:
    """The same run before the trial has ended: what is known of it then."""
    config = trial_config(sweep, trial, params, composed)
    return Run(
        id=run_id(sweep.id, trial),
        name=f"{sweep.window} {trial}",
        group=group_of(sweep),
        job_type="trial",
        tags=_tags(loop=sweep.loop, window=sweep.window),
        described=Description(config=config, numbers={}, facts={"state": "running"}, tables={}),
    )


def sweep_run(sweep: Sweep, trials: Sequence[Trial], artifacts: tuple[Artifact, ...] = ()) -> Run:
    """A sweep as a whole, of job type `sweep`, beside its trials."""
    return Run(
        id=run_id(sweep.id),
        name=f"{sweep.window} sweep",
        group=group_of(sweep),
        job_type="sweep",
        tags=_tags(loop=sweep.loop, window=sweep.window),
        described=describe_sweep(sweep, trials),
        artifacts=artifacts,
    )


def page_run(loop: str, config: Mapping[str, Any], html: str) -> Run:
    """The report of a loop, of job type `report`."""
    return Run(
        id=run_id(loop, "report"),
        name="report",
        group=loop,
        job_type="report",
        described=Description(config=dict(config), numbers={}, facts={}, tables={}),
        page=html,
    )


def _tags(**named: str) -> tuple[str, ...]:
    return tuple(f"{name}:{value}"[:LONGEST] for name, value in named.items() if value)
