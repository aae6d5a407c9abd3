"""Memory of the device that a pack trains on: what is free, and what its tensors take while they are watched.

On a GPU torch's allocator says it. On a CPU nobody does: what malloc keeps hides what was given back, and the kernel's
high-water mark cannot tell a small trial from noise. There the tensors are counted that torch makes, each storage from
its first tensor to its last, and the pages of mapped memory (mapped.py) that were written to: about the same number in
every run. What no tensor holds (Python's objects, NumPy's arrays) is not counted.
"""

from __future__ import annotations

import contextlib
import gc
import math
import resource
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from engine.train.pack import mapped
from engine.train.pack.device import Device

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
UNBOUNDED = 2**60  # cgroups of version 1 say "no limit" with a number of about 2^63


@dataclass
class Taken:
    """Bytes beyond what there was before: at most, and at the end."""

    most: float = 0.0
    end: float = 0.0


class Gauge(Protocol):
    """How a pack looks at its memory."""

    def free(self) -> float:
        """Bytes that this process may still take; inf where nobody says."""

    def watched(self) -> contextlib.AbstractContextManager[Taken]:
        """What this thread takes meanwhile; known afterwards."""


def of(device: Device, share: float) -> Gauge:
    """That of a device; `share`: of a GPU, that this process may fill."""
    return CudaGauge(share) if device.torch.type == "cuda" else HostGauge()


class CudaGauge:
    """By torch's caching allocator. It has never run on a GPU; `cuda` is torch's module, or what stands for it."""

    def __init__(self, share: float, cuda: Any = torch.cuda) -> None:
        self._share, self._cuda = share, cuda

    def free(self) -> float:
        """Of the device, and what the allocator keeps; no more than this process's share of it."""
        free, total = self._cuda.mem_get_info()
        ours = self._cuda.memory_allocated()
        return float(min(free + self._cuda.memory_reserved() - ours, self._share * total - ours))

    @contextlib.contextmanager
    def watched(self) -> Iterator[Taken]:
        """As of Gauge."""
        taken, before = Taken(), self._cuda.memory_allocated()
        self._cuda.reset_peak_memory_stats()
        yield taken
        self._cuda.synchronize()
        taken.most = float(self._cuda.max_memory_allocated() - before)
        taken.end = float(self._cuda.memory_allocated() - before)


class HostGauge:
    """By the tensors that are made."""

    def free(self) -> float:
        """The least of what the machine has, what the process's groups may take, and its own limit (ulimit -v)."""
        return max(0.0, min(_machine(), *_groups(), _process()))

    @contextlib.contextmanager
    def watched(self) -> Iterator[Taken]:
        """As of Gauge. What is garbage goes before: Python might find it meanwhile, and less would seem to be taken."""
        gc.collect()
        taken, before = Taken(), mapped.resident()
        with Storages() as storages:
            yield taken
        stays = mapped.resident() - before  # it stays as long as who holds it
        taken.most, taken.end = float(storages.most + stays), float(storages.bytes + stays)


class Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that operations of this thread make, and the most of them at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.most = 0
        self._known = set[int]()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles what runs in it. Else its first operation imports torch.compile, a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for given in tree_iter((args, kwargs or {})):
            if isinstance(given, Tensor):
                self._see(given, ours=False)
        out = func(*args, **(kwargs or {}))
        for made in tree_iter(out):
            if isinstance(made, Tensor):
                self._see(made, ours=True)
        return out

    def _see(self, tensor: Tensor, *, ours: bool) -> None:
        """`ours`: where it is new, an operation has just made it; else it was there before."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if ours else 0
        self._known.add(key)
        weakref.finalize(storage, self._gone, key, size)
        self.bytes += size
        self.most = max(self.most, self.bytes)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size


def _machine() -> float:
    """What the kernel can give without swapping."""
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    return math.inf


def _groups() -> list[float]:
    """What is left of the limits of the control groups, of both versions; pages that only cache files are given up."""
    places = [(GROUPS, "memory.max", "memory.current", "inactive_file")]
    places += [(GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")]
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            places.append((GROUPS / path.lstrip("/"), *places[0][1:]))
        elif "memory" in controllers.split(","):
            places.append((GROUPS / "memory" / path.lstrip("/"), *places[1][1:]))
    found = [math.inf]
    for folder, limit, usage, cached in places:
        most, used = _number(folder / limit), _number(folder / usage)
        if most is not None and used is not None and most < UNBOUNDED:
            pages = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.startswith(f"{cached} ")]
            found.append(float(most - used + sum(pages)))
    return found


def _process() -> float:
    """What is left of its address space, where that has a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    size = [1024 * int(line.split()[1]) for line in _lines(PROC / "self" / "status") if line.startswith("VmSize:")]
    return float(limit - sum(size))


def _number(path: Path) -> int | None:
    """None where there is none, or it is the word max."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
