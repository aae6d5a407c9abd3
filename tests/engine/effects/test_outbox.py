from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from engine.effects import Message, Outbox
from engine.effects.channels import Sent
from engine.effects.outbox import LEAST
from engine.errors import ConfigError, LeaseError
from tests.engine.effects.made import ILL, REFUSED, WELL, Memory, Receiver, channel, message, messages


def outbox(book: Memory, dry_run: bool = False, **receivers: Receiver) -> Outbox:
    """An outbox as a new process makes it: all that it knows is in the book."""
    channels = {name: channel(receiver) for name, receiver in receivers.items()}
    return Outbox(book, channels, book.now, dry_run=dry_run)


def outcomes(book: Memory) -> list[tuple[str, str, int]]:
    return [(s.message.key, s.outcome, s.tries) for s in outbox(book).state()]


def test_a_message_is_posted_once_a_channel_and_sent_once() -> None:
    book, ops, ml = Memory(), Receiver(), Receiver()
    box = outbox(book, ops=ops, ml=ml)
    assert box.post(message(), ["ops", "ml"]) == outbox(book, ops=ops, ml=ml).post(message(), ["ops", "ml"])
    assert [row.kind for row in book.table] == ["effect", "effect"]
    assert {s.outcome for s in box.deliver(10)} == {"delivered"}
    assert box.deliver(10) == outbox(book, ops=ops, ml=ml).deliver(10) == ()
    assert (ops.keys, ml.keys) == (["k"], ["k"])
    assert book.table[-1].payload == {"effect": book.table[1].id, "outcome": "delivered", "try": 1, "said": "200"}


def test_what_is_posted_and_sent_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_TOKEN", "canary-0123456789")
    book, ops = Memory(), Receiver()
    box = outbox(book, ops=ops)
    box.post(message(text="it is canary-0123456789\nand more"), ["ops"])
    box.deliver(10)
    assert book.table[0].payload["message"]["text"] == ops.got[0].text == "it is *** and more"


def test_a_channel_that_is_not_there_is_refused_and_nothing_is_posted() -> None:
    book = Memory()
    with pytest.raises(ConfigError, match=r"act\.channels: there is no channel 'pager' - configured: ops, ml"):
        outbox(book, ops=Receiver(), ml=Receiver()).post(message(), ["ops", "pager"])
    assert book.table == []


def test_the_oldest_comes_first_and_channels_take_turns() -> None:
    book, order = Memory(), []

    def note(name: str) -> Receiver:
        return Receiver(lambda m: (order.append(name + m.key), WELL)[1])  # type: ignore[func-returns-value]

    box = outbox(book, a=note("a"), b=note("b"))
    for each in messages(2):
        box.post(each, ["b"])
    box.post(message(key="k2"), ["a"])
    box.deliver(10)
    assert order == ["bk0", "ak2", "bk1"]


def test_it_is_tried_again_later_and_later_by_what_the_ledger_says() -> None:
    book, ops = Memory(), Receiver(lambda _m: ILL)
    outbox(book, ops=ops).post(message(), ["ops"])
    pauses = []
    for _ in range(9):
        (tried,) = outbox(book, ops=ops).deliver(10)  # each time another process
        assert (tried.outcome, tried.said) == ("waiting", "503")
        due = datetime.fromisoformat(tried.due)
        pauses.append((due - book.time).total_seconds() / 60)
        book.time = due - timedelta(seconds=1)
        assert outbox(book, ops=ops).deliver(10) == ()
        book.time = due
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 64, 128]
    (tried,) = outbox(book, ops=ops).deliver(10)
    assert (tried.outcome, tried.tries) == ("given up", 10)
    book.pass_by(days=9)
    assert outbox(book, ops=ops).deliver(10) == ()
    assert ops.keys == ["k"] * 10


