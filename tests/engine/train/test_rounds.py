"""A population that trains, in this process: lineage, kills anywhere, failures, budgets, disks."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError
from engine.records import Epoch, Trial, TrialState, to_plain
from engine.system import durable
from engine.train.course import Course
from engine.train.rounds import RECORD
from engine.train.sweep import LocalSearch, SweepJob, best
from tests.engine.train.breeding import BAD, EPOCHS, breeding, conf, handed_on, lines
from tests.engine.train.made import ignore_epoch, outcome


def run(job: SweepJob, on_epoch: Callable[[str, Epoch], None] = ignore_epoch, **changes: Any) -> tuple[Trial, ...]:
    return LocalSearch(conf(**changes)).run(job, on_epoch=on_epoch, on_trial=lambda trial: None)


def told(trials: tuple[Trial, ...]) -> list[Any]:
    return [outcome(trials), [to_plain(trial.schedule) for trial in trials], [trial.notes for trial in trials]]


def taken(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / RECORD).read_text())["takeovers"])


class Killed(BaseException):
    pass


def killing(n: int) -> Callable[[str, Epoch], None]:
    """Kills after so many epochs."""
    left = iter(range(n - 1, -1, -1))

    def kill(trial: str, epoch: Epoch) -> None:
        if next(left) == 0:
            raise Killed

    return kill


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Trial, ...]]:
    """A population that nobody disturbs."""
    place = tmp_path_factory.mktemp("whole")
    return place, run(breeding(place / "job", conf(), told=place / "told"))


def test_a_trial_goes_on_with_the_very_state_of_its_donor(whole: tuple[Path, tuple[Trial, ...]]) -> None:
    place, trials = whole
    rounds = taken(place / "job")
    assert [takeover["after"] for takeover in rounds] == [2, 4]
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    assert len(lines(place / "told")) == 2 * 4 * EPOCHS  # each epoch of each member, once
    job = breeding(place / "job", conf())
    for begun, ended in handed_on(place / "told", job, rounds):
        assert len(begun) == 1
        assert begun == ended


def test_the_record_shows_who_took_over_from_whom(whole: tuple[Path, tuple[Trial, ...]]) -> None:
    place, trials = whole
    by_id = {trial.id: trial for trial in trials}
    for takeover in taken(place / "job"):
        trial, donor = by_id[takeover["trial"]], by_id[takeover["donor"]]
        after = takeover["after"]
        assert takeover["donor_value"] > takeover["value"]  # of the log loss, its sign turned
        assert donor.curve[after - 1].value == -takeover["donor_value"]
        if trial.schedule[-1].after == after:  # it was not taken over itself later
            assert trial.curve[:after] == donor.curve[:after]
            assert trial.params == takeover["params"]
            assert (trial.schedule[-1].trial, trial.schedule[-1].params) == (trial.id, trial.params)
    assert any(len({stretch.trial for stretch in trial.schedule}) > 1 for trial in trials)
    for trial in trials:
        assert [stretch.after for stretch in trial.schedule] == sorted({s.after for s in trial.schedule})
        assert trial.notes == ()  # to rest is nothing that befell it
        assert len(trial.curve) == EPOCHS


@pytest.mark.parametrize("cuts", [(8, 13), pytest.param((1, 3, 7, 9, 16, 17, 22, 24), marks=pytest.mark.slow)])
def test_a_population_that_is_killed_anywhere_goes_on_as_it_would_have(
    cuts: tuple[int, ...], whole: tuple[Path, tuple[Trial, ...]], tmp_path: Path
) -> None:
    """In a stretch, at its end, at the end of a round, in the second and in the third one; and once more soon after."""
    place, trials = whole
    rounds = taken(place / "job")
    for cut in cuts:
        folder = tmp_path / str(cut)
        for n in (cut, 1):
            with pytest.raises(Killed):
                run(breeding(folder, conf()), killing(n))
        again = run(breeding(folder, conf()))
        assert [told(again)[i] for i in (0, 1)] == [told(trials)[i] for i in (0, 1)]
        assert taken(folder) == rounds
        for trial, other in zip(again, trials, strict=True):
            assert Path(trial.weights).read_bytes() == Path(other.weights).read_bytes()


@pytest.mark.parametrize("places", [(4, 9), pytest.param(range(1, 12), marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_kill_while_checkpoints_are_handed_on_repeats_the_round(
    places: Sequence[int], whole: tuple[Path, tuple[Trial, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step on the disk between the end of the second stretch and the first epoch of the third."""
    _, trials = whole
    real, steps = Course._turn, 0

    def counted(self: Course, rounds: Any) -> None:
        nonlocal steps
        if rounds._done == 2 and not self._running:
            with durable.intercept(stop):
                real(self, rounds)
        else:
            real(self, rounds)

    def stop(step: durable.Step, execute: Callable[[], None]) -> None:
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise Killed
        execute()

    for at in places:
        folder = tmp_path / str(at)
        steps = at
        with monkeypatch.context() as patch:
            patch.setattr(Course, "_turn", counted)
            with pytest.raises(Killed):
                run(breeding(folder, conf()))
        again = run(breeding(folder, conf()))
        assert told(again)[:2] == told(trials)[:2]


