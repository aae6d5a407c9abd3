"""Packs in bfloat16, and packs on a GPU that is a CPU: what is decided for a GPU, with tensors that compute here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from engine.records import Epoch, TrialState
from engine.train import sweep
from engine.train.conf import TrainConf
from engine.train.pack import device, gpu, together
from engine.train.pack.device import Device, Rows
from tests.engine.train.made import MODEL, RESIDUAL, make_job, make_plan, make_rows, outcome
from tests.engine.train.pack.packing import gap, of, packed, unpacked, weights

CURVE = 1e-5  # relative, of a loss curve in float32
BF16 = 0.01  # the same where products are bfloat16's, of two to three digits


@pytest.mark.parametrize("model", [MODEL, RESIDUAL, of("Own")], ids=["tabular", "residual", "own"])
def test_bf16_is_that_of_a_trial_alone(model: dict[str, Any], tmp_path: Path, record_property: Any) -> None:
    plans = [make_plan(i, {**model, "dropout": 0.1 * i}, lr=0.01, seed=i, precision="bf16") for i in range(3)]
    ours = packed(make_job(tmp_path / "packed", *plans, trusted=("tests",)))
    theirs = unpacked(make_job(tmp_path / "alone", *plans, trusted=("tests",)))
    full = [make_plan(i, plan.model, lr=0.01, seed=i) for i, plan in enumerate(plans)]
    found = gap(ours, theirs)
    assert found <= BF16
    assert gap(ours, packed(make_job(tmp_path / "full", *full, trusted=("tests",)))) > 5 * CURVE  # it is not float32
    assert {trial.notes for trial in ours} == {()}
    for tensor in safetensors.torch.load(weights(ours[0])).values():
        assert tensor.dtype in (torch.float32, torch.int64)
    record_property("a packed loss curve in bf16 beside the same trial alone", f"{found:.1e} relative")


def test_bf16_in_turn_is_a_trial_alone_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WORK", 0)
    plans = [make_plan(i, {**MODEL, "dropout": 0.1 * i}, precision="bf16") for i in range(2)]
    ours, theirs = packed(make_job(tmp_path / "packed", *plans)), unpacked(make_job(tmp_path / "alone", *plans))
    assert outcome(ours) == outcome(theirs)
    assert [weights(trial) for trial in ours] == [weights(trial) for trial in theirs]
    assert {trial.notes for trial in ours} == {()}


def test_trials_of_two_precisions_are_no_stack(tmp_path: Path) -> None:
    plans = [make_plan(i, precision=("32", "bf16")[i % 2]) for i in range(4)]
    ours, theirs = packed(make_job(tmp_path / "packed", *plans)), unpacked(make_job(tmp_path / "alone", *plans))
    assert gap(ours[::2], theirs[::2]) <= CURVE
    assert gap(ours[1::2], theirs[1::2]) <= BF16


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial is on a GPU, whose tensors are a CPU's."""

    def of_conf(conf: TrainConf) -> Device:
        name = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed"}[conf.precision]
        return Device("gpu", torch.device("cpu"), name)

    monkeypatch.setattr(device, "of", of_conf)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("model", [MODEL, RESIDUAL, of("Own"), of("Sgd")], ids=["tabular", "residual", "own", "sgd"])