def test_it_comes_through_in_the_end() -> None:
    answers = iter([ILL, REFUSED, WELL])
    book, ops = Memory(), Receiver(lambda _m: next(answers))
    outbox(book, ops=ops).post(message(), ["ops"])
    for _ in range(5):
        outbox(book, ops=ops).deliver(10)
        book.pass_by(hours=1)
    assert outcomes(book) == [("k", "delivered", 3)]
    assert [row.id[-10:] for row in book.table[1:]] == [
        f"{book.table[0].id}:{end}"[-10:] for end in ("1", "2", "delivered")
    ]


def test_a_receiver_that_asks_for_more_time_gets_it() -> None:
    book, ops = Memory(), Receiver(lambda _m: Sent(ok=False, said="429", unreachable=True, again=600))
    outbox(book, ops=ops).post(message(), ["ops"])
    outbox(book, ops=ops).deliver(10)
    book.pass_by(minutes=9)
    assert outbox(book, ops=ops).deliver(10) == ()
    book.pass_by(minutes=1)
    assert len(outbox(book, ops=ops).deliver(10)) == 1


def test_a_channel_that_cannot_be_reached_rests_and_the_others_do_not() -> None:
    book, down, well = Memory(), Receiver(lambda _m: ILL), Receiver()
    box = outbox(book, down=down, well=well)
    for each in messages(3):
        box.post(each, ["down", "well"])
    box.deliver(10)
    outbox(book, down=down, well=well).deliver(10)  # too early, also for the messages that were not tried yet
    assert (down.keys, well.keys) == (["k0"], ["k0", "k1", "k2"])
    book.pass_by(seconds=30)
    down.answer = lambda _m: WELL
    outbox(book, down=down, well=well).deliver(10)
    assert down.keys == ["k0", "k0", "k1", "k2"]


def test_one_message_that_is_refused_holds_up_no_other() -> None:
    book, ops = Memory(), Receiver(lambda m: REFUSED if m.key == "k0" else WELL)
    box = outbox(book, ops=ops)
    for each in messages(3):
        box.post(each, ["ops"])
    box.deliver(10)
    assert outcomes(book) == [("k0", "waiting", 1), ("k1", "delivered", 1), ("k2", "delivered", 1)]


def test_a_sender_that_raises_is_told_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_TOKEN", "canary-123456")

    def broken(_message: Message) -> Sent:
        raise RuntimeError("no way to canary-123456")

    book = Memory()
    box = outbox(book, ops=Receiver(broken))
    box.post(message(), ["ops"])
    (tried,) = box.deliver(10)
    assert (tried.outcome, tried.said) == ("waiting", "RuntimeError: no way to ***")


def test_time_is_kept() -> None:
    book, ops = Memory(), Receiver()
    box = outbox(book, ops=ops)
    for each in messages(3):
        box.post(each, ["ops"])
    assert box.deliver(0) == ()
    box.deliver(4)
    assert all(0 < waited <= 4 for waited in ops.waited)
    assert len(ops.got) == 3
    assert LEAST < 4


def test_a_process_that_lost_the_lease_sends_nothing() -> None:
    book, ops = Memory(), Receiver()
    box = outbox(book, ops=ops)
    box.post(message(), ["ops"])
    book.lost = True
    with pytest.raises(LeaseError):
        box.deliver(10)
    assert ops.got == []


def test_a_dry_run_says_what_would_be_sent_and_does_not_spend_the_key() -> None:
    book, ops = Memory(), Receiver()
    rehearsal = outbox(book, dry_run=True, ops=ops)
    rehearsal.post(message(), ["ops"])
    assert rehearsal.deliver(10) == ()
    assert [s.outcome for s in rehearsal.state()] == ["rehearsed"]
    box = outbox(book, ops=ops)
    box.post(message(), ["ops"])
    box.deliver(10)
    assert [s.outcome for s in box.state()] == ["rehearsed", "delivered"]
    assert ops.keys == ["k"]
    box.post(message(key="k2"), ["ops"])
    assert outbox(book, dry_run=True, ops=ops).deliver(10) == ()
    assert ops.keys == ["k"]


