"""ChannelConf: one way outside, as it is written in conf/act. It names variables of the environment, never a secret."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field

from engine.effects.addresses import LOOPBACK, MAY_BE_NAMED
from engine.effects.urls import check_written, host_and_port
from engine.errors import ConfigError
from engine.system.timing import duration

KINDS = ("webhook", "slack", "email", "command")
TLS = ("starttls", "tls", "none")
WHERE = "act.channels"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_OF_ALL = ("kind", "rate", "per", "timeout", "tries")
_OF_KIND = {
    "webhook": ("url", "url_env", "hosts", "networks", "token_env", "secret_env"),
    "slack": ("url_env", "hosts", "networks"),
    "email": ("server", "port", "tls", "networks", "user", "password_env", "sender", "to"),
    "command": ("argv",),
}


@dataclass(kw_only=True, slots=True)
class ChannelConf:
    """One channel. A setting that its kind does not have is refused."""

    kind: str
    """webhook (JSON), slack (or what understands Slack's payload), email or command."""
    rate: int = 20
    """At most so many sends in each `per`, tries included; what is above is told in one summarising message."""
    per: str = "1h"
    """The period of `rate`, such as 10m or 1h."""
    timeout: float = 10.0
    """Seconds for one send, from looking the name up to the answer."""
    tries: int = 10
    """Sends that may fail before a message is given up; in between pauses of 30 s, 1 min, 2 min ... up to 6 h."""
    url: str | None = None
    """webhook: an https URL that holds no secret."""
    url_env: str = ""
    """webhook, slack: the variable of the environment that holds the URL."""
    hosts: list[str] = field(default_factory=list)
    """webhook, slack: hosts that may be connected to, `name` (port 443) or `name:port`. Empty: none."""
    networks: list[str] = field(default_factory=list)
    """webhook, slack, email: private networks in which such a host may lie, such as 10.0.0.0/8. Empty: none."""
    token_env: str = ""
    """webhook: the variable that holds a token, sent as `Authorization: Bearer`."""
    secret_env: str = ""
    """webhook: the variable that holds the secret with which bodies are signed (HMAC-SHA256)."""
    server: str = ""
    """email: the host of the SMTP server."""
    port: int = 587
    """email: its port."""
    tls: str = "starttls"
    """email: starttls, tls (from the first byte, port 465), or none (a server on this machine alone)."""
    user: str = ""
    """email: who logs in; empty: nobody does."""
    password_env: str = ""
    """email: the variable that holds the password."""
    sender: str = ""
    """email: address of the sender."""
    to: list[str] = field(default_factory=list)
    """email: addresses of the receivers."""
    argv: list[str] = field(default_factory=list)
    """command: the program, by its absolute path, and its arguments; no shell sees them. The path must also be listed
    in TIDEGATE_COMMANDS of the environment: a config alone never starts a program."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"{WHERE}:kind", f"{self.kind!r} is unknown", f"choose one of {' '.join(KINDS)}")
        for each in dataclasses.fields(self):
            if each.name not in (*_OF_ALL, *_OF_KIND[self.kind]) and getattr(self, each.name) != _default(each):
                raise ConfigError(f"{WHERE}:{each.name}", f"is no setting of a {self.kind} channel", "leave it out")
        self._check_limits()
        for name in ("url_env", "token_env", "secret_env", "password_env"):
            value = getattr(self, name)
            if value and not _VARIABLE.fullmatch(value):  # not shown: it may be the secret itself
                cure = "write the name of the variable, not what it holds"
                raise ConfigError(f"{WHERE}:{name}", "is no name of an environment variable", cure)
        for written in self.hosts:
            host_and_port(written, f"{WHERE}:hosts")
        for written in self.networks:
            self._check_network(written)
        {"webhook": self._check_webhook, "slack": self._check_slack, "email": self._check_email,
         "command": self._check_command}[self.kind]()  # fmt: skip

    @property
    def period(self) -> float:
        """Seconds of `per`."""
        return duration(self.per, f"{WHERE}:per").total_seconds()

    def _check_limits(self) -> None:
        if self.period < 1:
            raise ConfigError(f"{WHERE}:per", "is no time at all", "choose 1s or more")
        for name, least, most in (("rate", 1, 10_000), ("tries", 1, 100), ("timeout", 0.1, 600), ("port", 1, 65535)):
            if not least <= getattr(self, name) <= most:
                what = f"{getattr(self, name)} is not between {least} and {most}"
                raise ConfigError(f"{WHERE}:{name}", what, f"choose a number from {least} to {most}")

    def _check_network(self, written: str) -> None:
        where = f"{WHERE}:networks"
        try:
            network = ipaddress.ip_network(written)
        except ValueError:
            raise ConfigError(where, f"{written!r} is no network", "write it as 10.0.0.0/8") from None
        allowed = MAY_BE_NAMED if self.kind != "email" else (*MAY_BE_NAMED, *LOOPBACK)
        if not any(network.version == a.version and network.subnet_of(a) for a in allowed):  # type: ignore[arg-type]
            cure = f"name a part of {', '.join(map(str, allowed))}"
            raise ConfigError(where, f"{written!r} is no private network", cure)

    def _check_webhook(self) -> None:
        if bool(self.url) == bool(self.url_env):
            raise ConfigError(f"{WHERE}:url", "a webhook has one URL", "set either url or url_env")
        if self.url:
            check_written(self.url, f"{WHERE}:url")

    def _check_slack(self) -> None:
        if not self.url_env:
            cure = "name the variable of the environment that holds it"
            raise ConfigError(f"{WHERE}:url_env", "a slack channel has a URL, which is a secret", cure)

    def _check_email(self) -> None:
        if not self.server:
            raise ConfigError(f"{WHERE}:server", "an email channel has a server", "name the host of an SMTP server")
        if ":" in self.server:
            raise ConfigError(f"{WHERE}:server", "names more than a host", "write the port in port")
        host_and_port(self.server, f"{WHERE}:server")
        if self.tls not in TLS:
            raise ConfigError(f"{WHERE}:tls", f"{self.tls!r} is unknown", f"choose one of {' '.join(TLS)}")
        if bool(self.user) != bool(self.password_env):
            raise ConfigError(f"{WHERE}:user", "user and password_env go together", "set both, or none")
        if self.user and self.tls == "none":
            raise ConfigError(f"{WHERE}:tls", "a password is never sent in the clear", "choose starttls or tls")
        if not self.to:
            raise ConfigError(f"{WHERE}:to", "names nobody", "write one address or more")
        for name, addresses in (("sender", [self.sender]), ("to", self.to)):
            for address in addresses:
                if not _ADDRESS.fullmatch(address):
                    raise ConfigError(f"{WHERE}:{name}", f"{address!r} is no address", "write it as ml@example.com")

    def _check_command(self) -> None:
        if not self.argv or not self.argv[0].startswith("/"):
            what = "does not begin with the absolute path of a program"
            raise ConfigError(f"{WHERE}:argv", what, "write it as [/usr/local/bin/page, --now]")


def _default(setting: dataclasses.Field[object]) -> object:
    """What a setting is where nobody wrote it."""
    if setting.default_factory is not dataclasses.MISSING:
        return setting.default_factory()
    return setting.default
