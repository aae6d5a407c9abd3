"""The contract of a detector: the mean number of values between two false alarms, its average run length in control."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import Array, as_native, as_table, missing_rows, refuse_missing
from kernels.errors import OptionError, ShapeError
from kernels.stream.streams import Streams

CHUNK = 1 << 15  # rows of null data at a time
STEPS = 24  # halvings of the range of thresholds


class Knob(NamedTuple):
    """The option that decides how often a detector alarms, and the range it is looked for in."""

    option: str
    eager: float
    """End of the range where alarms come often."""
    calm: float
    """End where they are rare."""


KNOBS = {
    "cusum": Knob("threshold", 1e-2, 1e3),
    "page_hinkley": Knob("threshold", 1e-6, 1e9),
    "adwin": Knob("delta", 0.999, 1e-15),
    "kswin": Knob("alpha", 0.5, 1e-15),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """A detector that keeps its contract, and how well that was measured. Arrays are (F,), one entry a stream."""

    detector: Any
    """A fresh one with the chosen thresholds."""
    option: str
    """Which option was chosen."""
    threshold: Any
    """float64: its values."""
    arl: Any
    """float64: mean run length on null data that the choice has not seen; inf where no alarm came."""
    standard_error: Any
    """float64: of `arl`, from the number of alarms alone; what the reference itself leaves open comes on top."""
    alarms: Any
    """int64: alarms that `arl` rests on."""


def calibrate(
    detector: Streams, *, arl: float, reference: Array, n_alarms: int = 1000, block: int = 1, seed: int = 0
) -> Calibration:
    """Choose the threshold of every stream so that false alarms come every `arl` values on average.

    Null data are rows of `reference` (N,) or (N, F) without NaN, drawn with replacement in blocks of `block` rows that
    follow each other (Kuensch 1989; 1: rows are independent). The run length is counted from one alarm to the next;
    the least eager threshold of a bisection whose run length is at least `arl` is taken, and measured again on null
    data of its own. KSWIN's test has steps: its run length may lie far above.

    DDM and EDDM are refused: their chance of an alarm falls with every value, so that the mean run length grows with
    the stream that it is measured on. Cost: about 26 n_alarms arl values a stream, (CHUNK, F) in memory.
    """
    if detector.KIND not in KNOBS:
        raise OptionError(f"detector: {detector.KIND!r} has no mean run length - choose one of {', '.join(KNOBS)}")
    rows = as_table(np.asarray(as_native(reference, "reference"), np.float64), "reference")
    if rows.shape[1] != detector.columns or not rows.shape[0]:
        raise ShapeError(f"reference: shape {rows.shape} - pass (N, {detector.columns}), one column a stream")
    if np.any(missing := missing_rows(rows)):
        refuse_missing(int(np.sum(missing)), "reference")
    for name, value, least in (("arl", arl, 2), ("n_alarms", n_alarms, 2), ("block", block, 1)):
        if not least <= value < math.inf:
            raise OptionError(f"{name}: {value:g} - choose {least} or more")
    null = _Null(rows, math.ceil(arl * n_alarms), min(int(block), rows.shape[0]), seed)
    knob = KNOBS[detector.KIND]
    threshold = _search(detector, knob, null, arl)
    chosen = detector.with_options(**{knob.option: threshold.tolist()})
    alarms = null.alarms(chosen, part=1)
    length = np.divide(null.length, alarms, out=np.full(len(alarms), np.inf), where=alarms > 0)
    return Calibration(
        detector=chosen.with_options(),
        option=knob.option,
        threshold=threshold,
        arl=length,
        standard_error=np.divide(length, np.sqrt(alarms), out=np.full(len(alarms), np.inf), where=alarms > 0),
        alarms=alarms,
    )


def _search(detector: Streams, knob: Knob, null: _Null, arl: float) -> Any:
    """(F,) thresholds, by bisection of their logarithm; every stream has a range of its own."""
    known: dict[bytes, Any] = {}

    def often(thresholds: Any) -> Any:
        made = detector.with_options(**{knob.option: np.exp(thresholds).tolist()})
        told = made._parameters.tobytes()  # KSWIN has few
        if told not in known:
            known[told] = null.alarms(made, part=0) * arl > null.length
        return known[told]

    eager, calm = (np.full(detector.columns, math.log(end)) for end in (knob.eager, knob.calm))
    if (busy := often(calm)).any():
        column = int(np.argmax(busy))
        raise OptionError(
            f"reference: column {column} alarms more often than every {arl:g} values at any {knob.option}"
        )
    for _ in range(STEPS):
        middle = (eager + calm) / 2
        eager, calm = np.where(often(middle), middle, eager), np.where(often(middle), calm, middle)
    return np.exp(calm)


@dataclass(frozen=True)
class _Null:
    """Null data: blocks of the reference, the same for every threshold."""

    rows: Any
    length: int
    block: int
    seed: int

    def chunks(self, part: int) -> Iterator[Any]:
        """(<= CHUNK, F) until `length` rows are through."""
        draws = np.random.Generator(np.random.Philox(key=np.array([self.seed, part], np.uint64)))
        size = max(CHUNK // self.block, 1)
        for start in range(0, self.length, size * self.block):
            first = draws.integers(0, len(self.rows), size)
            at = (first[:, None] + np.arange(self.block)).reshape(-1) % len(self.rows)
            yield self.rows[at[: self.length - start]]

    def alarms(self, detector: Streams, part: int) -> Any:
        """(F,) int64: how often a fresh detector alarms."""
        counts = np.zeros(detector.columns, np.int64)
        for chunk in self.chunks(part):
            counts += np.bincount(detector.update(chunk).column, minlength=detector.columns)
        return counts
