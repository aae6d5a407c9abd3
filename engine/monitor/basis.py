"""What a calibration or a loss model sees of a row: the prediction, bent at its quantiles, and the features.

Three bases, each holding the one before:

    line      1, t                        t: the log odds of a probability, or the prediction in regression
    spline    + max(t - knot, 0)          at quantiles of the reference rows
    features  + numbers, bent at their median (regression: quartiles), and the frequent categories

Everything is clipped to the range of the reference rows: a straight line must not run away where nothing was seen.

Shapes: N reference rows, M live rows, P columns of the basis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

KINDS = ("line", "spline", "features")
KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
LEAST = 1e-6  # a probability closer to 0 or 1 than this is taken for this: log odds are finite
MIN_LEVEL_ROWS = 50  # reference rows of a category that has a column of its own
MOST_LEVELS = 10  # of one feature
CHUNK = 65_536  # rows whose basis is in memory at once


@dataclass(frozen=True, kw_only=True)
class Features:
    """Rows as the model eats them: numeric (N, P) standardised, categorical (N, Q) codes; cost no copy."""

    numeric: np.ndarray
    categorical: np.ndarray

    def take(self, at: np.ndarray | slice) -> Features:
        """Some of the rows."""
        return Features(numeric=self.numeric[at], categorical=self.categorical[at])


def log_odds(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities (N,), float64, clipped to +-13.8."""
    p = np.clip(probability.astype(np.float64), LEAST, 1.0 - LEAST)
    odds: np.ndarray = np.log(p) - np.log1p(-p)
    return odds


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Fitted to reference rows; `design` gives the columns of any rows."""

    kind: str
    low: float  # of t
    high: float
    knots: tuple[float, ...]
    numeric: tuple[tuple[int, float, float, tuple[float, ...]], ...]  # (column, low, high, knots)
    levels: tuple[tuple[int, int], ...]  # (column, code)

    @classmethod
    def fit(cls, kind: str, t: np.ndarray, features: Features, shares: tuple[float, ...] = (0.5,)) -> Basis:
        """Of reference rows: t (N,) and their features; `shares` are the quantiles at which numbers bend."""
        numeric: list[tuple[int, float, float, tuple[float, ...]]] = []
        levels: list[tuple[int, int]] = []
        if kind == "features":
            for column in range(features.numeric.shape[1]):
                values = features.numeric[:, column].astype(np.float64)
                low, *inner, high = np.quantile(values, (0.001, *shares, 0.999)).tolist()
                if low < high:
                    bends = tuple(k for k in dict.fromkeys(inner) if low < k < high)
                    numeric.append((column, low, high, bends))
            for column in range(features.categorical.shape[1]):
                counts = np.bincount(features.categorical[:, column])
                common = np.argsort(-counts, kind="stable")[
                    1 : MOST_LEVELS + 1
                ]  # the first is what the others differ from
                levels += [(column, int(code)) for code in common if counts[code] >= MIN_LEVEL_ROWS]
        low, high = float(t.min()), float(t.max())
        knots = () if kind == "line" else tuple(dict.fromkeys(np.quantile(t, KNOTS).tolist()))
        return cls(
            kind=kind,
            low=low,
            high=high,
            knots=tuple(k for k in knots if low < k < high),
            numeric=tuple(numeric),
            levels=tuple(levels),
        )

    @property
    def width(self) -> int:
        """Columns P."""
        return 2 + len(self.knots) + sum(1 + len(knots) for *_, knots in self.numeric) + len(self.levels)

    def design(self, t: np.ndarray, features: Features) -> np.ndarray:
        """The columns (N, P) float64: the constant first, t second."""
        t = np.clip(t, self.low, self.high)
        columns = [np.ones(len(t)), t, *(np.maximum(t - k, 0.0) for k in self.knots)]
        for column, low, high, knots in self.numeric:
            values = np.clip(features.numeric[:, column].astype(np.float64), low, high)
            columns += [values, *(np.maximum(values - k, 0.0) for k in knots)]
        columns += [(features.categorical[:, column] == code).astype(np.float64) for column, code in self.levels]
        return np.stack(columns, axis=1)

    def chunks(self, t: np.ndarray, features: Features) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, their design) by and by, so that memory does not grow with M."""
        for start in range(0, len(t), CHUNK):
            at = slice(start, start + CHUNK)
            yield at, self.design(t[at], features.take(at))


def thinned(n: int, most: int) -> np.ndarray | slice:
    """Places of at most `most` rows of n, evenly spread: the order of time is kept, and every call gives the same."""
    if n <= most:
        return slice(None)
    return (np.arange(most) * (n / most)).astype(np.int64)


def folds(unit: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold (N,) of each row: units (ids or clusters) stay whole; their order does not matter."""
    codes = np.unique(unit, return_inverse=True)[1]
    size = int(codes.max()) + 1
    place: np.ndarray = np.random.default_rng(seed).permutation(size)[codes] % count
    return place
