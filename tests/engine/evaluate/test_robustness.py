"""Guarded slices, perturbed rows, and the difference of two windows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from engine.errors import DataError
from engine.evaluate.conf import EvaluateConf
from engine.evaluate.robustness import POOLED, Elsewhere, guarded, independent, perturb, perturbed
from engine.records import AskedPerturbed, AskedSlice, Perturbation, Task
from engine.scoring.intervals import Rows, difference, estimate
from tests.engine.tides import make_window

CONF = EvaluateConf(n_resamples=100, min_slice_rows=100)
NOISE = Perturbation(kind="noise", scale=0.5)
GONE = Perturbation(kind="missing", columns=("age", "colour"))
BEFORE = Perturbation(kind="shifted", shift=-1)
SCALES = {"pull": 2.0, "age": 10.0}


def rows_of(n: int, seed: int = 0) -> tuple[Rows, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = (rng.random(n) < 0.5).astype(float)
    rows = Rows(task=Task.BINARY, target=target, ids=np.arange(n), cluster=None)
    one, two = (1 / (1 + np.exp(-(target + rng.normal(size=n)))) for _ in range(2))
    return rows, one, two


# ---- slices -------------------------------------------------------------------------------------------------------


def levels() -> dict[str, np.ndarray]:
    """1000 rows: north 600, south 400; of south 80 are feasts."""
    shop = np.repeat(["north", "south"], [600, 400])
    day = np.concatenate([np.resize(["work", "feast"], 600), np.repeat(["work", "feast"], [320, 80])])
    return {"shop": shop, "day": day}


def test_a_crossing_has_every_combination_and_names_the_small_one() -> None:
    rows, one, two = rows_of(1000)
    asked = AskedSlice(columns=("shop", "day"), metric="log_loss")
    found = {s.level: s for s in guarded(asked, rows, one, two, levels(), CONF)}
    assert {level: s.estimate.n for level, s in found.items()} == {
        "north x feast": 300,
        "north x work": 300,
        "south x feast": 80,
        "south x work": 320,
    }
    assert {s.column for s in found.values()} == {"shop x day"}
    small = found["south x feast"]
    assert small.difference is not None
    assert small.difference.reason == small.estimate.reason == "too few rows (80 of 100)"
    part = np.arange(1000) >= 680
    part[:] = (levels()["shop"] == "south") & (levels()["day"] == "work")
    whole = found["south x work"]
    assert whole.estimate == estimate("log_loss", rows.take(part), one[part], CONF)
    assert whole.difference == difference("log_loss", rows.take(part), two[part], one[part], CONF)


def test_small_levels_are_pooled_where_the_rule_says_so() -> None:
    rows, one, two = rows_of(1000)
    few = replace(CONF, min_slice_rows=310)
    asked = AskedSlice(columns=("shop", "day"), metric="log_loss", pool=True)
    found = {s.level: s for s in guarded(asked, rows, one, two, levels(), few)}
    assert {level: s.estimate.n for level, s in found.items()} == {POOLED: 680, "south x work": 320}
    assert math.isfinite(found[POOLED].estimate.value)
    assert {s.column for s in found.values()} == {"shop x day, pooled"}
    rest = guarded(asked, rows, one, None, levels(), replace(few, min_slice_rows=900))
    assert [(s.level, s.estimate.n, s.difference) for s in rest] == [(POOLED, 1000, None)]
    alone = guarded(asked, rows, one, two, levels(), replace(few, min_slice_rows=2000))
    assert alone[0].estimate.reason == "too few rows (1000 of 2000)"  # together they are too few as well


def test_a_column_that_is_not_there_gives_no_slice() -> None:
    rows, one, _ = rows_of(100)
    assert guarded(AskedSlice(columns=("gone",), metric="log_loss"), rows, one, None, {}, CONF) == ()


# ---- perturbations ------------------------------------------------------------------------------------------------


def test_noise_has_its_scale_and_leaves_gaps_and_the_rest_alone() -> None:
    table = make_window(2, n=4000).table
    noisy = perturb(table, NOISE, SCALES, seed=3)
    for name, scale in SCALES.items():
        old, new = (np.array(t[name].to_numpy(), dtype=float) for t in (table, noisy))
        assert np.array_equal(np.isnan(old), np.isnan(new))
        moved = (new - old)[~np.isnan(old)]
        assert moved.std() == pytest.approx(0.5 * scale, rel=0.05)
        assert abs(moved.mean()) < 0.05 * scale
    assert noisy["colour"].equals(table["colour"])
    assert perturb(table, NOISE, SCALES, seed=3).equals(noisy)
    assert not perturb(table, NOISE, SCALES, seed=4).equals(noisy)
    one = perturb(table, replace(NOISE, columns=("age",)), SCALES, seed=3)
    assert one["pull"].equals(table["pull"])
    assert not one["age"].equals(table["age"])


def test_whole_numbers_take_noise_as_well() -> None:
    table = pa.table({"pull": pa.array([1, None, 3]), "age": pa.array([1.0, 2.0, 3.0])})
    noisy = perturb(table, NOISE, SCALES, seed=0)
    assert noisy["pull"].type == pa.float64()
    assert noisy["pull"].null_count == 1


def test_missing_columns_keep_their_type() -> None:
    table = make_window(2).table
    gone = perturb(table, GONE, SCALES, seed=0)
    assert gone.schema == table.schema
    assert gone["age"].null_count == gone["colour"].null_count == len(table)
    assert gone["pull"].equals(table["pull"])


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (replace(NOISE, columns=("colour",)), "colour: cannot be put under noise - name a numeric feature"),
        (replace(GONE, columns=("mass",)), "mass: cannot be put under missing - name a feature of the model"),
    ],
)
def test_columns_that_cannot_be_perturbed(what: Perturbation, said: str) -> None:
    with pytest.raises(DataError) as error:
        perturb(make_window(2).table, what, SCALES, seed=0)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (NOISE, "noise of 0.5 sd on all numbers"),
        (replace(NOISE, columns=("age", "pull")), "noise of 0.5 sd on age, pull"),
        (GONE, "age, colour missing"),
        (BEFORE, "window before"),
        (replace(BEFORE, shift=1), "window after"),
    ],
)
def test_perturbations_have_names(what: Perturbation, name: str) -> None:
    assert what.name == name


def test_perturbed_rows_are_paired_with_the_rows_as_they_are() -> None:
    rows, one, two = rows_of(2000)
    found = perturbed(AskedPerturbed(perturbation=NOISE, metric="log_loss"), rows, one, {NOISE.name: two}, CONF)
    assert found.difference == difference("log_loss", rows, one, two, CONF)
    assert found.estimate == estimate("log_loss", rows, two, CONF)
    near = np.clip(one + 0.001 * np.random.default_rng(0).normal(size=2000), 1e-3, 1 - 1e-3)
    tight = perturbed(AskedPerturbed(perturbation=NOISE, metric="log_loss"), rows, one, {NOISE.name: near}, CONF)
    assert tight.difference.high - tight.difference.low < 0.05 * (tight.estimate.high - tight.estimate.low)


@pytest.mark.parametrize(("predictions", "reason"), [({}, "it was not tried"), ({BEFORE.name: "why not"}, "why not")])
def test_a_perturbation_that_was_not_tried_says_so(predictions: Any, reason: str) -> None:
    rows, one, _ = rows_of(200)
    found = perturbed(AskedPerturbed(perturbation=BEFORE, metric="log_loss"), rows, one, predictions, CONF)
    assert math.isnan(found.difference.value)
    assert found.difference.reason == reason


# ---- two windows --------------------------------------------------------------------------------------------------


def test_of_two_windows_the_difference_is_made_of_their_intervals() -> None:
    here, one, _ = rows_of(2000, seed=1)
    there, two, _ = rows_of(1000, seed=2)
    asked = AskedPerturbed(perturbation=BEFORE, metric="roc_auc_score")
    found = perturbed(asked, here, one, {BEFORE.name: Elsewhere(there, two)}, CONF)
    a, b = estimate("roc_auc_score", there, two, CONF), estimate("roc_auc_score", here, one, CONF)
    assert found.estimate == a
    assert found.difference.value == a.value - b.value
    half = math.hypot(a.value - a.low, b.high - b.value)
    assert found.difference.low == pytest.approx(found.difference.value - half)
    assert found.difference.n == 1000
    assert "MOVER" in found.difference.method
    lost = independent(replace(a, value=math.nan, low=math.nan, high=math.nan, reason="too few rows (1)"), b)
    assert (math.isnan(lost.low), lost.reason) == (True, "too few rows (1)")


def test_both_models_are_judged_on_the_rows_of_the_other_window() -> None:
    """Paired there: as narrow as that is, and blind to how hard the window is."""
    here, one, _ = rows_of(2000, seed=1)
    there, two, three = rows_of(1000, seed=2)
    near = np.clip(two + 0.01 * np.random.default_rng(0).normal(size=1000), 1e-3, 1 - 1e-3)
    asked = AskedPerturbed(perturbation=BEFORE, metric="log_loss")
    for champion in (three, near):
        found = perturbed(asked, here, one, {BEFORE.name: Elsewhere(there, two, champion)}, CONF)
        paired = difference("log_loss", there, champion, two, CONF)
        assert found.estimate == estimate("log_loss", there, two, CONF)
        assert replace(found.difference, method=paired.method) == paired
        assert found.difference.method == f"{paired.method}; beside the champion, on the window before"
    alone = perturbed(asked, here, one, {BEFORE.name: Elsewhere(there, two)}, CONF).difference
    assert found.difference.high - found.difference.low < 0.1 * (alone.high - alone.low)
    harder = replace(there, target=np.where(np.arange(1000) % 3 == 0, 1 - there.target, there.target))
    hard = perturbed(asked, here, one, {BEFORE.name: Elsewhere(harder, two, near)}, CONF).difference
    assert hard.low < 0.0 < hard.high
    assert perturbed(asked, here, one, {BEFORE.name: Elsewhere(harder, two)}, CONF).difference.low > 0.1


def test_the_difference_of_two_windows_covers_as_stated() -> None:
    """Each end of AUROC differences between windows of equal truth; a normal law with both variances."""
    rng = np.random.default_rng(6)
    conf, low, high, windows = EvaluateConf(n_resamples=100), 0, 0, 300
    for _ in range(windows):
        pair = []
        for n in (400, 250):
            target = (rng.random(n) < 0.5).astype(float)
            rows = Rows(task=Task.BINARY, target=target, ids=np.arange(n), cluster=None)
            pair.append(estimate("roc_auc_score", rows, target + rng.normal(size=n), conf))
        made = independent(*pair)
        low, high = low + (made.low > 0), high + (made.high < 0)
    assert max(low, high) <= stats.binom.ppf(0.999, windows, 0.025)
    assert low + high >= 1
