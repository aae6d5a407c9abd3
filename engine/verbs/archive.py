"""The verbs over the ledger: history, live, why, verify, card, promote, rollback, gc.

They need the ledger and the store alone: no tracker, no network, no GPU, and a loop may run meanwhile. None of them
imports torch. Each takes (config, composer) and gives (exit code, the object that --json prints).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from engine.config.schema import Composer, Config
from engine.cycle import replay
from engine.cycle.replay import Replayed
from engine.errors import ConfigError, TidegateError
from engine.promote import card as cards
from engine.promote import rollback as way
from engine.promote.audit import audit
from engine.promote.chain import Row
from engine.promote.entries import INPUTS, OPENED, PIPELINE, STAGE, VERDICT
from engine.promote.gc import collect
from engine.promote.ledger import Ledger, utc_now
from engine.promote.store import Store
from engine.records import Estimate, Stage, StageChange, Verdict, digest, from_plain, to_plain
from engine.report import ledger as shown
from engine.report import words
from engine.report.tables import styled, verdict_table
from engine.report.terminal import Console, make_console
from engine.system.redact import redact_text
from engine.system.timing import duration
from engine.watch.arrival import LANDED

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3
QUIET_KINDS = ("cycle", INPUTS, OPENED, PIPELINE, LANDED)  # shown when asked for: the loop's own bookkeeping


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


# ---- looking ------------------------------------------------------------------------------------------------------


def history(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The rows of the ledger (of a window, of a kind, the newest), the hash chain proved on the way."""
    if config.limit is not None and config.limit < 1:
        raise ConfigError("limit", f"{config.limit} is below 1", "choose 1 or more")
    with existing_ledger(config) as ledger:
        count = ledger.verify()
        rows = ledger.rows(config.kind, config.window)
        heads = {stage: head for stage in Stage if (head := ledger.head(stage)) is not None}
    _check_asked(config, rows)
    seen = [row for row in rows if config.kind or row.kind not in QUIET_KINDS]
    newest = seen[-config.limit :] if config.limit else seen
    console = make_console(quiet)
    console.show(shown.history_table(newest))
    if len(newest) < len(seen):
        console.note(f"{len(seen) - len(newest)} older rows are not shown: limit={config.limit}")
    for stage, head in heads.items():
        since = f"since {shown.time(head.since)} UTC, generation {head.generation}"
        console.note(f"{stage.value}: {words.short(head.model)} {since}")
    listed = [_listed(row) for row in (rows if config.limit is None else newest)]
    held = {stage.value: head.model for stage, head in heads.items()}
    return 0, {"loop": config.loop.name, "verified": count, "heads": held, "rows": to_plain(listed)}


def _check_asked(config: Config, rows: Sequence[Row]) -> None:
    """ConfigError where somebody asks for rows that are not there: a typo must not look like silence."""
    for key in ("kind", "window"):
        asked = getattr(config, key)
        if asked and not rows:
            cure = "see `tidegate history` without it for what there is"
            raise ConfigError(key, f"the ledger has no row of {key} {asked!r}", cure)


def _listed(row: Row) -> dict[str, Any]:
    """A row as JSON; without the payload of a cycle, which holds all others once more."""
    names = ("seq", "id", "kind", "window", "model", "at", "hash", *(() if row.kind == "cycle" else ("payload",)))
    return {name: getattr(row, name) for name in names}


