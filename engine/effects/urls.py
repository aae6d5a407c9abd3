"""URLs of webhooks and names of hosts. Nothing is repaired or decoded: a URL fits the one form, or it is refused.

Two readers of one URL must not see two hosts in it, so the form is far narrower than the standard: https, a host, maybe
a port, a path, maybe a query; no user, no fragment, no backslash. A refused URL is never shown.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from engine.errors import ConfigError, InputError
from engine.system.redact import redact_text

HTTPS = 443

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>(?:[/?].*)?)")
_AUTHORITY = re.compile(r"(?P<host>[^:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")  # as the last label it makes the whole name an address
_TOKEN = re.compile(r"(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{16,}")


class UrlError(ValueError):
    """A URL or host that is not used; the words do not repeat it."""


@dataclass(frozen=True)
class Url:
    """What a request needs of a URL: the host in its one form, the port, the path with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the Host header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS else f"{host}:{self.port}"


def parse_url(url: str) -> Url:
    """A URL in parts; UrlError where any reader could see another host in it."""
    if not url.isprintable() or " " in url or "\\" in url:
        raise UrlError("the URL holds what no URL holds")
    if "#" in url:
        raise UrlError("the URL has a fragment")
    found = _URL.fullmatch(url)
    if not found:
        raise UrlError("this is no URL")
    if found["scheme"].lower() not in ("https", "http"):
        raise UrlError("the URL is not https")
    if "@" in found["authority"]:
        raise UrlError("the URL holds a user or a password")
    authority = _AUTHORITY.fullmatch(found["authority"])
    if not authority:
        raise UrlError("the URL has no host, or a host with a strange port")
    path = found["path"]
    if not path.isascii():
        raise UrlError("the path of the URL is not ASCII")
    scheme = found["scheme"].lower()
    port = int(authority["port"] or (HTTPS if scheme == "https" else 80))
    return Url(scheme, normal_host(authority["host"]), port, path if path.startswith("/") else f"/{path}")


def normal_host(host: str) -> str:
    """The one form of a host: IDNA, lower case, no trailing dot; an address as `ipaddress` writes it.

    Addresses in short, octal, hexadecimal or decimal form, and with a zone, are refused: readers differ over them.
    """
    if host.startswith("["):
        host = host[1:-1]
    if ":" in host or re.fullmatch(r"[0-9.]+", host, re.ASCII):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise UrlError("the host is an address in a strange form") from None
        if getattr(address, "scope_id", None):
            raise UrlError("the host is an address with a zone")
        return str(address)
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise UrlError("the host is no name") from None
    labels = name.removesuffix(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)) or len(name) > 253:
        raise UrlError("the host is no name")
    if _NUMBER.fullmatch(labels[-1]):
        raise UrlError("the host is an address in a strange form")
    return ".".join(labels)


def host_and_port(written: str, where: str) -> tuple[str, int]:
    """`name`, `name:port`, `[v6]:port` of a list of allowed hosts; port 443 where none is said."""
    cure = "write it as hooks.example.com or hooks.example.com:8443"
    found = _AUTHORITY.fullmatch(written)
    bare = re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", written)  # an address of version 6 alone
    try:
        if bare:
            return normal_host(written), HTTPS
        if not found or not 0 < int(found["port"] or HTTPS) < 65536:
            raise UrlError("is no host")
        return normal_host(found["host"]), int(found["port"] or HTTPS)
    except UrlError as error:
        raise ConfigError(where, f"{redact_text(written)!r} is no host ({error})", cure) from None


def check_written(url: str, where: str) -> None:
    """ConfigError where a URL that stands in a config cannot be used, or holds a secret. It is never shown."""
    cure = "put the URL into a variable of the environment and name that in url_env"
    try:
        parts = parse_url(url)
    except UrlError as error:
        if "user" in str(error):
            raise ConfigError(where, str(error), cure) from None
        raise ConfigError(where, str(error), "write it as https://ops.example.com/alerts") from None
    if parts.scheme != "https":
        raise ConfigError(where, "the URL is not https", "write it as https://ops.example.com/alerts")
    secret = redact_text(url) != url or "?" in url or any(map(_TOKEN.fullmatch, re.split(r"[/.:]", parts.path)))
    if secret:
        raise ConfigError(where, "the URL seems to hold a secret (a query, a token or a password)", cure)


def url_of_environment(value: str, name: str) -> Url:
    """The URL that a variable of the environment holds; InputError names the variable alone."""
    try:
        return parse_url(value)
    except UrlError as error:
        raise InputError(name, str(error), "set it to https://host/path") from None
