"""The endpoint: what Prometheus gets, from where, and how it ends."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from engine.errors import ConfigError
from engine.pipeline.openmetrics import Exposition
from engine.pipeline.serving import served
from engine.promote.ledger import Ledger
from engine.records import to_plain
from tests.engine.cycles import cycle, pipeline
from tests.patience import ENOUGH, until
from tests.ports import free_port

ACCEPT = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", "flights") as opened:
        yield opened


def get(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=ACCEPT), timeout=ENOUGH) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_each_scrape_tells_what_the_ledger_holds_now(ledger: Ledger) -> None:
    with served(Exposition(ledger), "127.0.0.1", free_port()) as url:
        kind, text = get(url)
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert list(parsed(text)) == []
        ledger.append("cycle", "c", to_plain(cycle(pipeline=pipeline())), window="w2")
        names = {family.name for family in parsed(get(url)[1])}
        assert {"tidegate_windows", "tidegate_data_rows", "tidegate_pipeline_cost"} <= names


def test_it_ends_with_the_block_and_leaves_no_thread(ledger: Ledger) -> None:
    port, before = free_port(), set(threading.enumerate())
    for _ in range(2):  # the port is free again at once
        with served(Exposition(ledger), "127.0.0.1", port) as url:
            get(url)
        with pytest.raises(urllib.error.URLError):
            get(url)
    until(
        lambda: set(threading.enumerate()) <= before, threading.enumerate
    )  # one that has answered may be about to end


def test_a_port_that_is_taken_is_one_clear_line(ledger: Ledger) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as raised, served(Exposition(ledger), "127.0.0.1", port):
            pass
    line = f"watch.metrics_port: 127.0.0.1:{port} cannot be served (Address already in use)"
    assert str(raised.value) == f"{line} - choose a free one, or watch.metrics_port=null"


def test_an_address_of_another_machine_is_one_clear_line(ledger: Ledger) -> None:
    with (
        pytest.raises(ConfigError, match=r"^watch.metrics_port: 192\.0\.2\.1:9464 cannot be served"),
        served(Exposition(ledger), "192.0.2.1", 9464),
    ):
        pass


def test_only_the_asked_address_answers(ledger: Ledger) -> None:
    with served(Exposition(ledger), "127.0.0.1", free_port()) as url, socket.socket() as other:
        port = int(url.rsplit(":", 1)[1].partition("/")[0])
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", port)) != 0
