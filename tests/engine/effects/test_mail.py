from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from typing import Any

import pytest

from engine.effects.channels import Sent, make_channels
from engine.effects.conf import ChannelConf
from engine.effects.guard import Guard
from engine.effects.message import Message
from tests.engine.effects import servers
from tests.engine.effects.made import message
from tests.engine.effects.servers import NAME, Certificate, PostOffice

SOON = 100.0  # seconds
HELD = {"MAIL_PASSWORD": "canary-password"}


def send(office: PostOffice, inside: Callable[..., Guard], told: Message | None = None, **conf: Any) -> Sent:
    made = ChannelConf(
        **{
            "kind": "email", "server": NAME, "port": office.port, "sender": "ml@example.com",
            "to": ["a@example.com", "b@example.com"], **conf,
        }
    )  # fmt: skip
    return make_channels({"mail": made}, HELD, inside)["mail"].send(told or message(), SOON)


def test_it_comes_under_tls_to_all_who_are_named(certificate: Certificate, inside: Callable[..., Guard]) -> None:
    told = message(
        key="abc123" * 15, window="w1", rule="drift", owner="Dät", metric="drift.share", value=0.6, threshold=0.5
    )
    with servers.smtp_office(certificate) as office:
        assert send(office, inside, told) == Sent(ok=True, said="accepted")
    ((sender, to, text),) = office.mails
    assert (sender, to, office.secured) == ("ml@example.com", ["a@example.com", "b@example.com"], [True])
    mail = email.message_from_bytes(text.encode(), policy=email.policy.default)
    assert mail["Subject"] == "[suspected] flights w1: drift raised"
    assert (
        f"Message-ID: <{told.key}@example.com>\r\n" in text or f"Message-ID:\r\n <{told.key}@example.com>\r\n" in text
    )
    assert mail["Message-ID"] == f"<{told.key}@example.com>"
    assert (mail["From"], mail["To"]) == ("ml@example.com", "a@example.com, b@example.com")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().splitlines() == [
        "drift.share = 0.6 > 0.5", "", "loop: flights", "window: w1", "rule: drift", "severity: suspected",
        "owner: Dät", "drift.share: 0.6 (threshold 0.5)", f"key: {told.key}",
    ]  # fmt: skip


@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "tls"])
def test_a_password_goes_under_tls(at_once: bool, certificate: Certificate, inside: Callable[..., Guard]) -> None:
    conf = {"tls": "tls" if at_once else "starttls", "user": "me", "password_env": "MAIL_PASSWORD"}
    with servers.smtp_office(certificate, at_once=at_once) as office:
        assert send(office, inside, **conf).ok
    assert office.logins == ["\0me\0canary-password"]
    assert office.secured == [True]


def test_a_server_that_does_not_know_tls_gets_nothing(certificate: Certificate, inside: Callable[..., Guard]) -> None:
    with servers.smtp_office(certificate) as office:
        office.offers = ("AUTH PLAIN",)
        sent = send(office, inside, user="me", password_env="MAIL_PASSWORD")
    assert sent.said == "the mail server does not know what is asked of it (starttls, or a login)"
    assert (sent.ok, office.mails, office.logins) == (False, [], [])


@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "tls"])
def test_a_server_under_another_name_gets_nothing(
    at_once: bool, certificate: Certificate, inside: Callable[..., Guard]
) -> None:
    conf = {"tls": "tls" if at_once else "starttls", "server": "other.example.com"}
    with servers.smtp_office(certificate, at_once=at_once) as office:
        assert send(office, inside, **conf).said == "the certificate of the host is not good"
    assert office.mails == []


def test_without_tls_on_this_machine_alone(certificate: Certificate) -> None:
    def guard(hosts: list[str], networks: list[str]) -> Guard:
        assert networks == ["127.0.0.0/8"]  # as a config may name it
        return Guard(hosts, networks, resolve=lambda *_: ["127.0.0.1"])

    with servers.smtp_office() as office:
        assert send(office, guard, tls="none", networks=["127.0.0.0/8"]).ok
    assert office.secured == [False]