def live(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """What was in production at a moment, since when, and the verdicts or people that brought it there."""
    moment = moment_of(config.at) if config.at else utc_now()
    if moment > utc_now():
        raise ConfigError(
            "at", f"{config.at} lies in the future", "name a moment that has been, or leave it out for now"
        )
    asked = moment.astimezone(UTC).isoformat(timespec="seconds")
    console = make_console(quiet)
    with existing_ledger(config) as ledger:
        row = ledger.live(moment)
        if row is None:
            console.note(f"nothing was in production at {asked}")
            return NEGATIVE, {"loop": config.loop.name, "at": asked, "model": None}
        changes = ledger.rows(STAGE)
        gates = {verdict.id: verdict.payload for verdict in ledger.rows(VERDICT)}
    left = next((c for c in changes if c.seq > row.seq and _leaves(c, row.model)), None)
    steps = [c for c in changes if c.model == row.model and c.seq <= row.seq]
    until = f"until {shown.time(left.at)}" if left else "and it still is"
    console.note(f"{row.model} was in production at {asked}")
    console.note(f"since {shown.time(row.at)} UTC, {until}, generation {row.payload['generation']}")
    console.show(shown.steps_table(steps, gates))
    path = [{"at": s.at, **s.payload, "verdict": gates.get(str(s.payload.get("evidence", "")))} for s in steps]
    answer = {"model": row.model, "since": row.at, "until": left.at if left else None, "path": path}
    return 0, {"loop": config.loop.name, "at": asked, **answer}


def _leaves(row: Row, model: str) -> bool:
    """Does this change end the model's time in production."""
    production = Stage.PRODUCTION.value
    return row.payload["target"] == production or (row.model == model and row.payload["source"] == production)


def moment_of(at: str) -> datetime:
    """What a person wrote; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(at.strip())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        cure = "write 2026-03-01T12:00, or 2026-03-01T12:00+01:00; without a zone it is UTC"
        raise ConfigError("at", f"{at[:80]!r} is no time", cure) from None


def why(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """A decision, verdict or stage change, what it rests on, and whether its recorded evidence gives it again."""
    if not config.of:
        raise ConfigError("why", "why what", "name a window, or the beginning of an id: tidegate why 2026-05")
    console, told = make_console(quiet), list[dict[str, Any]]()
    with existing_ledger(config) as ledger:
        for row in replay.find(ledger, config.of):
            for part in (*replay.reasons(ledger, row), row):
                if part.id not in [entry["id"] for entry in told]:
                    told.append(_explained(console, ledger, part))
    proved = all(entry["replay"] in (None, Replayed.EQUAL.value, Replayed.MEASURED.value) for entry in told)
    return (0 if proved else NEGATIVE), {"loop": config.loop.name, "of": config.of, "because": told}


def _explained(console: Console, ledger: Ledger, row: Row) -> dict[str, Any]:
    """Show one row with what it rests on; the same as JSON."""
    where = f" of {row.window}" if row.window else ""
    console.note(f"{row.kind} {row.id[:12]}{where}: row {row.seq}, {shown.time(row.at)} UTC")
    entry: dict[str, Any] = {**_listed(row), "replay": None, "detail": "", "inputs": {}}
    if row.kind == STAGE:
        verdict = ledger.find(str(row.payload.get("evidence", "")))
        by = shown.allowed_by(row.payload, verdict.payload if verdict else None)
        console.show(Text.assemble("  ", words.short(row.model), " ", shown.said(row), "; allowed by ", by))
        return to_plain(entry)  # type: ignore[no-any-return]
    if row.kind == VERDICT:
        console.show(verdict_table(from_plain(Verdict, row.payload)))
    else:
        console.show(Text.assemble("  ", shown.said(row)))
        if other := row.payload.get("counterfactual"):
            console.show(Text.assemble("  otherwise: ", words.clean(str(other))))
    made = replay.replay(ledger, row)
    if decayed := _decayed(made.inputs):
        console.show(Text.assemble("  decay: ", decayed))
    good = made.state in (Replayed.EQUAL, Replayed.MEASURED)
    console.show(
        Text.assemble("  replayed: ", styled(made.state.value, "green" if good else "bold red"), f", {made.detail}")
    )
    return to_plain({**entry, "replay": made.state, "detail": made.detail, "inputs": made.inputs})  # type: ignore[no-any-return]


def _decayed(inputs: dict[str, Any]) -> str:
    """What a decision was told of a decay of the champion; empty: nothing was shown."""
    drop = (inputs.get("evidence") or {}).get("decayed")
    if drop is None:
        return ""
    shown = words.interval(from_plain(Estimate, drop), extra=1)
    return f"{drop['name']} was shown to be {shown} points below its reference, over {drop['n']} windows"


def verify(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Prove the chain, the heads, the evidence of every promotion and every byte of every model."""
    with existing_ledger(config) as ledger:
        found = audit(ledger, config.open_store())
    console = make_console(quiet)
    if found.faults:
        console.show(shown.faults_table(found.faults))
        return NEGATIVE, to_plain(found)
    console.note(f"{found.rows} rows and {found.artifacts} models are whole: chain, heads, evidence, bytes")
    console.note(f"tip {found.tip or '-'}: note it elsewhere, and nobody can rewrite history unseen")
    return 0, to_plain(found)


def card(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The card of a model: data, metrics with intervals, gates, history, limits; the champion's by default."""
    with existing_ledger(config) as ledger:
        head = ledger.head(Stage.PRODUCTION)
        if not config.artifact and head is None:
            raise ConfigError(
                "artifact", "nothing is in production", "name a model: tidegate card <beginning of its id>"
            )
        model = config.artifact or (head.model if head else "")
        made = cards.card(ledger, config.open_store(), model, owner=config.promote.owner)
    from rich.markdown import Markdown  # a tenth of what a rollback takes, and of use here alone

    make_console(quiet).show(Markdown(cards.render(made)))
    return 0, made


# ---- moving -------------------------------------------------------------------------------------------------------


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
        store = config.open_store()
        changes = way.promote(
            ledger, store, model=config.artifact, target=target, reason=reason, actor=actor, rehearse=config.rehearse
        )
        return _moved(config, console, ledger, store, changes)


def rollback(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The champion before comes back, the present one is quarantined."""
    actor, reason = _who(config)
    with existing_ledger(config) as ledger:
        store = config.open_store()
        changes = way.rollback(ledger, store, reason=reason, actor=actor, rehearse=config.rehearse)
        return _moved(config, make_console(quiet), ledger, store, changes)


def _who(config: Config) -> tuple[str, str]:
    if not config.actor:
        raise ConfigError("actor", "a change by hand needs a name", "add actor=<you>")
    if not config.reason:
        raise ConfigError("reason", "a change by hand needs a reason", "add reason='...'")
    return config.actor, redact_text(config.reason)  # it is recorded for good


def _moved(config: Config, console: Console, ledger: Ledger, store: Store, changes: Sequence[StageChange]) -> Answer:
    """Say what was done, or rehearsed; a model that reached production gets its card."""
    prefix = "rehearsed: " if config.rehearse else ""
    for change in changes:
        source = change.source.value if change.source else "new"
        console.note(f"{prefix}{change.model[:12]} {source} -> {change.target.value} (generation {change.generation})")
        if change.target is Stage.PRODUCTION and not config.rehearse:
            try:
                cards.write(ledger, store, change.model, config.folder, owner=config.promote.owner)
            except TidegateError as error:  # the change stands: a card can be made again at any time
                console.warn(f"no card: {error}")
    return 0, {"changes": to_plain(list(changes))}


def gc(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Remove artifacts that no ledger mentions and files that a cut-off put left; rehearse=true only tells."""
    older = duration(config.older_than, "older_than")
    if config.promote.store and not config.promote.ledger and config.ledgers is None:
        what = "this store is shared, and other ledgers may name its models"
        raise ConfigError("ledgers", what, "name them: ledgers=[sqlite:///...], or ledgers=[] where there is none")
    with existing_ledger(config) as ledger, ExitStack() as stack:
        others = [stack.enter_context(Ledger.open(url, config.loop.name)) for url in config.ledgers or []]
        done = collect([ledger, *others], config.open_store(), older_than=older, rehearse=config.rehearse)
    verb = "would remove" if config.rehearse else "removed"
    console = make_console(quiet)
    console.note(f"{verb} {len(done.artifacts)} artifacts, {done.files} files, {done.size:,} bytes")
    for artifact in done.artifacts:
        console.note(f"  {artifact}")
    return 0, {"rehearsed": config.rehearse, **to_plain(done)}
