"""The matrix product of torch's own library, for compiled code: without Python, without the interpreter's lock.

torch brings a BLAS along (MKL, OpenBLAS or Accelerate), and its Fortran name `sgemm_` can be found there. Compiled code
calls it by a name that is the same in every process, so that Numba's cache on the disk holds. So nothing more is
installed, products are as fast as torch's, and `torch.set_num_threads` holds for them as well.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import ctypes
from pathlib import Path

import llvmlite.binding
import numpy as np
import torch
from numba import njit, types

NAME = "tidegate_sgemm"
AS_IT_IS, TURNED = np.array([ord("N")], np.uint8), np.array([ord("T")], np.uint8)
FACTORS = np.array([0.0, 1.0], np.float32)
_numbers, _letters, _words = types.CPointer(types.float32), types.CPointer(types.uint8), types.CPointer(types.int32)
_sgemm = types.ExternalFunction(
    NAME,
    types.void(
        *(_letters, _letters, _words, _words, _words),  # is one turned, is the other; columns, rows, length of sums
        *(_numbers, _numbers, _words, _numbers, _words, _numbers, _numbers, _words),
    ),
)


def _found() -> bool:
    """Give the name its address. False where torch's library has no such function."""
    try:
        function = ctypes.CDLL(str(next((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")))).sgemm_
    except (StopIteration, OSError, AttributeError):
        return False
    llvmlite.binding.add_symbol(NAME, ctypes.cast(function, ctypes.c_void_p).value)
    return True


HERE = _found()
"""Can compiled code be run that calls these."""


@njit(cache=True, nogil=True, error_model="numpy")
def _product(one, other, sizes, columns, rows, sums, a, wide_a, b, wide_b, factor, out, wide_out):
    """out = a b + factor out, in the order of Fortran: what is a row here is a column there."""
    sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5] = columns, rows, sums, wide_a, wide_b, wide_out
    _sgemm(
        one.ctypes,
        other.ctypes,
        sizes.ctypes,
        sizes[1:].ctypes,
        sizes[2:].ctypes,
        FACTORS[1:].ctypes,
        a.ctypes,
        sizes[3:].ctypes,
        b.ctypes,
        sizes[4:].ctypes,
        FACTORS[factor:].ctypes,
        out.ctypes,
        sizes[5:].ctypes,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def forward(x, weight, out, rows, wide, high, sizes):
    """out (rows, high) = x (rows, wide) weight' of weight (high, wide); all flat float32. sizes (6,) int32: scratch."""
    _product(TURNED, AS_IT_IS, sizes, high, rows, wide, weight, wide, x, wide, 0, out, high)


@njit(cache=True, nogil=True, error_model="numpy")
def backward(slope, weight, out, rows, wide, high, columns, sizes):
    """out = slope (rows, high) weight, of the first `columns` columns; weight and out have rows of `wide` numbers."""
    _product(AS_IT_IS, AS_IT_IS, sizes, columns, rows, high, weight, wide, slope, high, 0, out, wide)


@njit(cache=True, nogil=True, error_model="numpy")
def descent(slope, x, out, rows, wide, high, sizes):
    """out (high, wide) += slope' x, of slope (rows, high) and x (rows, wide)."""
    _product(AS_IT_IS, TURNED, sizes, wide, high, rows, x, wide, slope, high, 1, out, wide)
