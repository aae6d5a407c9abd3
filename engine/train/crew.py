"""The workers of all machines: started once a loop, spread over the nodes that live, counted anew before each sweep."""

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


class Crew:
    """Worker actors of the Ray that this process is connected to."""

    def __init__(
        self, threads: int, paths: list[str], most: int, *, gpus: float | None = None, accelerator: str = "auto"
    ) -> None:
        """`most` workers in all; 0: as many as the CPUs and GPUs allow. threads, gpus, accelerator: of one trial."""
        self.threads, self.paths, self.most = threads, paths, most
        self.gpus, self.accelerator = gpus, accelerator
        self.workers: list[Any] = []
        self._nodes: list[str] = []  # of each worker
        self._home: Any = None  # what workers on other machines send their files to, by its name
        self._name = f"home-{uuid.uuid4().hex}"

    def fill(self, abandoned: Callable[[], bool] = lambda: False) -> None:
        """Let go of the workers whose node has gone, and start those that a node still lacks; not to the end where
        that is abandoned. Raises what a worker's start raised, where none came up.
        """
        import ray

        here = ray.get_runtime_context().get_node_id()
        share = self._share(ray.cluster_resources())
        slots = spread(ray.nodes(), here, self.threads, self.most, share)
        living = [(node, worker) for node, worker in zip(self._nodes, self.workers, strict=True) if node in slots]
        for node, _ in living:
            slots.remove(node)
        if any(node != here for node in slots) and self._home is None:
            self._home = _pinned(Home, here, name=self._name).remote()
        started = [
            (node, made.remote(self.threads, self.paths, "" if node == here else self._name, share))
            for node in slots
            for made in [_pinned(Worker, node, num_gpus=share)]
        ]
        import engine.train.tune_trial  # noqa: F401 - a second of imports, while the workers have theirs

        _come_up([*([self._home] if self._home is not None else []), *(worker for _, worker in started)], abandoned)
        self._nodes = [node for node, _ in living + started]
        self.workers = [worker for _, worker in living + started]

    def _share(self, has: dict[str, float]) -> float:
        """GPUs of a worker; ConfigError where Ray has too few of them."""
        gpus = has.get("GPU", 0.0)
        share = capacity.gpu_share(self.gpus, gpus, self.accelerator)
        capacity.check(gpus=gpus, share=share, wanted=self.most)
        return share

    def dismiss(self) -> None:
        """End them all."""
        import ray

        if ray.is_initialized():
            for actor in [*self.workers, *([self._home] if self._home is not None else [])]:
                ray.kill(actor)
        self.workers, self._nodes, self._home = [], [], None


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
