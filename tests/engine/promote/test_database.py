"""Both databases below the ledger: safe settings, refusals in one line, patience, migrations."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from engine.errors import InputError, LedgerError, TidegateError
from engine.promote import database, tables
from engine.promote.database import Database, journal
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Stage
from engine.system import durable
from engine.system.mounts import file_system
from tests.engine.promote import servers
from tests.engine.promote.conftest import bring, step
from tests.patience import until

# ---- SQLite settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        *[((3, 40, 1), "delete"), ((3, 44, 5), "delete"), ((3, 44, 6), "wal"), ((3, 45, 0), "delete")],
        *[((3, 50, 6), "delete"), ((3, 50, 7), "wal"), ((3, 51, 0), "delete"), ((3, 51, 2), "delete")],
        *[((3, 51, 3), "wal"), ((3, 53, 0), "wal"), ((4, 0, 0), "wal")],
    ],
)
def test_builds_that_can_lose_a_wal_get_the_rollback_journal(version: tuple[int, int, int], mode: str) -> None:
    assert journal(version) == (mode, {"wal": "full", "delete": "extra"}[mode])


@pytest.mark.parametrize(("version", "expected"), [((3, 40, 1), ("delete", 3)), ((3, 51, 3), ("wal", 2))])
def test_every_connection_has_the_safe_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], expected: tuple[str, int]
) -> None:
    monkeypatch.setattr(database.sqlite3, "sqlite_version_info", version)
    opened = Database(f"sqlite:///{tmp_path}/ledger.db")
    with opened.read() as one, opened.read() as two:
        for connection in (one, two):
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
            assert (mode, level) == expected
    opened.close()


def test_a_ledger_in_wal_mode_is_taken_over_by_an_older_build_when_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setattr(database.sqlite3, "sqlite_version_info", (3, 51, 3))
    newer = Ledger.open(url, "flights")
    newer.append("decision", "a", {})
    monkeypatch.setattr(database.sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    with pytest.raises(InputError, match="somebody else keeps the ledger locked - end the other program"):
        Ledger.open(url, "flights")
    newer.close()
    with Ledger.open(url, "flights") as older:
        assert [r.id for r in older.rows()] == ["a"]


# ---- where a ledger may be ---------------------------------------------------------------------------------

MOUNTS = """\
22 1 0:20 / / rw - ext4 /dev/vda rw
23 22 0:21 / /mnt/share rw shared:1 - nfs4 server:/export rw
24 22 0:22 / /mnt/with\\040space rw - cifs //server/x rw
25 23 0:23 / /mnt/share/local rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *[("/home", "ext4"), ("/mnt/share", "nfs4"), ("/mnt/share/deep/er", "nfs4"), ("/mnt/shared", "ext4")],
        *[("/mnt/with space/x", "cifs"), ("/mnt/share/local/x", "xfs")],
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_nearest_mount(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(database, "file_system", lambda _path: kind)
    with pytest.raises(InputError, match=rf"on a network file system \({kind}\), where SQLite loses data - use a"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flights")
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "ledger.url: no database URL - write sqlite:///path"),
        ("ledger.db", "ledger.url: no database URL"),
        ("sqlite://", "ledger.url: a ledger must be a file"),
        ("sqlite:///:memory:", "ledger.url: a ledger must be a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "ledger.url: a ledger must be a file"),
        ("sqlite:///x\0y", "ledger.url: the path contains a NUL"),
        (
            "postgresql://u:secret@h/d",
            "ledger.url: postgresql is not supported - use sqlite:/// or postgresql",
        ),
        ("mysql+pymysql://u:secret@h/d", "ledger.url: mysql\\+pymysql is not supported"),
        ("postgresql+psycopg://u:secret@h:notaport/d", "ledger.url: no database URL"),
        (
            "postgresql+psycopg://u:secret@127.0.0.1:1/d",
            r"u:\*\*\*@127.0.0.1:1/d: the server cannot be reached",
        ),
    ],
)
def test_urls_that_cannot_be_used_are_one_line_without_the_password(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Ledger.open(url, "flights")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("loop", ["", "..", "a/b", "a b", "x" * 129])
def test_a_loop_must_have_a_usable_name(tmp_path: Path, loop: str) -> None:
    with pytest.raises(InputError, match=r"loop: .* is no usable name"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db", loop)


def refusal(path: Path) -> str:
    """The one line with which a ledger at `path` is refused."""
    with pytest.raises(InputError) as caught:
        Ledger.open(f"sqlite:///{path}", "flights")
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 500)
    assert "this file is no ledger - name another file" in refusal(path)
    assert path.read_text() == "dear diary, " * 500


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "this is a folder - name a file in it" in refusal(tmp_path)


def test_a_file_in_the_way_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written: "):
        Ledger.open(f"sqlite:///{tmp_path}/file/sub/ledger.db", "flights")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_ledger_that_was_cut_short_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", "flights") as ledger:
        for i in range(30):
            ledger.append("decision", str(i), {"text": "x" * 500})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    def use() -> None:
        with Ledger.open(f"sqlite:///{path}", "flights") as ledger:
            ledger.verify()

    with pytest.raises(TidegateError, match=r"damaged|no ledger|broken") as caught:
        use()
    assert "\n" not in str(caught.value)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions bind: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and nobody else may write."""
    folder = Path(tempfile.mkdtemp(prefix="tg-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_ledger_that_may_only_be_read_can_be_read(open_folder: Path) -> None:
    path = open_folder / "ledger.db"
    url = f"sqlite:///{path}"
    with Ledger.open(url, "flights") as ledger:
        bring(ledger, "a")
    path.chmod(0o444)
    open_folder.chmod(0o555)
    with unprivileged(), Ledger.open(url, "flights") as ledger:
        assert ledger.verify() == 5
        with pytest.raises(InputError) as caught:
            ledger.append("decision", "d", {})
    open_folder.chmod(0o755)
    cure = "give this user write permission on file and folder"
    assert str(caught.value) == f"{path}: the ledger may not be written - {cure}"


def test_a_folder_that_may_not_be_written_is_one_line(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with unprivileged():
        with pytest.raises(InputError, match=r"ledger.db: the ledger cannot be opened - check the path and its"):
            Ledger.open(f"sqlite:///{open_folder}/ledger.db", "flights")
        with pytest.raises(InputError, match="cannot be written: Permission denied - choose a folder that this user"):
            Ledger.open(f"sqlite:///{open_folder}/sub/ledger.db", "flights")
        with pytest.raises(InputError, match="cannot be written: Permission denied - choose a folder that this user"):
            Store(open_folder / "artifacts").put({"a": b""}, {})
    open_folder.chmod(0o755)
    assert list(open_folder.iterdir()) == []


# ---- errors while it works ---------------------------------------------------------------------------------


def test_a_commit_that_fails_is_one_line_and_changes_nothing(ledger: Ledger) -> None:
    bring(ledger, "a")
    before = ledger.rows()

    def fail(step: durable.Step, execute: Callable[[], None]) -> None:
        assert step.operation == "commit"
        raise OSError(28, os.strerror(28))

    with durable.intercept(fail):
        with pytest.raises(InputError, match="cannot be written: No space left on device - free some space"):
            ledger.append("decision", "d", {})
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            ledger.change(step("a", Stage.PRODUCTION, Stage.QUARANTINED))
    assert ledger.rows() == before
    assert ledger.stage_of("a") is Stage.PRODUCTION
    ledger.append("decision", "d", {})
    assert ledger.verify() == 6


def test_a_full_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", "flights") as ledger:
        ledger.append("decision", "a", {})

        def limit(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {path.stat().st_size // 4096}")

        ledger._database.engine.dispose()
        sa.event.listen(ledger._database.engine, "connect", limit)
        with pytest.raises(InputError, match=r"ledger.db: the disk is full - free some space"):
            ledger.append("decision", "b", {"text": "x" * 100_000})
        assert [r.id for r in ledger.rows()] == ["a"]


def test_a_writer_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", "flights") as ledger:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        free = threading.Timer(0.3, other.rollback)
        free.start()
        ledger.append("decision", "a", {})
        free.join()
        other.close()
        assert ledger.verify() == 1


def test_patience_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.2)
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", "flights") as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="somebody else keeps the ledger locked - end the other program"):
            ledger.append("decision", "a", {})
        assert ledger.rows() == [], "reading goes on"
        other.rollback()


def admin(url: str) -> psycopg.Connection[Any]:
    parsed = sa.make_url(url)
    return psycopg.connect(host=str(parsed.query["host"]), user="tidegate", dbname=parsed.database, autocommit=True)


def test_a_connection_that_breaks_inside_a_transaction_is_made_again(postgresql: servers.Server) -> None:
    url = postgresql.database()
    looks = 0

    def clock() -> datetime:  # it is looked at inside the transaction
        nonlocal looks
        looks += 1
        if looks == 1:
            with admin(url) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return datetime(2026, 1, 1, tzinfo=UTC)

    with Ledger.open(url, "flights", now=clock) as ledger:
        ledger.append("decision", "a", {})
        assert looks == 2
        assert [r.id for r in ledger.rows()] == ["a"]
        assert ledger.verify() == 1


def test_a_writer_that_freezes_is_cut_off_by_the_server(
    postgresql: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = [s.replace("'30s'", "'200ms'") for s in database._POSTGRESQL_SESSION]
    assert session != list(database._POSTGRESQL_SESSION)
    url = postgresql.database()
    frozen = False

    def clock() -> datetime:
        if frozen:
            with admin(url) as other:
                until(lambda: not other.execute(idle).fetchall(), "the server lets it be")
        return datetime(2026, 1, 1, tzinfo=UTC)

    idle = "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
    with Ledger.open(url, "flights", now=clock) as slow, Ledger.open(url, "flights") as quick:
        slow.append("decision", "a", {})
        frozen = True
        slow._database.engine.dispose()  # its next connection is one that the server bears for less time
        with monkeypatch.context() as patch:
            patch.setattr(database, "_POSTGRESQL_SESSION", session)
            patch.setattr(database, "PATIENCE", 0.0)
            with pytest.raises(InputError):
                slow.append("decision", "late", {})
        quick.append("decision", "b", {})
        assert [r.id for r in quick.rows()] == ["a", "b"]


@pytest.mark.slow
def test_a_read_replica_is_refused(tmp_path: Path) -> None:
    programs = servers.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with servers.serve(programs) as server:
        url = server.database()
        server.control("-m", "fast", "stop")
        (server.data / "standby.signal").touch()
        shutil.chown(server.data / "standby.signal", servers.plain_user() or os.getuid())
        server.start()
        with pytest.raises(InputError, match="this server is a read replica - name the primary"):
            Ledger.open(url, "flights")


# ---- the schema --------------------------------------------------------------------------------------------


@pytest.fixture
def connection(url: str) -> Iterator[sa.Connection]:
    """A plain connection to a database in which a ledger with one champion lies."""
    with Ledger.open(url, "flights") as ledger:
        bring(ledger, "a")
    opened = Database(url)
    with opened.engine.connect() as connection:
        yield connection
    opened.close()


@pytest.mark.parametrize("statement", ["UPDATE tidegate_row SET kind = 'x'", "DELETE FROM tidegate_row"])
def test_the_database_itself_refuses_to_change_history(connection: sa.Connection, statement: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="the ledger is append-only"):
        connection.execute(sa.text(statement))


def test_the_database_itself_holds_one_model_a_stage_and_one_stage_a_model(connection: sa.Connection) -> None:
    again = "INSERT INTO tidegate_head VALUES ('flights', '{}', '{}', 1, 1, '')"
    for stage, model in (("production", "b"), ("shadow", "a")):
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.text(again.format(stage, model)))
        connection.rollback()


def test_a_schema_of_the_future_is_refused(url: str) -> None:
    Database(url).close()
    opened = Database(url)
    opened.write(lambda connection: connection.execute(tables.schema.update().values(version=99)))
    opened.close()
    known = len(tables.MIGRATIONS)
    with pytest.raises(LedgerError, match=f"schema 99 is unknown to this program, which knows up to {known} - use the"):
        Ledger.open(url, "flights")


def test_migrations_run_once_and_go_on_where_they_stopped(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = len(tables.MIGRATIONS)
    with Ledger.open(url, "flights") as ledger:
        bring(ledger, "a")

    def another(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE extra (x INTEGER)"))

    monkeypatch.setattr(tables, "MIGRATIONS", (*tables.MIGRATIONS, another))
    for _ in range(2):
        with Ledger.open(url, "flights") as ledger:
            assert ledger.verify() == 5
    opened = Database(url)
    with opened.read() as connection:
        assert tables.version(connection) == known + 1
        assert sa.inspect(connection).has_table("extra")
    opened.close()


def test_a_migration_that_fails_leaves_the_schema_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(url).close()

    def broken(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE extra (x INTEGER)"))
        connection.execute(sa.text("SELECT nonsense FROM nowhere"))

    with monkeypatch.context() as patched:
        patched.setattr(tables, "MIGRATIONS", (*tables.MIGRATIONS, broken))
        with pytest.raises(InputError):
            Database(url)
    opened = Database(url)
    with opened.read() as connection:
        assert tables.version(connection) == len(tables.MIGRATIONS)
        assert not sa.inspect(connection).has_table("extra")
    opened.close()
