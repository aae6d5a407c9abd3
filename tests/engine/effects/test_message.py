from __future__ import annotations

import json
import math

import pytest

from engine.effects.message import LONGEST, Message, read_message
from engine.errors import InputError
from tests.engine.effects.made import message


def test_its_json_is_stable() -> None:
    made = Message(
        key="k1", loop="flights", window="2013-07", rule="drift", event="raised", severity="detected", owner="data",
        text="drift.share = 0.6", metric="drift.share", value=0.6, threshold=0.5, runbook="ask", done="freeze",
    )  # fmt: skip
    assert json.dumps(made.plain()) == (
        '{"version": 1, "key": "k1", "loop": "flights", "window": "2013-07", "rule": "drift", "event": "raised", '
        '"severity": "detected", "owner": "data", "text": "drift.share = 0.6", "metric": "drift.share", "value": 0.6, '
        '"threshold": 0.5, "runbook": "ask", "done": "freeze"}'
    )


def test_it_comes_back_from_json_with_numbers_that_are_none() -> None:
    back = read_message(json.loads(json.dumps(message(value=math.nan).plain(), allow_nan=False)))
    assert math.isnan(back.value)
    assert back.plain() == message(value=math.nan).plain()


def test_a_later_version_is_refused() -> None:
    with pytest.raises(InputError, match="message:version: 2 is unknown - use the release that wrote it"):
        read_message({**message().plain(), "version": 2})


@pytest.mark.parametrize("key", ["", "a b", "a\r\nX: y", "é", "-a", "a" * 129, "<a>", "a/b"])
def test_a_key_that_could_not_stand_in_a_header_is_refused(key: str) -> None:
    with pytest.raises(InputError, match=r"message:key: .* is no key - use a digest"):
        message(key=key)


def test_unknown_events_and_severities_are_refused() -> None:
    with pytest.raises(InputError, match="message:event: 'rised' is unknown - choose one of raised escalated"):
        message(event="rised")
    with pytest.raises(InputError, match="message:severity: 'high' is unknown - choose one of suspected detected"):
        message(severity="high")


def test_texts_are_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_TOKEN", "canary-0123456789")
    made = message(
        text="see\r\nBcc: x@y\x1b[31m postgresql://me:canary-1@host/db",
        runbook="curl -H 'Authorization: Bearer canary-2345678'",
        owner="canary-0123456789",
        window="a\nb",
    ).cleaned()
    assert "canary" not in json.dumps(made.plain())
    assert made.text.startswith("see Bcc: x@y\\x1b[31m postgresql://***@host")
    assert (made.window, made.owner) == ("a b", "***")
    assert len(message(text="x" * 9999).cleaned().text) <= LONGEST


def test_the_title_says_it_in_one_line() -> None:
    assert message(window="w1", rule="drift").title == "[suspected] flights w1: drift raised"
    assert message(window="", rule="", event="test").title == "[suspected] flights: test"
