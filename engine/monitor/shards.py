"""Drift between Parquet files that do not fit in memory: a file, a folder or a glob, scanned in shards.

A shard is some row groups of one file. Whoever maps a function over shards scans a window: the builtin map in this
process, a pool of processes, or Ray (ray_map.py). Shards are counted on their own and their counts are merged, so the
report is the one of the whole tables in memory, whoever maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.monitor.columns import floats_of_text, is_text, plain
from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Finding, categorical_finding, incomparable, rank_finding, report
from engine.records import DriftReport
from engine.system import places
from kernels.drift import Profile
from kernels.drift.passes import Scan, Work

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function for each of many things, and gives the results in any order."""
LARGE = 256 * 1024**2
"""Bytes of a Parquet file from which it is scanned and not read at once: some times that in memory."""
MIN_ROWS = 2
SHARD_ROWS = 4_000_000
BATCH_ROWS = 262_144


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some row groups of one file."""

    path: str
    row_groups: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of one window, by their footers: nothing of their rows is held."""

    path: str  # as it was named: a file, a folder, a glob
    schema: pa.Schema
    shards: tuple[Shard, ...]
    rows: int

    def head(self) -> pa.Table:
        """The first rows of the first file that has some, at most BATCH_ROWS."""
        shard = self.shards[0]
        with pq.ParquetFile(places.opened(shard.path)) as file:
            batches = file.iter_batches(BATCH_ROWS, row_groups=[shard.row_groups[0]])
            return pa.Table.from_batches(list(itertools.islice(batches, 1)), file.schema_arrow).cast(self.schema)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """All rows of a few columns: in memory."""
        parts = []
        for shard in self.shards:
            with pq.ParquetFile(places.opened(shard.path)) as file:
                parts.append(file.read_row_groups(list(shard.row_groups), columns=list(names)))
        return pa.concat_tables(parts)

    def is_constant(self, name: str) -> bool:
        """Do the footers say that all rows hold one value; False where they say nothing."""
        seen = set()
        for path in dict.fromkeys(shard.path for shard in self.shards):
            with pq.ParquetFile(places.opened(path)) as file:
                found = file.metadata
            place = next(k for k in range(len(found.schema)) if found.schema.column(k).path == name)
            for k in range(found.num_row_groups):
                if not (group := found.row_group(k)).num_rows:
                    continue
                told = group.column(place).statistics
                if told is None or not told.has_min_max or not told.has_null_count or told.null_count:
                    return False
                seen |= {told.min, told.max}
                if len(seen) > 1:
                    return False
        return len(seen) == 1


def is_large(files: Sequence[str]) -> bool:
    """Whether these files are to be scanned and not read at once: Parquet, and at least LARGE bytes of it."""
    return all(Path(file.partition("?")[0]).suffix.lower() == ".parquet" for file in files) and (
        sum(map(places.size, files)) >= LARGE
    )


def open_files(path: str) -> Files:
    """What the footers of all files say: their one schema, and shards of at most about SHARD_ROWS rows."""
    files = places.listed(path, (".parquet",))
    schema: pa.Schema | None = None
    shards: list[Shard] = []
    total = 0
    for file in files:
        if Path(file.partition("?")[0]).suffix.lower() != ".parquet":
            raise DataError(file, "is no Parquet file", "write it as Parquet: a large window is scanned in row groups")
        try:
            with pq.ParquetFile(places.opened(file)) as opened:
                metadata, own = opened.metadata, opened.schema_arrow
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(file, f"cannot be read ({reason})", "write it again, or leave it out") from error
        schema = own if schema is None else schema
        total += metadata.num_rows
        _same_columns(file, own, files[0], schema)
        group: list[int] = []
        rows = 0
        for k in range(metadata.num_row_groups):
            size = metadata.row_group(k).num_rows
            if group and rows + size > SHARD_ROWS:
                shards.append(Shard(path=file, row_groups=tuple(group)))
                group, rows = [], 0
            group.append(k)
            rows += size
        if group:
            shards.append(Shard(path=file, row_groups=tuple(group)))
    assert schema is not None  # there is a file
    if total < MIN_ROWS:
        raise DataError(path, f"has {total} rows", f"a comparison needs at least {MIN_ROWS}")
    return Files(path=path, schema=schema, shards=tuple(shards), rows=total)


