"""Dropout, compiled: the bits of torch's own generator, and the product with what they keep.

A stream of torch.Generator on a CPU is MT19937 (Matsumoto & Nishimura 1998). Its recurrence and its tempering are
vectorised here over a block of 624 words, the state is torch's and goes back to it: what is drawn afterwards, here or
by torch, is what would have been drawn. No product differs from torch's in a bit: a factor is 0 or the scale.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numba import njit

LEFT, NEXT, WORDS = 8, 16, 24  # bytes of a generator's state at which these lie: the words are 8 bytes each
N, M = 624, 397
U = np.uint32  # Numba widens what it computes with; words must stay of 32 bits to share vector instructions
UPPER, LOWER, TWIST, B, C = (U(n) for n in (0x80000000, 0x7FFFFFFF, 0x9908B0DF, 0x9D2C5680, 0xEFC60000))
ZERO, ONE, SEVEN, ELEVEN, FIFTEEN, EIGHTEEN = (U(n) for n in (0, 1, 7, 11, 15, 18))
HALF = np.uint64(32)
F = np.float32
SEGMENT = 8_192  # neurons that are drawn for at a time: their bits stay in the cache
BITS, NOTHING = 8, np.uint8(0)
PLANE = SEGMENT // BITS


def draw(bits: np.ndarray, generator: torch.Generator) -> None:
    """Fill bits (n,) int64 as `random_(-(2**63), None, generator=generator)` does, from the same stream."""
    with moved(generator) as known:
        _draw(known, bits)


@contextlib.contextmanager
def moved(generator: torch.Generator) -> Iterator[np.ndarray]:
    """The state of a generator, which goes on from where it was moved to meanwhile."""
    state = generator.get_state()
    yield state.numpy()
    generator.set_state(state)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(known, bits):
    state = known[WORDS : WORDS + 8 * N].view(np.uint64)
    left, following = known[LEFT : LEFT + 4].view(np.int32), known[NEXT : NEXT + 4].view(np.int32)
    out, pairs = bits.view(np.uint32), bits.view(np.uint64)
    words = np.empty(N, dtype=np.uint32)
    for i in range(N):
        words[i] = U(state[i])
    place = following[0] if left[0] > 1 else N  # torch counts the words that are left from one
    done = 0
    while done < out.size:
        if place == N:
            _next(words)
            place = 0
        count = min(N - place, out.size - done)
        _temper(words[place : place + count], out[done : done + count])
        place += count
        done += count
    for i in range(pairs.size):  # the word that was drawn first is the upper half
        pairs[i] = (pairs[i] << HALF) | (pairs[i] >> HALF)
    for i in range(N):
        state[i] = words[i]
    following[0], left[0] = place, N + 1 - place


@njit(cache=True, nogil=True, error_model="numpy")
def _next(words):
    """The next 624 words, in parts that do not read what they have just written."""
    for i in range(N - M):
        words[i] = words[i + M] ^ _twisted(words[i], words[i + 1])
    for i in range(M - 1):
        words[i + N - M] = words[i] ^ _twisted(words[i + N - M], words[i + N - M + 1])
    words[N - 1] = words[M - 1] ^ _twisted(words[N - 1], words[0])


@njit(cache=True, nogil=True, error_model="numpy")
def _twisted(one, other):
    y = U((one & UPPER) | (other & LOWER))
    return U((y >> ONE) ^ (U(ZERO - (y & ONE)) & TWIST))


@njit(cache=True, nogil=True, error_model="numpy")
def _temper(words, out):
    for i in range(words.size):
        y = words[i]
        y = U(y ^ (y >> ELEVEN))
        y = U(y ^ U(U(y << SEVEN) & B))
        y = U(y ^ U(U(y << FIFTEEN) & C))
        out[i] = U(y ^ (y >> EIGHTEEN))


def size_of(count: int) -> int:
    """Bytes of what dropout keeps of so many neurons."""
    return -(-count // SEGMENT) * PLANE


@njit(cache=True, nogil=True, error_model="numpy")
def keep(known, least, kept, count):
    """Note which of the next `count` draws of 16 bits are `least` or more, in kept (size_of(count),) uint8.

    A bit a neuron: of each SEGMENT the first PLANE neurons have the lowest bits of its bytes, the next ones the second
    lowest. So neighbours are bytes that lie in a row, as vector instructions want them. `known` is the state of the
    generator, and moves on.
    """
    bits = np.empty(min(SEGMENT, count + 3) // 4, dtype=np.int64)
    for start in range(0, count, SEGMENT):
        draws = bits[: (min(SEGMENT, count - start) + 3) // 4]
        _draw(known, draws)
        some = draws.view(np.int16)[: count - start]
        into = kept[start // BITS :][:PLANE]
        into[:] = 0
        for plane in range((some.size + PLANE - 1) // PLANE):
            bit = np.uint8(1 << plane)
            part = some[plane * PLANE :][:PLANE]
            for i in range(part.size):
                into[i] |= bit if part[i] >= least else NOTHING


@njit(cache=True, nogil=True, error_model="numpy")
def drop(values, scale, kept, first):
    """values (n,) float32, of the neurons from `first` on, times scale where they are kept, times 0 elsewhere."""
    done = 0
    while done < values.size:
        segment, place = divmod(first + done, SEGMENT)
        plane, start = divmod(place, PLANE)
        part, bit = values[done:][: PLANE - start], np.uint8(1 << plane)
        some = kept[segment * PLANE + start :][: part.size]
        for i in range(part.size):
            part[i] = part[i] * (scale if some[i] & bit else F(0))
        done += part.size
