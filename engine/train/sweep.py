"""Many trials of one job, and our own record of them; here one after the other, in tune.py on Ray.

Every trial that ends leaves a folder `<job folder>/<trial id>/` with trial.json (written whole or not at all) and, if
it finished, the weights of its best epoch. The best trial is chosen from that record: never one that failed, was cut
short by the scheduler, or has no finite value; and its weights are those of the epoch that gave the value. A trial that
was interrupted leaves its newest checkpoint. A job that was killed is run again with the same command: trials that
ended stay ended, and the others go on from their checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine import durable
from engine.errors import ArtifactError, TidegateError
from engine.records import Dataset, Epoch, FeatureSpec, Trial, TrialState, digest, from_plain, to_plain
from engine.redact import redact_text
from engine.train.conf import ModelConf, SearchConf, TrainConf

if TYPE_CHECKING:
    from engine.train.checkpoint import Keeper
    from engine.train.fit import Fitted


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """One trial before it runs: what distinguishes it, and the configs composed from that."""

    id: str
    params: dict[str, Any]
    train: TrainConf
    model: ModelConf


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """All that a search needs. `id` is a hash of its inputs and `folder` belongs to that id alone: the same job finds
    the trials it has already run, and no other job mistakes them for its own.
    """

    id: str
    plans: tuple[TrialPlan, ...]
    spec: FeatureSpec
    train: Dataset
    validation: Dataset
    metric: str
    mode: str
    folder: Path
    trusted: tuple[str, ...] = ()
    warm_start: bytes = b""  # safetensors of the champion, loaded where shapes agree; empty: start cold


OnEpoch = Callable[[str, Epoch], None]
OnTrial = Callable[[Trial], None]


class Search(Protocol):
    """How trials are run. `start` may begin slow preparations and must not block; `close` ends them."""

    def start(self) -> None:
        """Begin what takes long to start."""

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run every plan of the job that has not ended yet; all trials of the job, in the order of its plans."""

    def close(self) -> None:
        """End what `start` began."""

    @property
    def startup_seconds(self) -> float:
        """Seconds spent so far on starting workers and on scheduling, rather than on training."""


class Interrupted(BaseException):
    """Raised by `on_epoch`: the trial ends at once and without a record, and goes on from its checkpoint later."""


class LocalSearch:
    """One trial after the other in this process, without a scheduler: for tests and for a single trial."""

    startup_seconds = 0.0

    def __init__(self, conf: SearchConf) -> None:
        self.conf = conf

    def start(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to end."""

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run the plans in order."""
        ended = []
        for plan in job.plans:
            trial = taken_up(job.folder, plan.id)
            tries = self.conf.max_failures + 1
            while trial is None:
                trial = run_trial(job, plan, _reporting(on_epoch, plan.id))
                tries -= 1
                if trial.state is TrialState.FAILED and tries:
                    trial = None
            on_trial(trial)
            ended.append(trial)
        return tuple(ended)


def _reporting(on_epoch: OnEpoch, trial: str) -> Callable[[Epoch], bool]:
    """Report every epoch of a trial, and never stop it."""

    def report(epoch: Epoch) -> bool:
        on_epoch(trial, epoch)
        return True

    return report


def make_keeper(job: SweepJob, plan: TrialPlan) -> Keeper:
    """Of the checkpoints of one trial: they belong to this plan of this job alone."""
    from engine.train.checkpoint import Keeper

    owner = digest("checkpoint", job.id, plan.id, plan.params, plan.train, plan.model)
    return Keeper(job.folder / plan.id, owner, plan.train.checkpoint_seconds)


def run_trial(job: SweepJob, plan: TrialPlan, on_epoch: Callable[[Epoch], bool], keeper: Keeper | None = None) -> Trial:
    """Run one trial to its end, recorded on disk; `on_epoch` returns False to stop it. A fault becomes its record.

    It goes on from its newest checkpoint, where there is one, and removes its checkpoints in the end.

    Raises:
        InputError: the record cannot be written.
        BaseException: KeyboardInterrupt and Interrupted leave no record.
    """
    from engine.train.fit import Fitted

    keeper = keeper or make_keeper(job, plan)
    stopped = False

    def after(epoch: Epoch) -> bool:
        nonlocal stopped
        stopped = not on_epoch(epoch)
        return not stopped

    fitted = Fitted(curve=(), best_epoch=0, value=float("nan"), weights=b"")
    try:
        fitted = _fitted(job, plan, after, keeper)
        state, reason = _ending(fitted, stopped, plan.train.max_epochs, job.metric)
    except TidegateError as error:
        state, reason = TrialState.FAILED, str(error)
    except Exception as error:  # whatever a user's model raises is that trial's end, not the sweep's
        state, reason = TrialState.FAILED, f"{type(error).__name__}: {' '.join(redact_text(str(error)).split())[:200]}"
    trial = Trial(
        id=plan.id,
        params=plan.params,
        state=state,
        reason=reason,
        curve=fitted.curve,
        best_epoch=fitted.best_epoch,
        value=fitted.value,
        seconds=keeper.spent(),
        notes=tuple(keeper.notes),
    )
    trial = write_trial(job.folder, trial, fitted.weights if state is TrialState.FINISHED else b"")
    keeper.forget()
    return trial


def _fitted(job: SweepJob, plan: TrialPlan, after: Callable[[Epoch], bool], keeper: Keeper) -> Fitted:
    """Build the model and fit it; anew where its checkpoint does not fit it."""
    from engine.train.fit import build, fit

    def once() -> Fitted:
        model = build(plan.model, job.spec, plan.train, job.trusted)
        if job.warm_start:
            _warm(model, job.warm_start)
        return fit(
            model,
            job.train,
            job.validation,
            plan.train,
            task=job.spec.task,
            metric=job.metric,
            mode=job.mode,
            on_epoch=after,
            keeper=keeper,
        )

    try:
        return once()
    except ArtifactError as error:
        if keeper.found is None:
            raise
        keeper.refuse(error.what)
        return once()


def _ending(fitted: Fitted, stopped: bool, budget: int, metric: str) -> tuple[TrialState, str]:
    last = len(fitted.curve)
    if not fitted.best_epoch:
        if all(math.isfinite(epoch.train_loss) for epoch in fitted.curve):
            return TrialState.FAILED, f"{metric} is undefined on the validation rows - look at their labels"
        return TrialState.FAILED, f"diverged in epoch {last}, before any epoch gave a finite value"
    if not math.isfinite(fitted.curve[-1].train_loss):
        return TrialState.FAILED, f"diverged in epoch {last}"
    if stopped and last < budget:
        return TrialState.STOPPED, f"stopped by the scheduler after epoch {last}"
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
    """`read_trial` at the start of a sweep: of a trial that ended, what it needed to go on is removed."""
    found = read_trial(folder, trial)
    if found is not None:
        forget_checkpoints(folder / trial)
    return found


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


def best(trials: tuple[Trial, ...], mode: str) -> Trial | None:
    """The finished trial with the best finite value; None where there is none."""
    usable = [t for t in trials if t.state is TrialState.FINISHED and t.weights and math.isfinite(t.value)]
    sign = 1.0 if mode == "max" else -1.0
    return max(usable, key=lambda t: sign * t.value, default=None)
