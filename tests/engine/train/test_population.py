"""Who takes over from whom: hand-worked rounds; and a problem whose optimum moves, against random search."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.train.conf import SearchConf
from engine.train.naming import trial_id
from engine.train.population import check_space, explore, takeovers
from engine.train.search_space import Point, Space, draw

NOBODY: frozenset[str] = frozenset()
RATES = Space.of({"train.lr": "interval(0.0, 1.0)"}).domains


def pbt(**changes: Any) -> SearchConf:
    return SearchConf(scheduler="pbt", **changes)


def test_a_round_by_hand() -> None:
    """Of four the worst takes over from the best, at four fifths or six fifths of its rate."""
    values = {"trial-000": 0.6, "trial-001": 0.9, "trial-002": 0.2, "trial-003": 0.7}
    points = {"trial-000": {"train.lr": 0.1}, "trial-001": {"train.lr": 0.5}} | {
        trial_id(i): {"train.lr": 0.3} for i in (2, 3)
    }
    rates = set()
    for seed in range(20):
        conf = pbt(seed=seed, resample=0.0)
        (found,) = takeovers(conf, RATES, 4, values, NOBODY, points)
        assert (found.after, found.trial, found.donor, found.value, found.donor_value) == (
            4,
            "trial-002",
            "trial-001",
            0.2,
            0.9,
        )
        rates.add(round(found.params["train.lr"], 12))
        turned = dict(reversed(values.items()))
        assert takeovers(conf, RATES, 4, turned, NOBODY, points) == (found,)  # nothing hangs on who came first
    assert rates == {0.4, 0.6}
    again = {takeovers(pbt(seed=0), RATES, after, values, NOBODY, points)[0].params["train.lr"] for after in range(9)}
    assert len(again) > 2  # every round draws for itself


@pytest.mark.parametrize(
    ("size", "quantile", "count"), [(2, 0.25, 1), (3, 0.5, 1), (4, 0.5, 2), (8, 0.25, 2), (9, 0.25, 3), (20, 0.2, 4)]
)
def test_the_worst_take_over_from_the_best(size: int, quantile: float, count: int) -> None:
    values = {trial_id(i): float(i) for i in range(size)}
    points = {trial: {"train.lr": 0.5} for trial in values}
    donors = set()
    for seed in range(50):
        found = takeovers(pbt(quantile=quantile, seed=seed), RATES, 2, values, NOBODY, points)
        assert [t.trial for t in found] == [trial_id(i) for i in range(count)]
        donors |= {t.donor for t in found}
    assert donors == {trial_id(size - 1 - i) for i in range(count)}


def test_who_failed_takes_over_and_gives_nothing() -> None:
    values = {"trial-000": math.nan, "trial-001": math.nan, "trial-002": math.nan, "trial-003": 0.1}
    points = {trial: {"train.lr": 0.5} for trial in values}
    lost = frozenset({"trial-000", "trial-001"})
    found = takeovers(pbt(quantile=0.25), RATES, 2, values, lost, points)
    # the two that failed, and the one whose value is not finite: it is the worst of those that did not
    assert [t.trial for t in found] == ["trial-000", "trial-001", "trial-002"]
    assert {t.donor for t in found} == {"trial-003"}
    nothing = dict.fromkeys(values, math.nan)
    assert takeovers(pbt(), RATES, 2, nothing, lost, points) == ()


def test_what_becomes_of_a_hyperparameter() -> None:
    space = Space.of(
        {
            "model.dropout": "interval(0.1, 0.5)",
            "train.batch_size": "choice(64, 256, 128)",
            "train.lr": "tag(log, interval(1e-3, 1e-1))",
            "model.heads": "int(interval(1, 9))",
        }
    )

    def seen(point: Point, **changes: Any) -> dict[str, set[Any]]:
        found = [explore(pbt(**changes), space.domains, point, random.Random(seed)) for seed in range(100)]
        return {key: {round(p[key], 9) for p in found} for key in found[0]}

    middle = {"model.dropout": 0.3, "train.batch_size": 128, "train.lr": 1e-2, "model.heads": 2}
    assert seen(middle, resample=0.0, perturbation=0.5) == {
        "model.dropout": {0.15, 0.45},
        "train.batch_size": {64, 256},
        "train.lr": {0.005, 0.015},
        "model.heads": {1, 3},
    }
    upper = {"model.dropout": 0.5, "train.batch_size": 256, "train.lr": 1e-1, "model.heads": 9}
    assert seen(upper, resample=0.0) == {
        "model.dropout": {0.4, 0.5},
        "train.batch_size": {128, 256},
        "train.lr": {0.08, 0.1},
        "model.heads": {7, 9},
    }
    assert seen({"model.heads": 2}, resample=0.0, perturbation=0.1) == {"model.heads": {1, 3}}  # by one at least
    drawn = seen(upper, resample=1.0)
    assert len(drawn["model.dropout"]) > 90
    assert drawn["train.batch_size"] == {64, 128, 256}
    assert drawn["model.heads"] == set(range(1, 10))


def test_a_moving_optimum_is_followed(record_property: Callable[[str, object], None]) -> None:
    """Progress is made near the right learning rate alone, which falls by three decades on the way; both get the same
    epochs of the same number of trials.
    """
    space, epochs, size = Space.of({"train.lr": "tag(log, interval(1e-5, 1e-1))"}), 40, 12

    def step(point: Point, epoch: int) -> float:
        right = -1.5 - 3.0 * epoch / epochs
        return math.exp(-0.5 * ((math.log10(point["train.lr"]) - right) / 0.4) ** 2)

    def search(seed: int) -> float:
        return max(sum(step(point, e) for e in range(epochs)) for point in draw(space, size, seed))

    def bred(seed: int) -> float:
        conf = pbt(seed=seed, quantile=0.25)
        points = {trial_id(i): point for i, point in enumerate(draw(space, size, seed))}
        state = dict.fromkeys(points, 0.0)
        for epoch in range(epochs):
            if epoch and epoch % 2 == 0:
                for taken in takeovers(conf, space.domains, epoch, dict(state), NOBODY, dict(points)):
                    state[taken.trial], points[taken.trial] = state[taken.donor], taken.params
            state = {trial: value + step(points[trial], epoch) for trial, value in state.items()}
        return max(state.values())

    pairs = np.array([(bred(seed), search(seed)) for seed in range(40)])
    better = int((pairs[:, 0] > pairs[:, 1]).sum())
    record_property(
        "a population follows a moving optimum",
        f"better than random search in {better} of 40 seeds, progress {pairs[:, 0].mean():.1f} to "
        f"{pairs[:, 1].mean():.1f} of 40 epochs",
    )
    assert better >= 38
    assert pairs[:, 0].mean() > 1.3 * pairs[:, 1].mean()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "search.space: pbt has nothing to change - name a key such as train.lr in search.space"),
        (
            {"train.schedule": "choice(cosine, constant)"},
            "search.space:train.schedule: pbt changes numbers alone, and these values are none",
        ),
        ({"model.bias": "choice(true, false)"}, "search.space:model.bias: pbt changes numbers alone"),
        (
            {"train.max_epochs": "choice(2, 4)"},
            "search.space:train.max_epochs: of train, pbt can change train.lr, train.weight_decay, train.batch_size"
            " alone - fix its value, or choose another search.scheduler",
        ),
    ],
)
def test_what_cannot_change_while_a_trial_trains_is_refused(space: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_space(Space.of(space))
    assert str(error.value).startswith(message)
