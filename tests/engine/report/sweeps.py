"""A sweep and trials of any state, made by hand."""

from __future__ import annotations

import math
from typing import Any

from engine.records import Candidate, Epoch, Sweep, Trial, TrialState

METRIC = "roc_auc_score"


def make_sweep(**changes: Any) -> Sweep:
    """A sweep of window 2026-05."""
    values: dict[str, Any] = {
        "id": "5" * 64,
        "loop": "tides",
        "window": "2026-05",
        "policy": "sweep",
        "action": "retune",
        "decision": "d" * 64,
        "metric": METRIC,
        "mode": "max",
        "config": {"seed": 7, "ledger": {"url": "postgresql://me:hunter2@db/gate"}},
    }
    return Sweep(**values | changes)


def make_epoch(epoch: int, value: float = 0.7, seconds: float = 1.0) -> Epoch:
    """One epoch."""
    return Epoch(epoch=epoch, train_loss=0.5 / epoch, value=value, seconds=seconds)


def make_trial(
    index: int, value: float = 0.7, *, state: TrialState = TrialState.FINISHED, epochs: int = 3, **changes: Any
) -> Trial:
    """Trial `index`, whose last epoch is its best one."""
    failed = state is TrialState.FAILED
    reason = {TrialState.FAILED: "diverged in epoch 1", TrialState.STOPPED: "stopped by the scheduler after epoch 3"}
    values: dict[str, Any] = {
        "id": f"trial-{index:03d}",
        "params": {"train.lr": 0.001 * (index + 1), "model.width": 8},
        "state": state,
        "reason": reason.get(state, ""),
        "curve": tuple(make_epoch(e, value - 0.01 * (epochs - e)) for e in range(1, epochs + 1)),
        "best_epoch": 0 if failed else epochs,
        "value": math.nan if failed else value,
        "seconds": 1.5 * epochs,
        "config": {"train": {"lr": 0.001 * (index + 1)}, "model": {"width": 8, "api_key": "***"}},
    }
    return Trial(**values | changes)


def make_candidate(*trials: Trial, mode: str = "max") -> Candidate:
    """What a sweep of these trials chose."""
    usable = [t for t in trials if t.state is TrialState.FINISHED]
    winner = (max if mode == "max" else min)(usable, key=lambda t: t.value, default=None)
    return Candidate(
        model="a" * 64 if winner else "",
        decision="d" * 64,
        metric=METRIC,
        value=winner.value if winner else math.nan,
        params=winner.params if winner else {},
        trials=trials,
        training_windows=("2026-03",),
        holdout_window="2026-05",
        n_rows=100,
        seconds=sum(t.seconds for t in trials),
        cost=0.0,
        sweep="5" * 64,
        mode=mode,
    )
