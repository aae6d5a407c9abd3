"""A model without a trainer: built from its config, its predictions, and where it may run.

No Lightning here. Whoever only asks a model (evaluate, gate, the cold check, the driver of a sweep) waits for torch
alone; Lightning takes longer to import than torch does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from engine.errors import ConfigError
from engine.records import Dataset, FeatureSpec, Task
from engine.train.conf import ModelConf, TrainConf
from engine.train.loader import as_tensor
from engine.train.model import link
from engine.train.registry import resolve

PREDICT_ROWS = 65_536  # rows of one forward pass when predicting on a GPU
CACHED_ROWS = 512  # on a CPU: their activations stay in its cache, and in little memory


def build(model: ModelConf, spec: FeatureSpec, train: TrainConf, trusted: tuple[str, ...] = ()) -> Any:
    """The model that the config names, with weights drawn from `train.seed`.

    ConfigError where the class is not trusted or refuses its keys; what its own code raises otherwise is let through.
    """
    params = {key: value for key, value in model.items() if key != "_target_"}
    cls = resolve(str(model["_target_"]), trusted)
    with torch.random.fork_rng(devices=[]):
        seed(train.seed)
        try:
            return cls(spec=spec, train=train, **params)
        except TypeError as error:
            raise ConfigError(
                "model", f"{cls.__name__} refuses {sorted(params)} ({error})", "check the keys"
            ) from error


def seed(number: int) -> None:
    """As torch.manual_seed, which without a GPU takes longer to note the seed for one than a small model to be made."""
    if torch.cuda.is_available():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


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


def autocast(name: str, device: torch.device) -> Any:
    """What Lightning's mixed precision is around a training step; parameters and optimizer state are float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=name == "bf16-mixed")
