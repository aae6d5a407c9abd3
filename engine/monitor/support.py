"""Do live rows lie where the reference rows lie: elsewhere nothing was learnt, and an estimate would be made up.

Two numbers. The share of live rows with any value outside the reference's: a number beyond its smallest or largest, a
category that it lacks, a prediction beyond its range. Of P columns about 2 P / N rows lie outside where nothing has
changed; so much is allowed for. And the effective number of reference rows: N / sum(live share^2 / reference share)
over bins of the prediction, the reciprocal variance of the weights that would turn one window into the other (Kish
1965): where the live rows crowd in a corner of the reference, few of its rows speak for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.monitor.basis import Features

BINS = 20  # quantiles of the reference's predictions


@dataclass(frozen=True, kw_only=True)
class Support:
    """The values of the reference rows; `t` is (N,) or (N, C), as a basis takes predictions."""

    t: np.ndarray
    low: np.ndarray  # (P,) of the numbers
    high: np.ndarray
    known: tuple[np.ndarray, ...]  # per category: the codes that occur

    @classmethod
    def of(cls, t: np.ndarray, features: Features) -> Support:
        """Of reference rows."""
        return cls(
            t=t,
            low=features.numeric.min(axis=0),
            high=features.numeric.max(axis=0),
            known=tuple(np.bincount(column) > 0 for column in features.categorical.T),
        )

    @property
    def expected(self) -> float:
        """The share of rows outside where nothing has changed, about."""
        columns = len(self.low) + len(np.atleast_2d(self.t.T))
        return min(1.0, 2.0 * columns / (len(self.t) + 1))

    def outside(self, t: np.ndarray, features: Features) -> float:
        """Share of live rows with any value that no reference row has, or has beyond it."""
        out = ((features.numeric < self.low) | (features.numeric > self.high)).any(axis=1)
        beyond = (t < self.t.min(axis=0)) | (t > self.t.max(axis=0))
        out |= beyond if beyond.ndim == 1 else beyond.any(axis=1)
        for column, known in zip(features.categorical.T, self.known, strict=True):
            inside = column < len(known)
            out |= ~inside | ~known[np.where(inside, column, 0)]
        return float(out.mean())

    def effective_rows(self, t: np.ndarray) -> float:
        """How many reference rows speak for the live ones; of several classes the fewest."""
        sides = zip(np.atleast_2d(self.t.T), np.atleast_2d(t.T), strict=True)
        return min(_effective(old, new) for old, new in sides)


def _effective(old: np.ndarray, new: np.ndarray) -> float:
    edges = np.unique(np.quantile(old, np.arange(1, BINS) / BINS))
    p, q = (np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) / len(x) for x in (old, new))
    seen = p > 0
    return float(len(old) / (q[seen] ** 2 / p[seen]).sum()) if q[seen].any() else 0.0
