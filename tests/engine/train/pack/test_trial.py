from __future__ import annotations

import math
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from engine.records import Epoch
from engine.train.checkpoint import Checkpoint
from engine.train.conf import TrainConf
from engine.train.fit import fit
from engine.train.loader import as_tensors
from engine.train.pack.state import state_of
from engine.train.pack.trial import Alone, Ended, PackedTrial, check_conf, optimizer_of
from engine.train.sweep import built, make_keeper
from tests.engine.train.made import MODEL, make_job, make_plan
from tests.engine.train.pack.packing import of


def trial_of(folder: Path, model: dict[str, Any], **train: Any) -> PackedTrial:
    plan = make_plan(0, model, checkpoint_seconds=0.0, **train)
    job = make_job(folder, plan, trusted=("tests",))
    return PackedTrial(job, plan, make_keeper(job, plan), as_tensors(job.train), lambda epoch: "")


def kinds(value: Any) -> Any:
    """The form of a state: keys and types, and the numbers of Lightning's loops."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items() if key != "callbacks"}
    if isinstance(value, (list, tuple)):
        return [kinds(item) for item in value]
    return (value.dtype, value.shape) if isinstance(value, torch.Tensor) else type(value)


@pytest.mark.parametrize("model", [{**MODEL, "dropout": 0.2}, of("Sgd", dropout=0.2)], ids=["epoch", "step"])
def test_its_state_is_what_lightning_dumps(model: dict[str, Any], tmp_path: Path) -> None:
    """Of a trial alone that rests after the same epoch, hyperparameters aside."""
    packed = trial_of(tmp_path / "packed", model)
    for _ in range(2):
        packed.train_alone(Event())
        packed.score()
    job, plan, kept = packed.job, packed.plan, list[Checkpoint]()

    def after(epoch: Epoch) -> bool:
        if epoch.epoch == 2:
            keeper.keep()
            kept.append(keeper._read(keeper._path(keeper._count % 2)))
        return True

    keeper = make_keeper(make_job(tmp_path / "alone", plan), plan)
    values: dict[str, Any] = {"task": job.spec.task, "metric": job.metric, "mode": job.mode}
    fit(built(job, plan), job.train, job.validation, plan.train, **values, on_epoch=after, keeper=keeper)
    mine, other = state_of(packed), dict(kept[0].state)
    for name in ("hparams_name", "hyper_parameters"):
        other.pop(name, None)
    assert kinds(mine) == kinds(other)
    assert mine["loops"] == other["loops"]
    assert (mine["epoch"], mine["global_step"]) == (other["epoch"], other["global_step"])
    for name, tensor in other["state_dict"].items():
        assert torch.equal(mine["state_dict"][name], tensor)
    streams = [state["callbacks"]["_Scorer"]["cpu"] for state in (mine, other)]
    assert torch.equal(*streams)


def test_a_config_that_no_pack_has() -> None:
    with pytest.raises(Alone) as caught:
        check_conf(TrainConf(accelerator="cpu", workers=2))
    assert str(caught.value) == "train.workers=2 processes share it"


def test_optimizers_that_no_pack_has() -> None:
    net = torch.nn.Linear(2, 1)
    one, two = (torch.optim.SGD(net.parameters(), lr=0.1) for _ in range(2))
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(one)
    steps = torch.optim.lr_scheduler.ExponentialLR(one, 0.9)

    def asked(made: Any) -> Any:
        return optimizer_of(type("Net", (), {"configure_optimizers": lambda self: made})())

    assert asked(one) == asked([one]) == (one, None, "epoch")
    assert asked({"optimizer": one, "lr_scheduler": steps}) == (one, steps, "epoch")
    assert asked({"optimizer": one, "lr_scheduler": {"scheduler": steps, "interval": "step"}}) == (one, steps, "step")
    for made in (None, [one, two], [{"optimizer": one}, {"optimizer": two}]):
        with pytest.raises(Alone, match="no optimizer, or more than one"):
            asked(made)
    for schedule in (plateau, {"scheduler": steps, "frequency": 2}, {"scheduler": plateau, "monitor": "value"}):
        with pytest.raises(Alone, match="its schedule follows a metric"):
            asked({"optimizer": one, "lr_scheduler": schedule})
    with pytest.raises(Alone, match="its schedule follows a metric"):
        asked({"optimizer": one, "monitor": "value"})


def test_an_interrupt_gives_up_the_epoch_that_runs(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, MODEL)
    stop = Event()
    stop.set()
    with pytest.raises(Ended):
        trial.train_alone(stop)
    assert trial.standing.global_step == 0
    assert math.isnan(trial.scorer.best)
