"""Many trials of one job, and our own record of them; here one after the other, in tune.py on Ray.

Every trial that ends leaves a folder `<job folder>/<trial id>/` with trial.json (written whole or not at all) and, if
it finished, the weights of its best epoch. The best trial is chosen from that record: never one that failed, was cut
short by the scheduler, or has no finite value; and its weights are those of the epoch that gave the value. A trial that
was interrupted, or stopped by a budget, leaves its newest checkpoint. A job that was killed is run again with the same
command: trials that ended stay ended, and the others go on from their checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import ArtifactError
from engine.records import (
    Dataset,
    DeviceUse,
    Epoch,
    FeatureSpec,
    Stretch,
    Trial,
    TrialState,
    digest,
    from_plain,
    to_plain,
)
from engine.system import durable
from engine.system.redact import redact
from engine.train.budget import of_the_budget
from engine.train.conf import ModelConf, SearchConf, TrainConf
from engine.train.fault import fault_of
from engine.train.naming import index_of
from engine.train.usage import Meter
from engine.train.warmup import Warmup

if TYPE_CHECKING:
    import numpy as np

    from engine.train.checkpoint import Keeper
    from engine.train.members import Members
    from engine.train.pack.run import Asked
    from engine.train.scorer import Fitted
    from engine.train.search_space import Domain
    from engine.train.searchers import Searcher


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """One trial before it runs: what distinguishes it, and the configs composed from that."""

    id: str
    params: dict[str, Any]
    train: TrainConf
    model: ModelConf
    since: int = 0  # epochs that it has behind it, in a population: it goes on from its checkpoint and tells no others
    schedule: tuple[Stretch, ...] = ()  # of those epochs and the next, where hyperparameters changed

    @property
    def config(self) -> dict[str, Any]:
        """What the point was composed to, as its record keeps it: JSON values, secrets hidden."""
        hidden: dict[str, Any] = redact({"train": to_plain(self.train), "model": to_plain(self.model)})
        return hidden


@dataclass(frozen=True, kw_only=True)
class Further:
    """Trials beyond the plans that are known before the sweep starts: each point depends on what came before it."""

    searcher: Searcher
    plan: Callable[[int, dict[str, Any]], TrialPlan]  # composes the point of the trial with this index; may raise
    size: int  # trials at most, the known plans among them


@dataclass(frozen=True, kw_only=True)
class Population:
    """Trials that take over from each other while they train (population.py)."""

    domains: tuple[Domain, ...]
    plan: Callable[[int, dict[str, Any]], TrialPlan]  # composes other hyperparameters of the trial with this index


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """All that a search needs. `id` is a hash of its inputs and `folder` belongs to that id alone: the same job finds
    the trials it has already run, and no other job mistakes them for its own.
    """

    id: str
    plans: tuple[TrialPlan, ...]  # that are known; without `further` these are all
    spec: FeatureSpec
    train: Dataset
    validation: Dataset
    metric: str
    mode: str
    folder: Path
    trusted: tuple[str, ...] = ()
    warm_start: bytes = b""  # safetensors of the champion, loaded where shapes agree; empty: start cold
    further: Further | None = None
    population: Population | None = None
    others: tuple[str, ...] = ()  # further metrics
    devices: float = 1.0  # GPUs of a trial, or its CPUs where there is no GPU: what an hour of it counts
    clusters: np.ndarray | None = None  # (N,) codes of the validation rows: rows of a cluster are not independent

    @property
    def size(self) -> int:
        """Trials at most."""
        return self.further.size if self.further else len(self.plans)

    def plan_of(self, trial: str) -> TrialPlan | None:
        """The plan of a trial that has begun; None where it has none: its point is gone, or composes to no trial."""
        index = index_of(trial)
        if index < len(self.plans):
            return self.plans[index]
        point = read_point(self.folder, trial)
        if point is None or self.further is None:
            return None
        try:
            return self.further.plan(index, point)
        except Exception:  # of the config, or of Hydra: the trial's own record says so
            return None


OnEpoch = Callable[[str, Epoch], None]
OnTrial = Callable[[Trial], None]


class Search(Protocol):
    """How trials are run. `start` may begin slow preparations and must not block; `close` ends them."""

    def start(self) -> None:
        """Begin what takes long to start."""

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run every trial of the job that has not ended yet; all that ended, in order. Those that a budget left no time
        for are not among them.
        """

    def let_go(self) -> None:
        """Nothing is run any more: what `start` began may end. Must not block for long."""

    def close(self) -> None:
        """End what `start` began, and wait for it."""

    @property
    def startup_seconds(self) -> float:
        """Seconds spent so far on starting workers and on scheduling, rather than on training."""


