"""One body of tests for every backend: the fixture `backend` runs each test on the reference, the CPU and the
GPU."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Backend:
    """A backend by name, and the way to its memory and back."""

    name: str

    def put(self, values: Any) -> Any:
        if self.name != "cuda":
            return np.asarray(values)
        import cupy

        return cupy.asarray(values)

    def get(self, values: Any) -> Any:
        return np.asarray(values) if self.name != "cuda" else values.get()


def _has_device() -> bool:
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    return bool(cupy.cuda.is_available())


@pytest.fixture(params=["reference", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "cuda" and not _has_device():
        pytest.skip("no CUDA device")
    return Backend(request.param)
