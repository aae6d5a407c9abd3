from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import ConfigError
from engine.records import Dataset, Epoch, FeatureSpec, Task
from engine.scoring.scores import score
from engine.train import weights
from engine.train.conf import TrainConf
from engine.train.fit import fit
from engine.train.inference import accelerator, build, precision, predict
from engine.train.model import TabularModel
from engine.train.scorer import Fitted
from tests.engine.train.made import MODEL, make_rows, make_spec, make_train

METRICS = {
    Task.BINARY: ("roc_auc_score", "max"),
    Task.MULTICLASS: ("log_loss", "min"),
    Task.REGRESSION: ("mean_absolute_error", "min"),
}
VALIDATION = make_rows(seed=2, n=128)


def run(
    task: Task = Task.BINARY,
    *,
    model: Any = None,
    rows: Dataset | None = None,
    on_epoch: Callable[[Epoch], bool] = lambda epoch: True,
    **train: Any,
) -> Fitted:
    """Fit small rows on one thread."""
    conf = make_train(**train)
    metric, mode = METRICS[task]
    return fit(
        model or build(MODEL, make_spec(task), conf),
        rows or make_rows(task, seed=1),
        make_rows(task, seed=2, n=128),
        conf,
        task=task,
        metric=metric,
        mode=mode,
        on_epoch=on_epoch,
    )


def value_of(data: bytes, task: Task) -> float:
    """The search metric of these weights on the validation rows."""
    model = build(MODEL, make_spec(task), make_train())
    weights.load(model, data, "w")
    rows = make_rows(task, seed=2, n=128)
    assert rows.target is not None
    return score(METRICS[task][0], task, rows.target, predict(model, rows, task))


@pytest.mark.parametrize("task", list(Task))
def test_a_separable_problem_is_learned_and_the_best_weights_kept(task: Task) -> None:
    fitted = run(task, max_epochs=12)
    assert [epoch.epoch for epoch in fitted.curve] == list(range(1, 13))
    assert all(epoch.seconds > 0 and math.isfinite(epoch.train_loss) for epoch in fitted.curve)
    values = [epoch.value for epoch in fitted.curve]
    best = max(values) if METRICS[task][1] == "max" else min(values)
    assert fitted.value == best == fitted.curve[fitted.best_epoch - 1].value
    assert value_of(fitted.weights, task) == fitted.value
    assert {
        Task.BINARY: fitted.value > 0.97,
        Task.MULTICLASS: fitted.value < 0.4,
        Task.REGRESSION: fitted.value < 6.0,  # of a standard deviation of 26
    }[task]


def test_the_weights_are_those_of_the_best_epoch_and_not_of_the_last() -> None:
    """A model whose last layer turns over at the end of the third epoch: its AUC becomes one minus what it was."""

    class Late(TabularModel):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.current_epoch == 2 and batch_idx == self.trainer.num_training_batches - 1:
                with torch.no_grad():
                    for parameter in self.body[-1].parameters():
                        parameter.neg_()

    torch.manual_seed(7)
    model = Late(spec=make_spec(), train=make_train(), width=16, depth=1, dropout=0.0, embedding=2)
    fitted = run(model=model, lr=0.02, max_epochs=3)
    assert fitted.best_epoch < 3
    assert fitted.curve[2].value < fitted.value - 0.2
    assert value_of(fitted.weights, Task.BINARY) == fitted.value


def test_two_fits_are_equal_bit_for_bit() -> None:
    torch.manual_seed(1)
    first = run(model=build({**MODEL, "dropout": 0.3}, make_spec(), make_train()))
    torch.manual_seed(2)
    again = run(model=build({**MODEL, "dropout": 0.3}, make_spec(), make_train()))
    assert again.weights == first.weights
    assert [(e.train_loss, e.value) for e in again.curve] == [(e.train_loss, e.value) for e in first.curve]
    other = run(seed=7)
    assert other.weights != run().weights


def test_fitting_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    run(max_epochs=1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("epochs", [1, 4])
def test_max_epochs_is_the_budget(epochs: int) -> None:
    assert len(run(max_epochs=epochs).curve) == epochs


def test_on_epoch_ends_the_fit() -> None:
    told: list[Epoch] = []

    def after(epoch: Epoch) -> bool:
        told.append(epoch)
        return epoch.epoch < 2

    fitted = run(max_epochs=6, on_epoch=after)
    assert fitted.curve == tuple(told)
    assert len(told) == 2


def test_on_epoch_may_raise() -> None:
    def after(epoch: Epoch) -> bool:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match=r"^the disk is full$"):
        run(on_epoch=after)


def test_a_diverging_fit_ends_after_its_epoch() -> None:
    rows = make_rows(seed=1)
    broken = replace(rows, numeric=np.where(rows.rows[:, None] == rows.rows[5], np.nan, rows.numeric))
    told: list[Epoch] = []
    fitted = run(rows=broken, max_epochs=6, on_epoch=lambda epoch: bool(told.append(epoch)) or True)
    assert len(fitted.curve) == 1
    assert math.isnan(fitted.curve[0].train_loss)
    assert (fitted.best_epoch, told) == (0, [])
    assert math.isnan(fitted.value)
    assert math.isnan(run(lr=1e30, max_epochs=4).value)


def test_read_only_rows_train_without_a_warning() -> None:
    rows = make_rows(seed=1)
    assert rows.target is not None
    for array in (rows.numeric, rows.categorical, rows.target):
        array.setflags(write=False)
    assert run(rows=rows, max_epochs=1).best_epoch == 1


def test_bf16_on_the_cpu_learns_too() -> None:
    assert run(precision="bf16", max_epochs=6).value > 0.9


class Interrupting(TabularModel):
    """Presses Ctrl-C in its first step."""

    def __init__(self, *, spec: FeatureSpec, train: TrainConf) -> None:
        super().__init__(spec=spec, train=train, width=4)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


def test_ctrl_c_stays_ctrl_c() -> None:
    handler = signal.getsignal(signal.SIGINT)
    for _ in range(2):  # Lightning alone would have left with code 1, deaf to the second one
        with pytest.raises(KeyboardInterrupt):
            run(model=Interrupting(spec=make_spec(), train=make_train()))
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_device_and_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert accelerator(TrainConf()) == "cpu"
    with pytest.raises(ConfigError) as error:
        accelerator(TrainConf(accelerator="gpu"))
    assert str(error.value) == ("train.accelerator: no GPU was found - use auto or cpu, or start where there is one")
    assert precision(TrainConf(), "cpu") == "32-true"
    assert precision(TrainConf(precision="bf16"), "cpu") == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert accelerator(TrainConf()) == "gpu"
    assert accelerator(TrainConf(accelerator="cpu")) == "cpu"
    assert precision(TrainConf(), "gpu") == "bf16-mixed"
    assert precision(TrainConf(precision="32"), "gpu") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert precision(TrainConf(), "gpu") == "32-true"
