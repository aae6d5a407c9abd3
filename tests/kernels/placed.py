"""One body of tests for every backend: the same call on host arrays and, where there is a GPU, on device arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

BACKENDS = ["reference", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def put(backend: str, *arrays: Any) -> Any:
    """The arrays where `backend` reads them: CuPy's for "cuda", NumPy's otherwise; one array comes back bare."""
    if backend == "cuda":
        cupy = pytest.importorskip("cupy")
        if not cupy.is_available():
            pytest.skip("no CUDA device")
        arrays = tuple(None if x is None else cupy.asarray(x) for x in arrays)
    return arrays[0] if len(arrays) == 1 else arrays


def get(x: Any) -> Any:
    """Back on the host as NumPy."""
    return x.get() if hasattr(x, "get") and not isinstance(x, dict) else np.asarray(x)
