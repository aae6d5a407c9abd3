"""The verb drift: what changed between two windows of a loop, or between any two files, folders or globs.

It imports neither torch nor SQLAlchemy: two files are compared sooner than a ledger is opened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.config.schema import Composer, Config
from engine.data.files import READERS, open_tables
from engine.errors import ConfigError
from engine.monitor import shards
from engine.monitor.conf import MULTIVARIATE
from engine.monitor.drift import Reference, compare
from engine.monitor.joint import COLUMN, together
from engine.monitor.kinds import Kinds, Wanted, kinds_of, numbers_of_text
from engine.monitor.portraits import portraits
from engine.records import ColumnDrift, DriftOutcome, DriftReport, Performance, to_plain
from engine.records.contrast import Contrast, Portrait
from engine.report.contrast_table import contrast_table
from engine.report.terminal import make_console
from engine.system import durable, places

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3
PERFORMANCE = "realised performance"
MOST_ROWS = 20_000_000
"""Rows of a window that is scanned whose predictions and labels are still read at once: some 0.5 GB."""


def drift(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Two windows of the loop, or any two files, or folders or globs of them."""
    check_page(config.html)
    if config.multivariate not in MULTIVARIATE:
        raise ConfigError("multivariate", f"{config.multivariate!r} is unknown", f"one of {', '.join(MULTIVARIATE)}")
    if config.workers < 1:
        raise ConfigError("workers", f"{config.workers} processes scan nothing", "choose 1 or more")
    found = _two_files(config) if config.reference or config.live else _two_windows(config)
    console = make_console(quiet)
    console.show(contrast_table(found))
    answer = to_plain(found)
    answer = {**answer.pop("drift"), **answer}
    if config.html:
        from engine.report.contrast_page import contrast_page

        durable.write_text(Path(config.html), contrast_page(found))
        console.note(f"the page is {config.html}")
        answer["html"] = config.html
    clean = all(c.outcome is DriftOutcome.NO_DRIFT for c in found.drift.columns)
    return (0 if clean else NEGATIVE), answer


def check_page(path: str | None) -> None:
    """Before anything is read: can the page be written there."""
    if path is None:
        return
    where = Path(path)
    if where.is_dir() or not where.parent.is_dir():
        raise ConfigError("html", f"{path} cannot be written", "name a file in a folder that exists")


def _two_files(config: Config) -> Contrast:
    for key in ("reference", "live"):
        if not getattr(config, key):
            raise ConfigError(key, "only one of the two files is named", f"add {key}=<file>")
    reference, live = str(config.reference), str(config.live)
    files = [places.listed(path, tuple(READERS)) for path in (reference, live)]
    if any(map(shards.is_large, files)):
        return _scanned(config, shards.open_files(reference), shards.open_files(live))
    old, new = (open_tables(path, each) for path, each in zip((reference, live), files, strict=True))
    kinds = _kinds(config, old, new)
    old, new = (numbers_of_text(table, kinds.parsed) for table in (old, new))
    numeric, categorical = tuple(kinds.numeric), tuple(kinds.categorical)
    held = Reference(name=reference, table=old, numeric=numeric, categorical=categorical)
    whole = together(held, new, config.multivariate, config.monitor)
    report = _with_roles(compare(held, new, live, config.monitor, further=whole), config)
    performance = _performance(config, (old, new), kinds) if config.prediction and config.label else ()
    return _contrast(report, portraits(old, new, report.drifted), kinds, performance)


def _scanned(config: Config, old: shards.Files, new: shards.Files) -> Contrast:
    """Files that are larger than they should be in memory: all rows in passes, pictures from the first ones."""
    heads = old.head(), new.head()
    kinds = _kinds(config, *heads, lambda name: old.is_constant(name) and new.is_constant(name))
    if config.multivariate != "none":
        kinds.leave(COLUMN, "are not compared as one: the files are read in parts")
    columns = shards.Columns(
        numeric=tuple(kinds.numeric), categorical=tuple(kinds.categorical), parsed=frozenset(kinds.parsed)
    )
    with _mapper(config) as mapper:
        report = _with_roles(shards.compare_files(old, new, columns, config.monitor, mapper), config)
    performance: tuple[Performance, ...] = ()
    if config.prediction and config.label:
        performance = _performance_of_files(config, (old, new), kinds)
    first, second = (numbers_of_text(table, kinds.parsed) for table in heads)
    return _contrast(report, portraits(first, second, report.drifted, sampled=True), kinds, performance)


@contextlib.contextmanager
def _mapper(config: Config) -> Iterator[shards.Mapper]:
    """Who scans: this process, or those of a Ray that starts here or is joined."""
    config.cluster.check_runs_here()
    if config.workers == 1 and config.cluster.kind == "local":
        yield map
        return
    from engine.monitor.ray_map import RayMap

    with RayMap(config.workers, config.cluster) as ray_map:
        yield ray_map


