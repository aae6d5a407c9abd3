"""A Ray of several nodes on this machine, started with `ray start` and ended by the processes that it started."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.patience import until
from tests.ports import free_port

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass
class Node:
    """One node: `ray start --block`, and all that it started."""

    process: subprocess.Popen[bytes]

    def pids(self) -> list[int]:
        """Of the node, itself first."""
        return [self.process.pid, *descendants(self.process.pid)]

    def kill(self) -> None:
        """As if the machine had lost its power."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Cluster:
    """Where the head listens, and what reaches it."""

    folder: Path
    port: int
    token: Path
    dashboard: int = 0
    nodes: list[Node] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of a user of this cluster has."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token), "RAY_USAGE_STATS_ENABLED": "0"}

    def add(self, *, head: bool = False, cpus: int = 1, wrapper: tuple[str, ...] = ()) -> Node:
        """One more node; it may not have joined yet. `wrapper` is a program that runs it."""
        here = [f"--temp-dir={self.folder}/{len(self.nodes)}", f"--num-cpus={cpus}", "--object-store-memory=100000000"]
        dashboard = [f"--dashboard-port={self.dashboard}", "--dashboard-host=127.0.0.1"]
        role = [f"--address=127.0.0.1:{self.port}"]
        if head:
            role = ["--head", f"--port={self.port}", f"--include-dashboard={bool(self.dashboard)}", *dashboard]
        ports = [f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats", "--block"]
        log = open(self.folder / f"node-{len(self.nodes)}.log", "wb")  # noqa: SIM115 - the child's from here on
        with log:
            process = subprocess.Popen(
                [*wrapper, RAY, "start", *role, *here, *ports],
                env=clean() | self.environment | {"RAY_health_check_period_ms": "500"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        node = Node(process)
        self.nodes.append(node)
        return node


def clean() -> dict[str, str]:
    """The environment without what another Ray left in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@contextlib.contextmanager
def cluster(*, dashboard: bool = False, cpus: int = 1) -> Iterator[Cluster]:
    """A head on this machine."""
    with tempfile.TemporaryDirectory(prefix="tg", ignore_cleanup_errors=True) as name:  # short: sockets lie in it
        folder = Path(name)
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(16))
        made = Cluster(folder, free_port(), token, free_port() if dashboard else 0)
        try:
            made.add(head=True, cpus=cpus)
            wait_for(made.port)
            if dashboard:
                wait_for(made.dashboard)
            yield made
        finally:
            for node in made.nodes:
                node.kill()


def wait_for(port: int) -> None:
    """Until something answers on a port of this machine."""

    def answers() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    until(answers, f"nothing listens on {port}")


def descendants(pid: int) -> list[int]:
    """All processes below one; ended ones are left out."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(path.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
