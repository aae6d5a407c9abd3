"""A trial that was killed goes on from its checkpoint, and ends as the trial undisturbed, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch

from engine.records import Dataset, Epoch, FeatureSpec, Task, Trial, TrialState
from engine.train.checkpoint import Keeper
from engine.train.loader import TensorLoader
from engine.train.model import Model
from engine.train.sweep import Interrupted, SweepJob, make_keeper, read_trial, run_trial
from tests.engine.train.made import MODEL, make_job, make_plan, make_spec

EPOCHS = 5


class Killed(BaseException):
    """What a trial is hit by in the middle of an epoch. Only what was on disk before is there after it."""


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Epochs trained to their end; `kill` in it ends the trial in the second batch of that epoch."""
    told: dict[str, Any] = {"epochs": [], "kill": 0}
    whole = TensorLoader.__iter__

    def batches(self: TensorLoader) -> Iterator[Any]:
        for number, batch in enumerate(whole(self)):
            if self.epoch + 1 == told["kill"] and number == 1:
                raise Killed
            if number == len(self) - 1:
                told["epochs"].append(self.epoch + 1)
            yield batch

    monkeypatch.setattr(TensorLoader, "__iter__", batches)
    return told


def outcome(trial: Trial) -> Any:
    """All that must not depend on kills."""
    curve = [(epoch.epoch, epoch.train_loss, epoch.value) for epoch in trial.curve]
    weights = Path(trial.weights).read_bytes() if trial.weights else b""
    return trial.state, trial.reason, curve, trial.best_epoch, trial.value, weights


def undisturbed(job: SweepJob, trained: dict[str, Any]) -> Any:
    trained["kill"] = 0
    trial = run_trial(job, job.plans[0], lambda epoch: True)
    assert trial.state is TrialState.FINISHED, trial.reason
    assert trial.notes == ()
    return outcome(trial)


def check_resumed(make: Callable[[Path], SweepJob], folder: Path, trained: dict[str, Any], kills: range) -> None:
    """Killed once in each epoch, the trial ends as the undisturbed one, and no epoch is trained to its end twice."""
    truth = undisturbed(make(folder / "whole"), trained)
    for kill in kills:
        job = make(folder / str(kill))
        trained.update(epochs=[], kill=kill)
        with pytest.raises(Killed):
            run_trial(job, job.plans[0], lambda epoch: True)
        trained["kill"] = 0
        told: list[int] = []

        def after(epoch: Epoch, told: list[int] = told) -> bool:
            told.append(epoch.epoch)
            return True

        trial = run_trial(job, job.plans[0], after)
        assert outcome(trial) == truth
        assert trial.notes == ((f"it went on from epoch {kill - 1}",) if kill > 1 else ())
        assert trained["epochs"] == told == list(range(1, len(trial.curve) + 1))
        assert sorted(path.name for path in (job.folder / trial.id).iterdir()) == ["trial.json", "weights.safetensors"]


def test_the_built_in_model_resumes_bit_for_bit(tmp_path: Path, trained: dict[str, Any]) -> None:
    """Dropout draws from the generator, and the cosine schedule moves the learning rate."""
    plan = make_plan(0, {**MODEL, "dropout": 0.3}, max_epochs=EPOCHS, checkpoint_seconds=0.0)
    check_resumed(lambda folder: make_job(folder, plan), tmp_path, trained, range(1, EPOCHS + 1))


def make_digits(folder: Path) -> SweepJob:
    """Images of ten classes for the LightningModule of experiments/digits."""
    spec = FeatureSpec(
        numeric=tuple(f"p{i}" for i in range(64)), categorical=(), cardinalities=(), task=Task.MULTICLASS, n_outputs=10
    )

    def rows(n: int, seed: int) -> Dataset:
        rng = np.random.default_rng(seed)
        target = rng.integers(0, 10, n)
        numeric = (rng.normal(size=(n, 64)) + np.eye(64)[target * 6] * 4).astype(np.float32)
        return Dataset(
            numeric=numeric, categorical=np.empty((n, 0), np.int64), target=target, rows=np.arange(n) + 1000 * seed
        )

    model = {"_target_": "experiments.digits.model.DigitsNet", "channels": 4}
    plan = make_plan(0, model, max_epochs=EPOCHS, lr=0.01, checkpoint_seconds=0.0)
    return make_job(
        folder,
        plan,
        spec=spec,
        train=rows(200, 1),
        validation=rows(100, 2),
        metric="log_loss",
        mode="min",
        trusted=("experiments",),
    )


def test_a_users_own_model_resumes_bit_for_bit(tmp_path: Path, trained: dict[str, Any]) -> None:
    check_resumed(make_digits, tmp_path, trained, range(1, EPOCHS + 1))


