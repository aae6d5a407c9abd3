"""The verbs that look at windows and machines, and never train: validate, report, doctor.

They work with the loop killed, the tracker down and no GPU; none of them imports torch. Those over the ledger are in
archive.py, and drift.py is what changed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import doctor as checkup
from engine.config.schema import Composer, Config
from engine.cycle import founding, outside
from engine.data.sources import ParquetSource
from engine.errors import ConfigError, TidegateError
from engine.promote.entries import OPENED
from engine.promote.ledger import Ledger
from engine.records import (
    Check,
    Cycle,
    ValidationReport,
    Window,
    from_plain,
    to_plain,
)
from engine.records.fields import said
from engine.report.tables import doctor_table, validation_table
from engine.report.terminal import make_console
from engine.validate.history import blocking, cost
from engine.validate.schema import SERVING, TRAINING, Schema, diff, infer, learn
from engine.validate.text import load as load_schema
from engine.validate.text import save, to_yaml
from engine.validate.window import validate as check_window
from engine.verbs import archive
from engine.verbs.archive import existing_ledger, ledger_exists
from engine.verbs.pages import write_report

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


def validate(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """A window against the declared schema or the founding windows, and how often windows were blocked so far.

    --infer writes the schema that a person edits; --diff compares two of them.
    """
    if config.diff is not None:
        return _compare_schemas(config)
    if config.against is not None:
        cure = "name the window with window=..., or compare two schemas: --diff old.yaml new.yaml"
        raise ConfigError("against", "validate looks at one window", cure)
    if config.infer:
        return _infer(config, quiet)
    if config.environment not in (TRAINING, SERVING):
        what, cure = f"{config.environment!r} is unknown", f"choose {TRAINING} or {SERVING}"
        raise ConfigError("environment", what, cure)
    data, conf = config.need_data, config.validate
    source = config.open_source()
    names = source.names()
    name = config.window or names[-1]
    window, strange = outside.arrived(
        lambda labelled: source.read(name, labelled=labelled), config.environment == TRAINING, conf
    )
    before, came = _reports(config)
    schema, ages = founding.declared(conf, data), list[float]()
    if schema is None and window.index >= founding.reference_windows(config.loop):
        schema = _reference(config, source, labelled=window.labelled)
    if schema is not None and conf.history:
        blocked = {report.window for report in before or () if not report.usable}
        usable = [name for name in names[: window.index] if name not in blocked][-conf.history :]
        seen = [infer(source.read(name, labelled=False).table, data, reference=name) for name in usable]
        schema, ages = learn(schema, seen, conf.confidence_level), outside.ages_of(seen, came)
    previous = source.read(names[window.index - 1], labelled=False) if window.index else None
    now = archive.moment_of(config.at) if config.at else dt.datetime.now(dt.UTC)
    report = check_window(window, schema, conf, columns=data, previous=previous, now=now, ages=ages)
    report = replace(report, checks=(*report.checks, *_skew(config, window), *strange))
    console = make_console(quiet)
    console.show(validation_table(report))
    if window.labelled and source.learnt:
        console.note(f"{data.label}: {said(source.learnt)}")
    found = None if before is None else blocking(before)
    if found is not None:
        console.note(cost(found))
    return (0 if report.usable else NEGATIVE), {**to_plain(report), "blocking": to_plain(found)}


def _reports(config: Config) -> tuple[list[ValidationReport] | None, dict[str, str]]:
    """What the checks of the loop said so far, oldest window first, None where no ledger tells; and when each came."""
    if not ledger_exists(config):
        return None, {}
    try:
        with Ledger.open(config.ledger_url, config.loop.name) as ledger:
            reports = [from_plain(ValidationReport, row.payload["validation"]) for row in ledger.rows("cycle")]
            return reports, {row.window: row.at for row in ledger.rows(OPENED)}
    except TidegateError:  # a window is looked at with the server of the ledger down; the doctor says so
        return None, {}


def _reference(config: Config, source: ParquetSource, *, labelled: bool) -> Schema:
    """What the founding windows look like; with --infer, the named window alone."""
    names = source.names()[: founding.reference_windows(config.loop)]
    if config.infer and config.window:
        names = [config.window]
    return founding.schema_of([source.read(name, labelled=labelled) for name in names], config.need_data)


def _infer(config: Config, quiet: bool) -> Answer:
    """The schema as YAML: to `validate.schema`, or to stdout. What a person wrote there is not lost in silence."""
    source = config.open_source()
    schema = _reference(config, source, labelled=True)
    answer: dict[str, Any] = {"reference": schema.reference, "columns": len(schema.columns)}
    path = config.validate.schema
    if not path:
        return 0, answer | {"document": to_yaml(schema)}
    there = Path(path).exists()
    changes = diff(load_schema(path), schema) if there and not config.overwrite else ()
    if changes:
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        what = f"is there and says something else: {'; '.join(changes[:3])}{more}"
        cure = f"see all with --diff {path}, then add --overwrite or name another file"
        raise ConfigError(path, what, cure)
    write = not there or config.overwrite
    if write:
        save(schema, path)
    said = "written: look through it, edit it, keep it in git" if write else "says this already"
    make_console(quiet).note(f"{path}: {said}")
    return 0, answer | {"schema": path, "written": write}


def _compare_schemas(config: Config) -> Answer:
    """What changed from one schema file to another, or to what the windows look like now."""
    old, newer = load_schema(str(config.diff)), config.against or config.validate.schema
    new = load_schema(newer) if newer else _reference(config, config.open_source(), labelled=True)
    lines = diff(old, new)
    answer = {"old": config.diff, "new": newer or new.reference, "changes": list(lines)}
    return (NEGATIVE if lines else 0), answer | {"document": "\n".join(lines) or "nothing changed"}


def _skew(config: Config, window: Window) -> tuple[Check, ...]:
    """The window's features against what serving saw of the same ids: the file `live`, else as the loop finds it."""
    if config.live is None:
        return outside.against_serving(window, config.need_data, config.validate)
    return outside.against_log(window, config.live, config.need_data, config.validate)


def report(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The HTML page of a loop, from its ledger alone."""
    with existing_ledger(config) as ledger:
        cycles = [from_plain(Cycle, row.payload) for row in ledger.rows("cycle")]
        page = write_report(config, ledger, cycles)
    make_console(quiet).note(f"the report is {page}")
    return 0, {"report": str(page), "windows": len(cycles)}


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
