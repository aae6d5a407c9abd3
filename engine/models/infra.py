"""How an artifact behaves as a program: its answers to good and bad requests, its latency, its memory.

Run in the fresh process of the cold check. A request is a table of raw rows; `predict` answers with an array or raises.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine.data.features import Encoder
from engine.errors import InputError, one_line
from engine.records import Answer, Estimate

Predict = Callable[[pa.Table], np.ndarray]
LEVEL = 0.95  # of the intervals of latency
QUANTILE = 0.99
REPEATS = 3
CALLS = 500  # of one repeat: the least at which the slowest call bounds the 99th percentile, see `percentile_of`
WARM_UP = 20
LONGEST = 30.0  # seconds of one repeat; what is slower has too few calls, and says so
TOLERANCE = 1e-6  # between a row alone and the same row in a batch; relative to the largest prediction above 1
MB = 1e6  # bytes


class Request(NamedTuple):
    """A table, and how it must be answered: with an error in words, or with finite predictions."""

    name: str
    table: pa.Table
    refused: bool


def answers(predict: Predict, rows: pa.Table, encoder: Encoder) -> list[Answer]:
    """What the model does with requests that clients send: none may crash it, none may be answered with nonsense.

    `rows` are good rows, at least one. An error must be an InputError: one line that says what is wrong and what to do.
    """
    batch = _answered(predict, rows)
    told = [_judged(request, _answered(predict, request.table)) for request in _requests(rows, encoder)]
    alone = _answered(predict, rows.slice(0, 1))
    return [*told, _alike(batch, alone)]


def _requests(rows: pa.Table, encoder: Encoder) -> Iterator[Request]:
    numbers, words = encoder.numeric, encoder.categorical
    feature = (*numbers, *words)[0]
    yield Request("missing column", rows.drop_columns([feature]), True)
    yield Request("missing id", rows.drop_columns([encoder.conf_id]), True)
    yield Request("empty table", pa.table({}), True)
    yield Request("wrong type", _with(rows, feature, pa.array([[1.0]] * len(rows))), True)
    if numbers:
        yield Request("text for a number", _with(rows, numbers[0], pa.array(["a lot"] * len(rows))), True)
    yield Request("0 rows", rows.slice(0, 0), False)
    yield Request("unknown column", rows.append_column("never seen", pa.array(["x"] * len(rows))), False)
    if words:
        unknown = _each(rows, words, lambda n: pa.array(["never seen \u2603"] * n))
        yield Request("unknown category", unknown, False)
    gaps = _each(rows, numbers, lambda n: pa.nulls(n, pa.float64()))
    yield Request("missing values", _each(gaps, words, lambda n: pa.nulls(n, pa.string())), False)
    if numbers:
        for name, value in (("NaN", math.nan), ("infinity", math.inf), ("-infinity", -math.inf), ("1e308", 1e308)):
            yield Request(name, _each(rows, numbers, partial(_constant, value)), False)


def _constant(value: float, n: int) -> pa.Array:
    return pa.array([value] * n)


def _with(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, column)


def _each(rows: pa.Table, names: tuple[str, ...], make: Callable[[int], pa.Array]) -> pa.Table:
    for name in names:
        rows = _with(rows, name, make(len(rows)))
    return rows


def _answered(predict: Predict, table: pa.Table) -> np.ndarray | Exception:
    try:
        return predict(table)
    except Exception as error:  # whatever a client can provoke is looked at
        return error


def _judged(request: Request, answer: np.ndarray | Exception) -> Answer:
    fine, reason = False, ""
    if isinstance(answer, InputError):
        fine, reason = request.refused, f"refused: {answer}"
    elif isinstance(answer, Exception):
        reason = f"crashed: {type(answer).__name__}: {one_line(answer, 160)}"
    elif request.refused:
        reason = f"answered with {len(answer)} predictions, and should be refused"
    elif len(answer) != request.table.num_rows:
        reason = f"{request.table.num_rows} rows were answered with {len(answer)} predictions"
    elif not np.isfinite(answer).all():
        reason = "answered with a number that is not finite"
    else:
        fine, reason = True, f"{len(answer)} finite predictions"
    return Answer(request=request.name, fine=fine, reason=" ".join(reason.split())[:300])


def _alike(batch: np.ndarray | Exception, alone: np.ndarray | Exception) -> Answer:
    """The same row gets the same prediction alone and in a batch."""
    name = "one row alone"
    for answer in (batch, alone):
        if isinstance(answer, Exception):
            return Answer(request=name, fine=False, reason=f"crashed: {type(answer).__name__}")
    assert not isinstance(batch, Exception)
    assert not isinstance(alone, Exception)
    if alone.shape != batch[:1].shape or not np.isfinite(alone).all():
        return Answer(request=name, fine=False, reason="it is answered otherwise than in a batch")
    apart = float(np.max(np.abs(alone - batch[:1]), initial=0.0))
    fine = apart <= TOLERANCE * max(1.0, float(np.max(np.abs(batch), initial=0.0)))
    return Answer(request=name, fine=fine, reason=f"differs by {apart:.2g} from the same row in a batch")


def latencies(predict: Predict, rows: pa.Table, calls: int = CALLS, longest: float = LONGEST) -> list[Estimate]:
    """The 99th percentile of a call with one row, and of a call with all `rows`, in ms, with intervals.

    Of REPEATS rounds the one with the lowest upper bound is told: other programs of the machine only add time.
    """
    one = rows.slice(0, 1)
    return [
        _best("single_p99_ms", lambda: predict(one), calls, longest),
        _best("batch_p99_ms", lambda: predict(rows), calls, longest),
    ]


def _best(name: str, call: Callable[[], Any], calls: int, longest: float) -> Estimate:
    for _ in range(WARM_UP):
        call()
    rounds = [percentile_of(name, _timed(call, calls, longest), REPEATS) for _ in range(REPEATS)]
    return min(rounds, key=lambda found: found.high if math.isfinite(found.high) else math.inf)


def _timed(call: Callable[[], Any], calls: int, longest: float) -> list[float]:
    """Milliseconds of each call; fewer than `calls` where they take longer than `longest` seconds together."""
    spent, until = list[float](), time.perf_counter() + longest
    while len(spent) < calls:
        began = time.perf_counter()
        call()
        ended = time.perf_counter()
        spent.append(1000.0 * (ended - began))
        if ended > until:
            break
    return spent


def percentile_of(name: str, spent: list[float], rounds: int = 1) -> Estimate:
    """The 99th percentile of times (ms) with its interval from order statistics, whatever their distribution.

    The k-th smallest of n times lies above the p-quantile with probability P(Bin(n, p) < k); so the slowest of 500
    bounds the 99th percentile at 99.3 %. Each round of `rounds` gets its share of the error (Bonferroni), so that the
    best of them may be told. Below so many calls there is no upper bound, and the reason says so.
    """
    times, n = sorted(spent), len(spent)
    tail = (1.0 - LEVEL) / 2.0 / rounds
    below = _binomial(n, QUANTILE)
    high = next((k for k in range(1, n + 1) if below[k - 1] >= 1.0 - tail), 0)
    low = max((k for k in range(1, n + 1) if below[k - 1] <= tail), default=1)
    value = times[math.ceil(QUANTILE * n) - 1] if n else math.nan
    needed = math.ceil(math.log(tail) / math.log(QUANTILE))
    return Estimate(
        name=name,
        value=value,
        low=times[low - 1] if n and high else math.nan,
        high=times[high - 1] if high else math.nan,
        n=n,
        confidence_level=LEVEL,
        method=f"order statistics, best of {rounds} rounds" if rounds > 1 else "order statistics",
        reason="" if high else f"too few calls ({n} of {needed})",
    )


def _binomial(n: int, p: float) -> list[float]:
    """P(X <= k) of X ~ Binomial(n, p), for k = 0 to n."""
    found, total = [], 0.0
    for k in range(n + 1):
        log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        total += math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))
        found.append(min(total, 1.0))
    return found


def whole(name: str, value: float, method: str, n: int = 1) -> Estimate:
    """A number that is measured whole: its interval is a point; NaN where it could not be measured."""
    reason = "" if math.isfinite(value) else "it cannot be measured on this machine"
    return Estimate(
        name=name, value=value, low=value, high=value, n=n, confidence_level=LEVEL, method=method, reason=reason
    )


def peak_memory() -> float:
    """The most memory that this process ever held, in MB; NaN where the system does not tell.

    Of the process itself: what getrusage tells begins with the memory of the parent.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return math.nan
