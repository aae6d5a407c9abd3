"""The verbs that look at windows and machines, and never train: validate, drift, report, doctor.

They work with the loop killed, the tracker down and no GPU; none of them imports torch. Those over the ledger are in
archive.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import doctor as checkup
from engine import durable
from engine.archive import existing_ledger, ledger_exists
from engine.data.files import open_table
from engine.data.sources import ParquetSource
from engine.errors import ConfigError, DataError, TidegateError
from engine.monitor import shards
from engine.monitor.drift import Reference, compare
from engine.promote.ledger import Ledger
from engine.records import Cycle, DriftOutcome, DriftReport, from_plain, to_plain
from engine.report.html import render
from engine.report.tables import doctor_table, drift_table, validation_table
from engine.report.terminal import make_console
from engine.schema import Composer, Config
from engine.scores import GREATER_IS_BETTER
from engine.validate import infer
from engine.validate import validate as check_window

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


def validate(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """A window against the first one (or against the window before it, of which rows may come again)."""
    data = config.need_data
    source = ParquetSource(data)
    names = source.names()
    window = source.read(config.window or names[-1], labelled=False)
    first = source.read(names[0], labelled=False)
    schema = None if window.index == 0 else infer(first.table, data, reference=first.name)
    previous = source.read(names[window.index - 1], labelled=False) if window.index else None
    report = check_window(window, schema, config.validate, columns=data, previous=previous)
    make_console(quiet).show(validation_table(report))
    return (0 if report.usable else NEGATIVE), to_plain(report)


def drift(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Two windows of the loop, or any two files, or folders or globs of Parquet files."""
    report = _two_files(config) if config.reference or config.live else _two_windows(config)
    make_console(quiet).show(drift_table(report))
    clean = all(c.outcome is DriftOutcome.NO_DRIFT for c in report.columns)
    return (0 if clean else NEGATIVE), to_plain(report)


def _two_files(config: Config) -> DriftReport:
    for key in ("reference", "live"):
        if not getattr(config, key):
            raise ConfigError(key, "only one of the two files is named", f"add {key}=<file>")
    reference, live = str(config.reference), str(config.live)
    if shards.is_large(reference) or shards.is_large(live):
        schemas = [shards.open_files(path)[0] for path in (reference, live)]
        shared = _shared(reference, live, *schemas)
        return shards.compare_files(reference, live, *_kinds(config, shared), config.monitor)
    old, new = open_table(reference), open_table(live)
    shared = _shared(reference, live, old.schema, new.schema)
    numeric, categorical = _kinds(config, shared)
    held = Reference(name=reference, table=old.select(shared.names), numeric=numeric, categorical=categorical)
    return compare(held, new, live, config.monitor)


def _shared(reference: str, live: str, old: pa.Schema, new: pa.Schema) -> pa.Schema:
    """The columns of both, as the reference has them; an error where they are of two kinds, or none is there."""
    shared = [name for name in old.names if name in new.names]
    if not shared:
        raise ConfigError("live", f"shares no column with {reference}", "compare files of the same table")
    for name in shared:
        if _kind(old.field(name).type) != _kind(new.field(name).type):
            what = f"is {new.field(name).type}, and {old.field(name).type} in {reference}"
            raise DataError(f"{live}:{name}", what, "store it as one type in both files")
    return pa.schema([old.field(name) for name in shared])


def _two_windows(config: Config) -> DriftReport:
    source = ParquetSource(config.need_data)
    names = source.names()
    if len(names) < 2:
        raise ConfigError("data.path", "there is one window only", "wait for the next, or name files: reference= live=")
    live = source.read(config.window or names[-1], labelled=False)
    if live.index == 0 and not config.against:
        raise ConfigError("against", f"{live.name} is the first window: none is before it", "name one: against=...")
    old = source.read(config.against or names[max(0, live.index - 1)], labelled=False)
    numeric, categorical = _kinds(config, old.table.schema)
    reference = Reference(name=old.name, table=old.table, numeric=numeric, categorical=categorical)
    return compare(reference, live.table, live.name, config.monitor)


