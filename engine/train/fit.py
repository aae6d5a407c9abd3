"""One trial: build the model, fit it with Lightning, score it after every epoch with the kernels.

The caller says after each epoch whether to go on, so a scheduler can stop a trial without killing its process. The
weights of the best epoch are kept.
"""

from __future__ import annotations

import contextlib
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
from lightning.pytorch.callbacks import Callback

from engine.errors import ConfigError
from engine.records import Dataset, Epoch, FeatureSpec, Task
from engine.scores import score
from engine.train import weights
from engine.train.conf import ModelConf, TrainConf
from engine.train.loader import TensorLoader, as_tensor, as_tensors
from engine.train.model import link
from engine.train.registry import resolve

PREDICT_ROWS = 65_536  # rows of one forward pass when predicting


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


def predict(model: Any, data: Dataset, task: Task) -> np.ndarray:
    """Predictions float64: (N,) probability or value, (N, C) probabilities; (0,) without rows.

    The model is put in eval mode meanwhile; each of its modules is back in its own mode afterwards.
    """
    if not len(data):
        return np.empty(0)
    device = next(model.parameters()).device
    outputs = []
    with _evaluating(model), torch.inference_mode():
        for start in range(0, len(data), PREDICT_ROWS):
            part = slice(start, start + PREDICT_ROWS)
            numeric = as_tensor(data.numeric[part], device)
            categorical = as_tensor(data.categorical[part], device)
            outputs.append(link(task, model(numeric, categorical)).cpu())
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
) -> Fitted:
    """Fit `model` on `train`, scoring `validation` after each epoch; stop early when `on_epoch` returns False.

    Args:
        model: as `build` gives it; it is trained in place.
        train, validation: labelled rows.
        conf: epochs, batch, seed, device; on one CPU the same conf and rows give the same weights, bit for bit.
        task, metric, mode: what is scored, and whether max or min is best; NaN is never best.
        on_epoch: is told of every epoch but one whose loss is not finite: that ends the trial.
        others: further metrics, computed of every epoch; they choose nothing.
        on_prediction: is given the predictions of the validation rows after each epoch, before `on_epoch`.

    Raises:
        ConfigError: a GPU is asked for and there is none.
        KeyboardInterrupt: Ctrl-C. What the model's own code raises is let through.
    """
    quieten()
    device = accelerator(conf)
    torch.set_num_threads(conf.threads)
    scorer = _Scorer(validation, task, (metric, *others), mode, on_epoch, on_prediction)
    target = "cuda" if device == "gpu" else "cpu"
    loader = TensorLoader(as_tensors(train, target), conf.batch_size, conf.seed)
    with _known_warnings(), _interruptible(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(conf.seed + 1)  # dropout; the initial weights were drawn in build()
        trainer = lightning.Trainer(
            max_epochs=conf.max_epochs,
            accelerator=device,
            devices=1,
            precision=precision(conf, device),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[scorer],
        )
        trainer.fit(model, loader)
    return Fitted(
        curve=tuple(scorer.curve),
        best_epoch=scorer.best_epoch,
        value=scorer.best,
        weights=scorer.weights(model),
    )


class _Scorer(Callback):
    """Order of rows before an epoch; loss, metric, best weights and the caller's verdict after it."""

    def __init__(
        self,
        validation: Dataset,
        task: Task,
        metrics: tuple[str, ...],
        mode: str,
        on_epoch: Callable[[Epoch], bool],
        on_prediction: Callable[[np.ndarray], None],
    ) -> None:
        self.validation, self.task, self.metrics = validation, task, metrics
        self.on_epoch, self.on_prediction = on_epoch, on_prediction
        self.sign = 1.0 if mode == "max" else -1.0
        self.curve: list[Epoch] = []
        self.best, self.best_epoch, self._weights = math.nan, 0, b""
        self._losses: list[torch.Tensor] = []
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.train_dataloader.set_epoch(trainer.current_epoch)
        self._losses, self._began = [], time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._losses.append(loss.detach())  # stays on the device: no synchronisation inside the epoch

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        loss = float(torch.stack(self._losses).double().mean()) if self._losses else math.nan
        value, *others = self._values(pl_module)
        if math.isfinite(value) and not self.sign * value <= self.sign * self.best:
            self.best, self.best_epoch = value, trainer.current_epoch + 1
            self._weights = weights.dump(pl_module)
        seconds = time.perf_counter() - self._began
        number = trainer.current_epoch + 1
        epoch = Epoch(epoch=number, train_loss=loss, value=value, seconds=seconds, others=tuple(others))
        self.curve.append(epoch)
        if not math.isfinite(loss) or not self.on_epoch(epoch):  # a diverged trial cannot recover
            trainer.should_stop = True

    def _values(self, model: Any) -> list[float]:
        """All metrics, the first of which chooses the epoch."""
        target = self.validation.target
        assert target is not None  # the caller splits labelled rows
        prediction = predict(model, self.validation, self.task)
        self.on_prediction(prediction)
        if not np.isfinite(prediction).all():
            return [math.nan for _ in self.metrics]
        return [score(metric, self.task, target, prediction) for metric in self.metrics]

    def weights(self, model: Any) -> bytes:
        """Those of the best epoch, or the last ones where no epoch was usable."""
        return self._weights or weights.dump(model)


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
def _known_warnings() -> Iterator[None]:
    """Silence the warnings that are true and of no use: we choose one process without workers on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*number of training batches.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step\\(\\)` before `optimizer.step.*")
        yield