def test_a_channel_that_is_configured_no_more_is_told_and_given_up_in_the_end() -> None:
    book, ops = Memory(), Receiver()
    outbox(book, ops=ops).post(message(), ["ops"])
    for _ in range(11):
        outbox(book, ml=Receiver()).deliver(10)
        book.pass_by(hours=7)
    (sending,) = outbox(book).state()
    assert (sending.outcome, sending.tries) == ("given up", 10)
    assert sending.said == "channel ops is not configured"


# ---- the limit -------------------------------------------------------------------------------------------------


def limited(book: Memory, ops: Receiver, rate: int) -> Outbox:
    return Outbox(book, {"ops": channel(ops, rate=rate, per="1h")}, book.now)


def test_above_the_limit_one_message_tells_of_the_rest() -> None:
    book, ops = Memory(), Receiver()
    box = limited(book, ops, 3)
    for each in [*messages(3, rule="drift"), message(key="k3", rule="late", severity="detected", owner="data")]:
        box.post(each, ["ops"])
    box.post(message(key="k4", rule="drift", window="w9"), ["ops"])
    box.deliver(10)
    assert ops.keys[:2] == ["k0", "k1"]
    (summary,) = ops.got[2:]
    assert (summary.event, summary.severity, summary.owner, summary.window) == ("summary", "detected", "data", "w9")
    assert summary.text == "3 more, held back by the limit of this channel: drift (2), late (1)"
    by_key = {s.message.key: s.outcome for s in limited(book, ops, 3).state()}
    assert by_key == {
        "k0": "delivered", "k1": "delivered", "k2": "summarised", "k3": "summarised", "k4": "summarised",
        summary.key: "delivered",
    }  # fmt: skip


def test_what_comes_while_the_limit_is_reached_waits_for_the_next_period_and_nothing_is_lost() -> None:
    book, ops = Memory(), Receiver()
    told: set[str] = set()
    posted = []
    for i in range(60):
        new = message(key=f"k{i}")
        posted.append(new.key)
        limited(book, ops, 4).post(new, ["ops"])
        limited(book, ops, 4).deliver(10)
        book.pass_by(minutes=3)
    book.pass_by(hours=1)
    limited(book, ops, 4).deliver(10)
    state = limited(book, ops, 4).state()
    by_id = {s.id: s for s in state}
    for sending in state:
        if sending.outcome == "delivered":
            told |= {by_id[id].message.key for id in sending.covers} or {sending.message.key}
    assert told >= set(posted)
    times = [row.at for row in book.table if row.kind == "delivery"]
    assert len(times) == len(ops.got) < 20  # of 60 messages in three hours, 4 an hour


def test_tries_count_as_sends() -> None:
    book, ops = Memory(), Receiver(lambda _m: REFUSED)
    box = limited(book, ops, 2)
    box.post(message(), ["ops"])
    for _ in range(5):
        box.deliver(10)
        book.pass_by(minutes=5)
    assert len(ops.got) == 2


def test_a_summary_that_fails_is_tried_again_with_the_same_key_and_told_before_what_is_new() -> None:
    book, ops = Memory(), Receiver(lambda _m: ILL)
    box = limited(book, ops, 1)
    for each in messages(3):
        box.post(each, ["ops"])
    box.deliver(10)
    box.post(message(key="k9"), ["ops"])
    book.pass_by(hours=1)
    ops.answer = lambda _m: WELL
    limited(book, ops, 1).deliver(10)
    assert len(set(ops.keys)) == 1
    assert len(ops.keys) == 2
    assert "3 more" in ops.got[0].text
    book.pass_by(hours=1)
    limited(book, ops, 1).deliver(10)
    assert ops.keys[2:] == ["k9"]


def test_a_summary_names_some_rules_and_counts_the_others() -> None:
    book, ops = Memory(), Receiver()
    box = limited(book, ops, 1)
    for i in range(12):
        box.post(message(key=f"k{i}", rule=f"rule{i:02d}"), ["ops"])
    box.deliver(10)
    assert ops.got[0].text.endswith("rule06 (1), rule07 (1) and 4 other rules")
