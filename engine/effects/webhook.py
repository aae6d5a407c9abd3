"""Webhooks: one POST of JSON over a guarded connection. Redirects are not followed; an answer's body is not read.

Headers of the generic webhook: `Idempotency-Key`, the key of the message (the same for every try); where a secret is
configured `Tidegate-Signature: t=<seconds since 1970>,v1=<hex>`, the HMAC-SHA256 of `<t>.<body>` (Stripe's scheme; a
receiver recomputes it and refuses an old t); where a token is, `Authorization: Bearer`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import engine
from engine.effects.channels import Sent
from engine.effects.conf import ChannelConf
from engine.effects.guard import Forbidden, Guard, GuardError, cut_off, spoken
from engine.effects.message import Message
from engine.effects.urls import Url, UrlError, parse_url

WELL = range(200, 300)
REDIRECTS = range(300, 400)
UNWELL = (408, 429, *range(500, 600))  # the receiver, not this message
LONGEST_WAIT = 24 * 3600.0  # seconds: longer than a receiver may ask us to wait


class Unset(ValueError):
    """A variable of the environment that a channel needs is not there, or holds what cannot be used."""


def variable(environment: Mapping[str, str], name: str) -> str:
    """What a variable holds; Unset, which names the variable alone, where it holds nothing or more than one line."""
    value = environment.get(name, "").strip()
    if not value:
        raise Unset(f"{name} is not set in the environment")
    if not value.isprintable():
        raise Unset(f"{name} holds what cannot be sent")
    return value


class Webhook:
    """Sends the message's own JSON to a URL."""

    def __init__(self, conf: ChannelConf, environment: Mapping[str, str], guard: Callable[..., Guard]) -> None:
        self._conf, self._environment = conf, environment
        self._guard = guard(conf.hosts, conf.networks)

    def __call__(self, message: Message, timeout: float) -> Sent:
        """Send one message within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        try:
            body = json.dumps(self.body(message), ensure_ascii=True, allow_nan=False).encode()
            return post(self._guard, self._url(), body, self.headers(message, body), deadline)
        except Unset as error:
            return Sent(ok=False, said=str(error))

    def body(self, message: Message) -> dict[str, Any]:
        """What is sent."""
        return message.plain()

    def headers(self, message: Message, body: bytes) -> dict[str, str]:
        """The headers of ours."""
        made = {"Idempotency-Key": message.key}
        if self._conf.token_env:
            made["Authorization"] = f"Bearer {variable(self._environment, self._conf.token_env)}"
        if self._conf.secret_env:
            secret = variable(self._environment, self._conf.secret_env)
            made["Tidegate-Signature"] = signature(secret, int(time.time()), body)
        return made

    def _url(self) -> Url:
        """Where to; never shown."""
        name = self._conf.url_env
        try:
            return parse_url(self._conf.url or variable(self._environment, name))
        except UrlError as error:
            raise Unset(f"{name or 'url'}: {error}") from None


def signature(secret: str, at: int, body: bytes) -> str:
    """The signature header of a body that is sent `at` seconds since 1970."""
    made = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={made.hexdigest()}"


def post(guard: Guard, url: Url, body: bytes, headers: Mapping[str, str], deadline: float) -> Sent:
    """One POST. What it came to: the status, or why there is none."""
    try:
        connection = guard.open(url, deadline)
    except Forbidden as error:
        return Sent(ok=False, said=str(error))
    except GuardError as error:
        return Sent(ok=False, said=str(error), unreachable=True)
    try:
        with connection, cut_off(connection, deadline):
            client = http.client.HTTPConnection("receiver")  # the Host header is ours
            client.sock = connection  # it opens none of its own, asks no proxy and follows nothing
            ours = {"Host": url.authority, "User-Agent": f"tidegate/{engine.__version__}", "Connection": "close"}
            client.request("POST", url.path, body, {**ours, "Content-Type": "application/json", **headers})
            answer = client.getresponse()
            return _sent(answer.status, answer.getheader("Retry-After", ""))
    except (http.client.HTTPException, OSError) as error:
        late = time.monotonic() >= deadline
        said = "timed out" if late else "no answer of HTTP" if not isinstance(error, OSError) else spoken(error)
        return Sent(ok=False, said=said, unreachable=True)


def _sent(status: int, retry_after: str) -> Sent:
    if status in WELL:
        return Sent(ok=True, said=str(status))
    said = f"{status}, and redirects are not followed" if status in REDIRECTS else str(status)
    again = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 8 else 0.0
    return Sent(ok=False, said=said, unreachable=status in UNWELL, again=min(again, LONGEST_WAIT))
