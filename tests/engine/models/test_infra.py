"""How an artifact is examined as a program: requests, times, memory; with programs that misbehave."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from engine.errors import DataError
from engine.models import infra
from engine.records import Answer
from tests.engine.tides import make_encoder, make_window

ENCODER = make_encoder()
ROWS = make_window(2, n=40).table.select(["id", "pull", "age", "colour"])


def sound(table: pa.Table) -> np.ndarray:
    """A model that reads rows as ours do."""
    data = ENCODER.transform(table, labelled=False)
    return np.asarray(1 / (1 + np.exp(-data.numeric[:, 0].astype(float))))


def told(predict: Any) -> dict[str, Answer]:
    return {answer.request: answer for answer in infra.answers(predict, ROWS, ENCODER)}


def test_a_sound_model_is_fine_with_every_request() -> None:
    found = told(sound)
    assert [answer for answer in found.values() if not answer.fine] == []
    assert set(found) == {
        "missing column", "missing id", "empty table", "wrong type", "text for a number", "0 rows", "unknown column",
        "unknown category", "missing values", "NaN", "infinity", "-infinity", "1e308", "one row alone",
    }  # fmt: skip
    for name in ("missing column", "missing id", "empty table", "wrong type", "text for a number"):
        assert found[name].reason.startswith("refused: ")
        assert " - " in found[name].reason  # what is wrong, and what to do


def crashing(table: pa.Table) -> np.ndarray:
    """As soon as anything is odd."""
    if table.num_rows != len(ROWS) or table.schema != ROWS.schema or any(c.null_count == len(ROWS) for c in table):
        raise RuntimeError("tensor sizes\ndo not match")
    return sound(table)


def careless(table: pa.Table) -> np.ndarray:
    """Answers anything with numbers."""
    return np.full(table.num_rows, 0.5)


def poisoned(table: pa.Table) -> np.ndarray:
    """Lets NaN through."""
    data = ENCODER.transform(table, labelled=False)
    raw = np.array(table["pull"].cast(pa.float64()).to_numpy(), dtype=float)
    return np.where(np.isfinite(raw), data.numeric[:, 0], np.nan)


def short(table: pa.Table) -> np.ndarray:
    return sound(table)[:-1]


def by_batch(table: pa.Table) -> np.ndarray:
    """Standardises over the batch: a row alone is another row."""
    raw = sound(table)
    return np.asarray(raw - raw.mean())


@pytest.mark.parametrize(
    ("predict", "request_", "reason"),
    [
        (crashing, "0 rows", "crashed: RuntimeError: tensor sizes do not match"),
        (crashing, "missing column", "crashed: RuntimeError: tensor sizes do not match"),
        (crashing, "one row alone", "crashed: RuntimeError"),
        (careless, "missing column", "answered with 40 predictions, and should be refused"),
        (careless, "text for a number", "answered with 40 predictions, and should be refused"),
        (poisoned, "NaN", "answered with a number that is not finite"),
        (poisoned, "infinity", "answered with a number that is not finite"),
        (short, "unknown category", "40 rows were answered with 39 predictions"),
        (by_batch, "one row alone", "differs by "),
    ],
)
def test_a_model_that_misbehaves_is_found_out(predict: Any, request_: str, reason: str) -> None:
    found = told(predict)[request_]
    assert not found.fine
    assert found.reason.startswith(reason)
    assert "\n" not in found.reason


def test_what_is_refused_and_should_not_be_is_no_good_answer() -> None:
    def refusing(table: pa.Table) -> np.ndarray:
        raise DataError("x", "is bad", "send others")

    found = told(refusing)
    assert found["missing column"].fine
    assert not found["unknown category"].fine
    assert not found["one row alone"].fine


# ---- times --------------------------------------------------------------------------------------------------------


def test_the_percentile_of_times_has_the_interval_of_order_statistics() -> None:
    times = [float(k) for k in range(1, 1001)]
    found = infra.percentile_of("x", times[::-1])
    assert found.value == 990.0
    law = stats.binom(1000, 0.99)
    high = next(k for k in range(1, 1001) if law.cdf(k - 1) >= 0.975)
    low = max(k for k in range(1, 1001) if law.cdf(k - 1) <= 0.025)
    assert (found.low, found.high, found.n) == (times[low - 1], times[high - 1], 1000)


@pytest.mark.parametrize(
    ("calls", "rounds", "bounded"), [(0, 1, 0), (100, 1, 0), (366, 1, 0), (368, 1, 1), (500, 3, 1)]
)
def test_too_few_calls_bound_no_percentile(calls: int, rounds: int, bounded: int) -> None:
    found = infra.percentile_of("x", [1.0] * calls, rounds)
    assert math.isfinite(found.high) is bool(bounded)
    needed = math.ceil(math.log(0.025 / rounds) / math.log(0.99))
    assert found.reason == ("" if bounded else f"too few calls ({calls} of {needed})")
    assert infra.CALLS >= math.ceil(math.log(0.025 / infra.REPEATS) / math.log(0.99))


def test_the_upper_bound_of_a_percentile_covers() -> None:
    """Log-normal times, the best of three rounds of 500 calls: its upper bound is below the truth in 2.5 % at most."""
    rng, truth, missed = np.random.default_rng(0), math.exp(stats.norm.ppf(0.99)), 0
    for _ in range(400):
        rounds = [infra.percentile_of("x", list(rng.lognormal(size=500)), 3) for _ in range(3)]
        missed += min(e.high for e in rounds) < truth
    assert missed <= stats.binom.ppf(0.999, 400, 0.025)


def test_calls_are_timed() -> None:
    """A call that sleeps takes at least as long; one that takes too long is called less often, and says so."""
    slow = infra.latencies(lambda table: time.sleep(0.002 * table.num_rows / 40), ROWS, calls=15, longest=0.01)  # type: ignore[arg-type,return-value]
    assert [e.name for e in slow] == ["single_p99_ms", "batch_p99_ms"]
    assert slow[1].value >= 2.0
    assert slow[1].n < 15
    assert slow[1].reason.startswith("too few calls (")
    quick = infra.latencies(lambda table: np.zeros(table.num_rows), ROWS)
    assert all(math.isfinite(e.high) and e.n == infra.CALLS for e in quick)
    assert all(0 < e.low <= e.value <= e.high for e in quick)


def test_memory_is_of_this_process() -> None:
    before = infra.peak_memory()
    held = np.ones(30_000_000)
    after = infra.peak_memory()
    assert held.sum() > 0
    assert after >= before > 10
    lost = infra.whole("peak_memory_mb", math.nan, "nowhere")
    assert lost.reason == "it cannot be measured on this machine"
