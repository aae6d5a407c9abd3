"""How Ray says that a worker is lost: by its own end, its node's, or for want of memory; and how it says so itself."""

from __future__ import annotations

from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from engine.train.worker import LostLease

LOST = (RayActorError, OutOfMemoryError, NodeDiedError, WorkerCrashedError, ActorUnschedulableError, LostLease)
