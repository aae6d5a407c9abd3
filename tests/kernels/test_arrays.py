"""Working dtypes are exact, devices never mix, and refusals say what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels import arrays
from kernels.errors import DeviceError, DTypeError, MissingValueError, OptionError, ShapeError


@pytest.mark.parametrize(
    ("given", "working"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("bool", "int64"),
        ("int8", "int64"),
        ("uint32", "int64"),
        ("int64", "int64"),
        ("uint64", "uint64"),
        (">f8", "float64"),
    ],
)
def test_working_dtype_holds_every_value(given: str, working: str) -> None:
    x = np.array([0, 1, 1], dtype=given)
    y = arrays.as_working(x)
    assert y.dtype == np.dtype(working)
    assert y.dtype.isnative
    assert y.tolist() == [0, 1, 1]


def test_extremes_of_small_dtypes_survive() -> None:
    for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32"):
        ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype=dtype)
        assert arrays.as_working(ends).tolist() == ends.tolist()
    halves = np.array([6e-8, 65504.0, -np.inf], dtype=np.float16)
    assert arrays.as_working(halves).tolist() == halves.tolist()


@pytest.mark.parametrize("bad", [np.array(["a"]), np.array([1j]), np.array([None]), np.array(["2020"], "M8[D]")])
def test_what_is_not_a_number_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(DTypeError, match=r"x: dtype .* is not numeric - pass"):
        arrays.as_working(bad)


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(DTypeError, match="masked array - fill"):
        arrays.as_native(np.ma.array([1.0, 2.0], mask=[True, False]))


def test_common_dtype_keeps_order_and_equality() -> None:
    a, b = arrays.common_working(np.array([1.5], np.float32), np.array([1.5], np.float64))
    assert a.dtype == b.dtype == np.float64
    a, b = arrays.common_working(np.array([3]), np.array([2.5], np.float32))
    assert a.dtype == b.dtype == np.float64
    a, b = arrays.common_working(np.array([3]), np.array([2**63 - 1], np.uint64))
    assert a.dtype == b.dtype == np.int64
    a, b = arrays.common_working(np.array([3]), np.array([2**64 - 1], np.uint64))
    assert a.dtype == b.dtype == np.uint64
    assert b[0] == 2**64 - 1


def test_pairs_that_would_round_are_refused() -> None:
    with pytest.raises(DTypeError, match=r"above 2\*\*53 cannot be compared exactly"):
        arrays.common_working(np.array([2**53 + 1]), np.array([0.5]))
    with pytest.raises(DTypeError, match="have no common integer"):
        arrays.common_working(np.array([-1]), np.array([2**63], np.uint64))


def test_torch_on_the_cpu_shares_memory_both_ways() -> None:
    tensor = torch.arange(4.0, requires_grad=True)
    native = arrays.as_native(tensor)
    assert isinstance(native, np.ndarray)
    assert native.ctypes.data == tensor.data_ptr()
    assert isinstance(arrays.wrap_like(np.zeros(2), tensor), torch.Tensor)
    assert isinstance(arrays.wrap_like(np.float64(1.0), tensor), torch.Tensor)
    assert arrays.as_native(torch.tensor([1.5], dtype=torch.bfloat16)).dtype == np.float32


def test_refusals_name_the_argument_and_the_cure() -> None:
    with pytest.raises(ShapeError, match=r"table: shape \(1, 1, 1\) has 3 axes - pass"):
        arrays.as_table(np.zeros((1, 1, 1)), "table")
    with pytest.raises(ShapeError, match=r"lengths differ \(a=1, b=2\)"):
        arrays.check_same_length(a=np.zeros(1), b=np.zeros(2))
    with pytest.raises(OptionError, match="nan_policy: 'drop' is not known - use one of 'omit'"):
        arrays.check_nan_policy("drop")
    with pytest.raises(MissingValueError, match="x: 3 NaN - drop them"):
        arrays.refuse_missing(3, "x")
    with pytest.raises(DeviceError, match="meta is not served"):
        arrays.device_of(torch.zeros(1, device="meta"))
