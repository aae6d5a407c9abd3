"""A process on Ray that shares the trials of one worker (members.py): started with it, on its machine or another.

It outlives trials, as workers do: importing Lightning takes four seconds. One that is still busy with a trial whose
leader was killed is started anew when it is needed next.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, GetTimeoutError, RayActorError, RayTaskError

from engine.errors import one_line
from engine.records import Dataset
from engine.train.members import LOOK_SECONDS, LOOPBACK, Helper, Share, help_out

END_SECONDS = 10.0  # that a helper gets to leave a trial that has ended
START_SECONDS = 120.0  # that one gets to be started anew
READY_SECONDS = 3.0  # that one which lives takes to say so, at most


class HelperActor:
    """Made a Ray actor by crew.py; its methods may overlap in threads."""

    def __init__(self, threads: int, paths: list[str], gpus: float | None = None) -> None:
        """As the worker's (worker.py)."""
        from engine.train.worker import preparing

        with preparing(threads, paths, gpus):
            import engine.train.fit  # noqa: F401 - slow

        self._busy = False

    def ready(self) -> bool:
        """True, once the imports are done."""
        return True

    def busy(self) -> bool:
        """Does it share a trial."""
        return self._busy

    def address(self) -> str:
        """By which other machines reach this process."""
        return str(ray.util.get_node_ip_address())

    def share(self, share: Share, arrays: dict[str, Any]) -> None:
        """Share a trial to its end; `arrays` are its rows, mapped from the object store without a copy."""
        self._busy = True
        try:
            help_out(share, Dataset(**arrays["train"]), Dataset(**arrays["validation"]))
        finally:
            self._busy = False


class Actors:
    """The helpers of one worker, for one trial."""

    revives = True

    def __init__(self, names: tuple[str, ...], rows: Any) -> None:
        """rows: a reference to the arrays of both sides, which Ray brings to each machine once."""
        self.helpers, self.rows = [ray.get_actor(name) for name in names], rows
        own = str(ray.util.get_node_ip_address())
        self.addresses = [str(address) for address in ray.get([helper.address.remote() for helper in self.helpers])]
        self.host = LOOPBACK if set(self.addresses) == {own} else own

    def devices(self, gpu: bool) -> int:
        """Each process has what Ray gave it."""
        return 1 + len(self.helpers)

    def start(self, shares: list[Share], train: Dataset, validation: Dataset) -> list[Helper]:
        """Give each its share; the rows are in the object store."""
        started: list[Helper] = []
        for helper, address, share in zip(self.helpers, self.addresses, shares, strict=False):  # it may want fewer
            _free(helper)
            told = replace(share, address=LOOPBACK if self.host == LOOPBACK else address)
            started.append(_Started(helper, helper.share.remote(told, self.rows)))
        return started


def alive(names: tuple[str, ...]) -> bool:
    """Do all helpers of these names answer; one whose process is being started does not yet."""
    try:
        ray.get([ray.get_actor(name).ready.remote() for name in names], timeout=READY_SECONDS)
    except (RayActorError, ActorUnschedulableError, GetTimeoutError, ValueError):  # ValueError: gone for good
        return False
    return True


def _free(helper: Any) -> None:
    """Start one anew that still hangs in a trial whose leader has gone."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(RayActorError, GetTimeoutError):  # it is being started
            if not ray.get(helper.busy.remote(), timeout=READY_SECONDS):
                return
            ray.kill(helper, no_restart=False)
        time.sleep(LOOK_SECONDS)


@dataclass
class _Started:
    helper: Any
    call: Any  # its share of the trial

    def why(self, seconds: float) -> str | None:
        ended, _ = ray.wait([self.call], timeout=seconds)
        if not ended:
            return None
        try:
            ray.get(self.call)
        except RayTaskError as error:
            return one_line(f"{type(error.cause).__name__}: {error.cause}")[:200]
        except RayActorError:
            return ""
        return "it left the trial"

    def end(self, *, at_once: bool) -> None:
        if self.why(0.0 if at_once else END_SECONDS) is None:
            ray.kill(self.helper, no_restart=False)