def _kinds(config: Config, schema: pa.Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which columns are numbers and which categories: by the data config, or by their types where there is none."""
    kinds = {name: _kind(schema.field(name).type) for name in schema.names}
    if config.data is not None:
        kinds = {
            **dict.fromkeys((c for c in config.data.numeric if c in kinds), "numeric"),
            **dict.fromkeys((c for c in config.data.categorical if c in kinds), "categorical"),
        }
    numeric = tuple(name for name, kind in kinds.items() if kind == "numeric")
    categorical = tuple(name for name, kind in kinds.items() if kind == "categorical")
    if not numeric and not categorical:
        cure = "compare files that share columns of numbers, strings or booleans"
        raise ConfigError("live", "there is no column to compare", cure)
    return numeric, categorical


def _kind(kind: pa.DataType) -> str:
    """numeric, categorical, or the type itself where it is neither."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numeric"
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if any(is_text(kind) for is_text in text) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind):
        return "categorical"
    return str(kind)


def report(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The HTML page of a loop, from its ledger alone."""
    with existing_ledger(config) as ledger:
        cycles = [from_plain(Cycle, row.payload) for row in ledger.rows("cycle")]
        page = write_report(config, ledger, cycles)
    make_console(quiet).note(f"the report is {page}")
    return 0, {"report": str(page), "windows": len(cycles)}


def write_report(config: Config, ledger: Ledger, cycles: Sequence[Cycle]) -> Path:
    """Render <out>/report.html."""
    if config.evaluate.primary not in GREATER_IS_BETTER:
        cure = f"choose one of {', '.join(GREATER_IS_BETTER)}"
        raise ConfigError("evaluate.primary", f"there is no metric {config.evaluate.primary!r}", cure)
    page = config.folder / "report.html"
    text = render(
        cycles,
        title=config.loop.name,
        primary=config.evaluate.primary,
        config=config.plain(),
        greater_is_better=GREATER_IS_BETTER[config.evaluate.primary],
        ledger_rows=ledger.rows(),
        versions=checkup.versions(),
    )
    durable.write_text(page, text)
    return page.absolute()


def doctor(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Is this machine fit for a loop."""
    console = make_console(quiet)
    cluster = config.cluster.address or "auto" if config.cluster.kind == "ray" else "local"
    findings = [*checkup.examine(config.folder, cluster=cluster), *_examine_store(config), *_examine_ledger(config)]
    console.show(doctor_table(findings))
    bad = any(f.state is checkup.State.BAD for f in findings)
    return (NEGATIVE if bad else 0), {"findings": to_plain(findings)}


def _examine_store(config: Config) -> Iterator[checkup.Finding]:
    """A bucket: can it be written, and does it honour conditions. A folder is looked at with its file system."""
    if "://" in (config.promote.store or ""):
        yield checkup.remarked("store", lambda: config.open_store().remarks(), "honours conditional writes")


def _examine_ledger(config: Config) -> Iterator[checkup.Finding]:
    """Is the record of this loop whole, and its server's clock right; a ledger that does not exist yet is no fault."""
    if not ledger_exists(config):
        yield checkup.Finding(what="ledger", state=checkup.State.GOOD, found="none yet: a loop makes it")
        return
    try:
        with Ledger.open(config.ledger_url, config.loop.name) as ledger:
            if not config.ledger_url.startswith("sqlite"):
                yield checkup.skewed("server clock", ledger.ahead(), "the server of the ledger")
            count = ledger.verify()
    except TidegateError as error:
        found, _, cure = str(error).rpartition(" - ")
        yield checkup.Finding(what="ledger", state=checkup.State.BAD, found=found, cure=cure)
        return
    yield checkup.Finding(what="ledger", state=checkup.State.GOOD, found=f"{count} rows, the hash chain holds")
