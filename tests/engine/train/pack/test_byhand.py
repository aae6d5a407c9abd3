from __future__ import annotations

import re
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch import nn

from engine.records import Task, TrialState
from engine.train.loader import as_tensors
from engine.train.model import Dropout
from engine.train.pack import together
from engine.train.pack.byhand import ByHand, Way, placed
from engine.train.pack.chain import Chain, layers_of, parts_of
from engine.train.pack.trial import PackedTrial
from engine.train.pack.vector import shape_of
from engine.train.sweep import make_keeper
from tests.engine.train.made import MODEL, RESIDUAL, make_job, make_plan, make_rows, make_spec, outcome
from tests.engine.train.pack.packing import OwnLoss, of, packed, unpacked, weights


def trials_of(folder: Path, model: dict[str, Any], task: Task = Task.BINARY, **changes: Any) -> list[PackedTrial]:
    """The same trial twice. `changes`: of the rows, `train`: of the config."""
    plan = make_plan(0, model, **changes.pop("train", {}))
    metric, mode = ("mean_squared_error", "min") if task is Task.REGRESSION else ("log_loss", "min")
    sides = {"train": make_rows(task, n=333, seed=1), "validation": make_rows(task, n=50, seed=2)}
    job = make_job(folder, plan, spec=make_spec(task), metric=metric, mode=mode, trusted=("tests",), **sides)
    tensors = as_tensors(job.train)
    return [PackedTrial(job, plan, make_keeper(job, plan), tensors, lambda epoch: "") for _ in range(2)]


def state(trial: PackedTrial) -> list[torch.Tensor]:
    """All that two epochs leave: losses, weights, moments, counts, the random stream."""
    moments = [value for known in trial.optimizer.state.values() for value in known.values()]
    return [torch.tensor(trial.scorer.heard), *trial.model.state_dict().values(), *moments, trial.generator.get_state()]


