"""One body of tests for every backend.

The fixture `backend` runs each test on the reference, on the CPU, on the CUDA code over a stand-in (no GPU: launchers
work on the strict arrays of `device.py`, and kernels run on the CPU, threads in shuffled order), and on a GPU where
there is one (``pytest -m gpu``).
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels import dispatch
from kernels.cuda import source

sys.path.insert(0, str(Path(__file__).parent / "cuda"))

import device
import shim


@dataclass(frozen=True)
class Backend:
    """A backend by the name that the table of dispatch knows it under, and the way to its memory and back."""

    name: str
    device: bool = False

    def put(self, values: Any) -> Any:
        if not self.device:
            return np.asarray(values)
        import cupy

        return cupy.asarray(values)

    def get(self, values: Any) -> Any:
        return values.get() if self.device else np.asarray(values)


def has_device() -> bool:
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    return bool(cupy.cuda.is_available())


@pytest.fixture
def shimmed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let the CUDA launchers work on NumPy arrays, and their kernels run on the host."""
    seed = getattr(request, "param", 1)

    def launch(
        name: str, kernel: str, grid: tuple[int, ...], block: int, args: tuple[Any, ...], shared: int = 0
    ) -> None:
        shim.build(name).launch(kernel, grid=grid, block=block, args=args, shared=shared, seed=seed)

    def pointers(arrays: Any) -> Any:
        return np.array([array.ctypes.data for array in arrays], dtype=np.uint64)

    # Imported before anything is replaced, or a first import would keep the replacements for good.
    modules = {name: importlib.import_module(f"kernels.cuda.{name}") for name in device.LAUNCHERS}
    monkeypatch.setattr(source, "module", lambda: np)
    for launcher, module in modules.items():
        replacements = {
            "module": lambda: np,
            "launch": launch,
            "pointers": pointers,
            "shared_limit": lambda: device.SHARED,
        }
        for name, replacement in replacements.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, replacement)
        if launcher in dispatch.TABLE:
            monkeypatch.setitem(dispatch.TABLE[launcher], "reference", f"kernels.cuda.{launcher}")


@pytest.fixture(params=["reference", "cpu", "stand-in", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    if request.param == "cuda" and not has_device():
        pytest.skip("no CUDA device")
    if request.param == "stand-in":
        device.install(monkeypatch, seed=1)
        return Backend("cuda", device=True)
    return Backend(request.param, device=request.param == "cuda")
