"""What is kept of a trial while it trains: its curve, and the weights of its best epoch. No Lightning here.

A trainer calls it by Lightning's names, in Lightning's order: Lightning itself (fit.py), or a pack (pack/trial.py).
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from engine.records import Dataset, Epoch, Task, from_plain, to_plain
from engine.scoring.scores import score
from engine.train import weights
from engine.train.checkpoint import Checkpoint, Keeper
from engine.train.inference import predict
from engine.train.members import GO, KEEP, OVER, PASS, STATE, STOP


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a trial leaves behind."""

    curve: tuple[Epoch, ...]
    best_epoch: int  # 0 where no epoch gave a finite value
    value: float
    weights: bytes  # of best_epoch; of the last one where best_epoch is 0


class Memory(Protocol):
    """What gives the state of a trial between two epochs."""

    def current(self, trainer: Any) -> Any:
        """As it is now."""


class Scorer:
    """Order of rows before an epoch; loss, metric, best weights after it; then a checkpoint and the caller's verdict.

    Its own part of a checkpoint is the curve, the best weights so far, and the states of the random generators.
    """

    state_key = "_Scorer"  # the name of that part in checkpoints that lie on disk

    def __init__(
        self,
        validation: Dataset,
        task: Task,
        metrics: tuple[str, ...],
        mode: str,
        on_epoch: Callable[[Epoch], bool],
        on_prediction: Callable[[np.ndarray], None],
        keeper: Keeper,
    ) -> None:
        self.validation, self.task, self.metrics = validation, task, metrics
        self.on_epoch, self.on_prediction, self.keeper = on_epoch, on_prediction, keeper
        self.sign = 1.0 if mode == "max" else -1.0
        self.curve: list[Epoch] = []
        self.best, self.best_epoch, self._weights = math.nan, 0, b""
        self.begun = False  # an epoch of this fit has begun: what was restored fitted
        self._generators: dict[str, Any] = {}
        self._losses: list[torch.Tensor] = []
        self._began = 0.0
        self.say: Callable[[str], None] = lambda word: None  # to processes that train beside this one

    def recall(self, kept: Checkpoint) -> bool:
        """Take the curve of a checkpoint and tell the caller of it; False where it stops the trial there."""
        for epoch in kept.state["callbacks"][self.state_key]["curve"]:
            self._note(from_plain(Epoch, epoch))
            if not self.on_epoch(self.curve[-1]):
                return False
        return True

    def _note(self, epoch: Epoch) -> bool:
        """Add an epoch to the curve; True where it is the best so far. NaN is never best."""
        self.curve.append(epoch)
        if not math.isfinite(epoch.value) or self.sign * epoch.value <= self.sign * self.best:
            return False
        self.best, self.best_epoch = epoch.value, epoch.epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        """Our part of a checkpoint."""
        return {
            "curve": to_plain(self.curve),
            "weights": self._weights,
            **self.generators(),
        }

    def generators(self) -> dict[str, Any]:
        """The states of the random generators."""
        return {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, states: dict[str, Any]) -> None:
        """Put the random generators back where they stood."""
        torch.set_rng_state(states["cpu"])
        if torch.cuda.device_count() == len(states["cuda"]):
            torch.cuda.set_rng_state_all(states["cuda"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take our part back; the curve has been recalled before."""
        self._weights, self._generators = state_dict["weights"], state_dict

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """A trial that goes on from another one's state keeps its own hyperparameters."""
        kept = self.keeper.found
        if kept is not None and kept.adopted:
            keep_hyperparameters(trainer, kept.state)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.train_dataloader.set_epoch(trainer.current_epoch)
        if self._generators:
            self.restore(self._generators)
            self._generators = {}
        self.begun = True
        self._losses, self._began = [], time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._losses.append(loss.detach())  # stays on the device: no synchronisation inside the epoch

    def trained(self, seconds: float) -> None:
        """The steps of this epoch took so many seconds: of a trial that shared them with others."""
        self._began = time.perf_counter() - seconds

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        loss = float(torch.stack(self._losses).double().mean()) if self._losses else math.nan
        self._losses = []
        value, *others = self._values(pl_module)
        seconds = time.perf_counter() - self._began
        number = trainer.current_epoch + 1
        best = self._note(Epoch(epoch=number, train_loss=loss, value=value, seconds=seconds, others=tuple(others)))
        self.say(KEEP if best else PASS)
        if best:
            self._weights = weights.dump(pl_module)

    def rest(self, trainer: Any, memory: Memory) -> None:
        """Between two epochs: a checkpoint where one is due, and the caller's verdict."""
        try:
            self._verdict(trainer, memory)
        except BaseException:
            self.say(OVER)
            raise
        self.say(STOP if trainer.should_stop else GO)

    def _verdict(self, trainer: Any, memory: Memory) -> None:
        epoch = self.curve[-1]
        if not math.isfinite(epoch.train_loss):  # a diverged trial cannot recover
            trainer.should_stop = True
            return

        def state() -> Any:
            self.say(STATE)
            return memory.current(trainer)

        last = trainer.should_stop or epoch.epoch >= trainer.max_epochs
        self.keeper.rest(epoch.epoch, state, last=last)
        try:
            if not self.on_epoch(epoch):
                trainer.should_stop = True
        except BaseException:  # Ctrl-C, say: what was trained is not lost
            self.keeper.keep()
            raise
        finally:
            self.keeper.going_on()

    def _values(self, model: Any) -> list[float]:
        """All metrics, the first of which chooses the epoch."""
        target = self.validation.target
        assert target is not None  # the caller splits labelled rows
        prediction = self._prediction(model)
        self.on_prediction(prediction)
        if not np.isfinite(prediction).all():
            return [math.nan for _ in self.metrics]
        return [score(metric, self.task, target, prediction) for metric in self.metrics]

    def _prediction(self, model: Any) -> np.ndarray:
        return predict(model, self.validation, self.task)

    def fitted(self, model: Any) -> Fitted:
        """What the trial leaves: the weights of its best epoch, or the last ones of `model` where none was usable."""
        kept = self._weights or (b"" if model is None else weights.dump(model))
        return Fitted(curve=tuple(self.curve), best_epoch=self.best_epoch, value=self.best, weights=kept)


def keep_hyperparameters(trainer: Any, state: dict[str, Any]) -> None:
    """Put the fresh optimizers' hyperparameters into a state that is about to be restored.

    What a schedule has made of the learning rate so far is kept, as the factor that it is.
    """
    for optimizer, old in zip(trainer.optimizers, state["optimizer_states"], strict=True):
        for group, kept in zip(optimizer.param_groups, old["param_groups"], strict=True):
            factor = kept["lr"] / kept["initial_lr"] if kept.get("initial_lr") else 1.0
            rate = group.get("initial_lr", group["lr"]) * factor
            kept.update({key: value for key, value in group.items() if key != "params"}, lr=rate)
    for config, old in zip(trainer.lr_scheduler_configs, state["lr_schedulers"], strict=True):
        if "base_lrs" in old:
            old["base_lrs"] = list(config.scheduler.base_lrs)


def quieten() -> None:
    """Stop Lightning's own log lines and advertisements; importing it had switched them on."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.ERROR)


@contextlib.contextmanager
def known_warnings() -> Iterator[None]:
    """Silence the warnings that are true and of no use: we choose one process without workers on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*FSDP2-wrapped module .* returned a view tensor.*")
        warnings.filterwarnings("ignore", message=".*number of training batches.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step\\(\\)` before `optimizer.step.*")
        yield