def test_without_tls_another_machine_gets_nothing(
    inside: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.effects.mail.on_loopback", lambda _connection: False)
    with servers.smtp_office() as office:
        assert send(office, inside, tls="none").said == "the server is on another machine, and tls is none"
    assert office.mails == []


def test_a_mail_server_on_loopback_must_be_named_by_its_network() -> None:
    with servers.smtp_office() as office:
        sent = send(office, Guard, server="127.0.0.1", tls="none")
        assert sent.said == "the host has an address that is not allowed (not a global address)"
        assert send(office, Guard, server="127.0.0.1", tls="none", networks=["127.0.0.0/8"]).ok


def test_no_field_of_a_message_becomes_a_header(certificate: Certificate, inside: Callable[..., Guard]) -> None:
    told = message(
        window="w1\r\nBcc: evil@example.com", rule="a\nSubject: b", text="x\r\n.\r\nMAIL FROM:<e@x>"
    ).cleaned()
    with servers.smtp_office(certificate) as office:
        assert send(office, inside, told).ok
    ((_sender, to, text),) = office.mails
    mail = email.message_from_bytes(text.encode(), policy=email.policy.default)
    assert (mail["Bcc"], to) == (None, ["a@example.com", "b@example.com"])
    assert mail["Subject"] == "[suspected] flights w1 Bcc: evil@example.com: a Subject: b raised"


@pytest.mark.parametrize(
    ("codes", "said", "unreachable"),
    [
        ({"MAIL": "451 canary"}, "the mail server said 451", False),
        ({"RCPT": "550 canary"}, "the mail server refused every address", False),
        ({"DATA": "554 canary"}, "the mail server said 554", True),
        ({"AUTH": "535 canary"}, "the mail server said 535", True),
        ({"after data": "452 canary"}, "the mail server said 452", True),
        ({"STARTTLS": "454 canary"}, "the mail server said 454", True),
    ],
)
def test_a_refusal_is_told_by_its_number_alone(
    codes: dict[str, str], said: str, unreachable: bool, certificate: Certificate, inside: Callable[..., Guard]
) -> None:
    with servers.smtp_office(certificate) as office:
        office.codes = codes
        sent = send(office, inside, user="me", password_env="MAIL_PASSWORD")
    assert sent == Sent(ok=False, said=said, unreachable=unreachable)


def test_addresses_that_are_refused_are_counted(certificate: Certificate, inside: Callable[..., Guard]) -> None:
    with servers.smtp_office(certificate) as office:
        office.codes = {"RCPT TO:<B@": "550 unknown"}
        assert send(office, inside) == Sent(ok=True, said="accepted, but for 1 of 2 addresses")
    assert office.mails[0][1] == ["a@example.com"]


def test_what_is_said_after_the_mail_was_taken_changes_nothing(
    certificate: Certificate, inside: Callable[..., Guard]
) -> None:
    with servers.smtp_office(certificate) as office:
        for last in ("500 what", servers.HANG_UP):
            office.codes = {"QUIT": last}
            assert send(office, inside).ok


def test_a_variable_that_is_not_set_is_named(certificate: Certificate, inside: Callable[..., Guard]) -> None:
    with servers.smtp_office(certificate) as office:
        sent = send(office, inside, user="me", password_env="NO_SUCH_PASSWORD")
    assert sent == Sent(ok=False, said="NO_SUCH_PASSWORD is not set in the environment")


def test_a_server_that_does_not_greet_is_cut_off(certificate: Certificate, inside: Callable[..., Guard]) -> None:
    with servers.dripping() as port:
        conf = ChannelConf(kind="email", server=NAME, port=port, sender="a@b.c", to=["d@e.f"])
        channel = make_channels({"mail": conf}, {}, inside)["mail"]
        assert channel.send(message(), 0.5) == Sent(ok=False, said="timed out", unreachable=True)