REST = "rests until the others have come as far"
"""A member of a population is to rest: what a search is told in place of a reason to stop."""


class Interrupted(BaseException):
    """Raised by `on_epoch`: the trial ends at once and without a record, and goes on from its checkpoint later."""


class HelperLost(Interrupted):
    """One of the processes of a trial was killed, and another can take its place."""


class LocalSearch:
    """One trial after the other in this process: for tests, for a single trial, and where Ray is not wanted."""

    startup_seconds = 0.0
    module = "engine.train.fit"  # that trains, and brings torch and Lightning along

    def __init__(self, conf: SearchConf) -> None:
        self.conf = conf
        self._warmup = Warmup(self.module)

    def start(self) -> None:
        """Let what trains be imported while windows are read."""
        self._warmup.start()

    def let_go(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing runs any more."""
        self._warmup.close()

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run the trials in order."""
        from engine.train.course import Course

        course = Course(self.conf, job, on_epoch, on_trial)
        while (plan := course.next()) is not None:
            for _ in range(course.max_failures + 1):
                trial = self.one(course, plan)
                if trial is None or trial.state is not TrialState.FAILED:
                    break
            if trial is not None:
                course.ended(plan)
        return course.close()

    def one(self, course: Asked, plan: TrialPlan, notes: tuple[str, ...] = ()) -> Trial | None:
        """The trial that ended; None for a member of a population that rests now. `notes` are put in its record."""
        why, losses, newest = "", None, 0
        keeper = make_keeper(course.job, plan)
        keeper.notes.extend(notes)

        def on_rows(found: np.ndarray) -> None:
            nonlocal losses
            losses = found

        def after(epoch: Epoch) -> bool:
            nonlocal why, newest
            newest = epoch.epoch
            why = course.after(plan, epoch, lambda: losses)
            if why == REST:
                raise Interrupted
            return not why

        try:
            return run_trial(
                course.job, plan, after, keeper, why=lambda: why, on_rows=on_rows if course.paired else None
            )
        except Interrupted:
            keeper.must_hold(newest)
            course.rests(plan)
            return None


def make_keeper(job: SweepJob, plan: TrialPlan) -> Keeper:
    """Of the checkpoints of one trial: they belong to this plan of this job alone."""
    from engine.train.checkpoint import Keeper

    owner = digest("checkpoint", job.id, plan.id, plan.params, plan.train, plan.model)
    return Keeper(job.folder / plan.id, owner, plan.train.checkpoint_seconds, plan.since)


def run_trial(
    job: SweepJob,
    plan: TrialPlan,
    on_epoch: Callable[[Epoch], bool],
    keeper: Keeper | None = None,
    *,
    why: Callable[[], str] = lambda: "",
    on_rows: Callable[[np.ndarray], None] | None = None,
    members: Members | None = None,
) -> Trial:
    """Run one trial to its end, recorded on disk; `on_epoch` returns False to stop it. A fault becomes its record.

    It goes on from its newest checkpoint, where there is one, and removes its checkpoints in the end, unless a budget
    stopped it: a larger one lets it go on. Epochs up to `plan.since` are told by nobody. `why` tells the reason of a
    stop. `on_rows` is given the losses of the validation rows (paired.influence) after each epoch, before
    `on_epoch`; without it they are not computed. `members` start the other processes of a trial of several.

    Raises:
        InputError: the record cannot be written.
        BaseException: KeyboardInterrupt and Interrupted leave no record.
    """
    from engine.train.paired import influence
    from engine.train.scorer import Fitted

    keeper = keeper or make_keeper(job, plan)
    stopped = False

    def after(epoch: Epoch) -> bool:
        nonlocal stopped
        stopped = epoch.epoch > plan.since and not on_epoch(epoch)
        if stopped and of_the_budget(why()):
            keeper.keep()
        return not stopped

    def rows(prediction: np.ndarray) -> None:
        if on_rows is not None and job.validation.target is not None:
            on_rows(influence(job.metric, job.spec.task, job.validation.target, prediction))

    fitted = Fitted(curve=(), best_epoch=0, value=float("nan"), weights=b"")
    meter = Meter(plan.train)
    try:
        with meter:
            fitted = _fitted(job, plan, after, rows, keeper, members)
        state, reason = ending(fitted, why() if stopped else None, plan.train.max_epochs, job.metric)
    except Exception as error:  # whatever a user's model raises is that trial's end, not the sweep's
        state, reason = TrialState.FAILED, fault_of(error)
    return record_trial(job, plan, keeper, fitted, state, reason, meter.use)


def record_trial(
    job: SweepJob,
    plan: TrialPlan,
    keeper: Keeper,
    fitted: Fitted,
    state: TrialState,
    reason: str,
    use: DeviceUse | None = None,
) -> Trial:
    """Write down how a trial ended; its checkpoints go, unless a budget stopped it. InputError: the disk refuses."""
    trial = Trial(
        id=plan.id,
        params=plan.params,
        state=state,
        reason=reason,
        curve=fitted.curve,
        best_epoch=fitted.best_epoch,
        value=fitted.value,
        seconds=keeper.spent(),
        config=plan.config,
        notes=tuple(keeper.notes),
        schedule=plan.schedule,
        use=use,
    )
    trial = write_trial(job.folder, trial, fitted.weights if state is TrialState.FINISHED else b"")
    if not may_go_on(trial):
        keeper.forget()
    return trial


def _fitted(
    job: SweepJob,
    plan: TrialPlan,
    after: Callable[[Epoch], bool],
    rows: Callable[[np.ndarray], None],
    keeper: Keeper,
    members: Members | None,
) -> Fitted:
    """Build the model and fit it; anew where its checkpoint does not fit it."""
    from engine.train.fit import fit

    def once() -> Fitted:
        return fit(
            built(job, plan),
            job.train,
            job.validation,
            plan.train,
            task=job.spec.task,
            metric=job.metric,
            mode=job.mode,
            on_epoch=after,
            others=job.others,
            on_prediction=rows,
            keeper=keeper,
            members=members,
        )

    try:
        return once()
    except ArtifactError as error:
        if keeper.found is None:
            raise
        keeper.refuse(error.what)
        return once()


def built(job: SweepJob, plan: TrialPlan) -> Any:
    """The model of a trial before its first step: drawn anew, or warm from the champion."""
    from engine.train.inference import build

    model = build(plan.model, job.spec, plan.train, job.trusted)
    if job.warm_start:
        _warm(model, job.warm_start)
    return model


def ending(fitted: Fitted, stopped: str | None, budget: int, metric: str) -> tuple[TrialState, str]:
    """How a trial ended; `stopped` is why it was stopped (empty: unknown), None where it was not."""
    last = len(fitted.curve)
    if not fitted.best_epoch:
        if all(math.isfinite(epoch.train_loss) for epoch in fitted.curve):
            return TrialState.FAILED, f"{metric} is undefined on the validation rows - look at their labels"
        return TrialState.FAILED, f"diverged in epoch {last}, before any epoch gave a finite value"
    if not math.isfinite(fitted.curve[-1].train_loss):
        return TrialState.FAILED, f"diverged in epoch {last}"
    if stopped is not None and last < budget:
        return TrialState.STOPPED, stopped or f"stopped by the scheduler after epoch {last}"
    return TrialState.FINISHED, f"its own model ended it after epoch {last}" if last < budget else ""


def _warm(model: Any, data: bytes) -> None:
    """Load the tensors whose name and shape agree; a new category's embedding starts fresh."""
    import safetensors.torch

    own = model.state_dict()
    old = safetensors.torch.load(data)
    agreeing = {name: tensor for name, tensor in old.items() if name in own and own[name].shape == tensor.shape}
    model.load_state_dict(agreeing, strict=False)


def write_trial(folder: Path, trial: Trial, weights: bytes) -> Trial:
    """Record a trial that ended: weights first, then the record that names them. InputError where the disk refuses."""
    place = folder / trial.id
    if weights:
        durable.write_bytes(place / "weights.safetensors", weights)
        trial = replace(trial, weights=str(place / "weights.safetensors"))
    durable.write_text(place / "trial.json", json.dumps(to_plain(trial), allow_nan=False))
    return trial


def read_trial(folder: Path, trial: str, *, failed: bool = False) -> Trial | None:
    """The record of a trial that ended; None where it has not, or failed (it is tried again) unless asked for.

    A record that is cut short, or whose weights are gone, counts as none.
    """
    place = folder / trial
    try:
        found = from_plain(Trial, json.loads((place / "trial.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not whole
        return None
    if found.weights:  # the folder may have moved since
        if not (place / "weights.safetensors").is_file():
            return None
        found = replace(found, weights=str(place / "weights.safetensors"))
    return None if found.state is TrialState.FAILED and not failed else found


def taken_up(folder: Path, trial: str) -> Trial | None:
    """`read_trial` at the start of a sweep: of a trial that ended for good, what it needed to go on is removed."""
    found = read_trial(folder, trial)
    if found is not None and not may_go_on(found):
        forget_checkpoints(folder / trial)
    return found


def may_go_on(trial: Trial) -> bool:
    """Was it stopped by a budget: where there is a larger one, it goes on from its checkpoint."""
    return trial.state is TrialState.STOPPED and of_the_budget(trial.reason)


def write_point(folder: Path, trial: str, params: dict[str, Any]) -> None:
    """Keep the point of a trial that is about to start: killed, it goes on with the same one."""
    durable.write_text(folder / trial / "plan.json", json.dumps({"params": params}, allow_nan=False))


def read_point(folder: Path, trial: str) -> dict[str, Any] | None:
    """The point that was kept; None where there is none, or it is not whole."""
    try:
        params = json.loads((folder / trial / "plan.json").read_text())["params"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return params if isinstance(params, dict) else None


def failed_trial(
    trial: str, params: dict[str, Any], reason: str, config: Mapping[str, Any] = MappingProxyType({})
) -> Trial:
    """The record of a trial that failed before it could tell anything."""
    nothing: tuple[Epoch, ...] = ()
    return Trial(
        id=trial,
        params=params,
        state=TrialState.FAILED,
        reason=reason,
        curve=nothing,
        best_epoch=0,
        value=float("nan"),
        seconds=0.0,
        config=dict(config),
    )


def forget_trial(folder: Path, trial: str) -> None:
    """Remove the record of a trial that is about to run again, so that an old failure is not taken for its end."""
    if (folder / trial / "trial.json").exists():
        durable.remove(folder / trial / "trial.json")
        with contextlib.suppress(OSError):  # an empty folder would look like lost checkpoints
            (folder / trial).rmdir()


def forget_checkpoints(place: Path) -> None:
    """Remove the checkpoints in a trial's folder, and what a crash left of files that were being written."""
    if place.is_dir():
        for path in list(place.iterdir()):
            if path.name.startswith("checkpoint-") or path.suffix == durable.TEMPORARY:
                durable.remove(path)


def usable(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that may be chosen: finished, with a finite value, and with the weights that gave it."""
    return [t for t in trials if t.state is TrialState.FINISHED and t.weights and math.isfinite(t.value)]


def best(trials: Iterable[Trial], mode: str) -> Trial | None:
    """The finished trial with the best finite value, of equal ones the first; None where there is none."""
    sign = 1.0 if mode == "max" else -1.0
    return max(usable(trials), key=lambda t: sign * t.value, default=None)