class Optimized(Model):
    """The optimizer and schedule that the test names."""

    optimizer: Any = None
    schedule: Any = None

    def __init__(self, *, spec: FeatureSpec, train: Any, **rest: Any) -> None:
        super().__init__(spec=spec, train=train)
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        return self.body(numeric).squeeze(1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss.detach(), on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self) -> Any:
        parameters = list(self.parameters())
        if type(self).optimizer is torch.optim.Muon:
            parameters = [p for p in parameters if p.ndim == 2]
        optimizer = type(self).optimizer(parameters, lr=0.05)
        if type(self).schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": type(self).schedule(optimizer)}


OPTIMIZERS = [
    cls
    for name, cls in sorted(vars(torch.optim).items())
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name not in ("Optimizer", "SparseAdam")
]
ls = torch.optim.lr_scheduler
SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "steps": lambda o: {"scheduler": ls.MultiStepLR(o, [1, 3], 0.3), "interval": "epoch"},
    "one cycle": lambda o: {"scheduler": ls.OneCycleLR(o, 0.1, total_steps=8 * EPOCHS), "interval": "step"},
    "plateau": lambda o: {"scheduler": ls.ReduceLROnPlateau(o, patience=0, threshold=0.2), "monitor": "loss"},
    "restarts": lambda o: {"scheduler": ls.CosineAnnealingWarmRestarts(o, 2), "interval": "epoch"},
    "recursive": lambda o: {"scheduler": ls.CosineAnnealingLR(o, EPOCHS), "interval": "epoch"},
    "warm up": lambda o: {
        "scheduler": ls.SequentialLR(o, [ls.LinearLR(o, 0.1, total_iters=2), ls.ExponentialLR(o, 0.7)], [2]),
        "interval": "epoch",
    },
}


def use(monkeypatch: pytest.MonkeyPatch, optimizer: Any, schedule: Any = None, base: Any = Optimized) -> None:
    chosen = type("Chosen", (base,), {"optimizer": optimizer, "schedule": staticmethod(schedule) if schedule else None})
    monkeypatch.setattr("engine.train.inference.resolve", lambda target, trusted: chosen)


def make_other(folder: Path) -> SweepJob:
    return make_job(folder, make_plan(0, max_epochs=EPOCHS, checkpoint_seconds=0.0), metric="log_loss", mode="min")


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_every_optimizer_of_torch_resumes_bit_for_bit(
    optimizer: Any, tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, optimizer)
    check_resumed(make_other, tmp_path, trained, range(3, 4))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_kind_of_schedule_resumes_bit_for_bit(
    schedule: str, tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, torch.optim.SGD, SCHEDULES[schedule])
    check_resumed(make_other, tmp_path, trained, range(3, 4))