def _same_table(old: pa.Table, new: pa.Table, names: tuple[str, str]) -> str:
    """What to do where two tables share no column; a CSV with other separators is read as one wide column."""
    for table, name in ((old, names[0]), (new, names[1])):
        for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if table.num_columns == 1 and separator in table.column_names[0]:
                return f"write {name} with commas: its columns are separated by {called}"
    return "compare files of the same table"


def _kinds(config: Config, old: pa.Table, new: pa.Table, is_constant: Callable[[str], bool] | None = None) -> Kinds:
    """What the columns are: by the command line, by the data config where there is one, else guessed."""
    names = str(config.reference), str(config.live)
    if not set(old.column_names) & set(new.column_names):
        raise ConfigError("live", f"shares no column with {names[0]}", _same_table(old, new, names))
    roles = [name for name in (config.prediction, config.label) if name]
    there = {*old.column_names, *new.column_names}
    for key in ("prediction", "label"):
        name = getattr(config, key)
        if name and name not in there:
            raise ConfigError(key, f"there is no column {name!r}", f"the files have {', '.join(old.column_names[:8])}")
    wanted = Wanted(
        numeric=config.numeric or (), categorical=config.categorical or (), ignore=config.ignore or (), roles=roles
    )
    if config.data is not None:
        numeric, categorical = (
            [c for c in part if c in there] for part in (config.data.numeric, config.data.categorical)
        )
        numeric = [
            c for c in dict.fromkeys([*wanted.numeric, *numeric]) if c not in {*wanted.categorical, *wanted.ignore}
        ]
        categorical = [
            c for c in dict.fromkeys([*wanted.categorical, *categorical]) if c not in {*numeric, *wanted.ignore}
        ]
        other = [c for c in there if c not in {*numeric, *categorical, *roles}]
        old, new = (table.drop_columns([c for c in other if c in table.column_names]) for table in (old, new))
        ignore = [c for c in wanted.ignore if c not in other]
        wanted = Wanted(numeric=numeric, categorical=categorical, ignore=ignore, roles=roles)
    kinds = kinds_of(old, new, wanted, names, is_constant)
    if not {*kinds.numeric, *kinds.categorical} & set(old.column_names) & set(new.column_names):
        why = f" ({kinds.left_out[0].column} {kinds.left_out[0].reason})" if kinds.left_out else ""
        cure = "compare files that share columns of numbers, strings or booleans"
        raise ConfigError("live", f"there is no column to compare{why}", cure)
    return kinds


def _with_roles(report: DriftReport, config: Config) -> DriftReport:
    """The report with the columns that were named as prediction and label called so."""
    roles = {config.prediction: "prediction", config.label: "label"}

    def of(column: ColumnDrift) -> ColumnDrift:
        return replace(column, kind=roles[column.column]) if column.column in roles else column

    return replace(report, columns=tuple(map(of, report.columns)))


def _contrast(
    report: DriftReport, pictures: tuple[Portrait, ...], kinds: Kinds, performance: tuple[Performance, ...]
) -> Contrast:
    return Contrast(
        drift=report,
        portraits=pictures,
        left_out=tuple(kinds.left_out),
        guesses=tuple(kinds.guesses),
        performance=performance,
    )


def _performance(config: Config, tables: tuple[pa.Table, pa.Table], kinds: Kinds) -> tuple[Performance, ...]:
    """Realised performance; where there is none the reason is left in `kinds`."""
    from engine.monitor.named import performances

    names = str(config.reference), str(config.live)
    found, said = performances(tables, names, str(config.prediction), str(config.label))
    if not found:
        kinds.leave(PERFORMANCE, said)
    return found


def _performance_of_files(
    config: Config, files: tuple[shards.Files, shards.Files], kinds: Kinds
) -> tuple[Performance, ...]:
    """The same on two columns of all rows, where these fit in memory."""
    names = str(config.prediction), str(config.label)
    rows = max(each.rows for each in files)
    if rows > MOST_ROWS:
        kinds.leave(PERFORMANCE, f"needs its columns in memory, and {rows:,} rows are more than {MOST_ROWS:,}")
        return ()
    tables = [each.columns([name for name in names if name in each.schema.names]) for each in files]
    first, second = (numbers_of_text(table, kinds.parsed) for table in tables)
    return _performance(config, (first, second), kinds)


def _two_windows(config: Config) -> Contrast:
    source = config.open_source()
    names = source.names()
    if len(names) < 2:
        raise ConfigError("data.path", "there is one window only", "wait for the next, or name files: reference= live=")
    live = source.read(config.window or names[-1], labelled=False)
    if live.index == 0 and not config.against:
        raise ConfigError("against", f"{live.name} is the first window: none is before it", "name one: against=...")
    old = source.read(config.against or names[max(0, live.index - 1)], labelled=False)
    data = config.need_data
    reference = Reference(
        name=old.name, table=old.table, numeric=tuple(data.numeric), categorical=tuple(data.categorical)
    )
    whole = together(reference, live.table, config.multivariate, config.monitor)
    report = compare(reference, live.table, live.name, config.monitor, further=whole)
    pictures = portraits(old.table, live.table, report.drifted)
    return Contrast(drift=report, portraits=pictures, left_out=(), guesses=())
