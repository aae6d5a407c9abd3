"""Checks of the table as a whole: ids, rows, time, groups. Each is (Rows, conf) -> Finding."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.records.estimates import wilson
from engine.validate.clustered import MIN_CLUSTERS, effective_rows
from engine.validate.columns import Finding, share, undecidable, verdict
from engine.validate.conf import ValidateConf
from engine.validate.facts import PERIODS, Column, copies, count
from engine.validate.schema import Schema


@dataclass(frozen=True)
class Rows:
    """A window, what is expected of it, and the window before it where there is one."""

    found: dict[str, Column]
    n: int
    schema: Schema
    previous: pa.Table | None

    def one(self, role: str) -> Column:
        """The only column of that role; KeyError if it is missing."""
        return self.found[self.schema.named(role)[0]]

    @cached_property
    def clusters(self) -> np.ndarray | None:
        """(N,) int64 codes of what rows have in common; None where every row is independent of the others.

        Rows without a value form one cluster, the last. KeyError if its column is missing.
        """
        by = self.schema.cluster
        if not by:
            return None
        if by in PERIODS:
            values = pc.floor_temporal(self.one("time").values, unit=by).dictionary_encode()
        elif by in self.found:
            values = self.found[by].encoded
        else:
            raise KeyError(by)
        codes = values.indices.fill_null(len(values.dictionary)).to_numpy(zero_copy_only=False)
        return np.asarray(codes, dtype=np.int64)


def check_few_rows(rows: Rows, conf: ValidateConf) -> Finding:
    """Rows, at least."""
    few = rows.n < conf.min_rows
    return verdict(few, f"{rows.n} rows", f"at least {conf.min_rows}", "too few to say anything on a model")


def check_rows(rows: Rows, conf: ValidateConf) -> Finding:
    """Rows against those of a reference window."""
    schema = rows.schema
    low = conf.rows_low * schema.rows if schema.fewest is None else schema.fewest
    high = conf.rows_high * schema.rows if schema.most is None else schema.most
    declared = schema.fewest is not None or schema.most is not None
    reason = "outside its band" if declared else f"a window of the reference had {schema.rows}"
    return verdict(not low <= rows.n <= high, f"{rows.n} rows", f"{low:.0f} to {high:.0f}", reason)


def check_ids(rows: Rows, conf: ValidateConf) -> Finding:
    """Ids that come more than once, and rows without one."""
    column = rows.one("id")
    ids = column.values.drop_null().to_numpy()
    if not (ids[1:] > ids[:-1]).all():  # ids mostly come in order
        ids = np.sort(ids)
    twice = ids[1:][ids[1:] == ids[:-1]]
    bad = len(twice) + column.missing
    reason = f"id {twice[0]} comes again" if len(twice) else "rows cannot be paired with labels and predictions"
    return verdict(bad > 0, f"{len(twice)} repeated, {column.missing} missing", "none", reason)


def check_repeated(rows: Rows, conf: ValidateConf) -> Finding:
    """Ids of the window before that come again."""
    column = rows.one("id")
    if rows.previous is None or column.name not in rows.previous.column_names:
        return undecidable("none", "the window before is not at hand")
    again = count(pc.is_in(column.values, value_set=rows.previous[column.name].combine_chunks()))
    return verdict(again > 0, f"{again} ids of the window before", "none", "rows were delivered twice")


def check_copies(rows: Rows, conf: ValidateConf) -> Finding:
    """Share of rows that equal an earlier one in every feature, against the reference."""
    features = [rows.found[name] for name in rows.schema.named("feature")]
    limit = min(1.0, rows.schema.copies + conf.copies_tolerance)
    words = ("are copies", f"in the reference {rows.schema.copies:.2%} were")
    return share(copies(features), rows.n, limit, conf, words)


def check_order(rows: Rows, conf: ValidateConf) -> Finding:
    """Rows in order of time."""
    times = _times(rows.one("time").values)
    back = int((np.diff(times) < 0).sum())
    return verdict(back > 0, f"{back} steps back in time", "none", "sort the rows by time")


def check_overlap(rows: Rows, conf: ValidateConf) -> Finding:
    """Rows not later than the end of what came before: evaluated on, they may have been trained on."""
    column, end = rows.one("time"), _end(rows)
    if end is None:
        return undecidable("none", "where the rows before end is not known")
    early = int((_times(column.values) <= end).sum())
    reason = "evaluated on, they may have been trained on"
    return verdict(early > 0, f"{early} rows up to {_moment(end)}", f"all later than {_moment(end)}", reason)


def check_gap(rows: Rows, conf: ValidateConf) -> Finding:
    """Time without rows before the window, in lengths of the window."""
    end, times = _end(rows), _times(rows.one("time").values)
    if end is None or not len(times):
        return undecidable(f"at most {conf.max_gap:g} windows", "where the rows before end is not known")
    length, gap = int(times.max() - times.min()), int(times.min()) - end
    if length == 0:
        return undecidable(f"at most {conf.max_gap:g} windows", "all rows have one time")
    reason = f"no rows between {_moment(end)} and {_moment(int(times.min()))}"
    expected = f"at most {conf.max_gap:g} windows"
    return verdict(gap / length > conf.max_gap, f"{max(0.0, gap / length):.2f} windows without rows", expected, reason)


def check_groups(rows: Rows, name: str, conf: ValidateConf) -> Finding:
    """The shares of the groups of one column; all intervals hold together (Bonferroni over groups).

    Wilson's interval of independent rows; where the schema names clusters, of as many rows as they are worth.
    """
    declared = rows.schema.groups[name]
    counts, tolerance = rows.found[name].shares(), conf.group_tolerance
    total, expected = sum(counts.values()), f"shares within {tolerance:.2%} of the declared ones"
    if total == 0:
        return undecidable(expected, "there are no values to look at")
    level = 1 - (1 - conf.confidence_level) / max(1, len(declared))
    worth, unseen, clusters = _worth(rows, rows.found[name], level)
    if clusters is not None and clusters < MIN_CLUSTERS:
        return undecidable(expected, f"{clusters} clusters by {rows.schema.cluster}: at least {MIN_CLUSTERS} can tell")
    off: list[tuple[float, str]] = []
    farthest: tuple[float, str] = (-1.0, "no groups declared")
    for group, due in declared.items():
        share = counts.get(group, 0) / total
        n = float(total) if clusters is None else worth.get(group, unseen)
        low, high = wilson(share * n, n, level)
        text = f"{group} {share:.2%} [{low:.2%}, {high:.2%}], declared {due:.2%}"
        distance = abs(share - due)
        farthest = max(farthest, (distance, text))
        if low > due + tolerance or high < due - tolerance:
            off.append((distance, text))
    reason = f"{len(off)} of {len(declared)} groups are over- or underrepresented"
    return verdict(bool(off), max(off, default=farthest)[1], expected, reason)


def _worth(rows: Rows, column: Column, level: float) -> tuple[dict[str, float], float, int | None]:
    """(group -> rows its share is worth, those of a group without rows, clusters); None where rows are independent."""
    clusters = rows.clusters
    if clusters is None:
        return {}, 0.0, None
    known = column.encoded.indices.is_valid().to_numpy(zero_copy_only=False)
    codes = column.encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)[known].astype(np.int64)
    names = column.encoded.dictionary.cast(pa.string()).to_pylist()
    *worth, unseen = effective_rows(codes, clusters[known], len(names) + 1, level).tolist()
    return dict(zip(names, worth, strict=True)), unseen, len(np.unique(clusters[known]))


def check_label(rows: Rows, conf: ValidateConf) -> Finding:
    """More than one label, so that a metric is defined."""
    column = rows.one("label")
    if not column.present:
        return undecidable("at least two labels", "no row has a label")
    low, high = column.extremes
    return verdict(low == high, f"labels from {low} to {high}", "at least two", "metrics are undefined on one label")


def _times(values: Any) -> np.ndarray:
    """Microseconds since 1970, rows without a time left out."""
    return np.asarray(values.drop_null().cast(pa.timestamp("us")).cast(pa.int64()).to_numpy())


def _end(rows: Rows) -> int | None:
    name = rows.one("time").name
    if rows.previous is not None and name in rows.previous.column_names:
        times = _times(rows.previous[name])
        return int(times.max()) if len(times) else None
    if not rows.schema.until:
        return None
    moment = dt.datetime.fromisoformat(rows.schema.until)
    moment = moment.replace(tzinfo=moment.tzinfo or dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _moment(microseconds: int) -> str:
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=microseconds)).isoformat(sep=" ")
