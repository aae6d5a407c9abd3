"""Epochs in compiled code, against the same trial through autograd, which is the same bit for bit as one alone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.records import Task
from engine.train.inference import predict
from engine.train.loader import as_tensors
from engine.train.model import EmbeddingModel
from engine.train.pack import blas, compiled, layout, mapped, steps, together
from engine.train.pack.compiled import Compiled, Flat
from engine.train.pack.layout import Layout, Unlike, built_in
from engine.train.pack.trial import Ended, PackedTrial
from engine.train.sweep import make_keeper
from tests.engine.train.made import MODEL, RESIDUAL, make_job, make_plan, make_rows, make_spec, outcome
from tests.engine.train.pack.packing import OwnLoss, gap, of, packed, unpacked, weights

CURVE = 1e-5  # relative, of each step's loss: what was promised
EPOCHS, ROWS, BATCH = 10, 333, 32  # 11 steps an epoch, the last of 13 rows


def trials_of(
    folder: Path, model: dict[str, Any], task: Task = Task.BINARY, categories: bool = True, **train: Any
) -> list[PackedTrial]:
    """The same trial twice."""
    plan = make_plan(0, model, **{"lr": 0.003, "batch_size": BATCH, "max_epochs": EPOCHS} | train)
    spec, rows = make_spec(task), make_rows(task, n=ROWS, seed=1)
    if not categories:
        spec = replace(spec, categorical=(), cardinalities=())
        rows = replace(rows, categorical=np.empty((len(rows), 0), dtype=np.int64))
    metric, mode = ("mean_squared_error", "min") if task is Task.REGRESSION else ("log_loss", "min")
    job = make_job(folder, plan, spec=spec, train=rows, validation=rows, metric=metric, mode=mode, trusted=("tests",))
    tensors = as_tensors(rows)
    return [PackedTrial(job, plan, make_keeper(job, plan), tensors, lambda epoch: "") for _ in range(2)]


def state(trial: PackedTrial) -> list[torch.Tensor]:
    """All that an epoch leaves: losses, weights, moments, counts, the random stream."""
    moments = [value for known in trial.optimizer.state.values() for _, value in sorted(known.items())]
    return [torch.tensor(trial.scorer.heard), *trial.model.state_dict().values(), *moments, trial.generator.get_state()]


@pytest.mark.parametrize("task", list(Task))
def test_losses_are_those_of_autograd(
    task: Task, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """110 steps at the depths 0 to 4, the last of each epoch shorter. What dropout draws is the same bit for bit."""
    by_code, worst = Compiled(), 0.0
    for depth, (dropout, categories) in itertools.product(range(5), ((0.0, True), (0.3, depth_has(task)))):
        ours, theirs = trials_of(tmp_path, {**MODEL, "depth": depth, "dropout": dropout}, task, categories)
        by_code.check(ours)
        for _ in range(EPOCHS):
            by_code.train(ours, Event())
            theirs.train_alone(Event())
            pairs = zip(ours.scorer.heard, theirs.scorer.heard, strict=True)
            worst = max(worst, *(abs(one / other - 1) for one, other in pairs))
            assert worst <= CURVE, (depth, dropout, categories)
            assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())
            for trial in (ours, theirs):
                trial.score()
        assert ours.scorer.curve[-1].value == pytest.approx(theirs.scorer.curve[-1].value, rel=1e-4)
        for one, other in zip(state(ours)[1:], state(theirs)[1:], strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
    record_property(
        f"compiled = autograd, {task.value}: the loss of each step",
        f"{worst:.1e} relative, 110 steps at depths 0 to 4, with and without dropout and categories",
    )


def depth_has(task: Task) -> bool:
    """Two tasks drop without categories, one with."""
    return task is Task.MULTICLASS


def test_it_is_no_further_from_exact_arithmetic_than_torch(tmp_path: Path) -> None:
    """At a high rate losses fall to 1e-4 and rounding grows: in torch as well, against the same in float64."""
    ours, theirs = trials_of(tmp_path, {**MODEL, "depth": 2}, lr=0.05)
    exact = trials_of(tmp_path, {**MODEL, "depth": 2}, lr=0.05)[0]
    exact.model.double()
    exact.optimizer = torch.optim.AdamW(
        exact.model.parameters(), lr=0.05, weight_decay=ours.conf.weight_decay, fused=True
    )
    exact.schedule = None
    numeric, categorical, target = exact.standing.train_dataloader.tensors
    exact.standing.train_dataloader.tensors = numeric.double(), categorical, target.double()
    for trial, train in ((ours, Compiled().train), (theirs, PackedTrial.train_alone), (exact, PackedTrial.train_alone)):
        train(trial, Event())
    one, other, truth = (np.array(trial.scorer.heard) for trial in (ours, theirs, exact))
    assert np.abs(one / truth - 1).max() <= 2 * np.abs(other / truth - 1).max() + 1e-6


@pytest.mark.parametrize("activation", ["relu", "none", "silu"])
def test_other_activations_and_adam_with_a_rate_that_moves_at_each_step(activation: str, tmp_path: Path) -> None:
    ours, theirs = trials_of(tmp_path, of("Rectified", activation=activation, dropout=0.2))
    by_code = Compiled()
    by_code.check(ours)
    for _ in range(2):
        by_code.train(ours, Event())
        theirs.train_alone(Event())
        assert np.allclose(ours.scorer.heard, theirs.scorer.heard, rtol=CURVE, atol=0)
        assert ours.optimizer.param_groups[0]["lr"] == theirs.optimizer.param_groups[0]["lr"]
        for trial in (ours, theirs):
            trial.score()
    assert ours.schedule_steps == theirs.schedule_steps == 22


def test_a_layer_in_eval_mode_drops_nothing(tmp_path: Path) -> None:
    ours, theirs = trials_of(tmp_path, {**MODEL, "dropout": 0.5, "depth": 2})
    for trial in (ours, theirs):
        trial.model.body[2].eval()
    Compiled().train(ours, Event())
    theirs.train_alone(Event())
    assert np.allclose(ours.scorer.heard, theirs.scorer.heard, rtol=CURVE, atol=0)
    assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())


def test_layers_that_share_a_weight(tmp_path: Path) -> None:
    trial, _ = trials_of(tmp_path, {**MODEL, "width": 5, "depth": 2, "embedding": 1, "dropout": 0.1})
    trial.model.body[3].weight = trial.model.body[0].weight
    trial.optimizer = torch.optim.AdamW(trial.model.parameters())
    Compiled().check(trial)


@pytest.mark.parametrize("rows", [11, 128, 129, 331])
def test_batches_are_cut_in_blocks(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of fewer, as many, or a few more rows than a block; calls of one step each are the same bit for bit."""
    ours, theirs = trials_of(tmp_path, {**MODEL, "dropout": 0.3, "depth": 2}, batch_size=rows)
    Compiled().train(ours, Event())
    theirs.train_alone(Event())
    assert np.allclose(ours.scorer.heard, theirs.scorer.heard, rtol=CURVE, atol=0)
    monkeypatch.setattr(compiled, "CALL", 1)
    other, _ = trials_of(tmp_path, {**MODEL, "dropout": 0.3, "depth": 2}, batch_size=rows)
    Compiled().train(other, Event())
    assert all(map(torch.equal, state(ours), state(other)))