def _same_columns(file: str, own: pa.Schema, first: str, schema: pa.Schema) -> None:
    for name in dict.fromkeys([*schema.names, *own.names]):
        here, there = (s.field(name).type if name in s.names else "absent" for s in (own, schema))
        if here != there:
            raise DataError(f"{file}:{name}", f"is {here}, and {there} in {first}", "store it as one type in all files")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a shard are read, and as what."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    parsed: frozenset[str] = frozenset()
    """Numeric columns that hold text in one of the windows."""

    def batches(self, shard: Shard) -> Iterator[dict[str, pa.Array]]:
        """The columns of a shard in batches: numbers as they are, categories as text."""
        names = [*self.numeric, *self.categorical]
        with pq.ParquetFile(places.opened(shard.path)) as file:
            for group in shard.row_groups:  # one by one: read together, Arrow holds all of them until the last is done
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
                    yield {name: self._column(shard.path, name, batch.column(name)) for name in names}

    def _column(self, path: str, name: str, column: pa.Array) -> pa.Array:
        kind = column.type
        if name in self.numeric:
            if name in self.parsed and is_text(kind):
                return self._number(path, name, column)
            return column.cast(pa.float64()) if pa.types.is_decimal(kind) or pa.types.is_null(kind) else column
        column = plain(column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column.cast(pa.string())

    def _number(self, path: str, name: str, column: pa.Array) -> pa.Array:
        try:
            return floats_of_text(column)
        except pa.ArrowInvalid:
            raise DataError(
                f"{path}:{name}", "holds text that is no number", "list it under categorical or ignore"
            ) from None

    def refused(self, schema: pa.Schema) -> dict[str, str]:
        """Columns that files of this schema do not let compare, and why: as `columns.numbers` and `categories` say."""
        found = {}
        for name in (*self.numeric, *self.categorical):
            if name not in schema.names:
                found[name] = "has no such column"
                continue
            kind = schema.field(name).type
            if name in self.numeric and not (_is_number(kind) or (name in self.parsed and is_text(kind))):
                found[name] = f"holds {kind} here, not numbers"
            elif name in self.categorical and not _is_category(kind):
                found[name] = f"holds {kind} here, not categories"
        return found

    def without(self, names: Iterable[str]) -> Columns:
        """The others."""
        gone = set(names)
        numeric, categorical = (tuple(n for n in side if n not in gone) for side in (self.numeric, self.categorical))
        return Columns(numeric=numeric, categorical=categorical, parsed=self.parsed)


def scan_of(shards: Iterable[Shard], columns: Columns, mapper: Mapper = map) -> Scan:
    """A window as the kernels scan it: each work is mapped over the shards."""
    listed = tuple(shards)
    return lambda work: mapper(partial(_work_on, work, columns), listed)


def _work_on(work: Work, columns: Columns, shard: Shard) -> Any:
    return work(columns.batches(shard))


def compare_files(
    reference: Files, live: Files, columns: Columns, conf: MonitorConf, mapper: Mapper = map
) -> DriftReport:
    """The report of `engine.monitor.compare` on all rows of both, read in passes: three of the reference and two of the
    live files as a rule, in memory that does not grow with them."""
    reasons = {name: f"the live window {why}" for name, why in columns.refused(live.schema).items()}
    reasons |= {name: f"the reference {why}" for name, why in columns.refused(reference.schema).items()}
    found = {f.column: f for f in _findings(reference, live, columns.without(reasons), conf, mapper)}
    for name in columns.numeric:
        if name in reasons:
            found[name] = incomparable(name, "numeric", "ks_2samp", conf.numeric_floor, reasons[name])
    for name in columns.categorical:
        if name in reasons:
            floor = conf.categorical_floor
            found[name] = incomparable(name, "categorical", "total_variation_distance", floor, reasons[name])
    return report(reference.path, live.path, [found[name] for name in (*columns.numeric, *columns.categorical)], conf)


def _findings(reference: Files, live: Files, columns: Columns, conf: MonitorConf, mapper: Mapper) -> list[Finding]:
    """Of the columns that both hold in a kind that can be compared."""
    names = [*columns.numeric, *columns.categorical]
    if not names:
        return []
    old, new = (scan_of(files.shards, columns, mapper) for files in (reference, live))
    profile = Profile.fit_scan(old, names=names, categorical=columns.categorical)
    table = profile.compare_scan(new, ("ks", "tv", "chi2"), reference=old)
    found = [rank_finding(table.row(name, "ks"), "numeric", conf) for name in columns.numeric]
    return found + [
        categorical_finding(table.row(name, "tv"), table.row(name, "chi2"), conf) for name in columns.categorical
    ]


def _is_number(kind: pa.DataType) -> bool:
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return any(is_number(kind) for is_number in numbers)


def _is_category(kind: pa.DataType) -> bool:
    """Can Arrow write its values as text."""
    try:
        pa.nulls(0, kind.value_type if pa.types.is_dictionary(kind) else kind).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
