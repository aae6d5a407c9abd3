"""A stand-in for CuPy on the CPU that is as strict as CuPy: host and device arrays never mix in silence.

It shows, without a GPU, that the code between the kernels keeps arrays on their device: NumPy functions reach it by
__array_function__, implicit conversion to a host array raises, and so does any operation that gets a host array.
Reading a value back (``get``, ``int``, ``bool``), and any result whose size depends on values, makes the host wait for
a real device: these raise inside `no_synchronisation`. `install` puts it in the place of CuPy, and kernels on the host.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shim
from scipy import special

PLAIN = ("dtype", "shape", "ndim", "size", "itemsize", "nbytes", "strides", "flags")
SHARED = 163 * 1024  # bytes of shared memory a block: an A100's
LAUNCHERS = ("rank", "splitter", "histogram", "pairwise", "ordering", "resample", "scores")
READS = ("get", "item", "tolist", "tobytes", "nonzero")
SIZED_BY_VALUES = ("unique", "nonzero", "flatnonzero", "argwhere", "compress", "extract", "array_equal", "allclose")

_watched = False
operations = 0  # of whole arrays so far: what would be a launch each


def _waits(what: str) -> None:
    """The host waits here for a real device."""
    if _watched:
        raise AssertionError(f"{what} makes the host wait for the device")


@contextlib.contextmanager
def no_synchronisation() -> Iterator[None]:
    """Reading values back raises AssertionError inside."""
    global _watched
    _watched = True
    try:
        yield
    finally:
        _watched = False


def unwrap(x: Any, *, host: bool = False) -> Any:
    """Device arrays as NumPy's, through tuples, lists and dicts; TypeError for a host array unless `host`."""
    if isinstance(x, ndarray):
        return x.values
    if isinstance(x, np.ndarray) and not host:
        raise TypeError("a host array in a device operation")
    if isinstance(x, tuple | list):
        return type(x)(unwrap(item, host=host) for item in x)
    if isinstance(x, dict):
        return {key: unwrap(item, host=host) for key, item in x.items()}
    return x


def wrap(x: Any) -> Any:
    """Results as device arrays: reductions give 0-d arrays, as CuPy's do."""
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(np.asarray(x))
    if isinstance(x, tuple | list):
        return tuple(wrap(item) for item in x)
    return x


def _index(key: Any) -> Any:
    """A key of device arrays as one of NumPy's; a boolean mask picks as many values as it holds True."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, ndarray) and part.dtype == bool for part in parts):
        _waits("a boolean mask")
    return unwrap(key)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that only device functions can read."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.device = SimpleNamespace(id=0)

    def __array__(self, *args: Any, **keywords: Any) -> Any:
        raise TypeError("implicit conversion to a host array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if "out" in keywords:
            getattr(ufunc, method)(*unwrap(inputs), **unwrap(keywords))
            return keywords["out"][0]
        global operations
        operations += 1
        with np.errstate(all="ignore"):  # a device sets no floating-point flags
            return wrap(getattr(ufunc, method)(*unwrap(inputs), **unwrap(keywords)))

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        return _call(function, function.__name__, args, keywords)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.values, name)
        if name in PLAIN:
            return found
        if name in READS:
            _waits(name)
        if callable(found):
            return lambda *args, **keywords: _call(found, name, args, keywords)
        return wrap(found)

    def __getitem__(self, key: Any) -> Any:
        return wrap(self.values[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[unwrap(key)] = unwrap(value)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return (wrap(item) for item in self.values)

    def __bool__(self) -> bool:
        _waits("bool()")
        return bool(self.values)

    def __int__(self) -> int:
        _waits("int()")
        return int(self.values)

    def __float__(self) -> float:
        _waits("float()")
        return float(self.values)

    def __index__(self) -> int:
        _waits("an index")
        return self.values.__index__()

    def get(self) -> Any:
        _waits("get")
        return self.values.copy()


ndarray.__module__ = "cupy"


def _call(function: Any, name: str, args: Any, keywords: Any) -> Any:
    if name in SIZED_BY_VALUES:
        _waits(name)
    if "initial" in keywords or (name != "where" and "where" in keywords):
        raise TypeError(f"{name}: CuPy's reductions know neither initial nor where")
    host = name in ("asarray", "array")
    global operations
    operations += 1
    with np.errstate(all="ignore"):
        return wrap(function(*unwrap(args, host=host), **unwrap(keywords)))


class Module:
    """The module `cupy`: NumPy's functions over device arrays; asarray and array alone accept host data."""

    ndarray = ndarray
    cuda = SimpleNamespace(is_available=lambda: True, Device=lambda index: contextlib.nullcontext())
    __spec__ = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found
        return lambda *args, **keywords: _call(found, name, args, keywords)


def install(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> set[str]:
    """The stand-in is CuPy, and kernels launch on the host with threads in an order drawn from `seed`.

    Returns the names of the kernels launched so far, which grows with every launch.
    """
    cupy, launched = Module(), set()

    def launch(name: str, kernel: str, grid: Any, block: int, args: tuple[Any, ...], shared: int = 0) -> None:
        global operations
        operations += 1
        assert shared <= SHARED
        launched.add(kernel)
        shim.build(name).launch(kernel, grid=grid, block=block, args=unwrap(args), shared=shared, seed=seed)

    def pointers(arrays: Any) -> Any:
        return wrap(np.array([array.values.ctypes.data for array in arrays], dtype=np.uint64))

    names = ("erfc", "gammaincc")
    functions = SimpleNamespace(**{name: _special(getattr(special, name)) for name in names})
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", functions)
    # Imported before anything is replaced, or a first import would keep the replacements for good.
    modules = [importlib.import_module(f"kernels.cuda.{name}") for name in (*LAUNCHERS, "source")]
    for module in modules:
        replacements = {"module": lambda: cupy, "launch": launch, "pointers": pointers, "shared_limit": lambda: SHARED}
        for name, replacement in replacements.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, replacement)
    return launched


def _special(function: Any) -> Any:
    return lambda *args: wrap(function(*unwrap(args)))
