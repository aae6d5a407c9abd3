"""Work on CUDA tensors belongs to torch: its device, its current stream, its memory; shown with torch and CuPy
replaced by recorders."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kernels import arrays

LEGACY = "the default pool"


class Recorder:
    """What CuPy would do: the device, stream and allocator in force."""

    def __init__(self) -> None:
        self.device, self.stream, self.allocator = 0, 0, LEGACY

    @contextlib.contextmanager
    def put(self, field: str, value: Any) -> Iterator[None]:
        before = getattr(self, field)
        setattr(self, field, value)
        try:
            yield
        finally:
            setattr(self, field, before)

    @property
    def cuda(self) -> Any:
        def from_external(stream: Any) -> Any:
            version, handle = stream.__cuda_stream__()
            assert version == 0
            return self.put("stream", handle)

        return SimpleNamespace(
            Device=lambda index: self.put("device", index),
            Stream=SimpleNamespace(from_external=from_external),
            using_allocator=lambda malloc: self.put("allocator", malloc),
            PythonFunctionAllocator=Allocator,
        )


class Allocator:
    """CuPy's PythonFunctionAllocator, with blocks that are freed by hand."""

    def __init__(self, allocate: Any, free: Any) -> None:
        self.allocate, self.free = allocate, free

    def malloc(self, size: int) -> Any:
        address = self.allocate(size, 1)
        return SimpleNamespace(ptr=address, close=lambda: self.free(address, 1))


class Torch:
    """Torch's streams and its caching allocator: every block that is alive, and the stream it belongs to."""

    def __init__(self) -> None:
        self.alive: dict[int, tuple[int, int, int]] = {}

    @property
    def cuda(self) -> Any:
        def allocate(size: int, device: int, stream: int) -> int:
            address = 4096 * (len(self.alive) + 1)
            self.alive[address] = (size, device, stream)
            return address

        return SimpleNamespace(
            current_stream=lambda device: SimpleNamespace(cuda_stream=700 + device),
            caching_allocator_alloc=allocate,
            caching_allocator_delete=self.alive.pop,
        )

    def from_dlpack(self, array: Any) -> Any:
        return SimpleNamespace(clone=lambda: ("torch's own", array))


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Recorder, Torch]:
    cupy, torch = Recorder(), Torch()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return cupy, torch


def tensor(index: int | None = 1, kind: str = "cuda") -> Any:
    Tensor = type("Tensor", (), {"__module__": "torch"})
    made = Tensor()
    made.device = SimpleNamespace(type=kind, index=index)
    return made


def test_tensors_run_on_torchs_stream_and_memory(both: tuple[Recorder, Torch]) -> None:
    cupy, torch = both
    with arrays.stream_of(tensor()):
        assert (cupy.device, cupy.stream) == (1, 701)
        block = cupy.allocator(1024)
        assert torch.alive == {block.ptr: (1024, 1, 701)}
    assert (cupy.device, cupy.stream, cupy.allocator) == (0, 0, LEGACY)
    block.close()  # a result may outlive the call: its memory still goes back to torch
    assert torch.alive == {}


def test_everything_is_restored_after_an_error(both: tuple[Recorder, Torch]) -> None:
    cupy, _ = both

    def work() -> None:
        with arrays.stream_of(tensor(None)):
            assert cupy.stream == 700
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert (cupy.device, cupy.stream, cupy.allocator) == (0, 0, LEGACY)


def test_cupy_arrays_keep_cupys_stream_and_memory(both: tuple[Recorder, Torch]) -> None:
    cupy, torch = both
    made = type("ndarray", (), {"__module__": "cupy"})()
    made.device = SimpleNamespace(id=3)
    with arrays.stream_of(made):
        assert (cupy.device, cupy.stream, cupy.allocator) == (3, 0, LEGACY)
    assert (cupy.device, torch.alive) == (0, {})


def test_host_arrays_need_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # an import would fail
    monkeypatch.setitem(sys.modules, "torch", None)
    for x in (np.zeros(2), [1.0], tensor(kind="cpu")):
        with arrays.stream_of(x):
            pass


def test_results_are_torchs_own(both: tuple[Recorder, Torch]) -> None:
    result = type("ndarray", (), {"__module__": "cupy"})()
    assert arrays.wrap_like(result, tensor()) == ("torch's own", result)
    assert arrays.wrap_like(result, result) is result


def test_torch_is_never_imported_for_others() -> None:
    code = (
        "import sys, numpy as np\n"
        "from kernels import drift\n"
        "drift.ks_2samp(np.arange(9.0), np.arange(9.0))\n"
        "assert not {'torch', 'cupy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
