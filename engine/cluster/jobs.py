"""Ray's Job API: a job is submitted once, followed, asked about, stopped.

The same command finds the job that it has submitted before, as long as that one runs: it is followed, not run twice.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from engine.cluster.door import look_again
from engine.cluster.request import Request
from engine.doctor.services import unreachable
from engine.errors import ConfigError, TidegateError, one_line
from engine.system.redact import redact_text

DEFAULT = "http://127.0.0.1:8265"
OVERRULING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # Ray's client takes these before what it is told
PENDING = ("PENDING", "RUNNING")
INTERRUPTED = 130
NOT_FOUND = 127  # of a shell
PAUSE = 0.5  # seconds between two looks at a job whose log has ended
RETRIES = 20  # looks in vain before a job is given up from sight


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What is known of a job. `code` is its exit code, None as long as it runs."""

    job: str
    status: str
    message: str
    code: int | None

    @property
    def ended(self) -> bool:
        """Has it."""
        return self.status not in PENDING


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None) -> None:
        """ConfigError where nothing answers there, or it wants another token."""
        self.address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT
        self._client = _connect(self.address)
        self._seen = 0  # characters of the log that is followed

    def submit(self, request: Request) -> tuple[str, bool]:
        """(id of the job, was it submitted now): one of the same name that still runs is taken instead."""
        with _told(self.address):
            mine = [job for job in self._client.list_jobs() if (job.metadata or {}).get("name") == request.name]
            for job in mine:
                if job.status.value in PENDING and job.submission_id:
                    return job.submission_id, False
            name = f"{request.name}-{len(mine) + 1}"
            try:
                self._client.submit_job(
                    entrypoint=request.entrypoint,
                    submission_id=name,
                    runtime_env=request.runtime_env,
                    metadata=request.metadata,
                )
            except RuntimeError:
                if self._client.get_job_info(name).status.value not in PENDING:  # raises where it is not there
                    raise
                return name, False  # the same command, at the same moment
        return name, True

    def state(self, job: str) -> JobState:
        """How a job is; ConfigError where there is none of that id."""
        with _told(self.address, job):
            info = self._client.get_job_info(job)
        status = info.status.value
        codes = {"SUCCEEDED": 0, "STOPPED": INTERRUPTED, "FAILED": info.driver_exit_code or 1}
        message = one_line(redact_text(info.message or ""))
        return JobState(job=job, status=status, message=message, code=codes.get(status))

    def stop(self, job: str) -> JobState:
        """Ask a job to end, and wait until it has: it gets SIGTERM, as for Ctrl-C, and SIGKILL some seconds later."""
        with _told(self.address, job):
            self._client.stop_job(job)
        while not (state := self.state(job)).ended:
            time.sleep(PAUSE)
        return state

    def follow(self, job: str, write: Callable[[str], None]) -> JobState:
        """Hand on the log of a job, from its beginning, until it has ended.

        Raises:
            TidegateError: the cluster does not answer any more.
            KeyboardInterrupt: whoever follows has seen enough; the job goes on.
        """
        from aiohttp import ClientError

        self._seen = 0
        misses = 0
        while True:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # Ray hands aiohttp an old value
                    asyncio.run(self._tail(job, write))
                state = self.state(job)
                misses = 0
            except (ClientError, OSError, RuntimeError, TidegateError) as error:
                misses += 1
                if misses > RETRIES:
                    said = one_line(redact_text(str(error)), 200)
                    line = f"job {job} cannot be seen any more ({said}) - the same command follows it again"
                    raise TidegateError(line) from error
                time.sleep(PAUSE)
                continue
            if state.ended:
                return state
            time.sleep(PAUSE)

    async def _tail(self, job: str, write: Callable[[str], None]) -> None:
        """Hand on what comes after the characters that were seen: a log that broke off comes from its beginning."""
        place = 0
        async with aclosing(self._client.tail_job_logs(job)) as parts:
            async for text in parts:
                fresh = text[max(0, self._seen - place) :]
                place += len(text)
                if fresh:
                    write(fresh)
                    self._seen = place


def _connect(address: str) -> Any:
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError("submit", "ray[default] is not installed", "pip install 'tidegate[cluster]'")
    if fault := unreachable(address):
        cure = "start the cluster with its dashboard, or correct it"
        raise ConfigError("cluster.address", f"{redact_text(address)} {fault}", cure)
    from ray.job_submission import JobSubmissionClient

    look_again()
    with _told(address), _not_overruled():
        return JobSubmissionClient(address)


@contextmanager
def _not_overruled() -> Iterator[None]:
    """What we were told goes before the environment."""
    before = {name: os.environ.pop(name) for name in OVERRULING if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def _told(address: str, job: str = "") -> Iterator[None]:
    """What goes wrong there as one line."""
    import ray

    try:
        yield
    except ray.exceptions.AuthenticationError as error:
        cure = "give the token of the cluster: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE"
        raise ConfigError("cluster.address", f"{redact_text(address)} wants another token", cure) from error
    except (OSError, RuntimeError) as error:
        said = one_line(redact_text(str(error)), 200)
        if job and "does not exist" in said:
            raise ConfigError(f"job:{job}", "there is none of that id", "see the ids on the dashboard") from error
        raise ConfigError("cluster.address", f"{redact_text(address)} refuses ({said})", "see its log") from error
