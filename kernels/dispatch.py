"""One explicit table: primitive -> {reference, cpu, cuda}; the backend follows the device of the arrays.

Each cell names a module that is imported on first use: importing kernels needs neither Numba nor CuPy.
There is no fallback: a missing backend raises BackendUnavailable and says what to install.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

from kernels.arrays import Array, check_option, common_device, load_cupy
from kernels.errors import BackendUnavailable, DeviceError

__all__ = ["BACKENDS", "TABLE", "Implementation", "backend_for", "implementation", "load", "load_cupy"]

BACKENDS = ("reference", "cpu", "cuda")

TABLE: dict[str, dict[str, str]] = {
    "histogram": {
        "reference": "kernels.reference.histogram",
        "cpu": "kernels.cpu.histogram",
        "cuda": "kernels.cuda.histogram",
    },
    "rank": {
        "reference": "kernels.reference.rank",
        "cpu": "kernels.cpu.rank",
        "cuda": "kernels.cuda.rank",
    },
    "custom": {
        "reference": "kernels.reference.custom",
        "cpu": "kernels.cpu.custom",
    },
    "pairwise": {
        "reference": "kernels.reference.pairwise",
        "cpu": "kernels.cpu.pairwise",
        "cuda": "kernels.cuda.pairwise",
    },
    "ordering": {
        "reference": "kernels.reference.ordering",
        "cpu": "kernels.cpu.ordering",
        "cuda": "kernels.cuda.ordering",
    },
    "resample": {
        "reference": "kernels.reference.resample",
        "cpu": "kernels.cpu.resample",
        "cuda": "kernels.cuda.resample",
    },
    "stream": {
        "reference": "kernels.reference.stream",
        "cpu": "kernels.cpu.stream",
    },
    "scores": {
        "reference": "kernels.reference.scores",
        "cpu": "kernels.cpu.scores",
        "cuda": "kernels.cuda.scores",
    },
}


class Implementation(NamedTuple):
    """A loaded backend module for one primitive, and the name of the backend that a result records."""

    module: ModuleType
    backend: str


def backend_for(*arrays: Array, backend: str | None = None) -> str:
    """The backend of these arrays: ``"cpu"`` for host memory, ``"cuda"`` for device memory.

    `backend` overrides it, for tests and benchmarks, within the same memory: ``"reference"`` and ``"cpu"``
    need host arrays, ``"cuda"`` needs device arrays; DeviceError otherwise, for no array moves in silence.
    """
    device = common_device(*arrays)
    natural = "cpu" if device == "cpu" else "cuda"
    if backend is None:
        return natural
    check_option(backend, "backend", BACKENDS)
    if (backend == "cuda") != (natural == "cuda"):
        raise DeviceError(f"backend: {backend!r} cannot read arrays on {device} - move the arrays first")
    return backend


def implementation(primitive: str, *arrays: Array, backend: str | None = None) -> Implementation:
    """The module that computes `primitive` where `arrays` live; BackendUnavailable when it cannot load."""
    chosen = backend_for(*arrays, backend=backend)
    return Implementation(load(primitive, chosen), chosen)


def load(primitive: str, backend: str) -> ModuleType:
    """Import one cell of the table; BackendUnavailable names the package that is missing, or the empty cell."""
    if backend not in TABLE[primitive]:
        raise BackendUnavailable(f"backend: {primitive!r} has no {backend!r} form - move the arrays to the CPU first")
    if backend == "cuda":
        load_cupy()
    try:
        return importlib.import_module(TABLE[primitive][backend])
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "kernels":
            raise
        raise BackendUnavailable(
            f"backend: {backend!r} needs {error.name}, which is not installed - pip install {error.name}"
        ) from error
