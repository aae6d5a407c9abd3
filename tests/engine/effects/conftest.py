"""Servers on loopback, and a certificate for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