def test_wide_networks_are_cut_in_larger_blocks(tmp_path: Path) -> None:
    blocks = [trials_of(tmp_path, {**MODEL, "width": width})[0].model for width in (128, 129)]
    assert [Layout.of(model).net(model).block for model in blocks] == [128, 256]


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("rows", [1, 128, 300])
def test_it_is_scored_by_what_the_model_predicts(task: Task, rows: int, tmp_path: Path) -> None:
    """Without dropout, in the task's units, of every row; the model is left as it was."""
    ours, _ = trials_of(tmp_path, {**MODEL, "dropout": 0.5, "depth": 2}, task)
    job = replace(ours.job, validation=make_rows(task, n=rows, seed=5))
    ours.job = job
    ours.scorer.validation = job.validation
    found = list[np.ndarray]()
    ours.scorer.on_prediction = found.append
    by_code = Compiled()
    by_code.train(ours, Event())
    stream = ours.generator.get_state()
    ours.scorer._values(ours.model)
    assert by_code.outputs(ours) is not None
    expected = predict(ours.model, job.validation, task)
    assert found[0].dtype == np.float64
    assert found[0].shape == expected.shape
    assert np.allclose(found[0], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(ours.generator.get_state(), stream)
    assert ours.model.training


def test_a_category_of_the_validation_rows_that_is_not_there(tmp_path: Path) -> None:
    """No memory is touched; the model says it in torch's words, as it would alone."""
    rows = make_rows(Task.BINARY, n=256, seed=1)
    rows.categorical[200, 0] = 900
    plan = make_plan(0, MODEL)
    (ours,) = packed(make_job(tmp_path, plan, spec=make_spec(Task.BINARY), validation=rows))
    assert (ours.state.value, ours.notes) == ("failed", ())
    assert ours.reason.startswith("IndexError: index out of range in self")


def test_a_trial_is_the_same_bit_for_bit_whatever_trains_beside_it(tmp_path: Path) -> None:
    """Alone in its pack, in the middle of others of many shapes, in another thread."""
    model = {**MODEL, "depth": 2, "width": 24, "dropout": 0.2}
    others = [{**MODEL, "depth": depth, "width": width} for depth, width in ((1, 64), (3, 7), (0, 3), (2, 24))]
    plan = make_plan(2, model, lr=0.01, seed=5)
    beside = [make_plan(i + (i > 1), other, lr=0.02) for i, other in enumerate(others)]
    (one,) = packed(make_job(tmp_path / "one", plan), workers=1)
    many = packed(make_job(tmp_path / "many", *beside[:2], plan, *beside[2:]), workers=3)
    assert outcome([one]) == outcome([many[2]])
    assert weights(one) == weights(many[2])


class Killed(BaseException):
    pass


def test_a_trial_that_is_killed_goes_on_bit_for_bit(tmp_path: Path) -> None:
    plan = make_plan(0, {**MODEL, "depth": 2, "dropout": 0.2}, max_epochs=4, checkpoint_seconds=0.0)
    (whole,) = packed(make_job(tmp_path / "whole", plan))

    def kill(trial: str, epoch: Any) -> None:
        if epoch.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        packed(make_job(tmp_path / "cut", plan), on_epoch=kill)
    (again,) = packed(make_job(tmp_path / "cut", plan))
    assert again.notes == ("it went on from epoch 2",)
    assert outcome([again]) == outcome([whole])
    assert weights(again) == weights(whole)


def test_packs_train_compiled_and_are_the_trials_alone(tmp_path: Path, vectorised: list[int]) -> None:
    plans = [make_plan(i, {**MODEL, "width": 8 << i % 2, "dropout": 0.1 * i}, lr=0.003, seed=i) for i in range(4)]
    ours = packed(make_job(tmp_path / "packed", *plans))
    assert vectorised == []
    assert {trial.notes for trial in ours} == {()}
    assert 0 < gap(ours, unpacked(make_job(tmp_path / "alone", *plans))) <= CURVE  # other bits: it was compiled


@pytest.mark.parametrize("model", [MODEL, RESIDUAL], ids=["compiled", "in turn"])
def test_malloc_maps_smaller_pieces_for_compiled_trials_alone(
    model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps through torch would take a third longer; and so would whoever asks a model after the sweep."""
    told = list[tuple[int, int]]()
    monkeypatch.setattr(mapped, "MALLOPT", lambda *words: told.append(words))
    packed(make_job(tmp_path, make_plan(0, model, max_epochs=1)))
    sizes = [mapped.LEAST, mapped.MOST] if model is MODEL else [mapped.MOST]
    assert told == [(mapped.MMAP_THRESHOLD, size) for size in sizes]


def test_weights_and_moments_of_a_trial_lie_in_one_piece(tmp_path: Path) -> None:
    trial, _ = trials_of(tmp_path, {**MODEL, "depth": 2, "dropout": 0.2})
    before = [parameter.clone() for parameter in trial.model.parameters()]
    flat = Flat(trial.model, trial.optimizer)
    whole = flat.numbers.untyped_storage().data_ptr()
    for parameter, old in zip(trial.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        known = trial.optimizer.state[parameter]
        for tensor in (parameter, known["exp_avg"], known["exp_avg_sq"]):
            assert tensor.untyped_storage().data_ptr() == whole
            assert tensor.data_ptr() % 64 == 0
    assert flat.layout.size < 1.5 * sum(map(torch.numel, before)) + 16 * len(before)


def test_an_epoch_ends_soon_where_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is looked at between calls, each of a few steps."""
    trial, _ = trials_of(tmp_path, MODEL)
    stop, real, calls = Event(), compiled.Run.take, []

    def take(self: compiled.Run, begin: int, end: int, numbers: Any) -> None:
        calls.append((begin, end))
        if len(calls) == 2:
            stop.set()
        real(self, begin, end, numbers)

    monkeypatch.setattr(compiled.Run, "take", take)
    monkeypatch.setattr(compiled, "CALL", 3 * (Layout.of(trial.model).size * BATCH + compiled.STEP))
    with pytest.raises(Ended):
        Compiled().train(trial, stop)
    assert calls == [(0, 3), (3, 6)]


def test_threads_have_rooms_of_their_own_and_hold_no_lock(tmp_path: Path) -> None:
    trials = [trials_of(tmp_path, {**MODEL, "width": 48, "depth": 3, "dropout": 0.2})[0] for _ in range(3)]
    by_code = Compiled()
    by_code.train(trials[0], Event())
    threads = [threading.Thread(target=by_code.train, args=(trial, Event())) for trial in trials[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trial in trials[1:]:
        assert all(map(torch.equal, state(trial), state(trials[0])))


# ---- what is not compiled ------------------------------------------------------------------------------------------


def change(model: Any, how: str) -> None:
    match how:
        case "class of loss":
            model.__class__ = OwnLoss
        case "loss of its own":
            model.loss = lambda output, target: 2 * EmbeddingModel.loss(model, output, target)
        case "frozen":
            model.embedding.weight.requires_grad_(False)
        case "float64":
            model.double()
        case "activation":
            model.body[1] = nn.GELU()
        case "dropout":
            model.body[2] = nn.Dropout(0.1)
        case "max_norm":
            model.embedding.max_norm = 1.0
        case "further":
            model.further = nn.Parameter(torch.zeros(1))


KINDS = ("class of loss", "loss of its own", "frozen", "float64", "activation", "dropout", "max_norm", "further")


@pytest.mark.parametrize("how", KINDS)
def test_a_network_that_is_not_as_it_was_written_is_not_compiled(how: str, tmp_path: Path) -> None:
    trial, _ = trials_of(tmp_path, {**MODEL, "width": 5, "depth": 2, "embedding": 1, "dropout": 0.1})
    assert built_in(trial.model)
    change(trial.model, how)
    assert not built_in(trial.model)
    with pytest.raises(Unlike) as caught:
        Layout.of(trial.model)
    assert str(caught.value) == ""


def test_other_networks_and_optimizers_are_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (RESIDUAL, of("Dense"), of("Repeated")):
        with pytest.raises(Unlike, match=r"^$"):
            Compiled().check(trials_of(tmp_path, model)[0])
    trial, other = trials_of(tmp_path, MODEL)
    trial.optimizer = torch.optim.SGD(trial.model.parameters(), lr=0.1)
    with pytest.raises(Unlike, match=r"^$"):
        Compiled().check(trial)
    monkeypatch.setattr(layout, "HERE", False)
    with pytest.raises(Unlike, match=r"^torch's library has no sgemm_$"):
        Compiled().check(other)


@pytest.mark.parametrize(("what", "note"), [("gradient", "its gradient"), ("loss", "its loss")])
def test_a_step_that_is_another_one_goes_the_other_way_with_a_line(
    what: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compiled.Run.take

    def wrong(self: compiled.Run, *given: Any) -> None:
        real(self, *given)
        (self.gradient if what == "gradient" else self.losses)[:] *= 1 + 1e-4

    monkeypatch.setattr(compiled.Run, "take", wrong)
    plans = [make_plan(i, {**MODEL, "dropout": 0.2}, seed=i) for i in range(2)]
    monkeypatch.setattr(together, "WORK", 0)
    ours = packed(make_job(tmp_path / "packed", *plans))
    theirs = unpacked(make_job(tmp_path / "alone", *plans))
    assert outcome(ours) == outcome(theirs)
    assert {trial.notes for trial in ours} == {
        (f"its epochs are not compiled: {note} is another one in compiled code",)
    }


@pytest.mark.parametrize("what", ["category", "class"])
def test_a_row_with_a_category_or_class_that_is_not_there(what: str, tmp_path: Path) -> None:
    """No memory is touched; its trial goes on as it would alone, and fails with torch's own words."""
    task = Task.MULTICLASS
    rows = make_rows(task, n=256, seed=1)
    (rows.categorical[:, 0] if what == "category" else rows.target)[200] = 900  # type: ignore[index]
    plan = make_plan(0, MODEL)
    job = make_job(tmp_path, plan, spec=make_spec(task), train=rows, metric="log_loss", mode="min")
    (ours,) = packed(job)
    assert ours.state.value == "failed"
    assert ours.reason.startswith("IndexError: " if what == "class" else "IndexError: index out of range in self")
    assert ours.notes == (
        "not vectorised: its steps by hand broke off (IndexError: a row has a category or a class that the network has "
        "not)",
    )


def test_a_loss_that_is_not_finite_stays_so(tmp_path: Path) -> None:
    for value in (np.nan, np.inf, -np.inf):
        for model in (MODEL, of("Rectified", activation="relu")):
            trial, _ = trials_of(tmp_path, model)
            with torch.no_grad():
                trial.model.body[0].weight[0, 0] = value
            Compiled().train(trial, Event())
            assert not np.isfinite(trial.scorer.heard[-1])


def test_numbers_of_a_step() -> None:
    """The exponential within 2 units in the last place over the range of float32, and what is beyond."""
    x = np.linspace(-86, 87, 100_001).astype(np.float32)
    found = np.array([steps.exp(value) for value in x[::50]])
    assert np.abs(found / np.exp(x[::50].astype(np.float64)) - 1).max() <= 2.4e-7
    assert np.isnan(steps.exp(np.float32(np.nan)))
    assert steps.exp(np.float32(-1e9)) < 1e-37
    assert steps.exp(np.float32(1e9)) > 1e38


def test_products_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for rows, wide, high in ((1, 1, 1), (7, 5, 3), (130, 17, 64)):
        x, w, g = (rng.normal(size=shape).astype(np.float32) for shape in ((rows, wide), (high, wide), (rows, high)))
        sizes, out = np.zeros(6, np.int32), np.full((rows, high), np.nan, np.float32)
        blas.forward(x.ravel(), w.ravel(), out.ravel(), rows, wide, high, sizes)
        assert np.allclose(out, x @ w.T, atol=1e-5)
        back = np.full((rows, wide), 7, np.float32)
        left = wide // 2  # of the columns from there on
        blas.backward(g.ravel(), w.ravel()[left:], back.ravel()[left:], rows, wide, high, wide - left, sizes)
        assert np.allclose(back[:, left:], (g @ w)[:, left:], atol=1e-5)
        assert (back[:, :left] == 7).all()
        down = np.ones((high, wide), np.float32)
        blas.descent(g.ravel(), x.ravel(), down.ravel(), rows, wide, high, sizes)
        assert np.allclose(down, 1 + g.T @ x, atol=1e-4)
