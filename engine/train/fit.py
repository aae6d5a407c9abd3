"""One trial: build the model, fit it with Lightning, score it after every epoch with the kernels.

The caller says after each epoch whether to go on, so a scheduler can stop a trial without killing its process. The
weights of the best epoch are kept.

Between two epochs the trial rests: hooks and schedules are done with the one, and nothing of the next has begun. Only
there is its state put into a checkpoint, so that a trial that is resumed sees what it would have seen, bit for bit.
Lightning says what its state is and takes it back, as values: no file of its own is written, and nothing unpickled.
"""

from __future__ import annotations

import contextlib
import copy
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.fit_loop import _FitLoop

from engine.errors import ArtifactError
from engine.records import Dataset, Epoch, Task
from engine.train import distributed, sharded
from engine.train.checkpoint import Checkpoint, Keeper
from engine.train.conf import TrainConf
from engine.train.inference import accelerator, precision
from engine.train.loader import TensorLoader, as_tensors
from engine.train.members import Members, Part, Share, Spawned
from engine.train.module import in_lightning
from engine.train.scorer import Fitted, Scorer, known_warnings, quieten


def fit(
    model: Any,
    train: Dataset,
    validation: Dataset,
    conf: TrainConf,
    *,
    task: Task,
    metric: str,
    mode: str,
    on_epoch: Callable[[Epoch], bool] = lambda epoch: True,
    others: tuple[str, ...] = (),
    on_prediction: Callable[[np.ndarray], None] = lambda prediction: None,
    keeper: Keeper | None = None,
    members: Members | None = None,
) -> Fitted:
    """Fit `model` on `train`, scoring `validation` after each epoch; stop early when `on_epoch` returns False.

    Args:
        model: as `build` gives it; it is trained in place.
        train, validation: labelled rows.
        conf: epochs, batch, seed, device; on one CPU the same conf and rows give the same weights, bit for bit.
        task, metric, mode: what is scored, and whether max or min is best; NaN is never best.
        on_epoch: is told of every epoch but one whose loss is not finite: that ends the trial. Of those that a
            checkpoint holds it is told first, and may stop the trial there as well.
        keeper: of the checkpoints that the trial goes on from and leaves; None: it starts anew and leaves none.
        others: further metrics, computed of every epoch; they choose nothing.
        on_prediction: is given the predictions of the validation rows after each epoch, before `on_epoch`.
        members: what starts the other processes of a trial of several `train.workers`; None: here, for this trial.

    Raises:
        ConfigError: a GPU is asked for and there is none, or `train.workers` cannot share the trial.
        ArtifactError: the checkpoint does not fit the model; a model built anew can start anew.
        KeyboardInterrupt: Ctrl-C. What the model's own code raises is let through.
    """
    quieten()
    device = accelerator(conf)
    torch.set_num_threads(conf.threads)
    keeper = keeper or Keeper(None, "")
    scorer = _Scorer(validation, task, (metric, *others), mode, on_epoch, on_prediction, keeper)
    kept = keeper.newest()
    if kept is not None and not scorer.recall(kept):
        return scorer.fitted(None)
    memory = Memory(kept)
    target = "cuda" if device == "gpu" else "cpu"
    loader = TensorLoader(as_tensors(train, target), conf.batch_size, conf.seed, parts=conf.workers)
    with (
        _together(model, train, validation, conf, task, device, members or Spawned(), keeper) as part,
        known_warnings(),
        _interruptible(),
        torch.random.fork_rng(devices=[]),
    ):
        scorer.say = part.say
        torch.manual_seed(conf.seed + 1)  # dropout; the initial weights were drawn in build()
        callbacks = [*part.callbacks, scorer]
        trainer = make_trainer(conf, device, callbacks, memory, scorer.rest, part.strategy)
        try:
            trainer.fit(in_lightning(model), loader, ckpt_path="the checkpoint" if kept else None)
        except Exception as error:
            if kept is None or scorer.begun:
                raise
            reason = f"does not fit the model ({type(error).__name__}: {error})"
            raise ArtifactError("checkpoint", reason, "build the model anew") from error
    return scorer.fitted(None if part.strategy else model)


def _together(
    model: Any,
    train: Dataset,
    validation: Dataset,
    conf: TrainConf,
    task: Task,
    device: str,
    members: Members,
    keeper: Keeper,
) -> contextlib.AbstractContextManager[Part]:
    """What the other processes of the trial add, where it has any."""
    distributed.check(model, conf, device, members)
    if conf.workers == 1:
        return contextlib.nullcontext(Part())
    strategy, why = sharded.chosen(model, conf, device)
    if why:
        keeper.notes.append(why)
    if strategy == "fsdp":
        from engine.train.follower import follow  # it runs the loop of this file

        lead, role, kept = sharded.led, follow, keeper.found
    else:
        lead, role, kept = distributed.led, distributed.assist, None
    twin = copy.deepcopy(model)  # what is handed over moves to shared memory, and the leader's must not
    share = Share(role=role, model=twin, conf=conf, task=task, device=distributed.DEVICES[device], kept=kept)
    return lead(share, train, validation, members)


def make_trainer(
    conf: TrainConf,
    device: str,
    callbacks: list[Callback],
    memory: Memory,
    rest: Callable[[Any, Memory], None],
    strategy: Any = None,
) -> Any:
    """Lightning's trainer with our loop; `rest` is called between two epochs, with it and the memory."""
    trainer = lightning.Trainer(
        max_epochs=conf.max_epochs,
        accelerator=device,
        strategy=strategy or "auto",
        devices=1,
        precision=precision(conf, device),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        plugins=[memory],
    )
    trainer.fit_loop = _Loop(trainer, conf.max_epochs, lambda: rest(trainer, memory))
    return trainer


class _Scorer(Scorer, Callback):
    """The scorer as Lightning calls it."""


class _Loop(_FitLoop):
    """Lightning's loop over epochs, with a rest after each.

    Its own hooks come too early: at the end of an epoch the learning rate has not yet changed.
    """

    def __init__(self, trainer: Any, max_epochs: int, rest: Callable[[], None]) -> None:
        super().__init__(trainer, max_epochs=max_epochs)
        self._rest = rest

    def on_advance_end(self) -> None:
        """The end of an epoch, and the rest."""
        super().on_advance_end()
        self._rest()


class Memory(CheckpointIO):
    """Lightning's state, handed over as values in both directions."""

    def __init__(self, kept: Checkpoint | None) -> None:
        self.kept = kept
        self.state: Any = None

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Take the state."""
        self.state = checkpoint

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> Any:
        """Give the state that the trial goes on from."""
        assert self.kept is not None  # or no path would have been given
        return self.kept.state

    def remove_checkpoint(self, path: Any) -> None:
        """Nothing lies anywhere."""

    def current(self, trainer: Any) -> Any:
        """The state of the trial as it is now."""
        trainer.save_checkpoint("memory")
        state, self.state = self.state, None
        return state


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt: Lightning would ignore every further one and leave with exit code 1."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGINT, handler)
