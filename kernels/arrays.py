"""What an array is: which library and device it lives on, its shape and its exact working dtype.

Shape and dtype checks read metadata on the host alone, so they never wait for a device. Two exceptions read
values and are marked: mixing int64 with floating point or with uint64 must look at the range of the integers.

Working dtypes are float32, float64, int64 and uint64. Every other numeric dtype is widened exactly:

    float16, bfloat16             -> float32
    bool, (u)int8, (u)int16, (u)int32 -> int64
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from kernels.errors import BackendUnavailable, DeviceError, DTypeError, MissingValueError, OptionError, ShapeError

Array = Any
"""A NumPy or CuPy array, or a torch tensor; which one decides the backend."""

NAN_POLICIES = ("omit", "propagate", "raise")
_EXACT_FLOAT64 = 1 << 53


def library_of(x: Array) -> str:
    """``"numpy"``, ``"cupy"`` or ``"torch"``: the library whose object `x` is; sequences count as NumPy."""
    root = type(x).__module__.partition(".")[0]
    return root if root in ("cupy", "torch") else "numpy"


def device_of(x: Array) -> str:
    """``"cpu"`` or ``"cuda:<index>"``: where the values of `x` lie. Reads metadata alone."""
    library = library_of(x)
    if library == "cupy":
        return f"cuda:{x.device.id}"
    if library == "torch":
        if x.device.type == "cpu":
            return "cpu"
        if x.device.type == "cuda":
            return f"cuda:{x.device.index if x.device.index is not None else 0}"
        raise DeviceError(f"device: {x.device} is not served - move the tensor to the CPU or to CUDA")
    return "cpu"


def common_device(*arrays: Array) -> str:
    """The one device of all arrays; DeviceError when they differ: a hidden copy is a hidden cost."""
    devices = {device_of(x) for x in arrays}
    if len(devices) != 1:
        listed = ", ".join(sorted(devices))
        raise DeviceError(f"device: arrays lie on {listed} - move them to one device first")
    return devices.pop()


def namespace(device: str) -> Any:
    """The array module of a device: ``numpy`` for ``"cpu"``, ``cupy`` for ``"cuda:<index>"``."""
    if device == "cpu":
        return np
    return load_cupy()


def load_cupy() -> Any:
    """CuPy, or BackendUnavailable that says what to install."""
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise BackendUnavailable(
            "backend: 'cuda' needs CuPy, which is not installed - pip install cupy-cuda13x"
        ) from error


def as_native(x: Array, name: str = "x") -> Any:
    """`x` as a ``numpy.ndarray`` or ``cupy.ndarray`` on its own device, without a copy where that can be.

    torch tensors are detached; bfloat16 is widened to float32, exactly. On CUDA the import is stream-ordered
    (DLPack with an event), so no host synchronisation happens. DTypeError for masked arrays.
    """
    library = library_of(x)
    if library == "torch":
        x = x.detach()
        if str(x.dtype) == "torch.bfloat16":
            x = x.float()
        if x.device.type == "cpu":
            return x.numpy()
        return namespace(device_of(x)).from_dlpack(x)
    if library == "cupy":
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise DTypeError(f"{name}: a masked array - fill the masked values with NaN first")
    native = np.asarray(x)
    return native if native.dtype.isnative else native.astype(native.dtype.newbyteorder("="))


def as_working(x: Array, name: str = "x") -> Any:
    """`x` on its device, widened exactly to float32, float64, int64 or uint64; DTypeError for the rest."""
    native = as_native(x, name)
    target = working_dtype(native.dtype, name)
    return native if native.dtype == target and native.dtype.isnative else native.astype(target)


def working_dtype(dtype: np.dtype[Any], name: str = "x") -> np.dtype[Any]:
    """The smallest of float32, float64, int64, uint64 that holds every value of `dtype` exactly."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    if dtype.kind == "u" and dtype.itemsize == 8:
        return np.dtype(np.uint64)
    if dtype.kind in "bui":
        return np.dtype(np.int64)
    raise DTypeError(f"{name}: dtype {dtype} is not numeric - pass floats, integers or booleans")


def common_working(a: Array, b: Array, name_a: str = "a", name_b: str = "b") -> tuple[Any, Any]:
    """Both arrays in one working dtype without changing an order or an equality.

    float32 with float64 becomes float64. Integers with floats become float64, and int64 with uint64 becomes
    whichever holds both; these two cases read the range of the integers (a device synchronisation on CUDA)
    and raise DTypeError when a value would be rounded.
    """
    a, b = as_working(a, name_a), as_working(b, name_b)
    if a.dtype == b.dtype:
        return a, b
    kinds = {a.dtype.kind, b.dtype.kind}
    if kinds == {"f"}:
        return a.astype(np.float64), b.astype(np.float64)
    if kinds == {"i", "u"}:
        return _join_signed(a, b, name_a, name_b)
    return _exact_float64(a, name_a), _exact_float64(b, name_b)


def _join_signed(a: Any, b: Any, name_a: str, name_b: str) -> tuple[Any, Any]:
    unsigned, signed = (a, b) if a.dtype.kind == "u" else (b, a)
    if unsigned.size == 0 or int(unsigned.max()) <= np.iinfo(np.int64).max:  # synchronises
        return a.astype(np.int64), b.astype(np.int64)
    if signed.size == 0 or int(signed.min()) >= 0:  # synchronises
        return a.astype(np.uint64), b.astype(np.uint64)
    raise DTypeError(
        f"{name_a}, {name_b}: int64 below 0 and uint64 above 2**63 - 1 have no common integer - "
        "shift one column or cast both to float64"
    )


