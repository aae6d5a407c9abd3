"""A trial between two epochs, on disk: what is needed to go on as if nothing had happened.

A checkpoint is one file, written whole or not at all (durable.py): one line of text with the sha256 of the rest, then
safetensors, whose metadata holds the structure around the tensors as JSON. No pickle is written or read. Each trial
has two such files that are written in turn, so the one before is there until the newest is whole.

A checkpoint belongs to one trial of one job, by a digest of all that shapes it; what another one wrote is refused. To
start a trial from another one's state on purpose (population-based training), `Keeper.adopt` takes its bytes over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from engine.errors import ArtifactError, InputError
from engine.system import durable
from engine.train.sweep import forget_checkpoints

MAGIC = b"tidegate checkpoint 1 "
COST_SHARE = 0.05  # of the time between two checkpoints may go to writing them
CURE = "nothing to do: the trial goes on from an older one, or starts anew"
CONTAINERS: dict[str, type[Any]] = {
    "tuple": tuple,
    "set": set,
    "deque": deque,
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": Counter,
}


class Unsavable(Exception):
    """A part of a trial's state has no form as tensors and JSON; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a trial after an epoch."""

    owner: str  # digest of the trial it belongs to
    epoch: int
    count: int  # which one of its trial's it is, from 1
    seconds: float  # that the trial has taken so far
    state: Any
    adopted: bool = False  # the state is another trial's; the hyperparameters are not


