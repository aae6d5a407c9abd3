"""CUDA graphs over the steps of trials that are vectorised on a GPU, where they are measured to be faster.

A step of a small network is a few hundred launches, and a GPU waits for each of them. A graph holds them all: captured
once, replayed by one call. What it reads and writes lies where it lay: the numbers of the rows are copied into the
buffer that it reads; weights, moments, rates and the counts that dropout draws by are tensors that it shares with
steps that are launched one by one. So either kind can follow the other.

Of batches of one size the first steps are launched and timed, then one is captured, and PROVEN replays are compared
with the same steps launched. Then replays are timed, and the faster kind is kept; the records of the trials say which.
Batches of another size (the last one of an epoch) are launched. Where trials leave or join, a new stack begins anew.

No GPU has run this. The tests stand in for the capture with a recorder on the CPU that replays what it recorded on the
tensors that it recorded (tests/engine/train/pack/recorder.py).

Source: torch.cuda.CUDAGraph (docs.pytorch.org, "CUDA Graphs").
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from engine.errors import one_line
from engine.train.pack.device import Device
from engine.train.pack.vector import Unvectorised, agree

if TYPE_CHECKING:
    from engine.train.pack.gpu import GpuVector

WARM = 3  # steps that are launched before any is timed
TIMED = 8  # of each kind
PROVEN = 2  # replays that are compared with the same steps launched
Run = Callable[[], Tensor]


class Graphs(Protocol):
    """Who captures."""

    def launch(self, run: Run) -> Tensor:
        """Run it as it is, where it will be captured."""

    def capture(self, run: Run) -> tuple[Callable[[], None], Tensor]:
        """What replays it, and its result, which each replay writes anew; nothing is computed now. May raise."""

    def clock(self) -> float:
        """Seconds, when all that was launched has ended."""


class CudaGraphs:
    """Those of torch, on a stream beside the usual one, as capturing wants it."""

    def __init__(self) -> None:
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def launch(self, run: Run) -> Tensor:
        """On that stream: what libraries make at their first use is there before it is captured."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = run()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def capture(self, run: Run) -> tuple[Callable[[], None], Tensor]:
        """As of Graphs. What other threads do on the GPU meanwhile is no part of it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = run()
        return graph.replay, result

    def clock(self) -> float:
        """As of Graphs."""
        torch.cuda.synchronize()
        return perf_counter()


def graphs_of(device: Device) -> Graphs | None:
    """None where nothing can be captured."""
    return CudaGraphs() if device.torch.type == "cuda" else None


class Unread:
    """In place of a number that changes from step to step and would stand still in a graph: nobody may read it."""

    def __init__(self, what: str) -> None:
        self._what = what

    def _refuse(self, *rest: Any) -> Any:
        raise Unvectorised(f"its training step reads {self._what}")

    __bool__ = __int__ = __index__ = __float__ = __str__ = __format__ = __hash__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = __neg__ = _refuse


class Steps:
    """The steps of one GpuVector, launched or replayed. It is handed in each time: held, it would not go with its
    trials, but when Python finds the circle.
    """

    def __init__(self, graphs: Graphs | None) -> None:
        self._graphs = graphs
        self._rows = torch.empty(0)  # what a graph reads, (K, B)
        self._count = 0  # of batches of that size
        self._launched: list[float] = []  # seconds
        self._replayed: list[float] = []
        self._replay: Callable[[], None] | None = None
        self._losses = torch.empty(0)  # what it writes
        self._settled = graphs is None

    def step(self, vector: GpuVector, index: int, rows: Tensor) -> Tensor:
        """One step of every trial on rows (K, B) of its own; losses (K,)."""
        graphs = self._graphs
        if not self._rows.numel():
            self._rows = torch.empty_like(rows)
        if self._settled and self._replay is None:
            return vector.launch(index, rows)
        if graphs is None or vector.adam is None or rows.shape != self._rows.shape:
            return vector.launch(index, rows)
        self._count += 1
        vector.adam.refresh()
        self._rows.copy_(rows)
        if self._replay is not None:
            return self._replays(vector, graphs, index)
        began = graphs.clock() if self._count > WARM else 0.0
        losses = graphs.launch(lambda: vector.launch(index, self._rows))
        if self._count > WARM:
            self._launched.append(graphs.clock() - began)
        if vector.tile < len(vector.trials):
            self._settle(vector, "memory holds no step of all")
        elif len(self._launched) == TIMED:
            self._capture(vector, graphs)
        return losses

    def _capture(self, vector: GpuVector, graphs: Graphs) -> None:
        try:
            self._replay, self._losses = graphs.capture(lambda: vector.whole(Unread("batch_idx"), self._rows))
        except Exception as error:  # whatever a user's step does that cannot be captured
            self._settle(vector, f"not captured ({one_line(f'{type(error).__name__}: {error}', 120)})")

    def _replays(self, vector: GpuVector, graphs: Graphs, index: int) -> Tensor:
        assert self._replay is not None
        if self._settled:
            self._replay()
        elif self._count <= WARM + TIMED + PROVEN:
            return self._proven(vector, index)
        else:
            began = graphs.clock()
            self._replay()
            self._replayed.append(graphs.clock() - began)
        losses = self._losses.clone()
        if len(self._replayed) == TIMED and not self._settled:
            self._choose(vector)
        return losses

    def _proven(self, vector: GpuVector, index: int) -> Tensor:
        """The step twice: replayed, and then launched from where it began, which is what counts."""
        assert self._replay is not None
        before = [tensor.clone() for tensor in vector.state]
        self._replay()
        found = [self._losses.clone(), *(tensor.clone() for tensor in vector.state)]
        for tensor, kept in zip(vector.state, before, strict=True):
            tensor.copy_(kept)
        losses = vector.launch(index, self._rows)
        try:
            agree(vector.trials[0], *zip(found, [losses, *vector.state], strict=True))
        except Unvectorised:
            self._settle(vector, "captured, it is another step")
        return losses

    def _choose(self, vector: GpuVector) -> None:
        launched, replayed = median(self._launched), median(self._replayed)
        times = f"{1e3 * replayed:.3g} ms a step, launched one by one {1e3 * launched:.3g}"
        if replayed >= launched:
            self._settle(vector, f"a graph takes {times}")
            return
        self._settled = True
        self._say(vector, f"a CUDA graph: {times}")

    def _settle(self, vector: GpuVector, why: str) -> None:
        """Steps are launched from here on."""
        self._settled, self._replay, self._losses = True, None, torch.empty(0)
        self._say(vector, f"launches one by one: {why}")

    def _say(self, vector: GpuVector, what: str) -> None:
        for trial in vector.trials:
            trial.note_once("its pack steps by ", what)
