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
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.fit_loop import _FitLoop

from engine.errors import ArtifactError, ConfigError
from engine.records import Dataset, Epoch, FeatureSpec, Task, from_plain, to_plain
from engine.scores import score
from engine.train import distributed, sharded, weights
from engine.train.checkpoint import Checkpoint, Keeper
from engine.train.conf import ModelConf, TrainConf
from engine.train.loader import TensorLoader, as_tensor, as_tensors
from engine.train.members import GO, KEEP, OVER, PASS, STATE, STOP, Members, Part, Share, Spawned
from engine.train.model import link
from engine.train.registry import resolve

PREDICT_ROWS = 65_536  # rows of one forward pass when predicting on a GPU
CACHED_ROWS = 512  # on a CPU: their activations stay in its cache, and in little memory


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a trial leaves behind."""

    curve: tuple[Epoch, ...]
    best_epoch: int  # 0 where no epoch gave a finite value
    value: float
    weights: bytes  # of best_epoch; of the last one where best_epoch is 0


def build(model: ModelConf, spec: FeatureSpec, train: TrainConf, trusted: tuple[str, ...] = ()) -> Any:
    """The LightningModule that the config names, with weights drawn from `train.seed`.

    ConfigError where the class is not trusted or refuses its keys; what its own code raises otherwise is let through.
    """
    params = {key: value for key, value in model.items() if key != "_target_"}
    cls = resolve(str(model["_target_"]), trusted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        try:
            return cls(spec=spec, train=train, **params)
        except TypeError as error:
            raise ConfigError(
                "model", f"{cls.__name__} refuses {sorted(params)} ({error})", "check the keys"
            ) from error


def predict(model: Any, data: Dataset, task: Task | None) -> np.ndarray:
    """Predictions float64: (N,) probability or value, (N, C) probabilities; (0,) without rows. No task: raw outputs.

    The model is put in eval mode meanwhile; each of its modules is back in its own mode afterwards.
    """
    if not len(data):
        return np.empty(0)
    device = next(model.parameters()).device
    outputs, rows = [], CACHED_ROWS if device.type == "cpu" else PREDICT_ROWS
    with _evaluating(model), torch.inference_mode():
        for start in range(0, len(data), rows):
            part = slice(start, start + rows)
            output = model(*(as_tensor(side[part], device) for side in (data.numeric, data.categorical)))
            outputs.append((output.double() if task is None else link(task, output)).cpu())
    return torch.cat(outputs).numpy()


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Eval mode; a frozen part of a user's model stays frozen when training goes on."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def accelerator(conf: TrainConf) -> str:
    """cpu or gpu; ConfigError where a GPU is asked for and there is none."""
    has_gpu = torch.cuda.is_available()
    if conf.accelerator == "gpu" and not has_gpu:
        raise ConfigError("train.accelerator", "no GPU was found", "use auto or cpu, or start where there is one")
    return "gpu" if has_gpu and conf.accelerator != "cpu" else "cpu"


def precision(conf: TrainConf, device: str) -> Any:
    """Lightning's name of the precision: bf16 by default on a GPU that has it."""
    wanted = conf.precision
    if wanted == "auto":
        wanted = "bf16" if device == "gpu" and torch.cuda.is_bf16_supported() else "32"
    return {"bf16": "bf16-mixed", "32": "32-true"}[wanted]


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
    scorer = Scorer(validation, task, (metric, *others), mode, on_epoch, on_prediction, keeper)
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
            trainer.fit(model, loader, ckpt_path="the checkpoint" if kept else None)
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


class Scorer(Callback):
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
        prediction = predict(model, self.validation, self.task)
        self.on_prediction(prediction)
        if not np.isfinite(prediction).all():
            return [math.nan for _ in self.metrics]
        return [score(metric, self.task, target, prediction) for metric in self.metrics]

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
