"""Checkpoints: what is written comes back, and what is damaged is noticed. Trials that use them: test_resume.py."""

from __future__ import annotations

import errno
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ArtifactError
from engine.system import durable
from engine.train.checkpoint import Checkpoint, Keeper, Unsavable, pack, unpack


def make(state: Any, **changes: Any) -> Checkpoint:
    return Checkpoint(**{"owner": "me", "epoch": 1, "count": 1, "seconds": 0.5, "state": state} | changes)


def through(state: Any) -> Any:
    """State after a way to disk and back."""
    return unpack(pack(make(state)), "c").state


# ---- bytes ---------------------------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(), inner)
        | st.builds(OrderedDict, st.dictionaries(st.text(), inner))
        | st.builds(deque, st.lists(inner), st.just(7))
    ),
    max_leaves=12,
)


@given(plain)
@settings(max_examples=60)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    back = through(value)
    assert back == value
    assert type(back) is type(value)


def test_numbers_that_json_lacks_come_back() -> None:
    back = through([math.nan, math.inf, -math.inf, -0.0, 1e-320, np.float64(0.1)])
    assert math.isnan(back[0])
    assert back[1:] == [math.inf, -math.inf, 0.0, 1e-320, 0.1]
    assert math.copysign(1.0, back[3]) == -1.0
    milestones = through({"milestones": Counter({2: 1, 4: 2}), "of": {1, 2}, "$tensor": {"$float": 1}})
    assert milestones == {"milestones": Counter({2: 1, 4: 2}), "of": {1, 2}, "$tensor": {"$float": 1}}
    assert type(milestones["milestones"]) is Counter
    assert through(deque([1, 2], 2)).maxlen == 2


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
)
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    base = (torch.arange(24).reshape(4, 6) % 7).to(dtype)
    state = {"whole": base, "view": base.T[1:], "same": base, "empty": base[:0], "scalar": base[1, 1], 3: [base[0]]}
    back = through(state)
    assert back.keys() == state.keys()
    for key in ("whole", "view", "same", "empty", "scalar"):
        assert back[key].dtype == dtype
        assert torch.equal(back[key], state[key])
    assert torch.equal(back[3][0], base[0])


def test_what_has_no_form_is_named() -> None:
    class Odd:
        pass

    for state, message in (
        ({"optimizer_states": [{"state": {0: {"odd": Odd()}}}]}, "state.optimizer_states[0].state.0.odd is a Odd"),
        ([len], "state[0] is a builtin_function_or_method"),
        ({"x": torch.zeros(2).to_sparse()}, "state.x is a tensor of layout torch.sparse_coo"),
    ):
        with pytest.raises(Unsavable) as error:
            pack(make(state))
        assert str(error.value) == message


def test_every_cut_and_every_flipped_byte_is_noticed() -> None:
    data = pack(make({"w": torch.arange(3.0), "name": "x", "none": None}))
    for cut in range(len(data)):
        with pytest.raises(ArtifactError, match=r"^c: (no checkpoint of this version|cut short or altered) - "):
            unpack(data[:cut], "c")
    for at in range(len(data)):
        with pytest.raises(ArtifactError):
            unpack(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "c")
    with pytest.raises(ArtifactError):
        unpack(data + b"\0", "c")


# ---- files ---------------------------------------------------------------------------------------------------------


def keep(folder: Path, *epochs: int, owner: str = "me") -> Keeper:
    """A trial that rested after these epochs."""
    keeper = Keeper(folder, owner)
    keeper.newest()
    for epoch in epochs:
        keeper.rest(epoch, lambda epoch=epoch: {"epoch": epoch}, last=False)  # type: ignore[misc]
        keeper.going_on()
    return keeper


def found(folder: Path, owner: str = "me") -> tuple[int, list[str]]:
    """Epoch of the newest checkpoint, 0 without one; and the notes."""
    keeper = Keeper(folder, owner)
    newest = keeper.newest()
    assert newest is None or newest.state == {"epoch": newest.epoch}
    return (newest.epoch if newest else 0), keeper.notes


def test_the_newest_of_two_is_taken(tmp_path: Path) -> None:
    assert found(tmp_path / "t") == (0, [])
    for last in (1, 2, 3):
        keep(tmp_path / "t", last)
        assert found(tmp_path / "t") == (last, [f"it went on from epoch {last}"])
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["checkpoint-0", "checkpoint-1"]
    keep(tmp_path / "t").forget()
    assert not (tmp_path / "t").exists()
    assert found(tmp_path / "t") == (0, [])


