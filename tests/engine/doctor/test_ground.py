"""The ground: storage, file system, disk, clocks, SQLite."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.doctor import State, ground, remarked, skewed
from engine.errors import ConfigError
from tests.engine.doctor.conftest import Examined, Usage


@pytest.mark.parametrize("within", ["", "deeper", "deeper/still"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, examined: Examined, within: str) -> None:
    (tmp_path / "out").write_text("not a folder")
    found = examined(tmp_path / "out" / within)["storage"]
    assert (found.state, found.found) == (State.BAD, f"{tmp_path / 'out'} is no folder")
    assert "out=" in found.cure


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [("fsync", errno.EIO, "Input/output error"), ("replace", errno.EXDEV, "Invalid cross-device link")],
)
def test_a_disk_that_does_not_do_what_artifacts_need(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, step: str, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ground.os, step, fail)
    found = examined(tmp_path)["storage"]
    assert (found.state, found.found) == (State.BAD, f"{tmp_path}: {said}")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ground.tempfile, "TemporaryDirectory", refuse)
    found = examined(tmp_path)["storage"]
    assert (found.state, found.found) == (State.BAD, f"{tmp_path}: Permission denied")
    assert found.cure == "choose a folder that this user may write: out=..."


@pytest.mark.parametrize(("free", "state"), [(1.9, State.BAD), (2.1, State.GOOD)])
def test_a_full_disk(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, free: float, state: State
) -> None:
    monkeypatch.setattr(ground.shutil, "disk_usage", lambda _: Usage(0, 0, free * ground.GIB))
    found = examined(tmp_path)["disk"]
    assert found.state is state
    assert "GiB free" in found.found


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "lustre", "fuse.sshfs"])
def test_a_network_file_system(tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(ground, "file_system", lambda _: kind)
    found = examined(tmp_path)["file system"]
    assert (found.state, found.found) == (State.BAD, kind)
    assert "postgresql+psycopg://" in found.cure


@pytest.mark.parametrize(
    ("seconds", "state"), [(0.0, State.GOOD), (-4.0, State.GOOD), (60.0, State.BAD), (-3600.0, State.BAD)]
)
def test_a_disk_whose_clock_is_another(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, seconds: float, state: State
) -> None:
    now = ground.time.time
    monkeypatch.setattr(ground.time, "time", lambda: now() - seconds)
    found = examined(tmp_path)["clock"]
    assert found.state is state
    if state is State.BAD:
        assert found.found.endswith("ahead" if seconds > 0 else "behind")
        assert "NTP" in found.cure
    assert list(tmp_path.iterdir()) == []


def test_a_server_whose_clock_is_another() -> None:
    found = skewed("server clock", -90.0, "the server of the ledger")
    assert (found.state, found.found) == (State.BAD, "the server of the ledger is 90 s behind")


@pytest.mark.parametrize(
    ("version", "mode"),
    [((3, 40, 1), "rollback journal"), ((3, 51, 2), "rollback journal"), ((3, 50, 7), "WAL"), ((3, 51, 3), "WAL")],
)
def test_sqlite_says_which_journal_it_gets(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], mode: str
) -> None:
    monkeypatch.setattr(ground.sqlite3, "sqlite_version_info", version)
    found = examined(tmp_path)["SQLite"]
    assert found.state is State.GOOD
    assert found.found.startswith(f"{'.'.join(map(str, version))}: {mode}")


@pytest.mark.parametrize(("version", "state"), [((3, 40, 1), State.BAD), ((3, 51, 3), State.GOOD)])
def test_a_wal_that_an_affected_build_must_not_open(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], state: State
) -> None:
    (tmp_path / "ledger.db-wal").write_bytes(b"frames")
    monkeypatch.setattr(ground.sqlite3, "sqlite_version_info", version)
    assert examined(tmp_path)["SQLite"].state is state


def test_what_a_store_remarks_is_a_finding() -> None:
    line = "s3://b: conditional writes are not honoured - no decision hangs on one"
    found = remarked("store", lambda: [line], "it honours conditions")
    assert (found.state, found.found) == (State.WARN, "s3://b: conditional writes are not honoured")
    assert found.cure == "no decision hangs on one"
    assert remarked("store", lambda: [], "it honours conditions").found == "it honours conditions"

    def refuse() -> list[str]:
        raise ConfigError("s3://b", "there is no such bucket", "make it")

    found = remarked("store", refuse, "")
    assert (found.state, found.found, found.cure) == (State.BAD, "s3://b: there is no such bucket", "make it")
