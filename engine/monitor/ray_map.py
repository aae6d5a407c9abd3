"""`map` over Ray's workers, for shards that many machines read. Ray comes in when the first thing is mapped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

RETRIES = 3
"""How often a task is done again whose worker died."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def _call(function: Callable[[Any], Any], thing: Any) -> Any:
    return function(thing)


class RayMap:
    """Use it in a with block, and as the mapper of `shards.compare_files` inside of it.

    Joins the Ray that this process is connected to, else the one at `address`, else starts a local one of `workers`
    processes and ends it with the block. Ray's processes die with the thread that started them: one block, one thread.
    """

    def __init__(self, workers: int = 2, address: str | None = None) -> None:
        self.workers, self.address = workers, address
        self._ours = False

    def __enter__(self) -> RayMap:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        if not ray.is_initialized():
            local = {"include_dashboard": False, "num_cpus": self.workers}
            chosen: dict[str, Any] = {"address": self.address} if self.address else local
            ray.init(log_to_driver=False, logging_level="ERROR", **chosen)
            self._ours = True
        return self

    def __call__(self, function: Callable[[Any], Any], things: Iterable[Any]) -> Iterator[Any]:
        """Results in the order in which they are done; an exception of the function is raised here."""
        import ray

        task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
        shared = ray.put(function)  # sent once, not once a thing
        waiting = [task.remote(shared, thing) for thing in things]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield ray.get(done[0])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            import ray

            ray.shutdown()
            self._ours = False
