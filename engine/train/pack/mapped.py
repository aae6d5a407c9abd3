"""Memory of its own for what is large and stays, or comes and goes as a whole.

From the heap, what trials keep would lie between what a step or a score needs for a moment, and leave holes that are
too small for the next: a third of a pack. A mapping takes memory page by page as it is written to, and the system has
all of it back as soon as the last tensor on it is gone.

malloc does the same for what is large, but each time that such a piece is given back it takes for large whatever is
larger still: soon the order of an epoch and the predictions after it come from the heap of their thread, which keeps
twelve megabytes of holes for them (`large_from`).
"""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref

import torch
from torch import Tensor

LEAST = 65_536  # bytes; less comes from the heap
_libc = ctypes.CDLL(None)
TRIM = getattr(_libc, "malloc_trim", None)  # of glibc; others give back by themselves, or never
MALLOPT = getattr(_libc, "mallopt", None)
MMAP_THRESHOLD = -3  # of malloc.h
MOST = 2**25  # bytes: up to which malloc itself raises it
_living = weakref.WeakSet[mmap.mmap]()


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of zeros, none of whose pages takes memory before it is written to."""
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST:
        return torch.zeros(shape, dtype=dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _living.add(memory)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


def resident() -> int:
    """Bytes of all such memory that were written to, and so are taken."""
    mincore = ctypes.CDLL(None).mincore
    pages = 0
    for memory in list(_living):
        count = -(-len(memory) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * count)()
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(memory)), found) == 0:
            pages += sum(page & 1 for page in found)
    return pages * mmap.PAGESIZE


def large_from(size: int) -> None:
    """From now on malloc, too, takes so many bytes and more from the system, and gives them back to it."""
    if MALLOPT is not None:
        MALLOPT(MMAP_THRESHOLD, size)


def trim() -> None:
    """Give the system the pages of the heap that nobody uses: about a millisecond."""
    if TRIM is not None:
        TRIM(0)
