"""Steps that are captured: with a recorder in place of a GPU, and with tensors that have no numbers to be read."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.errors import TidegateError
from engine.records import Trial
from engine.train.checkpoint import Keeper
from engine.train.pack import device, gpu, graph
from engine.train.pack import trial as trial_module
from engine.train.pack.device import Device
from engine.train.pack.graph import PROVEN, TIMED, WARM, Unread
from engine.train.pack.vector import Unvectorised
from tests.engine.train.made import MODEL, RESIDUAL, make_job, make_plan, make_rows
from tests.engine.train.pack.packing import gap, of, packed, unpacked
from tests.engine.train.pack.recorder import DYNAMIC, FORBIDDEN, Recorder

CURVE = 1e-5
SETTLED = WARM + TIMED + PROVEN + TIMED  # whole batches until it is known which is faster
Trains = Any


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """On a GPU that is a CPU and captures; the recorders that were made. `COST` of a replay is set by `costs`."""
    made: list[Recorder] = []

    def graphs_of(where: Device) -> Recorder:
        made.append(Recorder())
        return made[-1]

    monkeypatch.setattr(graph, "graphs_of", graphs_of)
    monkeypatch.setattr(device, "of", lambda conf: Device("gpu", torch.device("cpu"), PRECISION[conf.precision]))
    return made


PRECISION = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed"}


def train(folder: Path, *plans: Any, n: int = 330, **conf: Any) -> tuple[Trial, ...]:
    """330 rows in batches of 16: twenty, and one of ten."""
    return packed(make_job(folder, *plans, train=make_rows(n=n, seed=1), trusted=("tests",)), **conf)


def launched(folder: Path, monkeypatch: pytest.MonkeyPatch, *plans: Any) -> tuple[Trial, ...]:
    """The same without graphs."""
    with monkeypatch.context() as patch:
        patch.setattr(graph, "graphs_of", lambda where: None)
        return train(folder, *plans)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("model", [MODEL, RESIDUAL, of("Own", weight=2.0)], ids=["tabular", "residual", "own"])
def test_replayed_steps_are_the_steps_that_are_launched(
    model: dict[str, Any], precision: str, captured: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, over epochs whose rates differ; the last batch of each is launched."""
    plans = [
        make_plan(i, {**model, "dropout": 0.1 * i}, lr=0.01 * (i + 1), seed=i, batch_size=16, precision=precision)
        for i in range(3)
    ]
    ours = train(tmp_path / "ours", *plans)
    theirs = launched(tmp_path / "theirs", monkeypatch, *plans)
    (recorder,) = captured
    assert recorder.captured == 1
    assert recorder.replayed == 60 - WARM - TIMED
    assert recorder.launched == WARM + TIMED
    assert gap(ours, theirs) == 0
    assert {trial.notes for trial in ours} == {
        ("its pack steps by a CUDA graph: 500 ms a step, launched one by one 1e+03",)
    }


