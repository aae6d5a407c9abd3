"""The verbs that look and move, and never train: validate, drift, history, promote, rollback, report, doctor.

They work with the loop killed, the tracker down and no GPU; none of them imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import doctor as checkup
from engine import durable
from engine.data.files import open_table
from engine.data.sources import ParquetSource
from engine.errors import ConfigError, DataError, TidegateError
from engine.monitor.drift import Reference, compare
from engine.promote import rollback as way
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Cycle, DriftOutcome, Stage, digest, from_plain, to_plain
from engine.redact import redact_text
from engine.report.html import render
from engine.report.tables import doctor_table, drift_table, history_table, validation_table
from engine.report.terminal import make_console
from engine.schema import Composer, Config
from engine.scores import GREATER_IS_BETTER
from engine.validate import infer
from engine.validate import validate as check_window

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


def ledger_exists(config: Config) -> bool:
    """Is there a ledger already, as far as a path can tell: a server's is there once the server is."""
    kind, _, path = config.ledger_url.partition(":///")
    return not kind.startswith("sqlite") or Path(path).exists()


@contextmanager
def existing_ledger(config: Config) -> Iterator[Ledger]:
    """The loop's ledger; ConfigError where it has none yet, so that looking never creates one."""
    if not ledger_exists(config):
        where = config.ledger_url.partition(":///")[2]
        raise ConfigError(where, "there is no ledger", "run `tidegate loop` first, or set out= or loop.name=")
    with Ledger.open(config.ledger_url, config.loop.name) as ledger:
        yield ledger


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
    """Two windows of the loop, or any two files."""
    if config.reference or config.live:
        old, new, names = _two_files(config)
    else:
        old, new, names = _two_windows(config)
    numeric, categorical = _kinds(config, old)
    reference = Reference(name=names[0], table=old, numeric=numeric, categorical=categorical)
    report = compare(reference, new, names[1], config.monitor)
    make_console(quiet).show(drift_table(report))
    clean = all(c.outcome is DriftOutcome.NO_DRIFT for c in report.columns)
    return (0 if clean else NEGATIVE), to_plain(report)


def _two_files(config: Config) -> tuple[pa.Table, pa.Table, tuple[str, str]]:
    for key in ("reference", "live"):
        if not getattr(config, key):
            raise ConfigError(key, "only one of the two files is named", f"add {key}=<file>")
    reference, live = str(config.reference), str(config.live)
    old, new = open_table(reference), open_table(live)
    shared = [name for name in old.column_names if name in new.column_names]
    if not shared:
        raise ConfigError("live", f"shares no column with {reference}", "compare files of the same table")
    for name in shared:
        if _kind(old.schema.field(name).type) != _kind(new.schema.field(name).type):
            what = f"is {new.schema.field(name).type}, and {old.schema.field(name).type} in {reference}"
            raise DataError(f"{live}:{name}", what, "store it as one type in both files")
    return old.select(shared), new.select(shared), (reference, live)


def _two_windows(config: Config) -> tuple[pa.Table, pa.Table, tuple[str, str]]:
    source = ParquetSource(config.need_data)
    names = source.names()
    if len(names) < 2:
        raise ConfigError("data.path", "there is one window only", "wait for the next, or name files: reference= live=")
    live = source.read(config.window or names[-1], labelled=False)
    if live.index == 0 and not config.against:
        raise ConfigError("against", f"{live.name} is the first window: none is before it", "name one: against=...")
    old = source.read(config.against or names[max(0, live.index - 1)], labelled=False)
    return old.table, live.table, (old.name, live.name)


def _kinds(config: Config, table: pa.Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which columns are numbers and which categories: by the data config, or by their types where there is none."""
    kinds = {name: _kind(table.schema.field(name).type) for name in table.column_names}
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


def history(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Every row of the ledger, the hash chain proved on the way."""
    with existing_ledger(config) as ledger:
        count = ledger.verify()
        rows = ledger.rows()
        shown = [row for row in rows if row.kind != "cycle"]
        make_console(quiet).show(history_table(shown))
        heads = {stage.value: head.model for stage in Stage if (head := ledger.head(stage)) is not None}
    listed = [
        {
            "seq": r.seq,
            "id": r.id,
            "kind": r.kind,
            "window": r.window,
            "model": r.model,
            "at": str(r.at),
            "hash": r.hash,
        }
        | ({"payload": r.payload} if r.kind != "cycle" else {})
        for r in rows
    ]
    return 0, {"loop": config.loop.name, "verified": count, "heads": heads, "rows": to_plain(listed)}


def promote(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """A person's word: a stage change, or the end of a freeze."""
    actor, reason = _who(config)
    console = make_console(quiet)
    with existing_ledger(config) as ledger:
        if config.thaw:
            freezes = ledger.rows("freeze")
            if not freezes or not freezes[-1].payload["frozen"]:
                raise ConfigError("thaw", "promotions are not frozen", "nothing to do")
            count = len(freezes)
            payload = {"frozen": False, "reason": reason, "actor": actor}
            ledger.append("freeze", digest("thaw", config.loop.name, count), payload)
            console.note(f"thawed by {actor}: {reason}")
            return 0, payload
        if not config.artifact or not config.stage:
            raise ConfigError(
                "promote", "which model, and where to", "add artifact=<beginning of its id> stage=production"
            )
        try:
            target = Stage(config.stage)
        except ValueError as error:
            cure = f"choose one of {', '.join(s.value for s in Stage)}"
            raise ConfigError("stage", f"{config.stage!r} is no stage", cure) from error
        store = Store(config.store_folder)
        changes = way.promote(ledger, store, model=config.artifact, target=target, reason=reason, actor=actor)
    return _moved(console, changes)


def rollback(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The champion before comes back, the present one is quarantined."""
    actor, reason = _who(config)
    with existing_ledger(config) as ledger:
        store = Store(config.store_folder)
        changes = way.rollback(ledger, store, reason=reason, actor=actor, rehearse=config.rehearse)
    return _moved(make_console(quiet), changes, "rehearsed: " if config.rehearse else "")


def _who(config: Config) -> tuple[str, str]:
    if not config.actor:
        raise ConfigError("actor", "a change by hand needs a name", "add actor=<you>")
    if not config.reason:
        raise ConfigError("reason", "a change by hand needs a reason", "add reason='...'")
    return config.actor, redact_text(config.reason)  # it is recorded for good


def _moved(console: Any, changes: Sequence[Any], prefix: str = "") -> Answer:
    for change in changes:
        source = change.source.value if change.source else "new"
        console.note(f"{prefix}{change.model[:12]} {source} -> {change.target.value} (generation {change.generation})")
    return 0, {"changes": to_plain(list(changes))}


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
    findings = [*checkup.examine(config.folder), *_examine_ledger(config)]
    console.show(doctor_table(findings))
    bad = any(f.state is checkup.State.BAD for f in findings)
    return (NEGATIVE if bad else 0), {"findings": to_plain(findings)}


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
