"""The processes that share one trial: who starts them, where they meet, and how it is seen that one has ended.

The process that runs the trial leads. On Ray its helpers are actors (helper.py) that stay as long as the workers do, on
this machine or on others, each with the CPUs and GPUs of a worker. Without Ray they are started for the trial, here.

They meet at a store that the leader serves: on loopback where all are on one machine, else on the address by which Ray
knows the leader's. Nobody is authenticated there, as everywhere in torch.distributed: a cluster's network is trusted.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.multiprocessing as mp
from torch.distributed import ProcessGroupGloo, TCPStore  # type: ignore[attr-defined]

from engine.errors import one_line
from engine.records import Dataset
from engine.train.loader import as_tensor
from engine.train.sweep import HelperLost

if TYPE_CHECKING:
    from engine.records import Task
    from engine.train.checkpoint import Checkpoint
    from engine.train.conf import TrainConf

LOOPBACK = "127.0.0.1"
WAIT = datetime.timedelta(days=7)  # a trial may be paused between epochs; a dead process is noticed at once
LOOK_SECONDS = 0.1  # between two looks at helpers that are about to come
BLAME_SECONDS = 5.0  # that a helper gets to say why it ended
WATCH_SECONDS = 1.0  # between two looks at helpers whose end NCCL does not notice

# What a leader says to processes that run its loop: of an epoch's model, and between two epochs.
KEEP, PASS = "keep", "pass"  # its weights are put together, or not
STATE = "state"  # a checkpoint is put together
GO, STOP, OVER = "go", "stop", "over"  # on with the next epoch, or to the trial's end, or away at once


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a helper is told: the trial, its place in it, and the role that it plays there."""

    role: Callable[[Share, Any, Dataset, Dataset], None]  # of the share, the store, and the rows of both sides
    model: Any  # as built, on the CPU
    conf: TrainConf
    task: Task
    device: str  # where this process trains, as torch names it
    kept: Checkpoint | None = None  # that the trial goes on from
    rank: int = 0
    host: str = LOOPBACK  # of the leader's store
    port: int = 0
    address: str = LOOPBACK  # of this process

    @property
    def gpu(self) -> bool:
        """Does each process train on a GPU of its own."""
        return self.device != "cpu"


class Helper(Protocol):
    """One helper of a trial, as its leader sees it."""

    def why(self, seconds: float) -> str | None:
        """Why it ended; None where it has not within so many seconds."""

    def end(self, *, at_once: bool) -> None:
        """It is no longer needed; at once: it may hang."""


class Members(Protocol):
    """What starts the helpers of a trial."""

    host: str  # where its leader's store listens
    revives: bool  # one that is killed is started anew, or others take its place

    def devices(self, gpu: bool) -> int:
        """How many processes, the leader among them, have a device of their own."""

    def start(self, shares: list[Share], train: Dataset, validation: Dataset) -> list[Helper]:
        """A helper for each share."""


@dataclass
class Part:
    """What several processes add to the training of the one that leads: nothing where it trains alone."""

    callbacks: tuple[Any, ...] = ()  # Lightning's
    strategy: Any = None  # Lightning's
    say: Callable[[str], None] = lambda word: None


def hear(store: Any) -> Iterator[str]:
    """What the leader says, word by word; RuntimeError where it has gone."""
    for count in itertools.count():
        yield store.get(f"word-{count}").decode()