def test_a_schedule_that_moves_at_every_step_is_taken_up(
    captured: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [make_plan(i, of("Decayed"), lr=0.01, seed=i, batch_size=16) for i in range(2)]
    ours = train(tmp_path / "ours", *plans)
    assert captured[0].replayed == 60 - WARM - TIMED
    assert gap(ours, launched(tmp_path / "theirs", monkeypatch, *plans)) == 0
    alone = make_job(tmp_path / "alone", *plans, train=make_rows(n=330, seed=1), trusted=("tests",))
    assert gap(ours, unpacked(alone)) <= CURVE


def test_the_slower_kind_is_dropped(captured: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "__init__", lambda self: _slow(self))
    plans = [make_plan(i, seed=i, batch_size=16) for i in range(2)]
    ours = train(tmp_path / "ours", *plans)
    assert captured[0].replayed == PROVEN + TIMED
    assert gap(ours, launched(tmp_path / "theirs", monkeypatch, *plans)) == 0
    assert ours[0].notes == (
        "its pack steps by launches one by one: a graph takes 2e+03 ms a step, launched one by one 1e+03",
    )


_real = Recorder.__init__


def _slow(self: Recorder) -> None:
    _real(self, 2.0)


REFUSED = [
    ("Counting", "captured, it is another step"),  # a number of Python's that moves
    ("Numbered", "not captured (Unvectorised: its training step reads batch_idx)"),
    (
        "Literal",
        "not captured (RuntimeError: operation not permitted when stream is capturing: aten.lift_fresh.default)",
    ),
]


@pytest.mark.parametrize(("name", "why"), REFUSED, ids=[name for name, _ in REFUSED])
def test_a_step_that_would_stand_still_in_a_graph_is_launched(
    name: str, why: str, captured: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [make_plan(i, of(name), lr=0.01, seed=i, batch_size=16) for i in range(2)]
    ours = train(tmp_path / "ours", *plans)
    assert {trial.notes for trial in ours} == {(f"its pack steps by launches one by one: {why}",)}
    if name != "Counting":  # what is captured counts there
        assert gap(ours, launched(tmp_path / "theirs", monkeypatch, *plans)) == 0


def test_trials_that_leave_and_join_are_captured_anew(captured: list[Recorder], tmp_path: Path) -> None:
    plans = [make_plan(i, lr=(0.03, 1e-6, 0.02)[i % 3], seed=i, batch_size=16, max_epochs=3) for i in range(6)]
    ours = train(tmp_path / "ours", *plans, scheduler="asha", grace_period=1, pack="3")
    alone = unpacked(make_job(tmp_path / "alone", *plans, train=make_rows(n=330, seed=1)))
    assert "stopped" in {trial.state.value for trial in ours}
    assert sum(recorder.captured for recorder in captured) >= 2
    for one, other in zip(ours, alone, strict=True):
        for mine, theirs in zip(one.curve, other.curve, strict=False):
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=CURVE)


def test_what_steps_by_an_optimizer_of_its_own_is_never_captured(captured: list[Recorder], tmp_path: Path) -> None:
    trials = train(tmp_path, *[make_plan(i, of("Sgd"), seed=i, batch_size=16) for i in range(2)])
    assert captured[0].captured == captured[0].launched == 0
    assert {trial.notes for trial in trials} == {()}


def test_where_memory_holds_no_step_of_all_it_is_launched_in_parts(
    captured: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.train.pack.gpu import GpuVector

    real = GpuVector._differentiate

    def short(self: GpuVector, index: Any, columns: Any, part: slice) -> Tensor:
        if len(self.trials) == 3 and self.adam is not None and part.stop - part.start > 2:  # not in its check
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, index, columns, part)

    monkeypatch.setattr(GpuVector, "adam", None, raising=False)
    monkeypatch.setattr(GpuVector, "_differentiate", short)
    plans = [make_plan(i, {**MODEL, "dropout": 0.2}, seed=i, batch_size=16) for i in range(3)]
    ours = train(tmp_path / "ours", *plans)
    monkeypatch.setattr(GpuVector, "_differentiate", real)
    assert gap(ours, launched(tmp_path / "theirs", monkeypatch, *plans)) <= CURVE
    assert ours[0].notes == (
        "memory ran out in its pack: 2 trials at a time from there on",
        "its pack steps by launches one by one: memory holds no step of all",
    )


def test_a_number_that_stands_still_cannot_be_read() -> None:
    number: Any = Unread("batch_idx")
    for read in (bool, int, str, hash, lambda n: n % 2, lambda n: n == 0, lambda n: 1 + n, lambda n: f"{n}"):
        with pytest.raises(Unvectorised, match="reads batch_idx"):
            read(number)
    assert not issubclass(Unvectorised, TidegateError)


class Strict(TorchDispatchMode):
    """Refuses what a stream that is captured refuses: a copy between devices, a literal, a look at a result."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.ops = where, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert str(func) not in FORBIDDEN
        assert not any(tag in func.tags for tag in DYNAMIC), func
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        places = {tensor.device.type for tensor in tensors}
        assert places <= {self.where}, (func, places)
        self.ops += 1
        return out


@pytest.mark.parametrize("model", [MODEL, RESIDUAL], ids=["tabular", "residual"])
def test_a_step_never_leaves_its_device_and_never_looks_at_a_number(
    model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """On tensors that have a device of their own and no numbers: all of a step, its dropout and its AdamW."""
    plans = [make_plan(i, {**model, "dropout": 0.1 * i}, lr=0.01 * (i + 1)) for i in range(3)]
    job = make_job(tmp_path, *plans)
    there = torch.device("meta")
    monkeypatch.setattr(device, "of", lambda conf: Device("gpu", there, "32-true"))
    monkeypatch.setattr(Device, "autocast", lambda self: contextlib.nullcontext())  # there is none of such a device
    monkeypatch.setattr(gpu.GpuVector, "_check", lambda self: None)  # it looks at numbers, once
    rows = device.Rows(job.train).on(device.of(plans[0].train))
    trials = [trial_module.PackedTrial(job, plan, Keeper(None, ""), rows, lambda epoch: "") for plan in plans]
    vector = gpu.GpuVector(trials)
    assert vector.adam is not None
    vector.adam.refresh()
    numbers = torch.zeros(3, 32, dtype=torch.int32, device=there)
    with Strict(there.type) as strict:
        losses = vector.whole(Unread("batch_idx"), numbers)
    assert (losses.shape, losses.device) == ((3,), there)
    assert {tensor.device for tensor in vector.state} == {there}
    assert strict.ops > 50
    name = model["_target_"].rpartition(".")[2]
    record_property(f"operations of a step of a {name} on a GPU", f"{strict.ops}, none waits for it or leaves it")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_on_a_gpu_replays_are_launches_and_packs_are_trials_alone(precision: str, tmp_path: Path) -> None:
    """What nothing here can stand in for; without dropout, whose numbers are others alone."""
    plans = [
        make_plan(i, MODEL, lr=0.01 * (i + 1), seed=i, batch_size=16, precision=precision, accelerator="gpu")
        for i in range(3)
    ]
    rows = make_rows(n=16 * 3 * SETTLED, seed=1)
    ours = packed(make_job(tmp_path / "ours", *plans, train=rows))
    theirs = unpacked(make_job(tmp_path / "alone", *plans, train=rows))
    assert gap(ours, theirs) <= (CURVE if precision == "32" else 0.01)
    assert all(trial.notes[0].startswith("its pack steps by ") for trial in ours), ours[0].notes
    assert not any("not captured" in note or "another step" in note for trial in ours for note in trial.notes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_step_never_waits(tmp_path: Path) -> None:
    """By torch's own watch over synchronisations."""
    plans = [make_plan(i, {**MODEL, "dropout": 0.1}, seed=i, accelerator="gpu") for i in range(3)]
    job = make_job(tmp_path, *plans)
    rows = device.Rows(job.train).on(device.of(plans[0].train))
    trials = [trial_module.PackedTrial(job, plan, Keeper(None, ""), rows, lambda epoch: "") for plan in plans]
    vector = gpu.GpuVector(trials)
    assert vector.adam is not None
    vector.adam.refresh()
    numbers = torch.zeros(3, 32, dtype=torch.int32, device="cuda")
    vector.whole(0, numbers)
    torch.cuda.set_sync_debug_mode("error")
    try:
        vector.whole(Unread("batch_idx"), numbers)
    finally:
        torch.cuda.set_sync_debug_mode("default")
