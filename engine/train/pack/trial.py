"""One packed trial between two epochs: its model, optimizer, schedule, order of rows, random stream and curve.

It is what Lightning's trainer holds of a trial that trains alone, and its steps are Lightning's, in Lightning's order.
What that trainer offers beyond them (hooks, several optimizers, clipping) a packed trial has not: such a model trains
alone, and its record says why. One step on a copy of the model tells before the first epoch, unless it is our own.
"""

from __future__ import annotations

import copy
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import ArtifactError
from engine.records import Epoch, Trial, TrialState
from engine.train.budget import of_the_budget
from engine.train.checkpoint import Keeper
from engine.train.conf import TrainConf
from engine.train.fault import fault_of
from engine.train.loader import TensorLoader
from engine.train.model import link
from engine.train.pack import counted, device, state, streams
from engine.train.pack.adam import settings
from engine.train.pack.aside import Aside
from engine.train.pack.bare import bare
from engine.train.pack.layout import built_in
from engine.train.paired import influence
from engine.train.scorer import Fitted, Scorer, known_warnings
from engine.train.sweep import SweepJob, TrialPlan, built, ending, record_trial

HOOKS = (
    *("configure_callbacks", "configure_gradient_clipping", "configure_model", "configure_sharded_model"),
    *("optimizer_step", "optimizer_zero_grad", "lr_scheduler_step", "backward", "clip_gradients"),
    *("on_fit_start", "on_fit_end", "on_train_start", "on_train_end", "setup", "teardown", "prepare_data"),
    *("on_train_batch_start", "on_train_batch_end", "on_train_epoch_start", "on_train_epoch_end"),
    *("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"),
    *("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"),
    *("on_save_checkpoint", "on_load_checkpoint"),
)  # what Lightning calls in a fit, beside training_step and configure_optimizers
PROBE_ROWS = 64  # of the step that is tried on a copy
Batch = tuple[Tensor, ...]


class Alone(Exception):
    """This trial cannot train in a pack; the message says why."""


class Ended(BaseException):
    """The sweep was interrupted: the epoch that runs is given up."""


class Standing:
    """What a model and a Scorer see of a trainer."""

    def __init__(self, loader: TensorLoader, max_epochs: int) -> None:
        self.train_dataloader, self.max_epochs = loader, max_epochs
        self.current_epoch = self.global_step = 0
        self.should_stop = False

    def __deepcopy__(self, memo: Any) -> Standing:
        """A copied model stays with it: the rows are not copied."""
        return self


class PackedScorer(Scorer):
    """A Scorer whose random generator is the trial's own, and that holds no weights and no tensor a step in memory."""

    outputs: Callable[[], Tensor | None] | None = None  # raw, of the validation rows; None: the model is asked

    def __init__(self, generator: torch.Generator, folder: Path, *rest: Any) -> None:
        self._aside = Aside(folder)
        super().__init__(*rest)
        self._generator = generator
        self.heard = array("d")

    @property
    def _weights(self) -> bytes:
        return self._aside.get()

    @_weights.setter
    def _weights(self, data: bytes) -> None:
        self._aside.put(data)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self.heard = array("d")  # losses of the steps

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.heard.append(outputs)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._losses = [torch.tensor(self.heard, dtype=torch.float64)] if self.heard else []
        super().on_train_epoch_end(trainer, pl_module)

    def _prediction(self, model: Any) -> np.ndarray:
        found = self.outputs() if self.outputs else None
        return super()._prediction(model) if found is None else link(self.task, found).numpy()

    def generators(self) -> dict[str, Any]:
        """The state of the trial's generator."""
        return {"cpu": self._generator.get_state(), "cuda": []}

    def restore(self, states: dict[str, Any]) -> None:
        """Put it back where it stood."""
        self._generator.set_state(states["cpu"])