CASES = {
    "no dropout": {**MODEL, "dropout": 0.0},
    "dropout": {**MODEL, "dropout": 0.3},
    "odd": {**MODEL, "width": 7, "depth": 3, "dropout": 0.1},
    "no hidden layer": {**MODEL, "depth": 0},
    "residual": {**RESIDUAL, "dropout": 0.2},
    "a user's step": of("Repeated", width=12, depth=2, dropout=0.2, embedding=3),
    "a user's layers": of("Dense", dropout=0.2),
    "no share": of("Dense", dropout=0.0),
    "ends in silu": of("Dense", dropout=0.2, last="silu"),
    "two passes": of("Dense", dropout=0.2, passes=2, penalty=0.01),
}
NOT = {"no hidden layer"}


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", list(CASES))
def test_steps_by_hand_are_those_of_autograd_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Two epochs of 11 steps, the last of them shorter."""
    ours, theirs = trials_of(tmp_path, CASES[name])
    by_hand = ByHand()
    way = by_hand.way(ours, "shape")
    assert (way.compiled, bool(way.why_not)) == (False, name in NOT)
    for _ in range(2):
        with by_hand.of(ours, "shape") as step:
            assert (step == ours.step) is (name in NOT)
            ours.train_alone(Event(), step)
        theirs.train_alone(Event())
        for one, other in zip(state(ours), state(theirs), strict=True):
            assert torch.equal(one, other)
        for trial in (ours, theirs):
            trial.score()
    assert ours.scorer.curve[0].value == theirs.scorer.curve[0].value


@pytest.mark.usefixtures("uncompiled")
def test_nothing_stays_behind_an_epoch(tmp_path: Path) -> None:
    for name in ("dropout", "a user's layers"):
        trial, _ = trials_of(tmp_path, CASES[name])
        before = [set(vars(module)) for module in trial.model.modules()]
        with ByHand().of(trial, "shape") as step:
            trial.train_alone(Event(), step)
            assert "forward" in vars(trial.model.body)
        assert [set(vars(module)) for module in trial.model.modules()] == before


def test_what_is_by_hand_and_what_is_not(tmp_path: Path) -> None:
    a, b, c, end = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 1)
    norm, drop, tanh = nn.LayerNorm(6), Dropout(0.1), nn.Tanh()

    def kinds(*modules: nn.Module) -> list[Any]:
        return [len(part.layers) if isinstance(part, Chain) else part for part in parts_of(nn.Sequential(*modules))]

    assert kinds(a, nn.SiLU(), drop, b, norm, c, nn.GELU(), end) == [2, norm, 2]
    assert kinds(a, tanh, b) == [a, tanh, b]
    assert kinds(a, nn.ReLU(), drop) == [1, drop]
    assert kinds(a, drop, b, nn.SiLU(), end) == [3]
    assert kinds(a, drop, tanh) == [a, drop, tanh]
    silu, inplace = nn.SiLU(), nn.ReLU(inplace=True)
    assert kinds(a, silu, nn.SiLU(), b)[0] == 1
    assert kinds(a, inplace, b) == [a, inplace, b]
    end.weight.requires_grad_(False)
    assert kinds(c, silu, end) == [1, end]
    handle = a.register_forward_hook(lambda *rest: None)
    assert kinds(a, silu, b) == [a, silu, b]
    handle.remove()
    trial, _ = trials_of(tmp_path, MODEL)
    with placed(trial.model) as places:
        assert places == 1
    assert [len(layers_of(nn.Sequential(*modules)) or ()) for modules in ((b, nn.GELU(), c), (c,), (b, tanh))] == [
        2,
        1,
        0,
    ]


@pytest.mark.usefixtures("uncompiled")
def test_layers_in_eval_mode_drop_nothing(tmp_path: Path) -> None:
    """A user who freezes the dropout of one layer, say."""
    ours, theirs = trials_of(tmp_path, {**MODEL, "dropout": 0.5, "depth": 2})
    for trial in (ours, theirs):
        trial.model.body[2].eval()
    with ByHand().of(ours, "shape") as step:
        ours.train_alone(Event(), step)
    theirs.train_alone(Event())
    assert all(map(torch.equal, state(ours), state(theirs)))


NOTES = [
    ("Own", "its steps go through autograd: it has no nn.Sequential of Linear layers and SiLU, ReLU or GELU"),
    ("Dense", ""),
    (
        "Late",
        "not vectorised: its steps by hand broke off (RuntimeError: trying to differentiate twice a function that",
    ),
]


@pytest.mark.parametrize(("name", "note"), NOTES, ids=[name for name, _ in NOTES])
def test_a_users_network_trains_as_it_would_alone_and_says_how(
    name: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "WORK", 0)
    plans = [make_plan(i, of(name, dropout=0.2), seed=i) for i in range(2)]
    ours = packed(make_job(tmp_path / "packed", *plans, trusted=("tests",)))
    theirs = unpacked(make_job(tmp_path / "alone", *plans, trusted=("tests",)))
    assert outcome(ours) == outcome(theirs)
    assert [weights(trial) for trial in ours] == [weights(trial) for trial in theirs]
    for trial in ours:
        assert len(trial.notes) == bool(note), trial.notes
        assert "".join(trial.notes).startswith(note)


def test_what_fails_by_hand_and_alone_has_failed(tmp_path: Path) -> None:
    plan = make_plan(0, of("Raising"))
    (ours,) = packed(make_job(tmp_path / "packed", plan, trusted=("tests",)))
    (theirs,) = unpacked(make_job(tmp_path / "alone", plan, trusted=("tests",)))
    assert (ours.state, ours.reason) == (theirs.state, theirs.reason)
    assert ours.state is TrialState.FAILED
    assert re.fullmatch(r"ValueError: no more \(tests/engine/train/pack/packing\.py:\d+\)", ours.reason)
    assert ours.notes == ("not vectorised: its steps by hand broke off (ValueError: no more)",)


@pytest.mark.usefixtures("uncompiled")
def test_a_step_that_is_another_one_by_hand_goes_through_autograd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Chain.backward

    def wrong(self: Chain, room: Any, first: Any, gradient: Any, *rest: Any) -> Any:
        return real(self, room, first, gradient * 1.0001, *rest)

    monkeypatch.setattr(Chain, "backward", wrong)
    for name in ("dropout", "a user's layers"):
        trial = trials_of(tmp_path, CASES[name])[0]
        assert ByHand().way(trial, shape_of(trial)).why_not == "its loss or gradient is another one by hand"


@pytest.mark.parametrize("where", ["class", "object"])
def test_the_layers_of_the_built_in_network_under_another_loss(where: str, tmp_path: Path) -> None:
    ours, theirs = trials_of(tmp_path, CASES["dropout"])
    for trial in (ours, theirs):
        if where == "class":
            trial.model.__class__ = OwnLoss
        else:
            trial.model.loss = lambda output, target, own=trial.model.loss: 2 * own(output, target)
    by_hand = ByHand()
    assert by_hand.way(ours, "shape") == Way()
    by_hand.train(ours, "shape", Event())
    theirs.train_alone(Event())
    assert all(map(torch.equal, state(ours), state(theirs)))


def test_small_trials_are_vectorised_unless_they_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tabular, user = trials_of(tmp_path / "a", MODEL), trials_of(tmp_path / "b", of("Dense"))
    work = together.work_of(user[0])
    for limit, expected in ((work, 1), (work - 1, 0)):
        monkeypatch.setattr(together, "WORK", limit)
        both = together.Together(1)
        both._parts([*tabular, *user])
        assert [vector.trials for vector in both._vectors.values()] == [user] * expected
        both.close()
        for vector in both._vectors.values():
            vector.apart()
