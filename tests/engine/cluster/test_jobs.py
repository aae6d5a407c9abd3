"""Following a job whose log breaks off; what a real Job API does is in tests/engine/verbs/test_submit.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from engine.cluster import jobs
from engine.cluster.jobs import Jobs
from engine.errors import TidegateError


class Client:
    """A cluster whose log breaks off where it is told to; None is the end of a whole log."""

    def __init__(self, *logs: tuple[list[str], Exception | None], status: str = "SUCCEEDED", code: int = 0) -> None:
        self.logs, self.status, self.code = list(logs), status, code

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        parts, fault = self.logs.pop(0) if self.logs else ([], RuntimeError("gone"))
        for part in parts:
            yield part
        if fault:
            raise fault

    def get_job_info(self, job: str) -> Any:
        status = SimpleNamespace(value=self.status)
        return SimpleNamespace(status=status, message="its end", driver_exit_code=self.code)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAUSE", 0.0)


def following(client: Client) -> Jobs:
    """The jobs of this cluster."""
    made = Jobs.__new__(Jobs)
    made.address, made._client = "http://a:8265", client
    return made


def test_a_log_that_breaks_off_is_taken_up_where_it_was() -> None:
    heard: list[str] = []
    client = Client((["ab", "c"], OSError("reset")), ([], RuntimeError("closed")), (["a", "bcd", "ef"], None))
    state = following(client).follow("job-1", heard.append)
    assert "".join(heard) == "abcdef"
    assert (state.status, state.code) == ("SUCCEEDED", 0)


@pytest.mark.parametrize(
    ("status", "code", "expected"), [("FAILED", 3, 3), ("FAILED", 0, 1), ("STOPPED", 0, 130), ("SUCCEEDED", 0, 0)]
)
def test_exit_codes(status: str, code: int, expected: int) -> None:
    client = Client(([], None), status=status, code=code)
    assert following(client).follow("job-1", print).code == expected


def test_a_cluster_that_is_gone_is_given_up_with_a_line() -> None:
    with pytest.raises(
        TidegateError, match=r"^job job-1 cannot be seen any more \(gone\) - the same command follows it"
    ):
        following(Client()).follow("job-1", print)
