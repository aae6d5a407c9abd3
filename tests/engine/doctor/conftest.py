"""A machine on which all is well, and what the doctor says once a fault is planted."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.doctor import Finding, State, devices, examine, ground, services

GOOD = {
    "torch": "2.13.0+cpu",
    "lightning": "2.6.6",
    "ray": "2.60.0",
    "hydra-core": "1.3.8",
    "numpy": "2.3.1",
    "numba": "0.68.1",
    "pyarrow": "21.0.0",
    "safetensors": "0.6.2",
    "sqlalchemy": "2.1.9",
    "wandb": "0.31.0",
}
SETTINGS = ("RAY_ADDRESS", "RAY_AUTH_MODE", "WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL")
SETTINGS += ("NUMBA_THREADING_LAYER", "NUMBA_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES")
Usage = namedtuple("Usage", "total used free")
Examined = Callable[..., dict[str, Finding]]


@pytest.fixture(autouse=True)
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests, no GPU, no sockets, a disk with room."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ground.shutil, "disk_usage", lambda _: Usage(0, 0, 50 * ground.GIB))
    monkeypatch.setattr(ground, "file_system", lambda _: "ext4")
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "no-driver")
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "no-cpuinfo")
    monkeypatch.setattr(devices, "_layers", lambda: ("omp", "workqueue"))
    monkeypatch.setattr(services, "SOCKETS", ())


@pytest.fixture
def examined() -> Examined:
    """All findings by name, where these packages have other versions."""

    def examine_with(folder: Path, **changes: str) -> dict[str, Finding]:
        installed = GOOD | {name.replace("_", "-"): version for name, version in changes.items()}
        found = examine(folder, lambda package: installed.get(package, ""))
        assert len({f.what for f in found}) == len(found)
        assert all(bool(f.cure) is (f.state is not State.GOOD) for f in found), "each fault has its cure"
        return {f.what: f for f in found}

    return examine_with


def faults(found: dict[str, Finding]) -> dict[str, State]:
    """What is not good."""
    return {what: f.state for what, f in found.items() if f.state is not State.GOOD}
