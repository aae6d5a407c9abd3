"""The verb drift: what changed between two windows of a loop, or between any two files, folders or globs.

It imports neither torch nor SQLAlchemy: two files are compared sooner than a ledger is opened.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import durable, places
from engine.contrast import Contrast, LeftOut
from engine.data.files import READERS, open_tables
from engine.data.sources import ParquetSource
from engine.errors import ConfigError
from engine.monitor import shards
from engine.monitor.drift import Reference, compare
from engine.monitor.kinds import Kinds, Wanted, kinds_of, numbers_of_text
from engine.monitor.portraits import portraits
from engine.records import ColumnDrift, DriftOutcome, DriftReport, Performance, to_plain
from engine.report.contrast_table import contrast_table
from engine.report.terminal import make_console
from engine.schema import Composer, Config

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


def drift(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Two windows of the loop, or any two files, or folders or globs of them."""
    check_page(config.html)
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
        return _scanned(config, reference, live)
    old, new = (open_tables(path, each) for path, each in zip((reference, live), files, strict=True))
    kinds = _kinds(config, old, new, whole=True)
    old, new = (numbers_of_text(table, kinds.parsed) for table in (old, new))
    numeric, categorical = tuple(kinds.numeric), tuple(kinds.categorical)
    held = Reference(name=reference, table=old, numeric=numeric, categorical=categorical)
    report = _with_roles(compare(held, new, live, config.monitor), config)
    return _contrast(config, report, (old, new), kinds)


def _scanned(config: Config, reference: str, live: str) -> Contrast:
    """Files that are larger than they should be in memory: all rows in passes, pictures from the first ones."""
    old, new = shards.head(reference), shards.head(live)
    kinds = _kinds(config, old, new, whole=False)
    both = set(old.column_names) & set(new.column_names)
    numeric, categorical = (tuple(n for n in names if n in both) for names in (kinds.numeric, kinds.categorical))
    lost = [n for n in (*kinds.numeric, *kinds.categorical) if n not in both]
    for name in lost:
        kinds.leave(name, "is lost: the live files have no such column")
    report = _with_roles(shards.compare_files(reference, live, numeric, categorical, config.monitor), config)
    return _contrast(config, report, (old, new), kinds, sampled=True)


def _kinds(config: Config, old: pa.Table, new: pa.Table, *, whole: bool) -> Kinds:
    """What the columns are: by the command line, by the data config where there is one, else guessed."""
    names = str(config.reference), str(config.live)
    if not set(old.column_names) & set(new.column_names):
        raise ConfigError("live", f"shares no column with {names[0]}", "compare files of the same table")
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
    kinds = kinds_of(old, new, wanted, names, whole=whole)
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
    config: Config, report: DriftReport, tables: tuple[pa.Table, pa.Table], kinds: Kinds, *, sampled: bool = False
) -> Contrast:
    performance: tuple[Performance, ...] = ()
    left_out = kinds.left_out
    if config.prediction and config.label and not sampled:
        performance, why = _performance(config, tables)
        left_out = [*left_out, *([LeftOut(column="realised performance", reason=why)] if why else [])]
    return Contrast(
        drift=report,
        portraits=portraits(*tables, report.drifted, sampled=sampled),
        left_out=tuple(left_out),
        guesses=tuple(kinds.guesses),
        performance=performance,
    )


def _performance(config: Config, tables: tuple[pa.Table, pa.Table]) -> tuple[tuple[Performance, ...], str]:
    from engine.monitor.named import performances

    names = str(config.reference), str(config.live)
    found, said = performances(tables, names, str(config.prediction), str(config.label))
    return found, "" if found else said


def _two_windows(config: Config) -> Contrast:
    source = ParquetSource(config.need_data)
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
    report = compare(reference, live.table, live.name, config.monitor)
    pictures = portraits(old.table, live.table, report.drifted)
    return Contrast(drift=report, portraits=pictures, left_out=(), guesses=())
