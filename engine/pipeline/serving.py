"""The exposition over HTTP, for Prometheus to scrape: on loopback unless another address is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import ConfigError
from engine.pipeline.openmetrics import Exposition


@contextmanager
def served(exposition: Exposition, host: str, port: int) -> Iterator[str]:
    """Answer GET /metrics for the time of the block, in a thread of its own; gives the URL.

    Each scrape reads the rows of the ledger that are new. There is no password and no encryption: whoever reaches the
    address can read the numbers.

    Raises:
        ConfigError: the port is taken, or the address is none of this machine.
    """
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, addr=host, registry=exposition)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        cure = "choose a free one, or watch.metrics_port=null"
        raise ConfigError("watch.metrics_port", f"{host}:{port} cannot be served ({reason})", cure) from None
    try:
        yield f"http://{host}:{port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
