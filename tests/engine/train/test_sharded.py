"""One model cut over several processes: the steps, the weights and the checkpoints of one process, to the rounding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from engine.errors import ConfigError
from engine.records import Epoch, Task, TrialState
from engine.train import sharded
from engine.train.checkpoint import Keeper
from engine.train.conf import TrainConf
from engine.train.fit import fit
from engine.train.inference import build
from engine.train.model import TabularModel
from engine.train.scorer import Fitted
from engine.train.sweep import run_trial
from tests.engine.train.made import MODEL, RESIDUAL, make_job, make_plan, make_rows, make_spec, make_train

HERE = "tests.engine.train.test_sharded"


class Partial(TabularModel):
    """A parameter that no loss depends on, one that is used beside forward, and a norm over all parts of a gradient."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.idle = torch.nn.Parameter(torch.ones(3))
        self.scale = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        numeric, categorical, target = batch
        return {"loss": self.loss(self(numeric, categorical) * self.scale, target)}

    def configure_gradient_clipping(self, *args: Any, **words: Any) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.1)


class Refusing(TabularModel):
    """Fails in its second step, in helpers alone."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if batch_idx == 1 and torch.multiprocessing.parent_process():
            raise ValueError("no such layer")
        return super().training_step(batch, batch_idx)


def fitted(conf: TrainConf, model: dict[str, Any], n: int = 250, **words: Any) -> Fitted:
    """250 rows: the last batch of 32 has 26."""
    made = build(model, make_spec(), conf, ("tests",))
    rows = make_rows(n=n)
    return fit(made, rows, make_rows(seed=2), conf, task=Task.BINARY, metric="roc_auc_score", mode="max", **words)


def same(one: Fitted, other: Fitted) -> None:
    """The same curve and weights, but for the rounding of float32 sums."""
    assert [e.train_loss for e in other.curve] == pytest.approx([e.train_loss for e in one.curve], rel=1e-5)
    assert [e.value for e in other.curve] == pytest.approx([e.value for e in one.curve], abs=1e-4)
    ours, theirs = (safetensors.numpy.load(each.weights) for each in (one, other))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow  # test_helper.py has the small size, on two nodes
def test_a_cut_model_takes_the_steps_of_a_whole_one() -> None:
    model = {**MODEL, "_target_": f"{HERE}.Partial"}
    alone = fitted(make_train(), model)
    cut = fitted(make_train(workers=2, strategy="fsdp"), model)
    same(alone, cut)
    assert (safetensors.numpy.load(cut.weights)["idle"] == 1).all()
    assert torch.multiprocessing.active_children() == []
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_a_part_without_rows_changes_nothing() -> None:
    """Three processes, and two rows in the last batch."""
    same(fitted(make_train(), RESIDUAL, n=98), fitted(make_train(workers=3, strategy="fsdp"), RESIDUAL, n=98))


def test_a_cut_model_goes_on_from_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    conf = make_train(workers=2, strategy="fsdp", max_epochs=4)
    model = {**RESIDUAL, "dropout": 0.3}

    def copy(epoch: Epoch) -> bool:
        if epoch.epoch == 3:  # what lies there is of the epoch before: the third one's comes after the word
            shutil.copytree(tmp_path / "trial", tmp_path / "copy")
        return True

    through = fitted(conf, model, keeper=Keeper(tmp_path / "trial", "me"), on_epoch=copy)
    keeper = Keeper(tmp_path / "copy", "me")
    again = fitted(conf, model, keeper=keeper)
    assert keeper.found is not None
    assert 2 <= keeper.found.epoch <= 3
    assert [(e.epoch, e.train_loss, e.value) for e in again.curve] == [
        (e.epoch, e.train_loss, e.value) for e in through.curve
    ]
    assert again.weights == through.weights


@pytest.mark.slow
def test_a_follower_that_fails_ends_the_trial_with_its_reason(tmp_path: Path) -> None:
    plan = make_plan(0, {**MODEL, "_target_": f"{HERE}.Refusing"}, workers=2, strategy="fsdp")
    trial = run_trial(make_job(tmp_path, plan, trusted=("tests",)), plan, lambda epoch: True)
    assert (trial.state, trial.reason) == (
        TrialState.FAILED,
        "RuntimeError: a helper process failed: ValueError: no such layer",
    )
    assert torch.multiprocessing.active_children() == []
    assert not torch.distributed.is_initialized()


def test_what_does_not_fit_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(1024, 1024, bias=False)  # 4 MiB, and 16 with its gradient and two moments
    conf = make_train(workers=2)
    assert sharded.chosen(model, conf, "cpu") == ("ddp", "")
    assert sharded.chosen(model, make_train(workers=2, strategy="fsdp"), "cpu") == ("fsdp", "")
    for device, memory in (("gpu", 2**24 / 0.8), ("cpu", 2**25 / 0.8)):  # a worker has half of the machine's
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index, m=memory: _Properties(m))
        monkeypatch.setattr("os.sysconf", lambda name, m=memory: {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": m}[name])
        assert sharded.chosen(model, conf, device) == ("ddp", "")
        model.extra = torch.nn.Parameter(torch.ones(1))
        assert sharded.chosen(model, conf, device) == (
            "fsdp",
            "train.strategy=fsdp: parameters, gradients and optimizer state take 0.0156 GiB, and a process may fill "
            "0.0156",
        )
        del model.extra


class _Properties:
    def __init__(self, memory: float) -> None:
        self.total_memory = memory


def test_one_worker_cuts_nothing() -> None:
    with pytest.raises(ConfigError) as error:
        make_train(strategy="fsdp")
    assert str(error.value) == (
        "train.strategy: fsdp cuts a model over several workers, and train.workers is 1 - set train.workers=2 or "
        "more, or train.strategy=auto"
    )