def _exact_float64(x: Any, name: str) -> Any:
    if x.dtype.kind == "f":
        return x.astype(np.float64)
    if x.size and (int(x.max()) > _EXACT_FLOAT64 or int(x.min()) < -_EXACT_FLOAT64):  # synchronises
        raise DTypeError(
            f"{name}: integers above 2**53 cannot be compared exactly with floats - "
            "give both windows the same integer dtype"
        )
    return x.astype(np.float64)


def as_table(x: Any, name: str = "x") -> Any:
    """A native array of shape (N,) or (N, F) as an (N, F) view; ShapeError for any other number of axes."""
    if x.ndim == 1:
        return x.reshape(-1, 1)
    if x.ndim == 2:
        return x
    raise ShapeError(f"{name}: shape {tuple(x.shape)} has {x.ndim} axes - pass (N,) or (N, F)")


def check_ndim(x: Any, name: str, *ndims: int) -> None:
    """ShapeError unless `x` has one of the numbers of axes in `ndims`."""
    if x.ndim not in ndims:
        wanted = " or ".join(str(n) for n in ndims)
        raise ShapeError(f"{name}: shape {tuple(x.shape)} has {x.ndim} axes - pass {wanted}")


def check_same_length(**arrays: Any) -> int:
    """The common length of axis 0; ShapeError that names the lengths when they differ."""
    lengths = {name: int(x.shape[0]) for name, x in arrays.items() if x is not None}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{name}={length}" for name, length in lengths.items())
        raise ShapeError(f"{', '.join(lengths)}: lengths differ ({listed}) - pass one row per element")
    return next(iter(lengths.values()))


def check_option(value: Any, name: str, allowed: tuple[Any, ...]) -> None:
    """OptionError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise OptionError(f"{name}: {value!r} is not known - use one of {', '.join(map(repr, allowed))}")


def check_nan_policy(nan_policy: str) -> None:
    """OptionError unless the policy is ``"omit"``, ``"propagate"`` or ``"raise"``."""
    check_option(nan_policy, "nan_policy", NAN_POLICIES)


def refuse_missing(count: int, name: str) -> None:
    """MissingValueError when `count` is not zero; used under ``nan_policy="raise"``."""
    if count:
        raise MissingValueError(f"{name}: {count} NaN - drop them or use nan_policy='omit'")


def missing_rows(x: Any) -> Any:
    """Rows of x (N,) or (N, C) that hold a NaN, or False when there are none."""
    if x.dtype.kind != "f" or x.size == 0:
        return False
    # One NaN makes the sum NaN, and a sum is far cheaper than a mask; inf - inf only costs the slower look.
    with np.errstate(invalid="ignore", over="ignore"):
        if not np.isnan(x.sum()):  # synchronises
            return False
    mask = np.isnan(x)
    return mask if mask.ndim == 1 else mask.any(axis=1)


def wrap_like(result: Any, template: Array) -> Any:
    """`result` (NumPy or CuPy) in the library of `template`, staying on its device.

    A CUDA tensor is a copy in torch's own memory, which ``record_stream`` and the caching allocator know.
    """
    if library_of(template) != "torch":
        return result
    torch = sys.modules["torch"]  # the caller's tensor has imported it; kernels itself never does
    if isinstance(result, np.ndarray | np.generic):
        return torch.from_numpy(np.ascontiguousarray(result))
    return torch.from_dlpack(result).clone()


@contextlib.contextmanager
def stream_of(x: Array) -> Iterator[None]:
    """Run CuPy work as work of the library of `x`, on its device.

    CuPy arrays use CuPy's current stream and memory pool, and CPU arrays neither. For CUDA tensors of torch the work
    runs on torch's current stream, so that ordering is implicit, and its workspace comes from torch's caching
    allocator, so that no second pool competes for the memory. Inputs are used on that stream alone, as torch's own
    operators use them.
    """
    if device_of(x) == "cpu":
        yield
        return
    cupy = load_cupy()
    with contextlib.ExitStack() as stack:
        if library_of(x) == "cupy":
            stack.enter_context(cupy.cuda.Device(x.device.id))
        else:
            index = x.device.index or 0
            torch = sys.modules["torch"]
            handle = torch.cuda.current_stream(index).cuda_stream
            stack.enter_context(cupy.cuda.Device(index))
            stack.enter_context(cupy.cuda.Stream.from_external(_Handle(handle)))
            stack.enter_context(cupy.cuda.using_allocator(_torch_allocator(cupy, torch, handle).malloc))
        yield


class _Handle:
    """A raw stream in the form of the CUDA stream protocol, which the streams of older torch do not speak."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


def _torch_allocator(cupy: Any, torch: Any, handle: int) -> Any:
    """A CuPy allocator over torch's caching allocator, for one stream."""

    def allocate(size: int, device: int) -> int:
        return int(torch.cuda.caching_allocator_alloc(size, device, handle))

    def free(address: int, device: int) -> None:
        torch.cuda.caching_allocator_delete(address)

    return cupy.cuda.PythonFunctionAllocator(allocate, free)
