"""Ray, its dashboard, and W&B: each planted fault is named; what listens and answers here is real."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.doctor import State, services
from tests.engine.doctor.conftest import Examined

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue\n"


@pytest.fixture
def server() -> Iterator[int]:
    """A port of this machine that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closed() -> Iterator[int]:
    """A port on which nothing answers."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        yield nobody.getsockname()[1]


def test_ray_without_authentication(tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = examined(tmp_path)["Ray"]
    assert (found.state, found.cure) == (State.WARN, "unset RAY_AUTH_MODE")
    own = services.ray("2.60.0", "local")  # the Ray that we start has a token whatever the variable says
    assert (own.state, own.found) == (State.GOOD, "2.60.0, starts on this machine, on loopback and with a token")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert examined(tmp_path, ray="2.55.0")["Ray"].state is State.GOOD


def test_a_cluster_that_answers_and_one_that_does_not(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, server: int, closed: int
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"ray://127.0.0.1:{server}")
    assert examined(tmp_path)["Ray"].found == f"2.60.0, ray://127.0.0.1:{server}"
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed}")
    found = examined(tmp_path)["Ray"]
    assert found.state is State.BAD
    assert found.found.startswith(f"2.60.0, 127.0.0.1:{closed} cannot be reached (")
    assert services.ray("2.60.0", f"http://127.0.0.1:{server}").state is State.GOOD  # what cluster.address names
    assert services.ray("2.60.0", "local").state is State.GOOD
    for nonsense in ("://:x", "ray://", "a:99999", "\0", "http://["):
        if "\0" not in nonsense:
            monkeypatch.setenv("RAY_ADDRESS", nonsense)
            assert examined(tmp_path)["Ray"].state is State.BAD, nonsense
        assert services.unreachable(nonsense)


@pytest.mark.parametrize(
    ("line", "token", "state"),
    [
        ("00000000:2049 00000000:0000 0A", False, State.BAD),
        ("00000000:2049 00000000:0000 0A", True, State.WARN),
        ("0500000A:2049 00000000:0000 0A", False, State.BAD),
        ("0100007F:2049 00000000:0000 0A", False, State.GOOD),
        ("00000000:2049 0500000A:1F90 01", False, State.GOOD),  # a connection, no listener
        ("00000000:1F90 00000000:0000 0A", False, State.GOOD),  # another port
        ("00000000000000000000000000000000:2049 0:0 0A", False, State.BAD),
        ("00000000000000000000000001000000:2049 0:0 0A", False, State.GOOD),
        ("0000000000000000FFFF00000100007F:2049 0:0 0A", False, State.GOOD),
    ],
)
def test_an_open_dashboard(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, line: str, token: bool, state: State
) -> None:
    table = tmp_path / "tcp"
    table.write_text(f"{HEADER}   0: {line} 00000000:00000000\n")
    monkeypatch.setattr(services, "SOCKETS", (tmp_path / "absent", table))
    if token:
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
    found = examined(tmp_path)["Ray dashboard"]
    assert found.state is state
    assert ("--dashboard-host=127.0.0.1" in found.cure) is (state is not State.GOOD)


def test_a_listener_of_this_machine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with socket.create_server(("0.0.0.0", 0)) as listening:
        assert services.exposed(listening.getsockname()[1]).startswith("every address:")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert services.exposed(listening.getsockname()[1]) == ""


def test_wandb(tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, server: int, closed: int) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-secret")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://me:hunter2@127.0.0.1:{server}")
    found = examined(tmp_path)["W&B"]
    assert (found.state, found.found) == (State.GOOD, f"0.31.0, online at http://***@127.0.0.1:{server}")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed}")
    found = examined(tmp_path)["W&B"]
    assert found.state is State.WARN
    assert "cannot be reached" in found.found
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert examined(tmp_path)["W&B"].found == "0.31.0, offline: WANDB_MODE=offline"
    monkeypatch.setenv("WANDB_MODE", "sideways")
    found = examined(tmp_path)["W&B"]
    assert found.state is State.BAD
    assert "a-secret" not in str(found)