@pytest.mark.parametrize("damage", ["cut", "empty", "altered", "deleted", "older version"])
def test_a_damaged_one_is_told_and_the_one_before_is_taken(damage: str, tmp_path: Path) -> None:
    keep(tmp_path, 1, 2, 3)
    newest, before = tmp_path / "checkpoint-1", tmp_path / "checkpoint-0"
    what = spoil(newest, damage)
    assert found(tmp_path) == (2, [f"checkpoint-1 is {what}; it went on from epoch 2"])
    spoil(before, damage)
    epoch, notes = found(tmp_path)
    assert epoch == 0
    assert notes == (
        ["its checkpoints are gone; it started anew"]
        if damage == "deleted"
        else [f"checkpoint-0 is {what}; checkpoint-1 is {what}; it started anew"]
    )


def spoil(path: Path, damage: str) -> str:
    """Damage a file; what the note says of it."""
    data = path.read_bytes()
    if damage == "deleted":
        path.unlink()
        return "gone"
    changed = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "altered": data[:-1] + bytes([data[-1] ^ 4]),
        "older version": data.replace(b"checkpoint 1", b"checkpoint 0", 1),
    }
    path.write_bytes(changed[damage])
    return "no checkpoint of this version" if damage in ("empty", "older version") else "cut short or altered"


def test_that_of_another_trial_is_refused_unless_it_is_adopted(tmp_path: Path) -> None:
    keep(tmp_path / "a", 1, 2, 3, owner="a")
    assert found(tmp_path / "a", "b")[0] == 0
    fault = "of another trial or config"
    assert found(tmp_path / "a", "b")[1] == [
        f"checkpoint-0 is {fault}; checkpoint-1 is {fault}; it started anew",
    ]
    keep(tmp_path / "b", 1, 2, 3, 4, 5, 6, owner="b")
    Keeper(tmp_path / "b", "b").adopt(Keeper(tmp_path / "a", "a").bytes_of(3))
    assert found(tmp_path / "b", "b") == (3, ["it went on from epoch 3"])  # not from its own newest one
    mine = Keeper(tmp_path / "b", "b")
    newest = mine.newest()
    assert newest is not None
    assert newest.adopted
    keep(tmp_path / "b", 4, owner="b")
    assert found(tmp_path / "b", "b")[0] == 4
    with pytest.raises(ArtifactError, match=r"^the checkpoint to adopt: no checkpoint of this version - "):
        mine.adopt(b"")


def test_one_is_written_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("engine.train.checkpoint.time.perf_counter", lambda: clock[0])
    keeper, written = Keeper(tmp_path, "me", every=10.0), []
    writing = 0.0

    def state() -> None:
        clock[0] += writing

    for epoch in range(1, 40):
        clock[0] += 3.0
        writing = 2.0 if epoch > 5 else 0.0
        keeper.rest(epoch, state, last=False)
        keeper.going_on()
        if keeper._kept == epoch:
            written.append(epoch)
    assert written == [4, 8, 22, 36]  # 12 s apart; once it takes 2 s, 42 s apart
    keeper.rest(40, state, last=True)  # its record follows at once
    assert keeper._kept == 36
    keeper.keep()
    assert keeper._kept == 40


class Faulty:
    """A disk on which the n-th step fails, and all after it or none."""

    def __init__(self, at: int, lasting: bool) -> None:
        self.at, self.lasting, self.seen = at, lasting, 0

    def __call__(self, step: durable.Step, execute: Callable[[], None]) -> None:
        self.seen += 1
        if self.seen == self.at or (self.lasting and self.seen > self.at):
            raise OSError(errno.ENOSPC, "No space left on device")
        execute()


@pytest.mark.parametrize("lasting", [False, True])
def test_a_full_disk_costs_checkpoints_and_nothing_else(lasting: bool, tmp_path: Path) -> None:
    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        keep(folder, 1, 2)
        disk = Faulty(at, lasting)
        keeper = Keeper(folder, "me")
        keeper.newest()
        with durable.intercept(disk):
            for epoch in (3, 4, 5):
                keeper.rest(epoch, lambda epoch=epoch: {"epoch": epoch}, last=False)  # type: ignore[misc]
        if disk.seen < at:
            break
        note = f"no checkpoint after epoch {3 + (at - 1) // 5}: cannot be written: No space left on device"
        assert keeper.notes[1:] == [note]  # once, however often it failed
        epoch, notes = found(folder)
        assert notes == [f"it went on from epoch {epoch}"]
        assert epoch >= 2 + (at - 1) // 5
        assert not list(folder.glob(".*"))
    assert at == 16
