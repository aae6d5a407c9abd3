"""The workers of all machines: started once a loop, spread over the nodes that live, counted anew before each sweep.

Where one trial is several processes, a worker has helpers (helper.py) that start and end with it: a gang, on one node
where that has room for it. Ray Train's own controller starts its processes anew for each fit, and wants checkpoints and
reports to be its own; here they outlive trials, and what Tune stops, pauses or retries is a trial as any other.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

from engine.train import capacity
from engine.train.home import Home
from engine.train.worker import Worker


def reached(workers: list[Any], method: str, *args: Any) -> list[Any]:
    """Call a method of each worker; the answers of those that live. One that was killed is being restarted, one whose
    node has gone is not.
    """
    import ray

    answers = []
    for call in [getattr(worker, method).remote(*args) for worker in workers]:
        with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.ActorUnschedulableError):
            answers.append(ray.get(call))
    return answers


def spread(nodes: list[dict[str, Any]], here: str, threads: int, most: int, share: float = 0.0) -> list[str]:
    """The node of each worker that there should be: one after the other in turn, the driver's first.

    Args:
        nodes: as `ray.nodes()` tells of them; those that are dead get none.
        here: the driver's node, which gets one where no node has the CPUs.
        threads: CPUs of a worker.
        most: workers in all, also where there are fewer CPUs; 0: as many as fit.
        share: GPUs of a worker; a node that lacks them gets none.
    """
    free = {
        node["NodeID"]: [node["NodeID"]] * _fit(node["Resources"], threads, share, by_gpu=bool(most and share))
        for node in nodes
        if node["Alive"]
    }
    order = sorted(free, key=lambda node: (node != here, node))
    turns = chain.from_iterable(zip_longest(*(free[node] for node in order)))
    slots = [node for node in turns if node is not None] or [here]
    return [slots[i % len(slots)] for i in range(most)] if most else slots


def _fit(has: dict[str, float], threads: int, share: float, *, by_gpu: bool) -> int:
    """Workers that a node takes; `by_gpu`: its CPUs are no bound."""
    by_cpu = int(has.get("CPU", 0)) // threads
    if not share:
        return by_cpu
    gpus = capacity.on_gpus(has.get("GPU", 0.0), share)
    return gpus if by_gpu else min(max(1, by_cpu), gpus)


Gang = tuple[str, ...]
"""The nodes of the processes of one trial: its worker's, then its helpers'."""


def gangs(nodes: list[dict[str, Any]], here: str, threads: int, size: int, most: int, share: float = 0.0) -> list[Gang]:
    """The nodes of the processes of each trial: all on one node where it has room, else on as few as possible.

    Args:
        size: processes of a trial. Those of one alone are spread.
        The others: as `spread`'s, of each process; `most`: trials.
    """
    if size == 1:
        return [(node,) for node in spread(nodes, here, threads, most, share)]
    free = {
        node["NodeID"]: _fit(node["Resources"], threads, share, by_gpu=False)
        for node in sorted(nodes, key=lambda node: (node["NodeID"] != here, node["NodeID"]))
        if node["Alive"]
    }
    found: list[Gang] = []
    while sum(free.values()) >= size and (not most or len(found) < most):
        gang: list[str] = []
        while len(gang) < size:
            node = max(free, key=lambda node: free[node])  # the driver's first, of equal ones
            taken = min(free[node], size - len(gang))
            free[node] -= taken
            gang += [node] * taken
        found.append(tuple(gang))
    return found


class Crew:
    """Worker actors of the Ray that this process is connected to."""

    def __init__(
        self,
        threads: int,
        paths: list[str],
        most: int,
        *,
        gpus: float | None = None,
        accelerator: str = "auto",
        members: int = 1,
        kind: type[Any] = Worker,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """`most` workers; 0: as many as the CPUs and GPUs allow. threads, gpus, accelerator, members: of one trial, as
        in TrainConf. `kind` of worker: one that takes a trial, or a pack. `meanwhile`: what the driver does while new
        workers come up.
        """
        self.kind, self._meanwhile = kind, meanwhile
        self.threads, self.paths, self.most, self.members = threads, paths, most, members
        self.gpus, self.accelerator = gpus, accelerator
        self.workers: list[Any] = []
        self.share = 0.0  # GPUs of a worker, as of the last `fill`
        self._gangs: list[Gang] = []  # of each worker
        self._helpers: list[list[Any]] = []  # of each worker
        self._home: Any = None  # what workers on other machines send their files to, by its name
        self._name = f"home-{uuid.uuid4().hex}"

    def fill(self, abandoned: Callable[[], bool] = lambda: False) -> None:
        """Let go of the workers whose node, or a helper's, has gone, and start those that a node still lacks; not to
        the end where that is abandoned. Raises what a worker's start raised, where none came up.
        """
        import ray

        here = ray.get_runtime_context().get_node_id()
        has = ray.cluster_resources()
        share = self.share = self._share(has)
        wanted = gangs(ray.nodes(), here, self.threads, self.members, self.most, share)
        if not wanted:
            raise capacity.too_small(has, self.threads, self.members, share)
        kept = []
        for gang, worker, helpers in zip(self._gangs, self.workers, self._helpers, strict=True):
            if gang in wanted:
                wanted.remove(gang)
                kept.append((gang, worker, helpers))
            else:
                _end([worker, *helpers])
        if any(gang[0] != here for gang in wanted) and self._home is None:
            self._home = _pinned(Home, here, name=self._name).remote()
        started = [self._start(gang, here, share) for gang in wanted]
        self._meanwhile()
        coming = [actor for _, worker, helpers in started for actor in (worker, *helpers)]
        _come_up([*([self._home] if self._home is not None else []), *coming], abandoned)
        all_of_them = kept + started
        self._gangs = [gang for gang, _, _ in all_of_them]
        self.workers = [worker for _, worker, _ in all_of_them]
        self._helpers = [helpers for _, _, helpers in all_of_them]

    def _start(self, gang: Gang, here: str, share: float) -> tuple[Gang, Any, list[Any]]:
        helpers: list[Any] = []
        names = tuple(f"helper-{uuid.uuid4().hex}" for _ in gang[1:])  # by which the worker finds them
        if len(gang) > 1:
            from engine.train.helper import HelperActor

            helpers = [
                _pinned(HelperActor, node, num_gpus=share, name=name).remote(self.threads, self.paths, share)
                for node, name in zip(gang[1:], names, strict=True)
            ]
        home = "" if gang[0] == here else self._name
        worker = _pinned(self.kind, gang[0], num_gpus=share).remote(self.threads, self.paths, home, share, names)
        return gang, worker, helpers

    def _share(self, has: dict[str, float]) -> float:
        """GPUs of a worker; ConfigError where Ray has too few of them."""
        gpus = has.get("GPU", 0.0)
        share = capacity.gpu_share(self.gpus, gpus, self.accelerator)
        capacity.check(gpus=gpus, share=share, wanted=self.most, members=self.members)
        return share

    @property
    def nodes(self) -> list[str]:
        """Where each worker is."""
        return [gang[0] for gang in self._gangs]

    def dismiss(self) -> None:
        """End them all."""
        import ray

        if ray.is_initialized():
            helpers = [helper for own in self._helpers for helper in own]
            _end([*self.workers, *helpers, *([self._home] if self._home is not None else [])])
        self.workers, self._gangs, self._helpers, self._home = [], [], [], None


def _end(actors: list[Any]) -> None:
    import ray

    for actor in actors:
        ray.kill(actor)


def _come_up(actors: list[Any], abandoned: Callable[[], bool]) -> None:
    """Wait until the actors are ready; for one whose node has gone meanwhile nobody waits."""
    import ray

    waiting = [actor.ready.remote() for actor in actors]
    fault: BaseException | None = None
    up = 0
    while waiting and not abandoned():
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.2)
        for answer in ready:
            try:
                up += bool(ray.get(answer))
            except (ray.exceptions.RayActorError, ray.exceptions.ActorUnschedulableError) as error:
                fault = error
    if fault is not None and not up:
        raise fault


def _pinned(kind: type, node: str, **options: Any) -> Any:
    """An actor that lives and dies with one node; its process is started again when it alone dies."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return ray.remote(kind).options(
        num_cpus=0,
        max_concurrency=4,
        max_restarts=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        **options,
    )
