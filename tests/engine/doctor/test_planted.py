"""Unsafe ground, one fault at a time: each is named as bad, with its cure, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.doctor import State, devices, ground, services
from tests.engine.doctor.conftest import Examined, Usage, faults

TCP = "  sl  local_address rem_address   st\n   0: 00000000:2049 00000000:0000 0A\n"
Patch = pytest.MonkeyPatch


def wal(folder: Path, patch: Patch) -> None:
    (folder / "ledger.db-wal").write_bytes(b"frames")
    patch.setattr(ground.sqlite3, "sqlite_version_info", (3, 40, 1))


def dashboard(folder: Path, patch: Patch) -> None:
    (folder / "tcp").write_text(TCP)
    patch.setattr(services, "SOCKETS", (folder / "tcp",))


def driver(folder: Path, patch: Patch) -> None:
    (folder / "driver").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue\n")
    patch.setattr(devices, "DRIVER", folder / "driver")


def late_disk(_: Path, patch: Patch) -> None:
    now = ground.time.time
    patch.setattr(ground.time, "time", lambda: now() + 600)


PLANTED: dict[str, tuple[str, dict[str, str], Callable[[Path, Patch], None]]] = {
    "affected SQLite with a WAL": ("SQLite", {}, wal),
    "a network file system": ("file system", {}, lambda _, p: p.setattr(ground, "file_system", lambda _: "nfs4")),
    "an open dashboard": ("Ray dashboard", {}, dashboard),
    "lightning that was malware": ("lightning", {"lightning": "2.6.3"}, lambda *_: None),
    "old torch": ("torch", {"torch": "2.9.1"}, lambda *_: None),
    "old hydra": ("hydra-core", {"hydra_core": "1.3.5"}, lambda *_: None),
    "old Ray": ("Ray", {"ray": "2.53.0"}, lambda *_: None),
    "an old driver": ("GPU", {}, driver),
    "a clock that is late": ("clock", {}, late_disk),
    "a full disk": ("disk", {}, lambda _, p: p.setattr(ground.shutil, "disk_usage", lambda _: Usage(0, 0, 1))),
    "no such threading layer": ("Numba", {}, lambda _, p: p.setenv("NUMBA_THREADING_LAYER", "opm")),
    "no such cluster": ("Ray", {}, lambda _, p: p.setenv("RAY_ADDRESS", "127.0.0.1:1")),
    "no such mode": ("W&B", {}, lambda _, p: p.setenv("WANDB_MODE", "sideways")),
}


def test_every_planted_fault_is_named(
    tmp_path: Path, examined: Examined, monkeypatch: Patch, record_property: Callable[[str, object], None]
) -> None:
    for name, (what, versions, plant) in PLANTED.items():
        folder = tmp_path / name
        folder.mkdir()
        assert faults(examined(folder)) == {}, name
        with monkeypatch.context() as patch:
            plant(folder, patch)
            found = examined(folder, **versions)
        assert faults(found) == {what: State.BAD}, name
        assert found[what].cure, name
    record_property("doctor: planted faults", f"{len(PLANTED)} of {len(PLANTED)} named with a cure, alone")
