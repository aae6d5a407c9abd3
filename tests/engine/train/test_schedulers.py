"""The rules against Ray's own schedulers, which are given the same results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.train.conf import SearchConf
from engine.train.naming import index_of
from engine.train.schedulers import Halving, Median, Rule, make_rule, never

EPOCHS = 16


def results(seed: int, trials: int = 40) -> list[tuple[str, list[float]]]:
    """Curves that rise towards levels of their own, with noise."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.5, 0.9, trials)
    rise = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 4)
    curves = level[:, None] * rise + rng.normal(0, 0.02, (trials, EPOCHS))
    return [(f"trial-{i:03d}", curve.tolist()) for i, curve in enumerate(curves)]


def interleaved(seed: int, at_once: int = 4) -> list[tuple[str, float]]:
    """(trial, value) in the order in which `at_once` workers would report them, had nobody been stopped."""
    rng = np.random.default_rng(seed)
    waiting, running, told = results(seed), [], []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append((waiting[0][0], iter(waiting.pop(0)[1])))
        place = int(rng.integers(len(running)))
        name, values = running[place]
        value = next(values, None)
        if value is None:
            del running[place]
        else:
            told.append((name, value))
    return told


def stops(rule: Rule, order: list[tuple[str, float]]) -> dict[str, int]:
    """Trial to the epoch after which the rule stopped it; those it lets go on reach the last one and are left out."""
    curves: dict[str, list[float]] = {}
    stopped: dict[str, int] = {}
    for trial, value in order:
        if trial in stopped:
            continue
        curves.setdefault(trial, []).append(value)
        if len(curves[trial]) < EPOCHS and rule(trial, curves):
            stopped[trial] = len(curves[trial])
    return stopped


class RayTrial:
    """As much of Ray's Trial as its schedulers look at."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id, self.status = trial_id, "RUNNING"


class Controller:
    def get_live_trials(self) -> list[Any]:
        return []


def stops_of_ray(scheduler: Any, order: list[tuple[str, float]]) -> dict[str, int]:
    scheduler.set_search_properties("value", "max")
    trials: dict[str, RayTrial] = {}
    epochs: dict[str, int] = {}
    stopped: dict[str, int] = {}
    for name, value in order:
        if name in stopped:
            continue
        if name not in trials:
            trials[name] = RayTrial(name)
            scheduler.on_trial_add(Controller(), trials[name])
        epochs[name] = epochs.get(name, 0) + 1
        result = {"training_iteration": epochs[name], "value": value}
        answer = scheduler.on_trial_result(Controller(), trials[name], result)
        if epochs[name] < EPOCHS and answer == "STOP":
            stopped[name] = epochs[name]
    return stopped


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("grace", "eta"), [(1, 2), (2, 2), (1, 4), (3, 3)])
def test_asha_decides_as_that_of_ray(grace: int, eta: int, seed: int) -> None:
    from ray.tune.schedulers import ASHAScheduler

    order = interleaved(seed)
    conf = SearchConf(scheduler="asha", grace_period=grace, reduction_factor=eta)
    ours = stops(make_rule(conf, EPOCHS), order)
    theirs = ASHAScheduler(
        time_attr="training_iteration", max_t=EPOCHS, grace_period=grace, reduction_factor=eta, brackets=1
    )
    assert ours == stops_of_ray(theirs, order)
    assert 5 < len(ours) < 40


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("grace", "least"), [(1, 3), (4, 3), (2, 8)])
def test_median_decides_as_that_of_ray(grace: int, least: int, seed: int) -> None:
    from ray.tune.schedulers import MedianStoppingRule

    order = interleaved(seed)
    ours = stops(make_rule(SearchConf(scheduler="median", grace_period=grace, min_trials=least), EPOCHS), order)
    theirs = MedianStoppingRule(time_attr="training_iteration", grace_period=grace, min_samples_required=least)
    assert ours == stops_of_ray(theirs, order)
    assert 3 < len(ours) < 40


def test_brackets_have_the_shares_that_ray_draws_them_with() -> None:
    rule = Halving(1, 2, 3, EPOCHS)
    assert rule.rungs == [[1, 2, 4, 8], [2, 4, 8], [4, 8]]
    counts = np.bincount([rule.bracket(i) for i in range(1000)])
    share = np.exp([4, 3, 2])
    np.testing.assert_allclose(counts, 1000 * share / share.sum(), atol=1)
    again = Halving(1, 2, 3, EPOCHS)
    assert [again.bracket(i) for i in (500, 0, 7)] == [rule.bracket(i) for i in (500, 0, 7)]  # in whatever order


def test_hyperband_compares_trials_of_one_bracket() -> None:
    order = interleaved(0)
    rule = Halving(1, 2, 3, EPOCHS)
    found = stops(make_rule(SearchConf(scheduler="hyperband", grace_period=1, brackets=3), EPOCHS), order)
    assert {rule.bracket(index_of(trial)) for trial in found} == {0, 1, 2}
    alone: dict[str, int] = {}
    for bracket, rungs in enumerate(rule.rungs):
        members = [(trial, value) for trial, value in order if rule.bracket(index_of(trial)) == bracket]
        first = stops(Halving(rungs[0], 2, 1, EPOCHS), members)  # each bracket is an asha of its own
        alone |= first
    assert found == alone


def test_a_bracket_beyond_the_last_epoch_is_none() -> None:
    assert Halving(2, 3, 10, 7).rungs == [[2, 6], [6]]
    rule = Halving(8, 2, 2, 8)
    assert rule.rungs == [[]]
    assert rule("trial-001", {"trial-000": [1.0] * 8, "trial-001": [0.0] * 8}) == ""


def test_a_value_that_is_none_is_the_worst() -> None:
    curves = {"trial-000": [0.7], "trial-001": [math.nan], "trial-002": [0.6]}
    rule = Halving(1, 2, 1, 4)
    assert rule("trial-001", curves) == "stopped by the scheduler after epoch 1: below the best 1/2 of 2 others"
    assert rule("trial-000", curves) == ""
    assert rule("trial-000", {"trial-000": [0.1], "trial-001": [math.nan]}) == ""  # nothing to compare with
    several = {f"trial-{i:03d}": [0.5 + i / 100] * 2 for i in range(4)} | {"trial-009": [math.nan, math.nan]}
    told = Median(2, 3)("trial-009", several)
    assert told == "stopped by the scheduler after epoch 2: below the median of 4 others"


def test_no_scheduler_stops_nobody() -> None:
    assert make_rule(SearchConf(scheduler="none"), EPOCHS) is never
    assert stops(never, interleaved(1)) == {}