class PackedTrial:
    """A trial in a pack. `ended` is set once it trains no more; then `close` records it.

    Args:
        job, plan, keeper: as of a trial that trains alone.
        tensors: the job's rows on the device of the trial (device.py), shared by all trials there.
        after: is told of every epoch; why the trial must stop, empty where it goes on.
        on_rows: is given the losses of the validation rows after each epoch; None: they are not computed.

    Raises:
        Alone: it must train alone, and why. What building the model raises is let through.
    """

    def __init__(
        self,
        job: SweepJob,
        plan: TrialPlan,
        keeper: Keeper,
        tensors: Batch,
        after: Callable[[Epoch], str],
        on_rows: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self.job, self.plan, self.keeper, self.conf = job, plan, keeper, plan.train
        check_conf(self.conf)
        self.device = device.of(self.conf)
        self._after, self._on_rows = after, on_rows
        torch.set_num_threads(self.conf.threads)
        self.why: str | None = None  # it was stopped by the caller
        self.ended = False
        self.cpu_seconds = 0.0  # its share of what the pack has used
        self.bytes = math.nan  # of memory that one more like it takes, where that was measured (room.py)
        self.flat: Any = None  # its weights and moments in one piece, where its epochs are compiled
        self._order = Aside(job.folder)
        self._whole = True  # it stands between two epochs
        self.schedule_steps = 0
        kept = keeper.newest()
        try:
            self._begin(tensors, kept)
        except ArtifactError as error:
            if kept is None:
                raise
            keeper.refuse(error.what)
            self._begin(tensors, None)
        keeper.found, keeper.shared = None, 0.0  # what was found holds another copy of all

    def _begin(self, tensors: Batch, kept: Any) -> None:
        job, conf = self.job, self.conf
        self.model = built(job, self.plan).to(self.device.torch)
        check_model(self.model)
        self.numbers: int = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        self.generator = torch.Generator().manual_seed(conf.seed + 1)
        if self.device.is_gpu:
            counted.give(self.model, counted.Draws([conf.seed + 1], [0], self.device.torch))
        else:
            streams.give(self.model, self.generator)
        bare(self.model)
        metrics = (job.metric, *job.others)
        task = job.spec.task
        self.scorer = PackedScorer(
            self.generator, job.folder, job.validation, task, metrics, job.mode, self._told, self._rows, self.keeper
        )
        loader = TensorLoader(tensors, conf.batch_size, conf.seed)
        self.standing = Standing(loader, conf.max_epochs)
        self.model._trainer = self.standing
        self.model.log = self.model.log_dict = _unheard
        self.optimizer, self.schedule, self._interval = optimizer_of(self.model)
        if kept is not None:
            if not self.scorer.recall(kept):
                self.ended = True
                return
            try:
                state.take(self, kept.state)
            except Exception as error:
                reason = f"does not fit the model ({type(error).__name__}: {error})"
                raise ArtifactError("checkpoint", reason, "build the model anew") from error
            self.ended = self.standing.current_epoch >= conf.max_epochs
        if not self.ended and (self.device.is_gpu or not built_in(self.model)):
            self._probe(tuple(tensor[:PROBE_ROWS] for tensor in tensors))

    def _probe(self, batch: Batch) -> None:
        """One step of a copy of the model: does it need what a packed trial has not."""
        before = self.device.drawn()
        try:
            with known_warnings():
                loss = self.loss(copy.deepcopy(self.model), batch, 0)
        except Exception as error:
            raise Alone(f"its training step needs Lightning's trainer, or fails ({fault_of(error)})") from error
        finally:
            drawn = not all(map(torch.equal, before, self.device.drawn()))
            self.device.redraw(before)
        if drawn:
            raise Alone("its training step draws random numbers beside those of nn.Dropout")
        if not isinstance(loss, Tensor):
            raise Alone("its training step gives no loss")

    # ---- one epoch -------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """The rows of the coming epoch, in this trial's order, which is not kept in a CPU's memory meanwhile."""
        self.begin_epoch()
        loader = self.standing.train_dataloader
        if self.device.is_gpu:
            yield from loader
            return
        order = loader.order()
        kind, size = order.dtype, order.element_size()
        self._order.put(order.numpy().tobytes())
        del order

        def part(start: int, end: int | None) -> Tensor:
            data = self._order.part(start * size, None if end is None else end * size)
            return torch.frombuffer(bytearray(data), dtype=kind)

        yield from loader.batches(part)

    def begin_epoch(self) -> None:
        """The coming epoch begins: its loader knows the order of its rows."""
        self._whole = False
        self.scorer.on_train_epoch_start(self.standing, self.model)

    @property
    def turns_by_step(self) -> bool:
        """Does its schedule move at every step."""
        return self.schedule is not None and self._interval == "step"

    def loss(self, model: Any, batch: Batch, index: int) -> Any:
        """What the training step of this trial's model, or of a copy of it, gives as its loss, in its precision."""
        counted.begin(model, self.standing.global_step)
        with self.device.autocast():
            return loss_of(model.training_step(batch, index))

    def stepped(self, index: int, loss: float) -> None:
        """A step was taken, of this loss."""
        self.standing.global_step += 1
        self.scorer.on_train_batch_end(self.standing, self.model, loss, None, index)
        if self._interval == "step":
            self.turn_schedule()

    def coming(self, steps: int) -> list[tuple[float, ...]]:
        """The settings of AdamW at each of the coming steps, whose schedule has moved over them."""
        (group,) = self.optimizer.param_groups
        self.optimizer._opt_called = True  # as its own step says: schedules ask for it
        found = []
        for _ in range(steps):
            found.append(settings(group))
            if self._interval == "step":
                self.turn_schedule()
        return found

    def took(self, losses: Sequence[float]) -> None:
        """All steps of an epoch were taken, of these losses; `coming` has moved the schedule."""
        self.standing.global_step += len(losses)
        self.scorer.heard.extend(losses)

    def turn_schedule(self) -> None:
        """The schedule sets the next learning rate."""
        if self.schedule is not None:
            self.schedule.step()
            self.schedule_steps += 1

    def train_alone(self, stop: Event, step: Callable[[int, Batch], Tensor] | None = None) -> None:
        """The steps of one epoch, as Lightning takes them or as `step` does. Ended where `stop` is set meanwhile."""
        step = step or self.step
        for index, batch in enumerate(self.batches()):
            if stop.is_set():
                raise Ended
            self.stepped(index, step(index, batch).item())
        self.optimizer.zero_grad()  # a pack of many holds no gradients between epochs

    def step(self, index: int, batch: Batch) -> Tensor:
        """One step; its loss ()."""
        loss: Tensor = self.loss(self.model, batch, index)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss

    def score(self) -> None:
        """The epoch's steps are done: its loss and metrics, and the next learning rate."""
        self.scorer.on_train_epoch_end(self.standing, self.model)
        self.keeper.shared = (self.keeper.shared or 0.0) + self.scorer.curve[-1].seconds
        if self._interval == "epoch":
            self.turn_schedule()
        self.standing.current_epoch += 1
        self._whole = True

    def rest(self) -> None:
        """Between two epochs: a checkpoint where one is due, and the caller's verdict."""
        self.scorer.rest(self.standing, _Memory(self))
        self.ended = self.standing.should_stop or self.standing.current_epoch >= self.conf.max_epochs

    def keep(self) -> None:
        """The pack is interrupted: where this trial stands between two epochs, they are not lost."""
        if self._whole and self.scorer.curve and math.isfinite(self.scorer.curve[-1].train_loss):
            self.keeper.rest(self.standing.current_epoch, lambda: state.state_of(self), last=True)
            self.keeper.keep()

    def note(self, line: str) -> None:
        """A line for its record, once."""
        if line not in self.keeper.notes:
            self.keeper.notes.append(line)

    def note_once(self, start: str, rest: str) -> None:
        """A line for its record, in place of an earlier one that starts so."""
        self.keeper.notes[:] = [line for line in self.keeper.notes if not line.startswith(start)]
        self.note(start + rest)

    def _told(self, epoch: Epoch) -> bool:
        why = self._after(epoch)
        if why:
            self.why = why
            if of_the_budget(why):
                self.keeper.keep()
        return not why

    def _rows(self, prediction: np.ndarray) -> None:
        target = self.job.validation.target
        if self._on_rows is not None and target is not None:
            self._on_rows(influence(self.job.metric, self.job.spec.task, target, prediction))

    # ---- its end ---------------------------------------------------------------------------------------------------

    def close(self, fault: Exception | None = None) -> Trial:
        """Record how it ended; `fault`: what its own code has raised."""
        self._whole = False  # nothing of it is kept any more
        fitted = Fitted(curve=(), best_epoch=0, value=float("nan"), weights=b"")
        if fault is not None:
            verdict, reason = TrialState.FAILED, fault_of(fault)
        else:
            fitted = self.scorer.fitted(self.model)
            verdict, reason = ending(fitted, self.why, self.conf.max_epochs, self.job.metric)
        use = self.device.use(self.conf, self.cpu_seconds, self.keeper.spent(), self.bytes)
        self.let_go()
        return record_trial(self.job, self.plan, self.keeper, fitted, verdict, reason, use)

    def let_go(self) -> None:
        """It trains no more: its tensors go with it, not when Python finds the circle of trial and scorer."""
        self.flat = None
        vars(self).pop("scorer", None)


class _Memory:
    """The state of a packed trial, asked for as Lightning's is."""

    def __init__(self, trial: PackedTrial) -> None:
        self._trial = trial

    def current(self, trainer: Any) -> Any:
        """The state of the trial as it is now."""
        return state.state_of(self._trial)


def check_conf(conf: TrainConf) -> None:
    """Alone where a trial of this config cannot be packed."""
    if conf.workers > 1:
        raise Alone(f"train.workers={conf.workers} processes share it")


def check_model(model: Any) -> None:
    """Alone where Lightning would call code of this model that a packed trial does not."""
    if not getattr(model, "automatic_optimization", True):
        raise Alone("it optimizes by hand (automatic_optimization=False)")
    bases = [base for base in type(model).__mro__ if base.__name__ == "LightningModule"]
    base = bases[-1] if bases else nn.Module  # a network of ours is none, and whatever it has of these is its own
    for name in HOOKS:
        if getattr(type(model), name, None) is not getattr(base, name, None):
            raise Alone(f"it has a hook of its own, {name}")


def optimizer_of(model: Any) -> tuple[Any, Any, str]:
    """Optimizer, schedule (or None), and when that moves: epoch or step. Alone where the model wants more."""
    made: Any = model.configure_optimizers()
    schedule: Any = None
    if isinstance(made, dict):
        if made.get("monitor") is not None:
            raise Alone("its schedule follows a metric")
        made, schedule = made.get("optimizer"), made.get("lr_scheduler")
    elif isinstance(made, (list, tuple)) and len(made) == 1:
        made = made[0]
    if not isinstance(made, torch.optim.Optimizer):
        raise Alone("it has no optimizer, or more than one")
    if isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
        schedule = {"scheduler": schedule}
    about: Any = schedule or {}
    interval = about.get("interval", "epoch")
    plateau = isinstance(about.get("scheduler"), torch.optim.lr_scheduler.ReduceLROnPlateau)
    if plateau or about.get("frequency", 1) != 1 or about.get("monitor") is not None:
        raise Alone("its schedule follows a metric, or does not move at every step or epoch")
    return made, about.get("scheduler"), interval


def loss_of(output: Any) -> Any:
    """The loss that a training step gave."""
    return output["loss"] if isinstance(output, dict) else output


def _unheard(*values: Any, **options: Any) -> None:
    """In place of `log`: no logger listens in a sweep, alone or packed."""