def test_a_pack_on_a_gpu_trains_as_its_trials_do_alone(model: dict[str, Any], tmp_path: Path) -> None:
    """Without dropout, whose numbers are others there."""
    plans = [make_plan(i, model, lr=0.01 * (i + 1), seed=i) for i in range(3)]
    ours = packed(make_job(tmp_path / "packed", *plans, trusted=("tests",)))
    theirs = unpacked(make_job(tmp_path / "alone", *plans, trusted=("tests",)))
    assert gap(ours, theirs) <= CURVE
    for trial in ours:
        assert trial.use is not None
        assert trial.use.gpu_seconds == pytest.approx(trial.seconds)
        assert trial.use.reason == "its pack shared the GPU: not sampled by trial"


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("model", [MODEL, of("Own")], ids=["tabular", "own"])
def test_dropout_on_a_gpu_is_the_same_together_and_in_turn(
    model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [make_plan(i, {**model, "dropout": 0.1 * (i + 1)}, seed=i) for i in range(3)]
    ours = packed(make_job(tmp_path / "packed", *plans, trusted=("tests",)))
    monkeypatch.setattr(gpu.GpuVectors, "_vector", lambda *rest: None)
    turns = packed(make_job(tmp_path / "turns", *plans, trusted=("tests",)))
    assert gap(ours, turns) <= CURVE
    assert {trial.notes for trial in (*ours, *turns)} == {()}
    undropped = [make_plan(i, {**model, "dropout": 0.0}, seed=i) for i in range(3)]
    whole = packed(make_job(tmp_path / "whole", *undropped, trusted=("tests",)))
    assert gap(ours, whole) > 100 * CURVE  # something is dropped


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("in_turn", [False, True])
def test_a_pack_on_a_gpu_goes_on_where_it_was_killed(
    in_turn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dropout needs no state."""
    if in_turn:
        monkeypatch.setattr(gpu.GpuVectors, "_vector", lambda *rest: None)
    plans = [make_plan(i, {**MODEL, "dropout": 0.2}, seed=i, max_epochs=4, checkpoint_seconds=0.0) for i in range(3)]
    whole = packed(make_job(tmp_path / "whole", *plans))

    def kill(trial: str, epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        packed(make_job(tmp_path / "job", *plans), on_epoch=kill)
    again = packed(make_job(tmp_path / "job", *plans))
    assert gap(again, whole) <= CURVE
    assert any("it went on from epoch" in note for trial in again for note in trial.notes)


@pytest.mark.usefixtures("pretended")
def test_a_trial_is_compared_with_itself_alone_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often others leave and join; and one that is another together is found whenever it joins."""
    compared: list[str] = []
    real = gpu.agree

    def agree(trial: Any, *pairs: Any) -> None:
        compared.append(trial.plan.id)
        real(trial, *pairs)

    monkeypatch.setattr(gpu, "agree", agree)
    plans = [make_plan(i, lr=(0.05, 1e-6)[i % 2], seed=i, max_epochs=4) for i in range(8)]
    trials = packed(make_job(tmp_path / "asha", *plans), "4", scheduler="asha", grace_period=1)
    assert TrialState.STOPPED in {trial.state for trial in trials}
    assert sorted(compared) == [plan.id for plan in plans]

    def built(job: Any, plan: Any) -> Any:
        model = sweep.built(job, plan)
        vars(model)["_factor"] = 2.0 if plan.id == "trial-003" else 1.0  # where no look at attributes finds it
        return model

    monkeypatch.setattr("engine.train.pack.trial.built", built)
    monkeypatch.setattr("tests.engine.train.pack.packing.Own.loss", _by_factor)
    plans = [make_plan(i, of("Own"), seed=i, max_epochs=1) for i in range(5)]
    trials = packed(make_job(tmp_path / "own", *plans, trusted=("tests",)), "2")
    assert [bool(trial.notes) for trial in trials] == [False, False, True, True, True]
    assert trials[3].notes[0] == "not vectorised: its loss or gradient is another one together than alone"


def _by_factor(self: Any, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    factor: float = vars(self).get("_factor", 1.0)
    return factor * torch.nn.functional.binary_cross_entropy_with_logits(output, target)


@pytest.mark.usefixtures("pretended")
def test_what_draws_beside_dropout_trains_alone_on_a_gpu_as_well(tmp_path: Path) -> None:
    trials = packed(make_job(tmp_path, make_plan(0, of("Noisy"), accelerator="cpu"), trusted=("tests",)))
    assert trials[0].notes == (
        "trained alone, not in a pack: its training step draws random numbers beside those of nn.Dropout",
    )


def test_rows_are_there_once_a_device() -> None:
    rows = Rows(make_rows())
    here = Device("cpu", torch.device("cpu"), "32-true")
    assert rows.on(here) is rows.on(Device("gpu", torch.device("cpu"), "bf16-mixed"))
    assert rows.on(Device("gpu", torch.device("meta"), "32-true"))[0].device.type == "meta"


def test_a_gpu_that_is_not_there_fails_the_trial_as_it_does_alone(tmp_path: Path) -> None:
    plans = [make_plan(0, accelerator="gpu"), make_plan(1)]
    ours = packed(make_job(tmp_path / "packed", *plans))
    theirs = unpacked(make_job(tmp_path / "alone", *plans))
    assert [trial.state for trial in ours] == [TrialState.FAILED, TrialState.FINISHED]
    assert ours[0].reason == theirs[0].reason
    assert json.loads((tmp_path / "packed" / "trial-000" / "trial.json").read_text())["state"] == "failed"
