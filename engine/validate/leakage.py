"""Does a feature alone tell the label: its AUROC on the label, or that of its being missing.

A category is scored by the mean label of its rows in the other half of the window, so that an id, which has a
category a row, gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa

from engine.records import CheckOutcome
from engine.records.estimates import wilson
from engine.validate.columns import Finding, undecidable, verdict
from engine.validate.conf import ValidateConf
from engine.validate.facts import Column

MAX_CLASSES = 10  # one against the rest, for the most frequent classes
REGRESSION_FROM = 20  # distinct labels: more are a quantity, cut at its median


def check_leakage(column: Column, label: Column, conf: ValidateConf) -> Finding:
    """AUROC of one feature on the label, surely above the limit or not.

    `column` and `label` are of the same rows, all labelled (see `Labelled`).
    """
    expected = f"AUROC at most {conf.leakage_auroc:g}"
    if not column.present:
        return undecidable(expected, "there are no values to look at")
    best, classes, fewest = 0.5, 0, 0
    for target in _targets(label):
        for score in _scores(column, target):
            auroc = _auroc(target, score)
            if max(auroc, 1 - auroc) > best or not classes:
                best, fewest = max(auroc, 1 - auroc), int(min(target.sum(), len(target) - target.sum()))
            classes += 1
    if not classes:
        return undecidable(expected, "all labelled rows have one label")
    low, _ = wilson(best * fewest, fewest, conf.confidence_level)  # no AUROC varies more than a share of the few
    observed = f"AUROC {best:.4f}"
    if low <= conf.leakage_auroc < best:
        reason = f"{fewest} rows of the rarer label are too few to be sure of it"
        return Finding(CheckOutcome.UNDECIDABLE, observed, expected, reason)
    return verdict(low > conf.leakage_auroc, observed, expected, "it may be known only once the label is")


class Labelled:
    """The labelled rows of a window, evenly spaced where there are more than `leakage_rows`.

    Column by column, so that one that cannot be read does not hide the others.
    """

    def __init__(self, table: pa.Table, label: str, conf: ValidateConf) -> None:
        self._table, self._label, self._most = table, label, conf.leakage_rows

    @cached_property
    def label(self) -> Column:
        """The labels."""
        return self.column(self._label)

    def column(self, name: str) -> Column:
        """Another column of the same rows. KeyError or ArrowException where it cannot be read."""
        return Column(name, self._table[name].take(self._rows))

    @cached_property
    def _rows(self) -> np.ndarray:
        known = np.flatnonzero(self._table[self._label].is_valid().to_numpy())
        if len(known) <= self._most:
            return known
        return known[np.linspace(0, len(known) - 1, self._most).astype(np.int64)]


def _targets(label: Column) -> Iterator[np.ndarray]:
    """(N,) of 0 and 1: is it this class; is it above the median."""
    values = label.values.to_numpy(zero_copy_only=False)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        return
    if len(distinct) > REGRESSION_FROM:
        above = (values > np.median(values)).astype(np.int64)
        if 0 < above.sum() < len(above):
            yield above
        return
    chosen = distinct[1:] if len(distinct) == 2 else distinct[np.argsort(-counts, kind="stable")[:MAX_CLASSES]]
    for each in chosen:
        yield (values == each).astype(np.int64)


def _scores(column: Column, target: np.ndarray) -> Iterator[np.ndarray]:
    if 0 < column.missing < column.n:
        gone = column.values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        yield gone.astype(np.float64)
    if column.kind == "string":
        yield _mean_in_other_half(column.encoded.indices.fill_null(-1).to_numpy() + 1, target)
    else:
        values = column.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        yield np.where(np.isnan(values), np.nanmedian(values), values) if column.missing else values


def _mean_in_other_half(codes: np.ndarray, target: np.ndarray) -> np.ndarray:
    half = np.arange(len(codes)) % 2
    scores = np.full(len(codes), target.mean())
    for side in (0, 1):
        other, size = half != side, int(codes.max()) + 1
        rows = np.bincount(codes[other], minlength=size)
        hits = np.bincount(codes[other], weights=target[other], minlength=size)
        means = np.where(rows > 0, hits / np.maximum(rows, 1), target.mean())
        scores[~other] = means[codes[~other]]
    return scores


def _auroc(target: np.ndarray, score: np.ndarray) -> float:
    from kernels.metrics import roc_auc_score  # compiles on first use: only labelled windows pay for it

    return float(roc_auc_score(target, score))
