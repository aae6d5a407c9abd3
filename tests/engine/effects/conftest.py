"""Servers on loopback, and a certificate for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from engine.effects.guard import Guard
from tests.engine.effects import servers
from tests.engine.effects.servers import Canary, Certificate, Site


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of ops.example.com, trusted by who asks `certificate.client()`."""
    return servers.make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def site(certificate: Certificate) -> Iterator[Site]:
    """An HTTPS server."""
    with servers.http_site(certificate) as made:
        yield made


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Who must not be reached."""
    with servers.canary() as bird:
        yield bird


@pytest.fixture
def inside(certificate: Certificate) -> Callable[..., Guard]:
    """Makes the guards of channels to servers of the tests: every name leads to loopback, under the certificate."""

    def make(hosts: Sequence[str], _networks: Sequence[str] = ()) -> Guard:
        return Guard(hosts, ["127.0.0.0/8"], resolve=lambda *_: ["127.0.0.1"], trusted=certificate.client())

    return make
