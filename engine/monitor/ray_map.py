"""`map` over Ray's workers, for shards that many machines read. Ray comes in when the first thing is mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from engine.cluster.conf import ClusterConf
from engine.cluster.door import Connection

RETRIES = 3
"""How often a task is done again whose worker died."""


def _call(function: Callable[[Any], Any], thing: Any) -> Any:
    return function(thing)


class RayMap:
    """Use it in a with block, and as the mapper of `shards.compare_files` inside of it.

    Joins the Ray that this process is connected to, else the one at `address`, else starts a local one of `workers`
    processes and ends it with the block. Ray's processes die with the thread that started them: one block, one thread.
    """

    def __init__(self, workers: int = 2, address: str | None = None) -> None:
        conf = ClusterConf(kind="ray", address=address) if address else ClusterConf()
        self._connection = Connection(conf, workers)

    def __enter__(self) -> RayMap:
        self._connection.open()
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
        self._connection.close()
