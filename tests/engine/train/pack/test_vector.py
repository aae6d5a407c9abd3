from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.train.loader import as_tensors
from engine.train.pack.trial import PackedTrial
from engine.train.pack.vector import Unvectorised, Vector, differences, out_of_memory, shape_of
from engine.train.sweep import SweepJob, make_keeper
from tests.engine.train.made import MODEL, make_job, make_plan
from tests.engine.train.pack.packing import of


def trials_of(folder: Path, *models: dict[str, Any], **train: Any) -> list[PackedTrial]:
    plans = [make_plan(i, model, seed=i, **train) for i, model in enumerate(models)]
    job: SweepJob = make_job(folder, *plans, trusted=("tests",))
    tensors = as_tensors(job.train)
    return [PackedTrial(job, plan, make_keeper(job, plan), tensors, lambda epoch: "") for plan in plans]


def steps(vector: Vector, count: int) -> list[list[float]]:
    """Losses of the first steps of the coming epoch."""
    batches = zip(*(trial.batches() for trial in vector.trials), strict=True)
    return [[float(x) for x in vector.step(i, rows)] for i, rows in zip(range(count), batches, strict=False)]


def weights(trials: list[PackedTrial]) -> list[torch.Tensor]:
    return [torch.cat([p.detach().reshape(-1) for p in trial.model.parameters()]) for trial in trials]


def test_a_pack_that_runs_out_of_memory_splits_in_two_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole: two at a time fail from the third step on. The random numbers drawn in vain are drawn again."""
    models = [{**MODEL, "dropout": 0.3}] * 5
    whole, split = (Vector(trials_of(tmp_path / name, *models)) for name in ("whole", "split"))
    real = Vector._differentiate
    sizes: list[int] = []

    def short(self: Vector, index: int, batches: Any, part: slice) -> torch.Tensor:
        found = real(self, index, batches, part)
        sizes.append(len(found))
        if self is split and index >= 2 and len(found) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate ...")
        return found

    expected = steps(whole, 6)
    monkeypatch.setattr(Vector, "_differentiate", short)
    found = steps(split, 6)
    assert sizes == [5, 5, 5, 3, 2, 2, 1] + [2, 2, 1] * 3
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=0)
    for mine, other in zip(weights(split.trials), weights(whole.trials), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    assert split.trials[4].keeper.notes == [
        "memory ran out in its pack: 3 trials at a time from there on",
        "memory ran out in its pack: 2 trials at a time from there on",
    ]


def test_one_trial_that_does_not_fit_alone_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = Vector(trials_of(tmp_path, MODEL, MODEL))

    def short(*rest: Any) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(Vector, "_differentiate", short)
    with pytest.raises(MemoryError):
        steps(vector, 1)
    assert vector.tile == 1


def test_only_memory_counts_as_memory() -> None:
    assert out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_parameters_are_views_of_one_matrix_until_the_pack_breaks_up(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, MODEL, MODEL, MODEL)
    before = weights(trials)
    vector = Vector(trials)
    for one, other in zip(weights(trials), before, strict=True):  # its check has changed nothing
        assert torch.equal(one, other)
    matrix = vector._stack.weights
    storages = {p.data_ptr() - matrix.data_ptr() for t in trials for p in t.model.parameters()}
    assert 0 == min(storages) < max(storages) < matrix[:3].numel() * 4
    steps(vector, 2)
    moved = weights(trials)
    vector.apart()
    matrix.zero_()
    for one, other in zip(weights(trials), moved, strict=True):
        assert torch.equal(one, other)
    assert all(not torch.equal(one, other) for one, other in zip(moved, before, strict=True))


def test_the_check_finds_what_vmap_would_get_wrong_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factor that differs, where no look at attributes finds it."""
    trials = trials_of(tmp_path, of("Own"), of("Own"))
    vars(trials[1].model)["_factor"] = 2.0
    monkeypatch.setattr(type(trials[1].model), "loss", _by_factor)
    with pytest.raises(Unvectorised, match="another one together than alone"):
        Vector(trials)


def _by_factor(self: Any, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    factor: float = vars(self).get("_factor", 1.0)
    return factor * torch.nn.functional.binary_cross_entropy_with_logits(output, target)


def test_numbers_that_differ_are_stacked_and_nothing_else_may_differ(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, of("Own", weight=1.0, smoothing=0.1), of("Own", weight=3.0, smoothing=0.1))
    models = [trial.model for trial in trials]
    slots, values, guards = differences(models)
    assert set(slots) == {("", "_hparams", "weight"), ("", "weight", None)}
    assert [value.tolist() for value in values] == [[1.0, 3.0]] * 2
    assert guards == [("", "conf")]  # the seed
    models[0].table, models[1].table = {"a": 1}, {"a": 2}
    with pytest.raises(Unvectorised, match=r"its attribute table differs between trials and is no number"):
        differences(models)


def test_shapes_are_told_apart_by_all_that_a_network_is_made_of(tmp_path: Path) -> None:
    same = trials_of(tmp_path / "a", MODEL, {**MODEL, "dropout": 0.5})
    assert shape_of(same[0]) == shape_of(same[1])
    others = trials_of(tmp_path / "b", {**MODEL, "width": 8}, {**MODEL, "depth": 2}, {**MODEL, "embedding": 3})
    smaller = trials_of(tmp_path / "c", MODEL, batch_size=16)
    constant = trials_of(tmp_path / "d", MODEL, schedule="constant")
    assert len({shape_of(trial) for trial in (*same, *others, *smaller, *constant)}) == 6
    frozen = trials_of(tmp_path / "e", MODEL)[0]
    frozen.model.embedding.weight.requires_grad_(False)
    assert shape_of(frozen) != shape_of(same[0])
