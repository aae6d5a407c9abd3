"""What one trial uses of CPU and GPU, sampled by the process that trains it.

CPU seconds are those of the whole process, which trains one trial at a time. GPU seconds need no sampling: so many GPUs
for so long. How busy they were is asked of NVML (`pip install nvidia-ml-py`) every second; where it is not installed or
refuses, that number is unknown and says why.
"""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Any

from engine.records import DeviceUse
from engine.train.conf import TrainConf

EVERY = 1.0  # seconds between two samples: NVML's own period is between a sixth of a second and one
MISSING = "utilisation needs NVML: pip install nvidia-ml-py"


class Meter:
    """Around the training of one trial; `use` is known afterwards, also where it raised."""

    def __init__(self, conf: TrainConf, every: float = EVERY) -> None:
        self._gpus = conf.workers * (conf.gpus or 1.0) if _trains_on_gpu(conf) else 0.0
        self._sampler = Sampler(every) if self._gpus else None
        self.use: DeviceUse | None = None

    def __enter__(self) -> Meter:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        if self._sampler:
            self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        wall = time.perf_counter() - self._wall
        busy, memory, samples, reason = self._sampler.stop() if self._sampler else (math.nan, math.nan, 0, "")
        self.use = DeviceUse(
            cpu_seconds=time.process_time() - self._cpu,
            gpu_seconds=self._gpus * wall,
            gpu_utilisation=busy,
            gpu_memory_bytes=memory,
            samples=samples,
            reason=reason if self._sampler else "trained on the CPU",
        )


class Sampler:
    """A thread that looks at the GPU of this process until it is told to stop. A fault ends the looking, no trial."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._over = threading.Event()
        self._busy: list[float] = []
        self._memory: list[float] = []
        self._reason = ""
        self._thread = threading.Thread(target=self._look, daemon=True, name="gpu use")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> tuple[float, float, int, str]:
        """Mean utilisation, most memory in use, number of samples, and why there is none."""
        self._over.set()
        self._thread.join()
        if not self._busy:
            return math.nan, math.nan, 0, self._reason or "the trial was over before the first sample"
        return sum(self._busy) / len(self._busy), max(self._memory), len(self._busy), self._reason

    def _look(self) -> None:
        try:
            nvml = _nvml()
        except ImportError:
            self._reason = MISSING
            return
        try:
            nvml.nvmlInit()
            try:
                device = nvml.nvmlDeviceGetHandleByUUID(_uuid())
                over = False
                while not over:  # once more after the end: a short trial is seen, too
                    over = self._over.wait(self._every)
                    self._busy.append(nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
                    self._memory.append(float(nvml.nvmlDeviceGetMemoryInfo(device).used))
            finally:
                nvml.nvmlShutdown()
        except Exception as error:  # of a driver, in whatever form: how busy the GPU is decides nothing
            self._reason = f"NVML: {type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _trains_on_gpu(conf: TrainConf) -> bool:
    """As the trial itself will find; without its refusal where there is none."""
    import torch

    return conf.accelerator != "cpu" and torch.cuda.is_available()


def _nvml() -> Any:
    """NVIDIA's own binding; ImportError where it is not installed."""
    import pynvml

    return pynvml


def _uuid() -> str:
    """Of the GPU that this process trains on: NVML counts devices that it does not see."""
    import torch

    found = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    return found if found.startswith(("GPU-", "MIG-")) else f"GPU-{found}"
