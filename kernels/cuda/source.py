"""The one door from the CUDA launchers to CuPy: arrays, pointers, and kernels compiled from the .cu files.

A source is compiled by NVRTC on first use, for the device at hand, and cached by CuPy on disk. Kernels run on CuPy's
current stream; `kernels.arrays.stream_of` has made that the stream of the caller. Nothing here waits for the device.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernels.arrays import load_cupy

HERE = Path(__file__).parent
OPTIONS = ("--std=c++17", "--fmad=false")
"""No fused multiply-add and never fast math: sums agree with the host to the last rounding of each operation."""

FREE_SHARED = 48 * 1024
"""Bytes of shared memory that a kernel may use without asking."""

SUFFIX = {"float32": "f32", "float64": "f64", "int64": "i64", "uint64": "u64"}


def module() -> Any:
    """The array module of the device: CuPy."""
    return load_cupy()


def pointer(array: Any) -> int:
    """The device address of an array."""
    return int(array.data.ptr)


def pointers(arrays: Sequence[Any]) -> Any:
    """Addresses of several arrays as a device array: one launch then serves all of them."""
    return module().asarray(np.array([pointer(a) for a in arrays], dtype=np.uint64))


@functools.cache
def _compiled(source: str) -> Any:
    text = (HERE / f"{source}.cu").read_text()
    return module().RawModule(code=text, options=(*OPTIONS, f"-I{HERE}"))


def launch(source: str, kernel: str, grid: tuple[int, int], block: int, args: tuple[Any, ...], shared: int = 0) -> None:
    """Launch one kernel; scalars in `args` are NumPy scalars of the parameter's type, arrays are contiguous."""
    function = _compiled(source).get_function(kernel)
    if shared > FREE_SHARED:
        function.max_dynamic_shared_size_bytes = shared
    function(grid, (block,), args, shared_mem=shared)


def shared_limit() -> int:
    """Bytes of shared memory that one block may ask for on the current device: 99 to 227 KB."""
    runtime = module().cuda.runtime
    return int(runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, runtime.getDevice()))


def suffix(dtype: Any) -> str:
    """How kernels of a dtype end: f32, f64, i64 or u64."""
    return SUFFIX[str(dtype)]
