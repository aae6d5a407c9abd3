"""Where a packed trial trains: a CPU or the GPU of its process, in the precision that it has alone.

No GPU has run this yet. It is tested on CPUs: with a device that is called a GPU, and with tensors of torch's device
meta, which have a place and no numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.records import Dataset, DeviceUse
from engine.train.conf import TrainConf
from engine.train.inference import accelerator, autocast, precision
from engine.train.loader import as_tensors

TORCH = {"cpu": "cpu", "gpu": "cuda"}


@dataclass(frozen=True)
class Device:
    """`kind` as Lightning has it, cpu or gpu; `torch`: where the tensors are; `precision`: 32-true or bf16-mixed."""

    kind: str
    torch: torch.device
    precision: str

    @property
    def is_gpu(self) -> bool:
        """A GPU: steps are launched, not computed here, and nothing of them is known before it is asked for."""
        return self.kind == "gpu"

    @property
    def by_hand(self) -> bool:
        """Are there steps by hand (byhand.py): float32 on a CPU."""
        return self.kind == "cpu" and self.precision == "32-true"

    def autocast(self) -> Any:
        """Around a training step."""
        return autocast(self.precision, self.torch)

    def drawn(self) -> list[Tensor]:
        """The states of torch's own generators, here and there."""
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state(self.torch)] if self.torch.type == "cuda" else states

    def redraw(self, states: list[Tensor]) -> None:
        """Put them back."""
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.cuda.set_rng_state(state, self.torch)

    def let_go(self) -> None:
        """Give back what torch keeps of a GPU's memory for itself."""
        if self.torch.type == "cuda":
            torch.cuda.empty_cache()

    def use(self, conf: TrainConf, cpu_seconds: float, seconds: float, trial_bytes: float) -> DeviceUse:
        """What a trial used whose share of the wall time is so many seconds."""
        gpu_seconds = (conf.gpus or 1.0) * seconds if self.is_gpu else 0.0
        reason = "its pack shared the GPU: not sampled by trial" if self.is_gpu else "trained on the CPU"
        return DeviceUse(cpu_seconds=cpu_seconds, gpu_seconds=gpu_seconds, reason=reason, trial_bytes=trial_bytes)


def of(conf: TrainConf) -> Device:
    """The device of a trial; ConfigError where it asks for a GPU and there is none."""
    kind = accelerator(conf)
    return Device(kind, torch.device(TORCH[kind]), precision(conf, kind))


def on_gpu(confs: Iterable[TrainConf]) -> bool:
    """Do any of these trials train on a GPU; without a refusal where there is none."""
    return torch.cuda.is_available() and any(conf.accelerator != "cpu" for conf in confs)


class Rows:
    """The training rows, once on each device that trains on them."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._there: dict[torch.device, tuple[Tensor, ...]] = {}

    def on(self, device: Device) -> tuple[Tensor, ...]:
        """Numbers (N, P), categories (N, Q) and labels (N,)."""
        if device.torch not in self._there:
            self._there[device.torch] = as_tensors(self._data, device.torch)
        return self._there[device.torch]