def test_who_failed_goes_on_with_what_another_one_has(tmp_path: Path) -> None:
    trials = run(breeding(tmp_path, conf(), bad=(1,)))
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    first = taken(tmp_path)[0]
    assert (first["trial"], first["value"]) == ("trial-001", None)
    assert trials[1].schedule[-1].params["train.lr"] < BAD
    gone = run(breeding(tmp_path / "all", conf(), bad=(0, 1, 2, 3)))
    assert {trial.state for trial in gone} == {TrialState.FAILED}
    assert {trial.reason for trial in gone} == {"diverged in epoch 1, before any epoch gave a finite value"}


def test_a_donor_whose_checkpoint_is_damaged_gives_nothing_on(tmp_path: Path) -> None:
    """Between two commands, while all members rest but one."""
    with pytest.raises(Killed):
        run(breeding(tmp_path, conf()), killing(8))
    job = breeding(tmp_path, conf())
    standing = json.loads((tmp_path / RECORD).read_text())
    values = {m["trial"]: m["curve"][-1]["value"] for m in standing["members"] if m["rests"]}
    assert len(values) == 3
    first = min(values, key=lambda trial: values[trial])
    for path in (tmp_path / first).glob("checkpoint-*"):
        path.write_bytes(path.read_bytes()[:-1])
    trials = run(job)
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    assert first not in {t["donor"] for t in taken(tmp_path) if t["after"] == 2}


def test_a_checkpoint_that_is_gone_is_a_failure_and_no_new_start(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(breeding(tmp_path, conf()), killing(21))  # in the last stretch
    job = breeding(tmp_path, conf())
    waiting = next(p for p in job.plans if not (tmp_path / p.id / "trial.json").exists())
    for path in (tmp_path / waiting.id).glob("checkpoint-*"):
        path.unlink()
    for _ in range(2):  # and stays one
        trials = run(job)
        failed = [trial for trial in trials if trial.state is TrialState.FAILED]
        assert [trial.id for trial in failed] == [waiting.id]
        assert "the checkpoint of epoch 4 is gone" in failed[0].reason
        assert best(trials, "min") is not None


def test_a_checkpoint_that_cannot_be_written_ends_the_sweep_with_one_line(
    whole: tuple[Path, tuple[Trial, ...]], tmp_path: Path
) -> None:
    def full(step: durable.Step, execute: Callable[[], None]) -> None:
        if step.operation == "write" and "checkpoint" in str(step.path):
            raise OSError(errno.ENOSPC, "No space left on device")
        execute()

    with durable.intercept(full), pytest.raises(InputError) as error:
        run(breeding(tmp_path, conf()))
    assert str(error.value).startswith(f"{tmp_path / 'trial-000'}: no checkpoint after epoch 1: ")
    assert str(error.value).endswith("No space left on device - see to that, and run the same command again")
    assert told(run(breeding(tmp_path, conf())))[:2] == told(whole[1])[:2]


def test_a_population_that_a_budget_stopped_goes_on(
    whole: tuple[Path, tuple[Trial, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Course.after

    def dear(self: Course, plan: Any, epoch: Epoch, losses: Any) -> str:
        self.budget.spend(plan.id, 1000 * epoch.epoch, 10.0 + epoch.epoch / 1000, 1.0)
        return real(self, plan, epoch, losses)

    monkeypatch.setattr(Course, "after", dear)
    for seconds, ended in ((55, 3), (135, 4)):  # the third trial in the first stretch; the second one in the second
        trials = run(breeding(tmp_path, conf()), compute_hours=seconds / 3600)
        assert len(trials) == ended
        assert {trial.state for trial in trials} == {TrialState.STOPPED}
        assert {trial.reason[:34] for trial in trials} == {"stopped: the budget is used up (se"}
    monkeypatch.setattr(Course, "after", real)
    trials = run(breeding(tmp_path, conf()), compute_hours=10.0)
    assert told(trials)[:2] == told(whole[1])[:2]
    assert taken(tmp_path) == taken(whole[0] / "job")
