"""Short forms around the fixture `backend`: several arrays there, one array back."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.kernels.conftest import Backend


def put(backend: Backend, *arrays: Any) -> Any:
    """The arrays in the memory of the backend, None left alone; a single array comes back bare."""
    placed = tuple(None if x is None else backend.put(x) for x in arrays)
    return placed[0] if len(placed) == 1 else placed


def get(x: Any) -> Any:
    """An array or scalar of any backend on the host."""
    return x.get() if type(x).__module__.startswith("cupy") else np.asarray(x)
