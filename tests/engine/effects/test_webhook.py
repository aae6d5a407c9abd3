from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from engine.effects.channels import Sent, make_channels
from engine.effects.conf import ChannelConf
from engine.effects.guard import Guard
from engine.effects.webhook import signature
from engine.errors import ConfigError
from tests.engine.effects.made import message
from tests.engine.effects.servers import NAME, Site

SOON = 100.0  # seconds
SECRETS = {"HOOK_TOKEN": "canary-token", "HOOK_SECRET": "canary-secret"}


@pytest.fixture
def send(site: Site, inside: Callable[..., Guard]) -> Callable[..., Sent]:
    """Sends a message by a channel of these settings, in this environment."""

    def sending(environment: dict[str, str] | None = None, **conf: Any) -> Sent:
        conf = {"kind": "webhook", "url_env": "HOOK_URL", "hosts": [f"{NAME}:{site.port}"], **conf}
        held = {"HOOK_URL": f"https://{NAME}:{site.port}/canary-path", **SECRETS, **(environment or {})}
        channels = make_channels({"ops": ChannelConf(**conf)}, held, inside)
        return channels["ops"].send(message(window="w1"), SOON)

    return sending


def test_the_message_comes_as_json_under_its_key(send: Callable[..., Sent], site: Site) -> None:
    assert send() == Sent(ok=True, said="200")
    (request,) = site.got
    assert json.loads(request.body) == message(window="w1").plain()
    assert request.path == "/canary-path"
    assert request.headers["Idempotency-Key"] == "k"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("tidegate/")
    assert "Authorization" not in request.headers


def test_a_url_of_the_config_is_used(send: Callable[..., Sent], site: Site) -> None:
    assert send(url_env="", url=f"https://{NAME}:{site.port}/alerts").ok
    assert site.got[0].path == "/alerts"


def test_a_receiver_can_prove_who_sent_it(send: Callable[..., Sent], site: Site) -> None:
    began = time.time()
    assert send(secret_env="HOOK_SECRET", token_env="HOOK_TOKEN").ok
    (request,) = site.got
    assert request.headers["Authorization"] == "Bearer canary-token"
    at, _, proof = request.headers["Tidegate-Signature"].partition(",v1=")
    seconds = int(at.removeprefix("t="))
    assert began - 1 <= seconds <= time.time()
    made = hmac.new(b"canary-secret", f"{seconds}.".encode() + request.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(proof, made)


def test_the_signature_is_that_of_rfc_2104() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac key
    expected = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
    assert signature("key", 1_700_000_000, b"{}") == expected


@pytest.mark.parametrize(
    ("status", "unwell"), [(400, False), (401, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
def test_a_refusal_is_told_by_its_number_alone(
    status: int, unwell: bool, send: Callable[..., Sent], site: Site
) -> None:
    site.answers = [(status, {})]
    assert send() == Sent(ok=False, said=str(status), unreachable=unwell)


@pytest.mark.parametrize(
    ("asked", "waited"), [("90", 90), ("9999999", 86400), ("-5", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("٣", 0)]
)
def test_a_receiver_may_ask_for_time_in_seconds(
    asked: str, waited: float, send: Callable[..., Sent], site: Site
) -> None:
    site.answers = [(429, {"Retry-After": asked.encode().decode("latin-1")})]
    assert send().again == waited


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HOOK_URL": ""}, "HOOK_URL is not set in the environment"),
        ({"HOOK_URL": "https://a\nb"}, "HOOK_URL holds what cannot be sent"),
        ({"HOOK_URL": "https://canary:canary@ops.example.com/"}, "HOOK_URL: the URL holds a user or a password"),
        ({"HOOK_URL": "http://ops.example.com/canary"}, "the URL is not https"),
        ({"HOOK_URL": "https://canary.example.com/"}, "the host is not one of hosts, or its port is not"),
        ({"HOOK_TOKEN": "a\r\nX-Evil: canary"}, "HOOK_TOKEN holds what cannot be sent"),
        ({"HOOK_SECRET": " "}, "HOOK_SECRET is not set in the environment"),
    ],
)
def test_what_is_wrong_with_the_environment_is_told_by_the_name_alone(
    environment: dict[str, str], said: str, send: Callable[..., Sent], site: Site
) -> None:
    assert send(environment, token_env="HOOK_TOKEN", secret_env="HOOK_SECRET") == Sent(ok=False, said=said)
    assert site.got == []


def test_who_does_not_listen_is_unreachable(inside: Callable[..., Guard]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = nobody.getsockname()[1]
        conf = ChannelConf(kind="webhook", url_env="HOOK_URL", hosts=[f"{NAME}:{port}"])
        channel = make_channels({"ops": conf}, {"HOOK_URL": f"https://{NAME}:{port}/canary"}, inside)["ops"]
        assert channel.send(message(), SOON) == Sent(ok=False, said="connection refused", unreachable=True)


def test_who_hangs_up_is_unreachable(send: Callable[..., Sent], site: Site) -> None:
    def hang_up(_request: object) -> None:
        raise ConnectionAbortedError

    site.before = hang_up
    sent = send()
    assert (sent.ok, sent.unreachable) == (False, True)
    assert len(site.got) == 1


def test_channels_have_names() -> None:
    with pytest.raises(ConfigError, match=r"act\.channels: 'a b' is no name of a channel - use 1 to 64 letters"):
        make_channels({"a b": ChannelConf(kind="command", argv=["/bin/true"])})
