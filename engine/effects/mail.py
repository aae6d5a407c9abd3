"""E-mail: one message over a guarded connection to one SMTP server, under TLS unless the server is on this machine.

`Message-ID` is made of the key, so that receivers drop doubles.
"""

from __future__ import annotations

import math
import re
import smtplib
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from engine.effects.channels import Sent
from engine.effects.conf import ChannelConf
from engine.effects.guard import Forbidden, Guard, GuardError, cut_off, on_loopback, spoken
from engine.effects.message import Message
from engine.effects.urls import normal_host
from engine.effects.webhook import Unset, variable

_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


class Mail:
    """Sends a message to the addresses of a channel."""

    def __init__(self, conf: ChannelConf, environment: Mapping[str, str], guard: Callable[..., Guard]) -> None:
        self._conf, self._environment = conf, environment
        self._host = normal_host(conf.server)
        self._guard = guard([f"{self._host}:{conf.port}"], conf.networks)

    def __call__(self, message: Message, timeout: float) -> Sent:
        """Send one message within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        try:
            password = variable(self._environment, self._conf.password_env) if self._conf.user else ""
            connection = self._guard.connect(self._host, self._conf.port, deadline)
        except Unset as error:
            return Sent(ok=False, said=str(error))
        except Forbidden as error:
            return Sent(ok=False, said=str(error))
        except GuardError as error:
            return Sent(ok=False, said=str(error), unreachable=True)
        try:
            return self._talk(connection, message, password, deadline)
        except (smtplib.SMTPException, OSError) as error:
            said = "timed out" if time.monotonic() >= deadline else _words(error)
            permanent = isinstance(error, Forbidden | smtplib.SMTPRecipientsRefused | smtplib.SMTPSenderRefused)
            return Sent(ok=False, said=said, unreachable=not permanent)

    def _talk(self, connection: socket.socket, message: Message, password: str, deadline: float) -> Sent:
        """The dialogue, up to the server's word that it has the message. The connection is closed."""
        if self._conf.tls == "none" and not on_loopback(connection):
            connection.close()
            raise Forbidden("the server is on another machine, and tls is none")
        if self._conf.tls == "tls":
            connection = self._guard.secure(connection, self._host, deadline)
        with closing(connection), cut_off(connection, deadline):
            client = _Client(connection, self._host, max(0.1, deadline - time.monotonic()))
            if self._conf.tls == "starttls":
                client.starttls(context=_Secured(self._guard, deadline))  # type: ignore[call-overload]
            assert client.sock is not None
            with closing(client), cut_off(client.sock, deadline):
                if self._conf.user:
                    client.login(self._conf.user, password)
                refused = client.send_message(self.written(message), self._conf.sender, self._conf.to)
                with suppress(smtplib.SMTPException, OSError):  # it has the message, however it says goodbye
                    client.quit()
        said = f"accepted, but for {len(refused)} of {len(self._conf.to)} addresses" if refused else "accepted"
        return Sent(ok=True, said=said)

    def written(self, message: Message) -> EmailMessage:
        """The mail. Every field of a message is on one line; `EmailMessage` would refuse a header that is not."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._conf.sender, ", ".join(self._conf.to), message.title
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.key}@{self._conf.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # no holiday replies (RFC 3834)
        number = "" if math.isnan(message.value) else f"{message.value:.6g} (threshold {message.threshold:.6g})"
        facts = {
            "loop": message.loop, "window": message.window, "rule": message.rule, "severity": message.severity,
            "owner": message.owner, message.metric: number, "runbook": message.runbook, "done": message.done,
            "key": message.key,
        }  # fmt: skip
        lines = [message.text, "", *(f"{name}: {fact}" for name, fact in facts.items() if fact), ""]
        mail.set_content("\n".join(lines), cte="quoted-printable")  # in ASCII, which every server takes
        return mail


class _Client(smtplib.SMTP):
    """An SMTP client on a connection that is there already."""

    def __init__(self, connection: socket.socket, host: str, timeout: float) -> None:
        self._given = connection
        name = socket.gethostname()
        super().__init__(host, 0, local_hostname=name if _HOST.fullmatch(name) else "localhost", timeout=timeout)

    def _get_socket(self, _host: str, _port: int, timeout: float) -> socket.socket:
        """What smtplib connects by; its own SMTP_SSL overrides it, too."""
        self._given.settimeout(timeout)
        return self._given


@dataclass(frozen=True)
class _Secured:
    """What smtplib takes for an SSL context: TLS by the guard, within the time that is left."""

    guard: Guard
    deadline: float

    def wrap_socket(self, connection: socket.socket, server_hostname: str) -> socket.socket:
        """The same connection under TLS."""
        return self.guard.secure(connection, server_hostname, self.deadline)


def _words(error: Exception) -> str:
    """What went wrong, with the server's number and none of its words."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server said {error.smtp_code}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "the mail server refused every address"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the mail server does not know what is asked of it (starttls, or a login)"
    if isinstance(error, smtplib.SMTPException):
        return "the mail server broke off"
    return spoken(error)