def test_callbacks_of_a_users_model_resume_too(
    tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early stopping counts over the kill."""

    class Patient(Optimized):
        def configure_callbacks(self) -> Any:
            stopping = lightning.pytorch.callbacks.EarlyStopping
            return [stopping("loss", patience=2, min_delta=10.0, check_on_train_epoch_end=True)]

    use(monkeypatch, torch.optim.Adam, base=Patient)
    truth = undisturbed(make_other(tmp_path / "truth"), trained)
    assert truth[1] == "its own model ended it after epoch 3"
    check_resumed(make_other, tmp_path, trained, range(2, 4))


def test_an_interrupted_trial_keeps_what_it_trained(tmp_path: Path, trained: dict[str, Any]) -> None:
    """A checkpoint is not due, but Ctrl-C between two epochs leaves one."""
    plan = make_plan(0, max_epochs=EPOCHS)
    truth = undisturbed(make_job(tmp_path / "truth", plan), trained)
    job = make_job(tmp_path / "job", plan)
    trained["epochs"] = []
    for stop in (2, 4):

        def after(epoch: Any, stop: int = stop) -> bool:
            if epoch.epoch == stop:
                raise Interrupted
            return True

        with pytest.raises(Interrupted):
            run_trial(job, plan, after)
    trial = run_trial(job, plan, lambda epoch: True)
    assert outcome(trial) == truth
    assert trained["epochs"] == list(range(1, EPOCHS + 1))


def test_the_scheduler_may_stop_at_an_epoch_that_is_only_recalled(tmp_path: Path, trained: dict[str, Any]) -> None:
    plan = make_plan(0, max_epochs=EPOCHS, checkpoint_seconds=0.0)
    job = make_job(tmp_path, plan)
    trained["kill"] = 4
    with pytest.raises(Killed):
        run_trial(job, plan, lambda epoch: True)
    trained.update(kill=0, epochs=[])
    trial = run_trial(job, plan, lambda epoch: epoch.epoch < 2)
    assert (trial.state, trial.reason) == (TrialState.STOPPED, "stopped by the scheduler after epoch 2")
    assert len(trial.curve) == 2
    assert trial.value == max(epoch.value for epoch in trial.curve)
    assert trained["epochs"] == []
    assert read_trial(tmp_path, trial.id) == trial


def test_seconds_are_those_of_all_its_processes(
    tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(0, checkpoint_seconds=0.0)
    job = make_job(tmp_path, plan)
    trained["kill"] = 2
    with pytest.raises(Killed):
        run_trial(job, plan, lambda epoch: True)
    kept = Keeper(tmp_path / plan.id, make_keeper(job, plan).owner).newest()
    assert kept is not None
    assert kept.seconds > 0
    trained["kill"] = 0
    keeper = make_keeper(job, plan)
    now = keeper.spent()
    trial = run_trial(job, plan, lambda epoch: True, keeper)
    assert kept.seconds + now < trial.seconds <= keeper.spent()


def test_odd_state_falls_back_to_a_start_anew_with_one_line(
    tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        pass

    class Hoarding(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            answer = super().step(closure)
            for parameter in self.param_groups[0]["params"]:
                self.state[parameter]["odd"] = Odd()
            return answer

    use(monkeypatch, Hoarding)
    job = make_other(tmp_path)
    trained["kill"] = 3
    with pytest.raises(Killed):
        run_trial(job, job.plans[0], lambda epoch: True)
    trained.update(kill=0, epochs=[])
    trial = run_trial(job, job.plans[0], lambda epoch: True)
    assert trial.state is TrialState.FINISHED
    assert trained["epochs"] == list(range(1, EPOCHS + 1))
    assert trial.notes == (
        "no checkpoints: state.optimizer_states[0].state.0.odd is a Odd, which has no form as tensors and JSON; "
        "killed, it starts anew",
    )


def test_a_checkpoint_that_does_not_fit_the_model_any_more_is_left(
    tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changed the model's code between two commands."""

    class Wider(Optimized):
        def __init__(self, **rest: Any) -> None:
            super().__init__(**rest)
            self.body = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.Dropout(0.2), torch.nn.Linear(9, 1))

    use(monkeypatch, torch.optim.Adam)
    job = make_other(tmp_path / "job")
    trained["kill"] = 3
    with pytest.raises(Killed):
        run_trial(job, job.plans[0], lambda epoch: True)
    use(monkeypatch, torch.optim.Adam, base=Wider)
    trained.update(kill=0, epochs=[])
    trial = run_trial(job, job.plans[0], lambda epoch: True)
    assert trained["epochs"] == list(range(1, EPOCHS + 1))
    (note,) = trial.notes
    assert note.startswith("its checkpoint does not fit the model (RuntimeError: Error(s) in loading state_dict")
    assert note.endswith("; it started anew")
    assert outcome(trial) == undisturbed(make_other(tmp_path / "truth"), trained)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_trial_that_adopts_a_state_keeps_its_own_hyperparameters(
    scheduled: bool, tmp_path: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What population based training does: the weights of the better trial, at another learning rate."""
    rates: list[tuple[int, float, float]] = []
    moments: list[torch.Tensor] = []

    class Watched(Optimized):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=self.conf.lr, weight_decay=self.conf.weight_decay)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
            return ([optimizer], [schedule]) if scheduled else optimizer

        def on_train_epoch_start(self) -> None:
            optimizer: Any = self.optimizers()
            group = optimizer.param_groups[0]
            rates.append((self.current_epoch, group["lr"], group["weight_decay"]))
            moments.extend(s["exp_avg"].clone() for s in list(optimizer.state.values())[:1])

    use(monkeypatch, None, base=Watched)
    better = make_plan(0, lr=0.08, weight_decay=0.1, max_epochs=EPOCHS, checkpoint_seconds=0.0)
    worse = make_plan(1, lr=0.02, weight_decay=0.3, max_epochs=EPOCHS, checkpoint_seconds=0.0)
    job = make_job(tmp_path, better, worse, metric="log_loss", mode="min")
    trained["kill"] = 3
    for plan in job.plans:
        with pytest.raises(Killed):
            run_trial(job, plan, lambda epoch: True)
    donor = make_keeper(job, better)
    make_keeper(job, worse).adopt(donor.bytes_of(2))
    kept = donor.newest()
    assert kept is not None
    rates.clear()
    moments.clear()
    trained["kill"] = 0
    trial = run_trial(job, worse, lambda epoch: True)
    assert trial.notes == ("it went on from epoch 2",)
    assert [epoch.value for epoch in trial.curve[:2]] == [
        e["value"] for e in kept.state["callbacks"]["_Scorer"]["curve"]
    ]
    factor = 0.5 if scheduled else 1.0
    assert rates == [(e, pytest.approx(0.02 * factor**e), 0.3) for e in (2, 3, 4)]
    assert torch.equal(moments[0], kept.state["optimizer_states"][0]["state"][0]["exp_avg"])


def test_a_spec_is_needed_to_build(tmp_path: Path) -> None:
    """A config error is no fault of a checkpoint, and is told as itself."""
    job = make_job(tmp_path, make_plan(0, {**MODEL, "heads": 3}), spec=make_spec())
    trial = run_trial(job, job.plans[0], lambda epoch: True)
    assert trial.state is TrialState.FAILED
    assert trial.reason.startswith("model: TabularModel refuses ")
    assert trial.notes == ()
