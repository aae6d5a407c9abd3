"""`map` over Ray's workers, for shards that many machines read. Ray comes in when the first thing is mapped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from engine.cluster.conf import ClusterConf
from engine.cluster.door import Connection

RETRIES = 3
"""How often a task is done again whose worker died."""
AHEAD = 2
"""Tasks that wait or run for each CPU: results of more would lie in Ray's memory until they are merged."""


def _call(function: Callable[[Any], Any], thing: Any) -> Any:
    return function(thing)


class RayMap:
    """Use it in a with block, and as the mapper of `shards.compare_files` inside of it.

    Takes the Ray that this process is connected to, else joins the one of `cluster`, else starts a local one of
    `workers` processes and ends it with the block. Ray's processes die with the thread that started them: one block,
    one thread.
    """

    def __init__(self, workers: int = 2, cluster: ClusterConf | None = None) -> None:
        self._connection = Connection(cluster or ClusterConf(), workers)

    def __enter__(self) -> RayMap:
        self._connection.open()
        return self

    def __call__(self, function: Callable[[Any], Any], things: Iterable[Any]) -> Iterator[Any]:
        """Results in the order in which they are done; an exception of the function is raised here."""
        import ray

        task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
        shared = ray.put(function)  # sent once, not once a thing
        left = iter(things)
        at_once = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = [task.remote(shared, thing) for thing in itertools.islice(left, at_once)]
        while waiting:
            done, waiting = ray.wait(waiting)
            waiting += [task.remote(shared, thing) for thing in itertools.islice(left, 1)]
            yield ray.get(done.pop())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
