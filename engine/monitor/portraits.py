"""How a column lies in two windows, in its own unit: quantiles, shares of bins, categories that came and went.

Pictures and words for people; no test looks at them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from engine.monitor import columns as arrays
from engine.records.contrast import Portrait, Side
from engine.records.observed import ColumnDrift
from kernels.drift.window import numeric_values

BINS = 40
TAIL = 0.005
"""Share of a window that lies in either outer bin beside its own values, so that an outlier flattens no picture."""
LEVELS = 12
NAMED = 5
MOST = 60
"""Columns that get a portrait: those that moved most."""
POINTS = (0.05, 0.25, 0.5, 0.75, 0.95)


def portraits(
    reference: pa.Table, live: pa.Table, moved: Sequence[ColumnDrift], *, sampled: bool = False
) -> tuple[Portrait, ...]:
    """Of each column that moved itself (not only in its missing values), at most MOST of them."""
    made = []
    for drift in [d for d in moved if d.kind != "missing" and d.column in reference.column_names][:MOST]:
        numeric = drift.statistic == "ks_2samp"
        draw = _numbers if numeric else _categories
        found = draw(drift.column, reference, live, sampled)
        if found is not None:
            made.append(found)
    return tuple(made)


def _numbers(name: str, reference: pa.Table, live: pa.Table, sampled: bool) -> Portrait | None:
    sides: list[tuple[Any, int]] = []
    for table in (reference, live):
        good, _ = arrays.numbers(table, [name])
        if name not in good:
            return None
        values, missing = numeric_values(good[name], name)
        kept = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        sides.append((np.sort(kept.astype(np.float64)), missing + len(values) - len(kept)))
    if not all(len(values) for values, _ in sides):
        return None
    edges = _edges([values for values, _ in sides])
    old, new = (
        Side(
            rows=len(values),
            missing=missing,
            middle=tuple(_quantile(values, p) for p in POINTS),
            shares=_shares(values, edges),
        )
        for values, missing in sides
    )
    return Portrait(column=name, reference=old, live=new, edges=tuple(edges.tolist()), sampled=sampled)


def _quantile(ordered: Any, share: float) -> float:
    """Linear between order statistics, as `numpy.quantile`."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def _edges(sides: Sequence[Any]) -> Any:
    """Edges of equal bins over both windows but their outermost tails; whole numbers that are few get a bin each."""
    low = min(_quantile(values, TAIL) for values in sides)
    high = max(_quantile(values, 1 - TAIL) for values in sides)
    whole = all(np.array_equal(values, np.floor(values)) for values in sides)
    if whole and high - low < BINS:
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    if not high > low:
        pad = max(abs(low) * 0.01, 1e-9)
        low, high = low - pad, high + pad
    return np.linspace(low, high, BINS + 1)


def _shares(ordered: Any, edges: Any) -> tuple[float, ...]:
    """Share of the values in each bin; the outer bins are open to their side."""
    below = np.searchsorted(ordered, edges[1:-1], side="left")
    counts = np.diff(np.concatenate([[0], below, [len(ordered)]]))
    return tuple((counts / len(ordered)).tolist())


def _categories(name: str, reference: pa.Table, live: pa.Table, sampled: bool) -> Portrait | None:
    old, new = (arrays.categories(table, name) for table in (reference, live))
    if isinstance(old, str) or isinstance(new, str):
        return None
    n, m = sum(old[0].values()), sum(new[0].values())
    if not n or not m:
        return None
    share = {c: (old[0].get(c, 0) / n, new[0].get(c, 0) / m) for c in {**old[0], **new[0]}}
    ranked = sorted(share, key=lambda c: (-abs(share[c][1] - share[c][0]), -max(share[c]), c))
    shown, rest = ranked[:LEVELS], ranked[LEVELS:]
    came, went = ([], []) if sampled else (_only(new[0], old[0]), _only(old[0], new[0]))  # first rows cannot tell
    sides = [
        Side(rows=rows, missing=missing, middle=(), shares=tuple(share[c][k] for c in shown))
        for k, (rows, missing) in enumerate(((n, old[1]), (m, new[1])))
    ]
    return Portrait(
        column=name,
        reference=sides[0],
        live=sides[1],
        categories=tuple(shown),
        new=tuple(came[:NAMED]),
        lost=tuple(went[:NAMED]),
        n_new=len(came),
        n_lost=len(went),
        rest=(sum(share[c][0] for c in rest), sum(share[c][1] for c in rest)),
        sampled=sampled,
    )


def _only(here: arrays.Counts, there: arrays.Counts) -> list[str]:
    """Categories of one side alone, most frequent first."""
    return sorted((c for c in here if c not in there), key=lambda c: (-here[c], c))
