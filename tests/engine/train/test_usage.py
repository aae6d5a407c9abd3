"""What a trial used: CPU seconds by a known burn, the GPU through a stand-in for NVML."""

from __future__ import annotations

import math
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from engine.train import usage
from engine.train.conf import TrainConf
from engine.train.usage import MISSING, Meter, Sampler
from tests.patience import until

UUID = "6ce1b2a4-1c2d-4f6a-9d3e-000000000001"


class Nvml(SimpleNamespace):
    """One GPU whose kernels run as the list says, by sample; the last one stays."""

    def __init__(self, busy: list[int], fault: str = "") -> None:
        super().__init__()
        self.busy, self.fault, self.asked, self.open = list(busy), fault, [], 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked.append(uuid)
        return "device"

    def nvmlDeviceGetUtilizationRates(self, device: str) -> Any:
        assert device == "device"
        if self.fault:
            raise RuntimeError(self.fault)
        return SimpleNamespace(gpu=self.busy.pop(0) if len(self.busy) > 1 else self.busy[0])

    def nvmlDeviceGetMemoryInfo(self, device: str) -> Any:
        return SimpleNamespace(used=1000 * (1 + len(self.busy)))


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_trains_on_gpu", lambda conf: True)
    monkeypatch.setattr(usage, "_uuid", lambda: f"GPU-{UUID}")


def install(monkeypatch: pytest.MonkeyPatch, nvml: Any) -> Any:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def burn(seconds: float) -> None:
    """Use the CPU for so long, by its own clock."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_cpu_is_counted_and_the_gpu_is_not_there() -> None:
    began = time.process_time()
    with Meter(TrainConf(accelerator="cpu")) as meter:
        burn(0.2)
    assert meter.use is not None
    assert 0.2 <= meter.use.cpu_seconds < time.process_time() - began + 0.05
    assert meter.use.gpu_seconds == 0.0
    assert math.isnan(meter.use.gpu_utilisation)
    assert meter.use.reason == "trained on the CPU"


def test_sleep_is_no_use() -> None:
    began = time.process_time()
    with Meter(TrainConf(accelerator="cpu")) as meter:
        time.sleep(0.2)
    assert meter.use is not None
    assert meter.use.cpu_seconds < time.process_time() - began + 0.05


def test_what_a_trial_used_is_known_though_it_raised() -> None:
    meter = Meter(TrainConf(accelerator="cpu"))
    with pytest.raises(ValueError, match="broken"), meter:
        raise ValueError("broken")
    assert meter.use is not None


def test_a_gpu_is_sampled_until_the_end(on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = install(monkeypatch, Nvml([100, 50, 0]))
    sampler = Sampler(0.01)
    sampler.start()
    until(lambda: len(nvml.busy) == 1, every=0.005)
    busy, memory, samples, reason = sampler.stop()
    assert busy == pytest.approx(1.5 / samples)  # the last value is 0, however often it was seen
    assert (memory, reason, nvml.open) == (3000.0, "", 0)
    assert set(nvml.asked) == {f"GPU-{UUID}"}


@pytest.mark.parametrize(("gpus", "workers", "times"), [(None, 1, 1.0), (0.5, 1, 0.5), (1.0, 2, 2.0)])
def test_gpu_seconds_are_gpus_times_wall(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch, gpus: float | None, workers: int, times: float
) -> None:
    install(monkeypatch, Nvml([80]))
    began = time.perf_counter()
    with Meter(TrainConf(gpus=gpus, workers=workers)) as meter:
        time.sleep(0.05)
    whole = time.perf_counter() - began
    assert meter.use is not None
    assert times * 0.05 <= meter.use.gpu_seconds <= times * whole
    assert meter.use.gpu_utilisation == 0.8  # a trial shorter than a period is seen at its end
    assert meter.use.samples == 1


def test_without_nvml_the_time_is_known_and_why_the_rest_is_not(on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)  # an import of it fails
    with Meter(TrainConf()) as meter:
        pass
    assert meter.use is not None
    assert meter.use.gpu_seconds > 0
    assert math.isnan(meter.use.gpu_utilisation)
    assert (meter.use.samples, meter.use.reason) == (0, MISSING)


def test_a_fault_of_the_driver_ends_the_looking_and_no_trial(on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = install(monkeypatch, Nvml([0], fault="GPU is lost"))
    before = set(threading.enumerate())
    with Meter(TrainConf()) as meter:
        pass
    assert meter.use is not None
    assert meter.use.reason == "NVML: RuntimeError: GPU is lost"
    assert nvml.open == 0
    assert set(threading.enumerate()) <= before
