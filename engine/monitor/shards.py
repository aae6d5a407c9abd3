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

from engine import places
from engine.errors import DataError
from engine.monitor.conf import MonitorConf
from engine.monitor.drift import categorical_finding, rank_finding, report
from engine.records import DriftReport
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


def is_large(files: Sequence[str]) -> bool:
    """Whether these files are to be scanned and not read at once: Parquet, and at least LARGE bytes of it."""
    return all(Path(file.partition("?")[0]).suffix.lower() == ".parquet" for file in files) and (
        sum(map(places.size, files)) >= LARGE
    )


def head(path: str) -> pa.Table:
    """The first rows of the first file that has some, at most BATCH_ROWS."""
    schema, cut = open_files(path)
    with pq.ParquetFile(places.opened(cut[0].path)) as file:
        batches = file.iter_batches(BATCH_ROWS, row_groups=[cut[0].row_groups[0]])
        return pa.Table.from_batches(list(itertools.islice(batches, 1)), file.schema_arrow).cast(schema)


def open_files(path: str) -> tuple[pa.Schema, tuple[Shard, ...]]:
    """The one schema of all files, and the shards of at most about SHARD_ROWS rows that they divide into."""
    files = places.listed(path, (".parquet",))
    schema: pa.Schema | None = None
    shards: list[Shard] = []
    total = 0
    for file in files:
        if Path(file.partition("?")[0]).suffix.lower() != ".parquet":
            raise DataError(file, "is no Parquet file", "write it as Parquet: a large window is scanned in row groups")
        try:
            metadata = pq.ParquetFile(places.opened(file)).metadata
            own = metadata.schema.to_arrow_schema()
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
    return schema, tuple(shards)


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

    def batches(self, shard: Shard) -> Iterator[dict[str, pa.Array]]:
        """The columns of a shard in batches: numbers as they are, categories as text."""
        names = [*self.numeric, *self.categorical]
        with pq.ParquetFile(places.opened(shard.path)) as file:
            for group in shard.row_groups:  # one by one: read together, Arrow holds all of them until the last is done
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
                    yield {name: self._column(name, batch.column(name)) for name in names}

    def _column(self, name: str, column: pa.Array) -> pa.Array:
        if name in self.numeric:
            return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column.cast(pa.string())


def scan_of(shards: Iterable[Shard], columns: Columns, mapper: Mapper = map) -> Scan:
    """A window as the kernels scan it: each work is mapped over the shards."""
    listed = tuple(shards)
    return lambda work: mapper(partial(_work_on, work, columns), listed)


def _work_on(work: Work, columns: Columns, shard: Shard) -> Any:
    return work(columns.batches(shard))


def compare_files(
    reference: str, live: str, numeric: tuple[str, ...], categorical: tuple[str, ...], conf: MonitorConf,
    mapper: Mapper = map,
) -> DriftReport:  # fmt: skip
    """The report of `engine.monitor.compare` on all rows of both paths, read in passes: three of the reference and two
    of the live files as a rule, in memory that does not grow with them."""
    columns = Columns(numeric=numeric, categorical=categorical)
    scans = []
    for path in (reference, live):
        schema, shards = open_files(path)
        for name in numeric:
            _check_number(path, name, schema.field(name).type)
        scans.append(scan_of(shards, columns, mapper))
    old, new = scans
    profile = Profile.fit_scan(old, names=[*numeric, *categorical], categorical=categorical)
    table = profile.compare_scan(new, ("ks", "tv", "chi2"), reference=old)
    found = [rank_finding(table.row(name, "ks"), "numeric", conf) for name in numeric]
    found += [categorical_finding(table.row(name, "tv"), table.row(name, "chi2"), conf) for name in categorical]
    return report(reference, live, found, conf)


def _check_number(path: str, name: str, kind: pa.DataType) -> None:
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    if not any(is_number(kind) for is_number in numbers):
        raise DataError(
            f"{path}:{name}", f"holds {kind}, not numbers", "list it under data.categorical, or leave it out"
        )
