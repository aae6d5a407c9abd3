"""No URL, name server or redirect leads inside: each vector against a canary that counts connections.

The guard of the vectors has the most willing surroundings there can be: its name server gives any name a global
address, and whatever it dials, the canary answers. So nothing but the guard's own checks keeps the canary silent.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from engine.effects.conf import ChannelConf
from engine.effects.guard import Forbidden, Guard, GuardError, system_resolve
from engine.effects.urls import Url, UrlError, parse_url
from engine.effects.webhook import Webhook
from tests.engine.effects import servers
from tests.engine.effects.made import message
from tests.engine.effects.servers import NAME, Canary, Certificate, Site
from tests.patience import ENOUGH

GLOBAL = "93.184.215.14"
SOON = 100.0  # seconds

# What a URL may try. PORT is the canary's, of which the guard allows ops.example.com.
URLS = [
    # schemes
    "http://ops.example.com:PORT/",
    "file:///etc/passwd",
    "file://ops.example.com:PORT/etc/passwd",
    "gopher://ops.example.com:PORT/_POST",
    "ftp://ops.example.com:PORT/",
    "dict://ops.example.com:PORT/info",
    "ldap://ops.example.com:PORT/",
    "jar:https://ops.example.com:PORT!/",
    "//ops.example.com:PORT/",
    "ops.example.com:PORT",
    "https:ops.example.com:PORT/",
    "https:/ops.example.com:PORT/",
    # loopback and metadata, as addresses and in all their forms
    "https://127.0.0.1:PORT/",
    "https://127.1:PORT/",
    "https://127.0.1:PORT/",
    "https://0177.0.0.1:PORT/",
    "https://0x7f.0.0.1:PORT/",
    "https://0x7f000001:PORT/",
    "https://2130706433:PORT/",
    "https://017700000001:PORT/",
    "https://127.0.0.1.:PORT/",
    "https://0.0.0.0:PORT/",
    "https://0:PORT/",
    "https://00000127.00.0.1:PORT/",
    "https://[::1]:PORT/",
    "https://[::]:PORT/",
    "https://[0:0:0:0:0:0:0:1]:PORT/",
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[64:ff9b::7f00:1]:PORT/",
    "https://[64:ff9b:1::7f00:1]:PORT/",
    "https://[2002:7f00:1::]:PORT/",
    "https://[2001:0:7f00:1::]:PORT/",
    "https://[fe80::1%25eth0]:PORT/",
    "https://[fe80::1%eth0]:PORT/",
    "https://[::1%25lo]:PORT/",
    "https://169.254.169.254:PORT/latest/meta-data/",
    "https://0xa9fea9fe:PORT/",
    "https://2852039166:PORT/",
    "https://[fd00:ec2::254]:PORT/",
    "https://100.100.100.200:PORT/",
    "https://10.0.0.1:PORT/",
    "https://192.168.0.1:PORT/",
    # names
    "https://localhost:PORT/",
    "https://metadata.google.internal:PORT/computeMetadata/v1/",
    "https://127.0.0.1.nip.io:PORT/",
    "https://ops.example.com.evil.com:PORT/",
    "https://evil.com:PORT/",
    "https://evilops.example.com:PORT/",
    "https://sub.ops.example.com:PORT/",
    "https://ops.example.com..:PORT/",
    "https://.ops.example.com:PORT/",
    "https://ops。example。com。evil.com:PORT/",
    "https://ⓛocalhost:PORT/",
    "https://１２７.０.０.１:PORT/",
    "https://①②⑦.⓪.⓪.①:PORT/",
    "https://١٢٧.٠.٠.١:PORT/",
    "https://ops.example.cоm:PORT/",  # a Cyrillic о
    "https://ops.example.com\u200b.evil.com:PORT/",
    # users, and what one reader takes for a host and another does not
    "https://ops.example.com@127.0.0.1:PORT/",
    "https://ops.example.com:443@127.0.0.1:PORT/",
    "https://user:pass@ops.example.com:PORT/",
    "https://127.0.0.1:PORT#@ops.example.com/",
    "https://127.0.0.1:PORT\\@ops.example.com/",
    "https://ops.example.com\\@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT?@ops.example.com/",
    "https://127.0.0.1%2f@ops.example.com:PORT/",
    "https://127.0.0.1:PORT%00.ops.example.com/",
    "https://127.0.0.1\x00ops.example.com:PORT/",
    "https://ops.example.com:PORT/\r\nHost: 127.0.0.1",
    "https://ops.example.com:PORT\r\n@127.0.0.1/",
    "https://ops.example.com:PORT\t/",
    "https://ops.example.com :PORT/",
    "https://ops.example.com:PORT/\\127.0.0.1",
    "https://ops.example.com:PORT/#fragment",
    "https://%6fps.example.com:PORT/",
    "https://[ops.example.com]:PORT/",
    "https://ops.example.com,evil.com:PORT/",
    # ports
    "https://ops.example.com:22/",
    "https://ops.example.com:PORT0/",
    "https://ops.example.com:+PORT/",
    "https://ops.example.com:/",
    "https://ops.example.com:PORT:80/",
    "https://ops.example.com:٤٤٣/",
    "https://evil.com:443/",
    "",
    "https://",
    "https:///path",
    "https://:PORT/",
]

# Where an allowed name may lead.
ADDRESSES = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.0.1", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::",
    "2002:a00:1::1", "2002:808:808::1", "2001:0:7f00:1::1", "2001::1", "2001:db8::1", "2001:10::1", "2001:20::1",
    "3fff::1", "5f00::1", "100::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%lo", "fec0::1",
    "ff02::1", "4000::1", "2a00:1450:4001:800:0:5efe:7f00:1", "2a00:1450:4001:800:200:5efe:7f00:1", "not an address",
]  # fmt: skip


class Dial:
    """Notes what is dialled; the canary answers in any case."""

    def __init__(self, port: int) -> None:
        self.port, self.addresses = port, list[str]()

    def __call__(self, address: str, port: int, timeout: float) -> socket.socket:
        self.addresses.append(address)
        return socket.create_connection(("127.0.0.1", self.port), timeout)


def willing(bird: Canary, addresses: Callable[[], list[str]] = lambda: [GLOBAL], **more: Any) -> tuple[Guard, Dial]:
    """A guard that only its own checks keep from the canary."""
    dial = Dial(bird.port)
    hosts = [NAME, f"{NAME}:{bird.port}"]
    return Guard(hosts, resolve=lambda _host, _port: addresses(), dial=dial, **more), dial


def try_to_open(guard: Guard, url: str) -> str:
    """Why it is not opened."""
    with pytest.raises((UrlError, GuardError)) as caught:
        guard.open(parse_url(url), time.monotonic() + SOON).close()
    return str(caught.value)


def test_a_url_and_an_address_that_are_allowed_reach_the_canary(canary: Canary) -> None:
    guard, dial = willing(canary)
    said = try_to_open(guard, f"https://{NAME}:{canary.port}/")
    assert dial.addresses == [GLOBAL]
    assert said == "another peer than the one that was asked for"
    assert canary.settled() == 1
    assert canary.heard == b""  # it was noticed before a byte was said


def test_no_url_reaches_the_canary(canary: Canary, record_property: Callable[[str, object], None]) -> None:
    guard, dial = willing(canary)
    for url in URLS:
        said = try_to_open(guard, url.replace("PORT", str(canary.port)))
        assert str(canary.port) not in said
        assert "evil" not in said
        assert dial.addresses == [], url
    assert canary.settled() == 0
    record_property("no URL reaches inside", f"{len(URLS)} vectors, 0 connections")


def test_no_answer_of_a_name_server_reaches_the_canary(
    canary: Canary, record_property: Callable[[str, object], None]
) -> None:
    url = f"https://{NAME}:{canary.port}/"
    for address in ADDRESSES:
        for answer in ([address], [GLOBAL, address], [address, GLOBAL]):
            guard, dial = willing(canary, lambda answer=answer: answer)  # type: ignore[misc]
            assert address not in try_to_open(guard, url)
            assert dial.addresses == [], answer
    assert canary.settled() == 0
    record_property("no answer of a name server leads inside", f"{len(ADDRESSES)} addresses, 0 connections")


def test_addresses_on_the_list_of_hosts_are_looked_at_all_the_same(canary: Canary) -> None:
    dial = Dial(canary.port)
    for host in ("127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "localhost"):
        guard = Guard([f"{host}:{canary.port}"], resolve=system_resolve, dial=dial)
        said = try_to_open(guard, f"https://{host}:{canary.port}/")
        assert said.startswith("the host has an address that is not allowed"), host
    assert canary.settled() == 0


def test_without_hosts_nothing_is_resolved(canary: Canary) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise AssertionError

    guard = Guard([], resolve=resolve, dial=Dial(canary.port))
    assert try_to_open(guard, f"https://{NAME}/") == "no host is allowed: name it in hosts"


def test_a_name_is_resolved_once_and_what_it_says_afterwards_does_not_matter(canary: Canary) -> None:
    answers = iter([[GLOBAL], ["127.0.0.1"], ["127.0.0.1"]])
    guard, dial = willing(canary, lambda: next(answers))
    try_to_open(guard, f"https://{NAME}:{canary.port}/")
    assert dial.addresses == [GLOBAL]
    assert next(answers) == ["127.0.0.1"]  # the second answer was not asked for


def test_names_are_compared_in_one_form(canary: Canary) -> None:
    for host in ("OPS.example.COM", "ops.example.com.", "ｏps。example.com"):
        guard, dial = willing(canary)
        try_to_open(guard, f"https://{host}:{canary.port}/")
        assert dial.addresses == [GLOBAL], host
    guard = Guard(["bücher.example"], resolve=lambda *_: [GLOBAL], dial=(dial := Dial(canary.port)))
    try_to_open(guard, "https://BÜCHER.example/")
    try_to_open(guard, "https://xn--bcher-kva.example/")
    assert dial.addresses == [GLOBAL, GLOBAL]


def test_a_named_network_opens_that_network_and_nothing_else(canary: Canary) -> None:
    url = f"https://{NAME}:{canary.port}/"
    for address, opened in {
        "10.1.2.3": True,
        "::ffff:10.1.2.3": True,
        "100.100.1.1": True,
        "fd00:1::5": True,
        "10.2.0.1": False,
        "192.168.0.1": False,
        "127.0.0.1": False,
        "100.100.100.200": False,  # a metadata service, also where its network is named
        "fd00:ec2::254": False,
        "fe80::1": False,
    }.items():
        guard, dial = willing(
            canary, lambda address=address: [address], networks=["10.1.0.0/16", "100.100.0.0/16", "fd00::/16"]
        )  # type: ignore[misc]
        try_to_open(guard, url)
        assert bool(dial.addresses) == opened, address


def test_plain_http_is_for_loopback_alone_also_where_a_test_asks_for_it(canary: Canary) -> None:
    guard = Guard([f"{NAME}:{canary.port}"], resolve=lambda *_: ["127.0.0.1"], plain=True)
    guard.open(parse_url(f"http://{NAME}:{canary.port}/"), time.monotonic() + SOON).close()
    assert canary.settled() == 1
    willing_guard, dial = willing(canary, plain=True)
    assert try_to_open(willing_guard, f"http://{NAME}:{canary.port}/") == "another peer than the one that was asked for"
    assert dial.addresses == [GLOBAL]


def test_no_config_allows_http() -> None:
    assert not any("plain" in name for name in ChannelConf.__dataclass_fields__)


# ---- the real thing --------------------------------------------------------------------------------------------


def hook(make: Callable[..., Guard], port: int, host: str = NAME) -> Webhook:
    conf = ChannelConf(kind="webhook", url_env="URL", hosts=[f"{NAME}:{port}"])
    return Webhook(conf, {"URL": f"https://{host}:{port}/x?y=1"}, make)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, inside: Callable[..., Guard], site: Site, canary: Canary) -> None:
    site.answers = [(status, {"Location": f"https://127.0.0.1:{canary.port}/"})]
    sent = hook(inside, site.port)(message(), SOON)
    assert (sent.ok, sent.said) == (False, f"{status}, and redirects are not followed")
    assert len(site.got) == 1
    assert canary.settled() == 0


def test_proxies_of_the_environment_are_not_used(
    inside: Callable[..., Guard], site: Site, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{canary.port}")
    assert hook(inside, site.port)(message(), SOON).ok
    assert canary.settled() == 0


def test_the_certificate_must_be_of_the_name_and_trusted(site: Site, certificate: Certificate) -> None:
    def guard(name: str, trusted: ssl.SSLContext | None) -> Guard:
        return Guard(
            [f"{name}:{site.port}"], ["127.0.0.0/8"], resolve=lambda *_: ["127.0.0.1"], trusted=trusted
        )  # fmt: skip

    for name, trusted in ((NAME, None), ("other.example.com", certificate.client())):
        said = try_to_open(guard(name, trusted), f"https://{name}:{site.port}/")
        assert said == "the certificate of the host is not good"
    assert site.got == []


def test_the_name_goes_into_tls_and_into_the_host_header(inside: Callable[..., Guard], site: Site) -> None:
    assert hook(inside, site.port, f"{NAME.upper()}.")(message(), SOON).ok
    (request,) = site.got
    assert request.name == NAME
    assert request.headers["Host"] == f"{NAME}:{site.port}"
    assert request.path == "/x?y=1"


def test_the_next_address_is_tried_where_one_does_not_answer(canary: Canary) -> None:
    dialled, given = [], []

    def dial(address: str, _port: int, timeout: float) -> socket.socket:
        dialled.append(address)
        given.append(timeout)
        raise ConnectionRefusedError(111, "Connection refused")

    guard = Guard([NAME], resolve=lambda *_: [GLOBAL, "8.8.8.8", GLOBAL], dial=dial)
    assert try_to_open(guard, f"https://{NAME}/") == "connection refused"
    assert dialled == [GLOBAL, "8.8.8.8"]
    assert given[0] <= SOON / 2 < given[1] <= SOON  # the first leaves time for the second


def test_a_name_server_that_does_not_answer_is_not_waited_for() -> None:
    forever, answered = threading.Event(), list[bool]()

    def resolve(_host: str, _port: int) -> list[str]:
        answered.append(forever.wait(ENOUGH))
        return [GLOBAL]

    with pytest.raises(GuardError, match="the name was not resolved in time"):
        Guard([NAME], resolve=resolve).open(Url("https", NAME, 443, "/"), time.monotonic() + 0.2)
    assert answered == []
    forever.set()


@pytest.mark.parametrize("tls", [False, True], ids=["handshake", "answer"])
def test_a_server_that_drips_is_cut_off(tls: bool, inside: Callable[..., Guard], certificate: Certificate) -> None:
    with servers.dripping(certificate if tls else None) as port:
        sent = hook(inside, port)(message(), 1.0)  # it would go on for hours
        assert (sent.ok, sent.said, sent.unreachable) == (False, "timed out", True)


def test_what_cannot_be_resolved_is_told_without_its_name() -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known: canary")

    guard = Guard([NAME], resolve=resolve)
    assert try_to_open(guard, f"https://{NAME}/") == "the name cannot be resolved"
    with pytest.raises(Forbidden, match="the host has an address in a strange form"):
        Guard([NAME], resolve=lambda *_: ["localhost"]).connect(NAME, 443, time.monotonic() + SOON)
