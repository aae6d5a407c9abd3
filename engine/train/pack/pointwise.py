"""Arithmetic number by number, compiled: one pass over memory, and nothing allocated.

The exponential is Sleef's `expf` with an error of at most 1.0 units in the last place (Shibata & Petrogalli 2020,
"SLEEF: A Portable Vectorized Library of C Standard Mathematical Functions"), which torch's vector instructions call:
with the same fused multiplications and additions it gives the same bits (`same_bits`).
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import functools
import math

import llvmlite.ir  # type: ignore[import-untyped]
import numpy as np
import torch
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

F, N = np.float32, np.int32  # Numba widens what it computes with; numbers must stay of 32 bits
ZERO, ONE, HALF, INFINITY = F(0), F(1), F(0.5), F(np.inf)
LEAST, MOST = F(-104), F(100)  # below, it is 0; above, infinity
PER_LN2, LN2, REST = F(1.442695040888963407), F(-0.693145751953125), F(-1.428606765330187045e-06)
C6, C5, C4, C3, C2 = (
    F(c)
    for c in (
        0.000198527617612853646,
        0.00139304355252534151,
        0.00833336077630519867,
        0.0416664853692054749,
        0.166666671633720398,
    )
)
BIAS, DIGITS, SHIFT = N(127), N(23), N(1)
WHOLE = 32  # numbers that torch's vector instructions take at a time; of what is left over it makes single ones


def _instruction(name, count):
    """One of LLVM's, of so many float32."""

    def made(context, builder, signature, values):
        kind = llvmlite.ir.FunctionType(llvmlite.ir.FloatType(), [llvmlite.ir.FloatType()] * count)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)

    return types.float32(*[types.float32] * count), made


@intrinsic
def _fma(typing, a, b, c):
    return _instruction("llvm.fma.f32", 3)


@intrinsic
def _round(typing, x):
    return _instruction("llvm.rint.f32", 1)


@intrinsic
def _as_float(typing, bits):
    def made(context, builder, signature, values):
        return builder.bitcast(values[0], llvmlite.ir.FloatType())

    return types.float32(types.int32), made


@njit(inline="always")
def _exp(x):
    rounded = _round(F(x * PER_LN2))
    power = N(rounded)
    s = _fma(rounded, REST, _fma(rounded, LN2, x))
    u = _fma(_fma(_fma(_fma(_fma(C6, s, C5), s, C4), s, C3), s, C2), s, HALF)
    u = ONE + _fma(F(s * s), u, s)
    half = N(power >> SHIFT)
    u = F(u * _as_float(N((half + BIAS) << DIGITS))) * _as_float(N((N(power - half) + BIAS) << DIGITS))
    u = ZERO if x < LEAST else u
    return INFINITY if x > MOST else u


@njit(inline="always")
def silu(x):
    """x / (1 + exp(-x)), float32."""
    return x / (ONE + _exp(-x))


@njit(inline="always")
def silu_backward(x, gradient):
    """The gradient of what SiLU was given from that of what it gave, float32."""
    share = ONE / (ONE + _exp(-x))
    return F(gradient * share) * _fma(x, F(ONE - share), ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _both(x, gradient, out):
    for i in range(x.size):
        out[i] = silu(x[i])
        gradient[i] = silu_backward(x[i], gradient[i])


@functools.cache
def same_bits() -> bool:
    """Are SiLU and its gradient torch's bit for bit, with the instructions of this machine."""
    sizes = torch.logspace(-12, 2.5, 1024)
    x = torch.cat((sizes, -sizes, torch.linspace(-20, 20, 4096), torch.zeros(WHOLE)))
    gradient = torch.linspace(-1, 1, len(x))
    expected = torch.nn.functional.silu(x), torch.ops.aten.silu_backward(gradient, x)
    out = torch.empty_like(x)
    _both(x.numpy(), gradient.numpy(), out.numpy())
    return torch.equal(out, expected[0]) and torch.equal(gradient, expected[1])


@njit(cache=True, nogil=True, error_model="numpy")
def descend(weights, first, second, start, gradients, numbers):
    """A step of AdamW of K trials, float32, on the columns from `start` on of weights and both moments (K, P).

    gradients (K, n); numbers (K, 9): what remains of a weight, coupled decay, beta1, 1 - beta1, beta2, 1 - beta2, the
    root of the correction of the second moment, epsilon, and the rate over the correction of the first.
    """
    for row in range(gradients.shape[0]):
        remains, coupled, beta1, rest1 = numbers[row, 0], numbers[row, 1], numbers[row, 2], numbers[row, 3]
        beta2, rest2, root, eps, rate = (
            numbers[row, 4],
            numbers[row, 5],
            numbers[row, 6],
            numbers[row, 7],
            numbers[row, 8],
        )
        slopes = gradients[row]
        own = weights[row, start : start + slopes.size]  # an index that is a sum could be negative: no vectors
        means, squares = first[row, start : start + slopes.size], second[row, start : start + slopes.size]
        for i in range(slopes.size):
            weight = own[i]
            gradient = slopes[i] + coupled * weight
            m = beta1 * means[i] + rest1 * gradient
            v = beta2 * squares[i] + rest2 * gradient * gradient
            means[i] = m
            squares[i] = v
            own[i] = weight * remains - rate * (m / (math.sqrt(v) / root + eps))