@dataclass
class Team:
    """The helpers of a running trial, and the store at which all of it meets."""

    store: Any
    share: Share  # the leader's own
    revives: bool
    helpers: list[Helper] = field(default_factory=list)
    resting: bool = False  # the helpers wait for a word: they will understand that the trial has ended
    fault: str | None = None  # why a helper ended, where the connection itself does not show it
    _said: int = 0

    def say(self, word: str) -> None:
        """Tell all helpers."""
        self.store.set(f"word-{self._said}", word)
        self._said += 1

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """What fails here is the fault of a helper, where one has ended; it may have said why."""
        try:
            yield
            if self.fault is not None:
                raise RuntimeError("the connection was broken off")
        except RuntimeError as error:
            reasons = [reason for helper in self.helpers if (reason := helper.why(BLAME_SECONDS)) is not None]
            if not reasons:
                raise
            raise self.ending(next((reason for reason in reasons if reason), "")) from error

    @contextlib.contextmanager
    def watched(self, abort: Callable[[], None]) -> Iterator[None]:
        """NCCL waits for a process that has died: its connections are broken instead. Gloo notices by itself."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(WATCH_SECONDS):
                self.fault = self.lost()
                if self.fault is not None:
                    abort()
                    return

        if self.share.gpu:
            threading.Thread(target=watch, daemon=True, name="watch-helpers").start()
        try:
            yield
        finally:
            over.set()

    def ending(self, reason: str) -> BaseException:
        """What ends the trial where a helper has ended."""
        if not reason and self.revives:
            return HelperLost("a helper process was killed")
        return RuntimeError(f"a helper process failed: {reason or 'it was killed'}")

    def lost(self) -> str | None:
        """Why a helper ended; None where all live."""
        return next((reason for helper in self.helpers if (reason := helper.why(0.0)) is not None), None)


@contextlib.contextmanager
def gathered(members: Members, share: Share, train: Dataset, validation: Dataset) -> Iterator[Team]:
    """A trial's helpers, all of them there; they are ended in the end.

    Raises:
        RuntimeError: a helper ended before it came; why, where it said so.
    """
    listening = socket.create_server((members.host, 0))
    size, port = share.conf.workers, listening.getsockname()[1]
    store = TCPStore(
        members.host, port, size, True, wait_for_workers=False, master_listen_fd=listening.detach(), timeout=WAIT
    )
    share = replace(share, host=members.host, port=port, address=members.host)
    team = Team(store, share, members.revives)
    well = False
    try:
        team.helpers = members.start([replace(share, rank=rank) for rank in range(1, size)], train, validation)
        while not store.check([f"here-{rank}" for rank in range(1, size)]):
            if (reason := team.lost()) is not None:
                raise team.ending(reason)
            time.sleep(LOOK_SECONDS)
        yield team
        well = True
    finally:
        for helper in team.helpers:
            helper.end(at_once=not (well or team.resting))


def help_out(share: Share, train: Dataset, validation: Dataset) -> None:
    """Play the role of a helper, until the trial ends."""
    torch.set_num_threads(share.conf.threads)
    store = TCPStore(share.host, share.port, share.conf.workers, False, wait_for_workers=False, timeout=WAIT)
    store.set(f"here-{share.rank}", "1")
    share.role(share, store, train, validation)


def gloo(store: Any, rank: int, size: int, address: str) -> Any:
    """A group of processes over TCP, each of which listens on its own address alone."""
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._timeout = WAIT
    options._devices = [ProcessGroupGloo.create_device(hostname=address)]
    return ProcessGroupGloo(store, rank, size, options)


def nccl(store: Any, rank: int, size: int) -> Any:
    """A group of processes with a GPU each."""
    from torch.distributed import ProcessGroupNCCL

    options = ProcessGroupNCCL.Options()
    options._timeout = WAIT
    return ProcessGroupNCCL(store, rank, size, options)


class Spawned:
    """Helpers of this machine, started for one trial."""

    host, revives = LOOPBACK, False

    def devices(self, gpu: bool) -> int:
        """GPUs that this process sees; of CPUs any number."""
        return torch.cuda.device_count() if gpu else 2**31

    def start(self, shares: list[Share], train: Dataset, validation: Dataset) -> list[Helper]:
        """Start them; the rows are in memory that all share."""
        context = mp.get_context("spawn")  # a fork of a process with threads may hang
        rows = [_as_tensors(data) for data in (train, validation)]
        started: list[Helper] = []
        for share in shares:
            device = f"cuda:{share.rank}" if share.gpu else share.device
            ours, theirs = context.Pipe(duplex=False)
            job = (replace(share, device=device), *rows, theirs)
            process = context.Process(target=_process, args=job, daemon=True, name=f"helper-{share.rank}")
            process.start()
            theirs.close()
            started.append(_Spawned(process, ours))
        return started


@dataclass
class _Spawned:
    process: Any
    ours: Any  # the pipe that tells why it ended
    told: str | None = None

    def why(self, seconds: float) -> str | None:
        if self.told is None and self.ours.poll(seconds):
            try:
                self.told = str(self.ours.recv())
            except EOFError:  # it ended without a word
                self.told = ""
        return self.told

    def end(self, *, at_once: bool) -> None:
        self.process.kill()  # it holds nothing
        self.process.join()
        self.ours.close()


def _process(share: Share, train: dict[str, Any], validation: dict[str, Any], talk: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the leader's
    warnings.simplefilter("ignore")  # the leader has the same ones
    try:
        help_out(share, _as_rows(train), _as_rows(validation))
    except BaseException as error:  # the leader is gone, or the model failed: it is told, if it is there
        with contextlib.suppress(OSError):
            talk.send(one_line(f"{type(error).__name__}: {error}")[:200])


def _as_tensors(data: Dataset) -> dict[str, Any]:
    """Tensors, which another process maps where it would copy arrays."""
    return {name: None if array is None else as_tensor(array, "cpu") for name, array in vars(data).items()}


def _as_rows(tensors: dict[str, Any]) -> Dataset:
    arrays: dict[str, Any] = {name: None if tensor is None else np.asarray(tensor) for name, tensor in tensors.items()}
    return Dataset(**arrays)
