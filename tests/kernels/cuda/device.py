"""A stand-in for CuPy on the CPU that is as strict as CuPy: host and device arrays never mix in silence.

It shows, without a GPU, that the code between the kernels keeps arrays on their device: NumPy functions reach
it by __array_function__, implicit conversion to a host array raises, and so does any operation that gets a
host array.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

PLAIN = ("dtype", "shape", "ndim", "size", "itemsize", "nbytes", "strides", "flags")


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
        return wrap(getattr(ufunc, method)(*unwrap(inputs), **unwrap(keywords)))

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        host = function in (np.asarray, np.array)
        return wrap(function(*unwrap(args, host=host), **unwrap(keywords)))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.values, name)
        if name in PLAIN:
            return found
        if callable(found):
            return lambda *args, **keywords: wrap(found(*unwrap(args), **unwrap(keywords)))
        return wrap(found)

    def __getitem__(self, key: Any) -> Any:
        return wrap(self.values[unwrap(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[unwrap(key)] = unwrap(value)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return (wrap(item) for item in self.values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __int__(self) -> int:
        return int(self.values)

    def __float__(self) -> float:
        return float(self.values)

    def __index__(self) -> int:
        return self.values.__index__()

    def get(self) -> Any:
        return self.values.copy()


ndarray.__module__ = "cupy"


class Module:
    """The module `cupy`: NumPy's functions over device arrays; asarray and array alone accept host data."""

    ndarray = ndarray
    cuda = SimpleNamespace(is_available=lambda: True)
    __spec__ = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found
        host = name in ("asarray", "array")
        return lambda *args, **keywords: wrap(found(*unwrap(args, host=host), **unwrap(keywords)))
