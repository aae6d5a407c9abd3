"""The closed forms of the simulated pasts against rows that are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.backtest.streams import KINDS, QUANTILE, Stream, StreamConf
from engine.errors import ConfigError

CONF = StreamConf(kind="mixed", windows=40)


def rows(stream: Stream, window: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of a window."""
    rng = np.random.default_rng(seed)
    x = stream.centre[window] + rng.standard_normal((n, stream.conf.features))
    return x, x @ stream.concept[window] + math.sqrt(stream.noise[window]) * rng.standard_normal(n)


@pytest.mark.parametrize(("model", "window"), [(3, 4), (3, 20), (10, 30)])
def test_the_risk_is_that_of_drawn_rows(model: int, window: int) -> None:
    stream = Stream(CONF, 2)
    x, y = rows(stream, window, 400_000, 1)
    squared = (y - x @ stream.models[model]) ** 2
    error = squared.std() / math.sqrt(len(squared))
    assert stream.truth(model, window) == pytest.approx(squared.mean(), abs=4 * error)
    expected = stream.truth(model, window) * math.sqrt(2 / CONF.rows)  # exact where the features are centred
    drawn = squared.std() / math.sqrt(CONF.rows)
    assert drawn == pytest.approx(expected, rel=0.02)


def test_the_paired_difference_is_that_of_drawn_rows() -> None:
    stream = Stream(replace(CONF, kind="abrupt"), 4)
    model, champion = 30, 5
    x, y = rows(stream, model + 1, 400_000, 3)
    apart = (y - x @ stream.models[model]) ** 2 - (y - x @ stream.models[champion]) ** 2
    found = stream.gain(model, champion)
    spread = (found.high - found.low) / (2 * QUANTILE)
    assert spread == pytest.approx(apart.std() / math.sqrt(CONF.rows), rel=0.02)
    assert found.value == pytest.approx(apart.mean(), abs=4.5 * spread)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    hits = [
        found.low <= stream.truth(model, window) <= found.high
        for stream in (Stream(replace(CONF, kind=kind), 9) for kind in KINDS)
        for model in range(3, 39)
        for window in range(model + 1, 40)
        for found in [stream.measured(model, window)]
    ]
    assert len(hits) == 666 * len(KINDS)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("kind", "harmed", "moved"),
    [
        ("abrupt", True, False),
        ("gradual", True, False),
        ("seasonal", True, False),
        ("benign", False, True),
        ("still", False, False),
    ],
)
def test_each_kind_harms_or_moves_as_it_says(kind: str, harmed: bool, moved: bool) -> None:
    """The first model on the last windows, against one that was trained just before them."""
    harms, columns = [], []
    for seed in range(8):
        stream = Stream(StreamConf(kind=kind, windows=50, hardness=0.0), seed)
        harms.append(max(stream.truth(3, window) - stream.truth(window - 1, window) for window in range(30, 50)))
        columns.append(max(stream.moved(3, window)[0] for window in range(30, 50)))
    assert (float(np.median(harms)) > 0.03) is harmed
    assert (float(np.median(columns)) >= 2) is moved


def test_a_season_comes_back() -> None:
    stream = Stream(StreamConf(kind="seasonal", windows=60, hardness=0.0), 1)
    there, back = stream.truth(20, 34), stream.truth(20, 20 + 24 - 1)
    assert there - 1 > 10 * (back - 1)


def test_the_same_seed_is_the_same_past() -> None:
    one, again, other = (Stream(CONF, seed) for seed in (1, 1, 2))
    assert one.gain(9, 3) == again.gain(9, 3) != other.gain(9, 3)
    assert one.names[:2] == ("w000", "w001")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^backtest\.kind: 'sudden' is unknown - choose one of abrupt, gradual"):
        StreamConf(kind="sudden")


def test_noise_that_rises_is_lost_by_every_model_and_old_pasts_are_the_same() -> None:
    """The best model loses it as well as the oldest, and neither passes for it."""
    conf = replace(CONF, kind="harder", hardness=0.0, rows=10**7)
    stream = Stream(conf, 5)
    levels = np.unique(np.round(stream.noise, 6))
    assert len(levels) > 1
    assert levels == pytest.approx(1 + conf.jump * np.arange(len(levels)))
    assert np.ptp(stream.risk[:, 5:], axis=0).max() < 1e-5
    noisy = Stream(replace(CONF, kind="harder"), 5)
    assert sum(noisy.passes(model, 5) for model in range(8, 39)) <= 2  # of 31, by luck
    partly = Stream(replace(CONF, kind="partly"), 5)
    assert len(np.unique(partly.concept[:, 0])) > 1
    assert not np.allclose(partly.noise, Stream(replace(CONF, kind="abrupt"), 5).noise)
