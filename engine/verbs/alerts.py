"""The verb `alerts`: what is open, who has it in hand, what was done, whether it helped; and a person's word to it.

ack=<id> takes an alert in hand: it is neither raised again nor escalated from then on. undo=<id> takes an action back,
where that can be. test=<channel> sends a message that says it is a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.config.schema import Composer, Config
from engine.cycle import undoing
from engine.cycle.telling import deliver, make_outbox
from engine.effects import Message, make_channels
from engine.effects.sendings import DELIVERED, sendings
from engine.errors import ConfigError, LeaseError
from engine.promote.ledger import Ledger
from engine.records import Acted, Word, digest, from_plain, to_plain
from engine.records.items import ACKNOWLEDGED, ACTED
from engine.report.alerting import State, alerts_of, blind, tally
from engine.report.alerts import alerts_table, tally_sentence
from engine.report.terminal import Console, make_console
from engine.system.redact import redact_text
from engine.verbs.archive import existing_ledger

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3
TEST_SECONDS = 30.0  # that a test message may take at least: a person waits for it


def alerts(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """What there is to know of the alerts of a loop, or one of the words that a person may say."""
    said = [name for name in ("ack", "undo", "test") if getattr(config, name)]
    if len(said) > 1:
        raise ConfigError(said[1], f"and {said[0]} are two commands", "give one of them")
    console = make_console(quiet)
    with existing_ledger(config) as ledger:
        if config.test:
            return _test(config, ledger, console)
        if config.ack:
            return _acknowledge(config, ledger, console)
        if config.undo:
            return _undo(config, ledger, console)
        return _show(config, ledger, console)


def _show(config: Config, ledger: Ledger, console: Console) -> Answer:
    rows = ledger.rows()
    found = alerts_of(rows, config.act.helped_within)
    tallies, messages = tally(found), sendings(rows)
    console.show(alerts_table([alert for alert in found if alert.state is not State.RESOLVED] or found[-10:]))
    for item in blind(rows):
        console.warn(f"{item.window}: {item.rule} cannot ring: {item.message}")
    for told in tallies[:-1] if len(tallies) > 2 else ():
        console.note(tally_sentence(told, config.act.helped_within))
    console.note(tally_sentence(tallies[-1], config.act.helped_within))
    waiting = [s for s in messages if s.outcome != DELIVERED]
    if messages:
        console.note(f"{len(messages)} messages, {len(messages) - len(waiting)} of them delivered")
    for sending in waiting[-5:]:
        console.note(f"  {sending.channel}: {sending.message.title}: {sending.outcome} {sending.said}")
    unseen = any(alert.state is State.OPEN for alert in found)
    answer = {"loop": config.loop.name, "alerts": found, "rules": tallies[:-1], "all": tallies[-1]}
    answer |= {"blind": blind(rows), "messages": messages}
    plain: dict[str, Any] = to_plain(answer)
    return (NEGATIVE if unseen else 0), plain


def _acknowledge(config: Config, ledger: Ledger, console: Console) -> Answer:
    """Once: who came first has it in hand."""
    by, note = _who(config)
    found = alerts_of(ledger.rows(), config.act.helped_within)
    alert = _one("ack", str(config.ack), {alert.id: alert for alert in found})
    if alert.state is State.RESOLVED:
        raise ConfigError("ack", f"{alert.rule} was good again in {alert.until}", "there is nothing to acknowledge")
    word = Word(of=alert.id, by=by, note=note)
    row = ledger.append(ACKNOWLEDGED, digest(ACKNOWLEDGED, alert.id), to_plain(word))
    word = from_plain(Word, row.payload)
    console.note(f"{alert.rule}, open since {alert.since}: {word.by} has it in hand{': ' * bool(word.note)}{word.note}")
    plain: dict[str, Any] = to_plain(word)
    return 0, {"loop": config.loop.name, "alert": alert.id, "acknowledged": plain}


def _undo(config: Config, ledger: Ledger, console: Console) -> Answer:
    by, note = _who(config)
    if not note:
        raise ConfigError("note", "a change by hand needs a reason", "add note='...'")
    acted = {row.id: from_plain(Acted, row.payload) for row in ledger.rows(ACTED)}
    found = _one("undo", str(config.undo), acted)
    word, said = undoing.undo(ledger, config.open_store, found, by=by, note=note)
    console.note(f"{found.rule}, {found.window}: {said}")
    return 0, {"loop": config.loop.name, "acted": to_plain(found), "undone": to_plain(word), "said": said}


def _test(config: Config, ledger: Ledger, console: Console) -> Answer:
    """A message of its own to one channel, sent at once; others that are due go with it."""
    name, act = str(config.test), config.act
    if name not in act.channels:
        known = ", ".join(act.channels)
        cure = f"choose one of {known}" if known else "describe one in act.channels"
        raise ConfigError("test", f"there is no channel {name!r}", cure)
    make_channels(act.channels)
    by = redact_text(config.by or "somebody")
    text = f"a test by {by}: nothing has happened"
    message = Message(
        key=digest("test", ledger.loop, name, ledger.tip().hash), loop=ledger.loop, event="test", owner=by, text=text
    )
    failed: list[str] = []
    outbox = make_outbox(act, ledger)
    (id,) = outbox.post(message, [name])
    try:
        with ledger.leased(config.loop.lease, wait=0, say=failed.append):
            deliver(outbox, replace(act, deliver_seconds=max(act.deliver_seconds, TEST_SECONDS)), failed.append)
    except LeaseError as error:
        failed.append(f"{error}: it sends what is due after its next window")
    for line in failed:
        console.warn(line)
    sending = next(s for s in outbox.state() if s.id == id)
    console.note(f"{name}: {sending.outcome} {sending.said}".rstrip())
    done = sending.outcome == DELIVERED
    return (0 if done else NEGATIVE), {"loop": config.loop.name, "channel": name, "sending": to_plain(sending)}


def _who(config: Config) -> tuple[str, str]:
    if not config.by:
        raise ConfigError("by", "a word by hand needs a name", "add by=<you>")
    return redact_text(config.by), redact_text(config.note or "")  # both are recorded for good


def _one(key: str, beginning: str, known: dict[str, Any]) -> Any:
    """What has the id that begins so. ConfigError where there is none, or more than one."""
    found: Sequence[str] = [id for id in known if id.startswith(beginning)]
    if len(found) != 1:
        what = f"{beginning[:80]!r} could be any of {len(found)}" if found else f"{beginning[:80]!r} is unknown"
        raise ConfigError(key, what, "see `tidegate alerts` for the ids")
    return known[found[0]]
