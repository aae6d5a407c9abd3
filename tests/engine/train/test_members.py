"""What the processes of a trial know of each other: who has ended, whose fault it is, and by what they talk.

Nobody here has a GPU: what depends on one is asked with stand-ins.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.distributed as dist

from engine.records import Dataset, Task
from engine.train import distributed, members
from engine.train.members import Helper, Share, Spawned, Team, gathered
from engine.train.sweep import HelperLost
from tests.engine.train.made import make_rows, make_train


@dataclass
class Still:
    """A helper that ended with these words; None: it lives."""

    word: str | None
    ended: bool | None = None

    def why(self, seconds: float) -> str | None:
        return self.word

    def end(self, *, at_once: bool) -> None:
        self.ended = at_once


def make_share(device: str = "cpu", workers: int = 2) -> Share:
    conf = make_train(workers=workers, accelerator="auto")
    return Share(role=idle, model=torch.nn.Linear(1, 1), conf=conf, task=Task.BINARY, device=device)


def idle(share: Share, store: Any, train: Dataset, validation: Dataset) -> None:
    """A role without a word."""


@pytest.mark.parametrize(
    ("words", "revives", "kind", "message"),
    [
        ([None, ""], False, RuntimeError, "a helper process failed: it was killed"),
        ([None, ""], True, HelperLost, "a helper process was killed"),
        (["", "ValueError: no"], True, RuntimeError, "a helper process failed: ValueError: no"),
        ([None, None], True, RuntimeError, "connection reset"),  # a fault of the trial itself
    ],
)
def test_who_is_blamed(words: list[str | None], revives: bool, kind: type[BaseException], message: str) -> None:
    team = Team(None, make_share(), revives, [Still(word) for word in words])
    with pytest.raises(kind, match=f"^{message}$"), team.blamed():
        raise RuntimeError("connection reset")


def test_connections_to_a_dead_helper_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL would wait for it; what was summed meanwhile does not count."""
    monkeypatch.setattr(members, "WATCH_SECONDS", 0.01)
    helper, broken = Still(None), threading.Event()
    team = Team(None, make_share("cuda:0"), True, [helper])

    def lose() -> None:
        with team.watched(broken.set), team.blamed():
            assert not broken.wait(0.05)
            helper.word = ""
            assert broken.wait(300)

    with pytest.raises(HelperLost):
        lose()
    on_cpus = Team(None, make_share(), True, [helper])
    broken.clear()
    with on_cpus.watched(broken.set), on_cpus.blamed():
        assert not broken.wait(0.05)  # gloo sees it by itself


@pytest.mark.parametrize("fails", [False, True])
def test_helpers_are_ended_with_the_trial(fails: bool) -> None:
    """At once, and not asked, where they may hang in the middle of a step."""

    class Coming(Spawned):
        def start(self, shares: list[Share], train: Dataset, validation: Dataset) -> list[Helper]:
            for share in shares:
                members.help_out(share, train, validation)
            return [helper]

    helper, rows = Still(None), make_rows()
    try:
        with gathered(Coming(), make_share(), rows, rows) as team:
            assert (team.share.rank, team.share.host, team.share.address) == (0, "127.0.0.1", "127.0.0.1")
            if fails:
                raise ValueError("no such layer")
    except ValueError:
        assert fails
    assert helper.ended is fails


def test_a_helper_that_never_comes_is_not_waited_for() -> None:
    class Dead(Spawned):
        def start(self, shares: list[Share], train: Dataset, validation: Dataset) -> list[Helper]:
            return [Still("ImportError: no module")]

    rows = make_rows()
    with (
        pytest.raises(RuntimeError, match=r"^a helper process failed: ImportError: no module$"),
        gathered(Dead(), make_share(), rows, rows),
    ):
        pass


def test_processes_with_a_gpu_each_talk_by_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nccl:
        class Options:
            _timeout = None

        def __init__(self, *what: Any) -> None:
            self.what = what

    monkeypatch.setattr(dist, "ProcessGroupNCCL", Nccl, raising=False)
    group = distributed._join(make_share("cuda:0"), "store")
    assert isinstance(group, Nccl)
    assert group.what[:3] == ("store", 0, 2)
    assert group.what[3]._timeout == members.WAIT


def test_processes_of_one_machine_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Context:
        def Pipe(self, duplex: bool) -> Any:
            return Still(None), Ends()

        def Process(self, *, target: Any, args: Any, daemon: bool, name: str) -> Any:
            return Ends(lambda: started.append((name, args[0].device)))

    class Ends:
        def __init__(self, start: Any = None) -> None:
            self.start, self.close = start, lambda: None

    monkeypatch.setattr(members.mp, "get_context", lambda way: Context())
    shares = [make_share("cuda:0", 3), make_share("cuda:0", 3)]
    ranked = [members.replace(share, rank=rank) for rank, share in enumerate(shares, 1)]
    Spawned().start(ranked, make_rows(), make_rows())
    assert started == [("helper-1", "cuda:1"), ("helper-2", "cuda:2")]
    Spawned().start([make_share()], make_rows(), make_rows())
    assert started[-1] == ("helper-0", "cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert Spawned().devices(gpu=True) == 3
