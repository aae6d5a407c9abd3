"""The state of a packed trial in the form of a trial that trains alone: either goes on from the other's checkpoint.

It is what Lightning's trainer dumps between two epochs (PyTorch Lightning 2.6, `dump_checkpoint`), without
hyperparameters, which nobody reads back.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.train.pack.trial import PackedTrial


def state_of(trial: PackedTrial) -> dict[str, Any]:
    """All of it; tensors are those that train, not copies."""
    standing = trial.standing
    epochs, batches = standing.current_epoch, len(standing.train_dataloader)
    return {
        "epoch": epochs,
        "global_step": standing.global_step,
        "pytorch-lightning_version": _version(),
        "state_dict": trial.model.state_dict(),
        "loops": loops(epochs, batches, standing.global_step, trial.schedule_steps),
        "callbacks": {trial.scorer.state_key: trial.scorer.state_dict()},
        "optimizer_states": [trial.optimizer.state_dict()],
        "lr_schedulers": [trial.schedule.state_dict()] if trial.schedule is not None else [],
    }


@cache
def _version() -> str:
    return metadata.version("lightning")


def take(trial: PackedTrial, state: dict[str, Any]) -> None:
    """Go on from a state. What does not fit the model raises what torch raises."""
    trial.model.load_state_dict(state["state_dict"])
    (optimizer,) = state["optimizer_states"]
    trial.optimizer.load_state_dict(optimizer)
    if len(state["lr_schedulers"]) != (trial.schedule is not None):
        raise ValueError(f"{len(state['lr_schedulers'])} schedules were kept")
    for kept in state["lr_schedulers"]:
        trial.schedule.load_state_dict(kept)
        trial.schedule_steps = progress_of(state)
    trial.standing.current_epoch, trial.standing.global_step = state["epoch"], state["global_step"]
    trial.scorer.load_state_dict(state["callbacks"][trial.scorer.state_key])


def progress_of(state: dict[str, Any]) -> int:
    """Steps of the schedule so far."""
    steps: int = state["loops"]["fit_loop"]["epoch_loop.scheduler_progress"]["total"]["completed"]
    return steps


def loops(epochs: int, batches: int, steps: int, schedule_steps: int) -> dict[str, Any]:
    """How far Lightning's loops are after so many whole epochs."""

    def count(current: int, total: int, *names: str) -> dict[str, Any]:
        return {"total": dict.fromkeys(names, total), "current": dict.fromkeys(names, current)}

    three, two = ("ready", "started", "completed"), ("ready", "completed")
    four = ("ready", "started", "processed", "completed")
    nothing = count(0, 0, *four)
    idle = {"state_dict": {}, "batch_progress": {**nothing, "is_last_batch": False}}
    last = schedule_steps and max(1, schedule_steps // max(1, epochs))
    return {
        "fit_loop": {
            "state_dict": {},
            "epoch_loop.state_dict": {"_batches_that_stepped": steps},
            "epoch_loop.batch_progress": {**count(batches, steps, *four), "is_last_batch": True},
            "epoch_loop.scheduler_progress": count(last, schedule_steps, *two),
            "epoch_loop.automatic_optimization.state_dict": {},
            "epoch_loop.automatic_optimization.optim_progress": {
                "optimizer": {
                    "step": count(batches, steps, *two),
                    "zero_grad": count(batches, steps, *three),
                }
            },
            "epoch_loop.manual_optimization.state_dict": {},
            "epoch_loop.manual_optimization.optim_step_progress": count(0, 0, *two),
            "epoch_loop.val_loop.state_dict": {},
            "epoch_loop.val_loop.batch_progress": {**nothing, "is_last_batch": False},
            "epoch_progress": count(epochs, epochs, *four),
        },
        "validate_loop": dict(idle),
        "test_loop": dict(idle),
        "predict_loop": {"state_dict": {}, "batch_progress": nothing},
    }