def pack(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint. Unsavable where its state holds something other than tensors and plain values."""
    tensors: dict[str, torch.Tensor] = {}
    about = {
        "owner": checkpoint.owner,
        "epoch": checkpoint.epoch,
        "count": checkpoint.count,
        "seconds": checkpoint.seconds,
        "adopted": checkpoint.adopted,
        "state": _encode(checkpoint.state, "state", tensors),
    }
    body = bytes(safetensors.torch.save(tensors, {"about": json.dumps(about, allow_nan=False)}))
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpack(data: bytes, where: str) -> Checkpoint:
    """The checkpoint that `pack` wrote; tensors are on the CPU. ArtifactError where the bytes are not whole."""
    head, _, body = data.partition(b"\n")
    if not head.startswith(MAGIC):
        raise ArtifactError(where, "no checkpoint of this version", CURE)
    if hashlib.sha256(body).hexdigest().encode() != head[len(MAGIC) :]:
        raise ArtifactError(where, "cut short or altered", CURE)
    try:
        tensors = safetensors.torch.load(body)
        size = int.from_bytes(body[:8], "little")
        about = json.loads(json.loads(body[8 : 8 + size])["__metadata__"]["about"])
        about["state"] = _decode(about["state"], tensors)
        return Checkpoint(**about)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ArtifactError(where, f"not understood ({type(error).__name__})", CURE) from error


def _encode(value: Any, where: str, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON values; a tensor is put among `tensors`. What JSON has not is an object with one key, "$" and its kind."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if isinstance(value, float):  # np.float64 is one, too
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, torch.Tensor):
        return {"$tensor": _put(value, where, tensors)}
    if kind is bytes:
        content = torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else torch.empty(0, dtype=torch.uint8)
        return {"$bytes": _put(content, where, tensors)}
    if kind is list:
        return [_encode(item, f"{where}[{i}]", tensors) for i, item in enumerate(value)]
    for name, container in CONTAINERS.items():
        if kind is not container:
            continue
        if isinstance(value, dict):
            pairs = [[_encode(k, where, tensors), _encode(v, f"{where}.{k}", tensors)] for k, v in value.items()]
            return {f"${name}": pairs}
        items = [_encode(item, f"{where}[{i}]", tensors) for i, item in enumerate(value)]
        return {f"${name}": items} if kind is not deque else {f"${name}": items, "n": value.maxlen}
    raise Unsavable(f"{where} is a {kind.__name__}")


def _put(value: torch.Tensor, where: str, tensors: dict[str, torch.Tensor]) -> str:
    if value.layout is not torch.strided or value.is_quantized:
        raise Unsavable(f"{where} is a tensor of layout {value.layout}")
    name = str(len(tensors))
    # a copy of its own: safetensors refuses tensors that share memory
    tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return name


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind = next((key[1:] for key in value if key.startswith("$")), "")
    content = value["$" + kind]
    if kind == "float":
        return float(content)
    if kind == "tensor":
        return tensors[content]
    if kind == "bytes":
        return tensors[content].numpy().tobytes()
    container = CONTAINERS[kind]
    if issubclass(container, dict):
        return container({_decode(k, tensors): _decode(v, tensors) for k, v in content})
    items = [_decode(item, tensors) for item in content]
    return deque(items, value["n"]) if container is deque else container(items)


class Keeper:
    """Reads and writes the checkpoints of one trial.

    Args:
        folder: the trial's; the files are `checkpoint-0` and `checkpoint-1` in it. None: nothing is kept.
        owner: the digest that a checkpoint must carry.
        every: seconds between two of them, at least, and long enough that writing takes at most a twentieth of the
            time; 0: one after every epoch.
        since: epochs that the trial must have behind it, in a population: without them it has failed.

    `notes` are lines for people on what was found and done.
    """

    def __init__(self, folder: Path | None, owner: str, every: float = 0.0, since: int = 0) -> None:
        self.folder, self.owner, self.every, self.since = folder, owner, every, since
        self.notes: list[str] = []
        self.found: Checkpoint | None = None  # what `newest` gave
        self._born = self._since = time.perf_counter()
        self._earlier = 0.0  # seconds of the trial in processes before this one
        self.shared: float | None = None  # seconds that were its own, where it shares this process: told, not measured
        self._count, self._cost = 0, 0.0
        self._works, self._refused = folder is not None, False
        self._pending: tuple[int, Callable[[], Any]] | None = None  # epoch, its state: while the trial rests after it
        self._kept = 0  # the epoch of the newest one

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; None where there is none. What is wrong with the others becomes a note.

        ArtifactError where there must be one.
        """
        if self.folder is None:
            return None
        found, faults, missing = [], [], []
        for slot in range(2):
            try:
                found.append(self._read(self._path(slot)))
            except FileNotFoundError:
                missing.append(self._path(slot).name)
            except (ArtifactError, OSError) as error:
                reason = error.what if isinstance(error, ArtifactError) else error.strerror
                faults.append(f"{self._path(slot).name} is {reason}")
        best = max(found, key=lambda checkpoint: checkpoint.count, default=None)
        if best is None and not faults and self.folder.is_dir() and not any(self.folder.iterdir()):
            faults.append("its checkpoints are gone")
        if best is not None and best.count > 1 and missing and not best.adopted:
            faults.append(f"{missing[0]} is gone")
        if best is None and self.since:
            raise ArtifactError(str(self.folder), f"the checkpoint of epoch {self.since} is gone", CURE)
        goes_on = f"it went on from epoch {best.epoch}" if best else "it started anew"
        if (best is not None and best.epoch != (self.since or None)) or faults:
            self.notes.append("; ".join([*faults, goes_on]))
        if best is not None:
            self._count, self._kept, self._earlier = best.count, best.epoch, best.seconds
        self.found = best
        return best

    def _read(self, path: Path) -> Checkpoint:
        checkpoint = unpack(path.read_bytes(), str(path))
        if checkpoint.owner != self.owner:
            raise ArtifactError(str(path), "of another trial or config", CURE)
        return checkpoint

    def rest(self, epoch: int, state: Callable[[], Any], *, last: bool) -> None:
        """The trial rests after `epoch`, and `state()` tells how it stands. Writes a checkpoint where one is due."""
        self._pending = (epoch, state)
        elapsed = time.perf_counter() - self._since
        if not last and elapsed >= self.every and (not self.every or elapsed * COST_SHARE >= self._cost):
            self.keep()

    def keep(self) -> None:
        """Write a checkpoint of where the trial rests, unless that was done. What is not possible becomes a note."""
        if self._pending is None or self._pending[0] == self._kept or not self._works:
            return
        began = time.perf_counter()
        epoch, state = self._pending
        try:
            count = self._count + 1
            data = pack(Checkpoint(owner=self.owner, epoch=epoch, count=count, seconds=self.spent(), state=state()))
        except Unsavable as error:
            self._works = False
            self.notes.append(f"no checkpoints: {error}, which has no form as tensors and JSON; killed, it starts anew")
            return
        try:
            durable.write_bytes(self._path(count % 2), data)
        except InputError as error:  # the disk is full, say: the trial goes on, and its record will tell
            if not self._refused:
                self.notes.append(f"no checkpoint after epoch {epoch}: {error.what}")
            self._refused = True
        else:
            self._count, self._kept = count, epoch
        self._since = time.perf_counter()
        self._cost = self._since - began

    def spent(self) -> float:
        """Seconds that the trial has taken, in earlier processes and in this one."""
        own = time.perf_counter() - self._born if self.shared is None else self.shared
        return self._earlier + own

    def going_on(self) -> None:
        """The trial no longer rests."""
        self._pending = None

    def refuse(self, reason: str) -> None:
        """The checkpoint that was found is of no use: the trial starts anew. ArtifactError where it must not."""
        self.forget()
        if self.since:
            raise ArtifactError(
                str(self.folder), f"its checkpoint {reason}", "keep what changes it out of search.space"
            )
        self.notes[-1] = f"its checkpoint {reason}; it started anew"
        self.found = None

    def adopt(self, data: bytes, seconds: float = 0.0) -> None:
        """Let the trial go on from these bytes of another one: with its state, and with hyperparameters of its own.

        Its own bytes change nothing: what lies on disk may be newer. `seconds` is what the trial has taken so far,
        where no checkpoint in its folder tells. ArtifactError where they are no whole checkpoint; InputError where the
        disk refuses.
        """
        given = unpack(data, "the checkpoint to adopt")
        if given.owner == self.owner:
            return
        count = 1
        for slot in range(2):  # of this trial, whatever its hyperparameters were
            with contextlib.suppress(OSError, ArtifactError):
                before = unpack(self._path(slot).read_bytes(), "")
                count, seconds = max(count, before.count + 1), max(seconds, before.seconds)
        mine = replace(given, owner=self.owner, count=count, seconds=seconds, adopted=True)
        durable.write_bytes(self._path(count % 2), pack(mine))
        if self._path((count + 1) % 2).exists():  # of before
            durable.remove(self._path((count + 1) % 2))

    def bytes_of(self, epoch: int) -> bytes:
        """The whole checkpoint after this very epoch as it lies on disk, for `adopt`. ArtifactError where there is
        none.
        """
        for slot in range(2):
            with contextlib.suppress(OSError, ArtifactError):
                if self._read(self._path(slot)).epoch == epoch:
                    return self._path(slot).read_bytes()
        raise ArtifactError(str(self.folder), f"there is no whole checkpoint of epoch {epoch}", CURE)

    def must_hold(self, epoch: int) -> None:
        """InputError unless the checkpoint after this epoch was written: whoever rests cannot do without."""
        if self._kept != epoch:
            what = self.notes[-1] if self.notes else f"no checkpoint after epoch {epoch}"
            raise InputError(str(self.folder), what, "see to that, and run the same command again")

    def forget(self) -> None:
        """Remove the checkpoints: the trial has ended, or must start anew."""
        if self.folder is not None:
            forget_checkpoints(self.folder)
            with contextlib.suppress(OSError):  # an empty folder would look like lost checkpoints
                self.folder.rmdir()
        self._count, self._kept = 0, 0

    def _path(self, slot: int) -> Path:
        assert self.folder is not None
        return self.folder / f"checkpoint-{slot}"
