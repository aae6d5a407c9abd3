"""A stand-in for CUDA graphs on a CPU: it records operations, and replays them on the very tensors that it recorded.

As on a GPU nothing is computed while it records (what was written is put back), all that Python decided stands still,
results lie where they lay, and what would have to wait for the device is refused. So a buffer that is not the one that
the graph reads, a number that Python had baked in, or a result that is read late, gives wrong numbers here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FORBIDDEN = ("aten.lift_fresh.default",)  # torch.tensor of numbers: a copy from memory that is not pinned
DYNAMIC = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class Tape(TorchDispatchMode):
    """What runs under it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(func) in FORBIDDEN or any(tag in func.tags for tag in DYNAMIC):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self._keep(func, args, kwargs)
        out = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        returns = func._schema.returns
        if any(result.alias_info is not None for result in returns):
            made = [] if any(result.alias_info.is_write for result in returns if result.alias_info) else made
            if made:  # a view: it lies where it lies
                return out
        self._made.update(tensor.untyped_storage()._cdata for tensor in made)
        self.calls.append((func, args, kwargs, made))
        return out

    def _keep(self, func: Any, args: Any, kwargs: Any) -> None:
        """What an operation writes to, as it is before the first write."""
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(named.get(argument.name)):
                    key = tensor.untyped_storage()._cdata if isinstance(tensor, Tensor) else 0
                    if key and key not in self._made and key not in self._before:
                        whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                        self._before[key] = (whole, whole.clone())

    def put_back(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, made in self.calls:
                out = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
                for lies, new in zip(made, out, strict=False):
                    lies.copy_(new)


class Recorder:
    """Graphs (graph.py) of tapes. `cost`: seconds of a replay; a step that is launched takes one."""

    def __init__(self, cost: float = 0.5) -> None:
        self.cost, self.now = cost, 0.0
        self.launched = self.captured = self.replayed = 0

    def launch(self, run: Callable[[], Tensor]) -> Tensor:
        self.launched, self.now = self.launched + 1, self.now + 1
        return run()

    def capture(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        tape = Tape()
        try:
            with tape:
                result = run()
        finally:
            tape.put_back()
        self.captured += 1

        def replay() -> None:
            self.replayed, self.now = self.replayed + 1, self.now + self.cost
            tape.replay()

        return replay, result

    def clock(self) -> float:
        return self.now
