"""At least once, under one key: kill -9 between any two steps, against servers that live on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.effects import Message
from engine.errors import LeaseError
from engine.promote.ledger import Ledger
from tests.engine.effects import crash, servers
from tests.engine.effects.servers import PostOffice, Request, Site
from tests.memory import in_memory
from tests.patience import ENOUGH


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is such a place: a killed process loses nothing that it handed to the kernel."""
    with tempfile.TemporaryDirectory(prefix="tg-", dir=in_memory()) as made:
        yield Path(made)


def received(folder: Path, site: Site, office: PostOffice) -> dict[str, list[str]]:
    """The keys that each receiver got, in the order in which they came."""
    paged = folder / "paged"
    return {
        "hook": [request.headers["Idempotency-Key"] for request in site.got],
        "mail": [re.findall(r"Message-ID: <(.+)@b.c>", text)[0] for _, _, text in office.mails],
        "page": paged.read_text().split() if paged.exists() else [],
    }


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(7, 3, id="small"), pytest.param(1, 100, id="full", marks=pytest.mark.slow)],
)
def test_kill_between_any_two_steps(
    every: int, doubles: int, tmp_path: Path, memory: Path, record_property: Callable[[str, object], None]
) -> None:
    with servers.http_site() as site, servers.smtp_office() as office:
        arguments = [str(tmp_path), str(memory), str(site.port), str(office.port), str(every), str(doubles)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.engine.effects.crash", *arguments],
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        result = json.loads(done.stdout)
        got = {channel: Counter(keys) for channel, keys in received(tmp_path, site, office).items()}
    assert result["wrong"] == []
    assert result["steps"].count("send") == crash.MESSAGES * len(crash.CHANNELS)
    sends = extra = 0
    for case, kills in result["kills"].items():
        counts = [got[channel][f"{case}-{number}"] for channel in crash.CHANNELS for number in range(crash.MESSAGES)]
        assert min(counts) >= 1, case  # each key at each receiver
        assert sum(counts) <= len(counts) + kills, case  # and a double only where one was killed
        sends, extra = sends + len(counts), extra + sum(counts) - len(counts)
    bodies = Counter((request.headers["Idempotency-Key"], request.body) for request in site.got)
    assert len(bodies) == len(got["hook"])  # a double says the same
    record_property(
        "effects at least once under one key",
        f"{sends} of {sends} delivered, {extra} doubled under their key"
        f" ({len(result['steps'])} steps, {sum(result['kills'].values())} kills)",
    )


PROGRAM = """
import sys
from pathlib import Path
from tests.engine.effects import crash
folder = Path(sys.argv[1])
print(crash.command(folder, folder, "case", int(sys.argv[2]), int(sys.argv[3])))
"""


def start(folder: Path, site: Site, office: PostOffice) -> subprocess.Popen[str]:
    """A process that posts and delivers."""
    arguments = [str(folder), str(site.port), str(office.port)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)


def test_killed_while_the_receiver_has_it(tmp_path: Path) -> None:
    """The request has arrived, the answer has not left: nobody but the receiver knows."""
    crash.page(tmp_path)
    with servers.http_site() as site, servers.smtp_office() as office:

        def kill(_request: Request) -> None:
            os.kill(first.pid, signal.SIGKILL)

        site.before = kill
        with start(tmp_path, site, office) as first:
            assert first.wait(ENOUGH) == -signal.SIGKILL
        site.before = lambda _request: None
        with start(tmp_path, site, office) as second:
            said, _ = second.communicate(timeout=ENOUGH)
        got = received(tmp_path, site, office)
    assert {outcome for _, _, outcome, _ in json.loads(said)} == {"delivered"}
    assert got == {"hook": ["case-0", "case-0", "case-1"], "mail": ["case-0", "case-1"], "page": ["case-0", "case-1"]}


def test_of_two_processes_of_one_loop_the_holder_of_the_lease_delivers(tmp_path: Path) -> None:
    crash.page(tmp_path)
    with servers.http_site() as site, servers.smtp_office() as office:
        with start(tmp_path, site, office) as first, start(tmp_path, site, office) as second:
            assert first.communicate(timeout=ENOUGH) == second.communicate(timeout=ENOUGH)
        got = received(tmp_path, site, office)
    assert got == {channel: ["case-0", "case-1"] for channel in crash.CHANNELS}


def test_who_slept_through_its_lease_sends_nothing_any_more(memory: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{memory}/ledger.db"
    with (
        servers.http_site() as site,
        Ledger.open(url, "loop") as sleeper,
        Ledger.open(url, "loop") as successor,
        sleeper.leased(60, wait=0, say=print),
    ):
        box = crash.outbox(sleeper, tmp_path, site.port, 25)
        box.post(Message(key="k", loop="loop", event="raised", text="it moved"), ["hook"])
        with successor.leased(60, wait=0, say=print):
            with pytest.raises(LeaseError, match="this late write is refused"):
                box.deliver(10)
            assert site.got == []
            (sent,) = crash.outbox(successor, tmp_path, site.port, 25).deliver(10)
    assert (sent.outcome, len(site.got)) == ("delivered", 1)
