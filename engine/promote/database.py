"""SQLite or PostgreSQL: connections, locks, transactions that are tried again, and one-line errors.

Writers take their lock before they read (`BEGIN IMMEDIATE`; a locked chain row on PostgreSQL), so that what
they read is still true when they write. Each write is one short transaction. Where the server or the file is
busy, or a connection breaks, it is tried again for a bounded time: all writes of the ledger are idempotent by
the id they carry, so that an unknown outcome of a commit does no harm.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from engine.errors import InputError, TidegateError
from engine.promote import tables
from engine.system import durable
from engine.system.mounts import NETWORK_FILE_SYSTEMS, file_system

T = TypeVar("T")

PATIENCE = 30.0  # seconds that a write waits for its turn
_POSTGRESQL_SESSION = (
    f"SET lock_timeout = '{int(PATIENCE)}s'",
    # A writer that froze while it held the lock is cut off by the server: its late commit is refused.
    f"SET idle_in_transaction_session_timeout = '{int(PATIENCE)}s'",
    # Where the server's default is to answer before the disk does, a ledger must not.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)


def journal(version: tuple[int, int, int]) -> tuple[str, str]:
    """Journal mode and synchronous level that are safe for this build of SQLite.

    Builds whose WAL can lose committed rows (`durable.wal_is_safe`) get the rollback journal.
    NORMAL is too little in either mode: it may undo a commit at power loss; EXTRA also syncs the folder after
    the journal is deleted.
    """
    return ("wal", "full") if durable.wal_is_safe(version) else ("delete", "extra")


class Database:
    """One engine to one database, with the schema in place."""

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.where = str(self.url.database) if self.sqlite else self.url.render_as_string(hide_password=True)
        self._path = Path(self.where)
        if self.sqlite:
            _prepare_file(self._path)
        with self._explained():
            self.engine = _engine(self.url, self.sqlite)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot to read from."""
        with self._explained(), self.engine.connect() as connection:
            if not self.sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    def write(self, body: Callable[[sa.Connection], T], *, lasting: bool = True) -> T:
        """Run `body` in one transaction and commit it; as a whole again where it lost its turn or its
        connection.

        What `body` raises undoes the transaction and is passed on. A write that is not `lasting` (a sign of life) is no
        effect that tests count.
        """
        deadline = time.monotonic() + PATIENCE
        attempt = 0
        with self._explained():
            while True:
                try:
                    return self._once(body, lasting)
                except sa.exc.DBAPIError as error:
                    if not _passing(error) or time.monotonic() > deadline:
                        raise
                time.sleep(min(1.0, 0.01 * 2**attempt) * random.uniform(0.5, 1.0))
                attempt += 1

    def check(self, connection: sa.Connection) -> None:
        """Prove that indexes agree with their tables, where the database can: a wrong index hides rows."""
        if self.sqlite:
            said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
            if said != "ok":
                what = f"the ledger is damaged: {' '.join(str(said).split())[:200]}"
                raise InputError(self.where, what, "put a copy of it back")

    def server_time(self) -> datetime | None:
        """The clock of the server; None: there is none but ours."""
        if self.sqlite:
            return None
        with self.read() as connection:
            now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            return now

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def _once(self, body: Callable[[sa.Connection], T], lasting: bool) -> T:
        with self.engine.connect() as connection:
            connection.execution_options(write=True)
            transaction = connection.begin()
            try:
                result = body(connection)
                with durable.reported(self._path):
                    if lasting:
                        durable.perform(durable.Step("commit", self._path), transaction.commit)
                    else:
                        transaction.commit()
            except BaseException:
                with contextlib.suppress(sa.exc.SQLAlchemyError):  # the first error is the one to tell
                    transaction.rollback()
                raise
            return result

    def _migrate(self) -> None:
        with self.read() as connection:
            if not self.sqlite and connection.execute(sa.select(sa.func.pg_is_in_recovery())).scalar():
                raise InputError(self.where, "this server is a read replica", "name the primary: it alone decides")
            done = tables.version(connection)
        if done < len(tables.MIGRATIONS):
            self.write(tables.migrate)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the database into one line."""
        try:
            yield
        except TidegateError:
            raise
        except (sa.exc.SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:
            # A damaged file may have text that is none, also in SQLite's own error message.
            raise self._line(error) from error

    def _line(self, error: Exception) -> InputError:
        original = getattr(error, "orig", None) or error
        reason = " ".join(str(original).split()) or type(original).__name__
        password = self.url.password
        if password:
            reason = reason.replace(str(password), "***")
        for sign, what, cure in _SIGNS:
            if sign in reason:
                return InputError(self.where, what, cure)
        return InputError(self.where, f"the ledger cannot be used: {reason[:300]}", "check the database")


_SIGNS = (
    ("file is not a database", "this file is no ledger", "name another file, or move this one away"),
    (
        "malformed",
        "the ledger is damaged",
        "put a copy of it back; `tidegate verify` tells whether it is whole",
    ),
    (
        "codec can't decode",
        "the ledger is damaged",
        "put a copy of it back; `tidegate verify` tells whether it is whole",
    ),
    ("UTF-8", "the ledger is damaged", "put a copy of it back; `tidegate verify` tells whether it is whole"),
    (
        "readonly database",
        "the ledger may not be written",
        "give this user write permission on file and folder",
    ),
    ("unable to open", "the ledger cannot be opened", "check the path and its permissions"),
    ("disk is full", "the disk is full", "free some space, then run the same command again"),
    ("disk I/O error", "the disk reports an error", "check the disk, then run the same command again"),
    (
        "is locked",
        "somebody else keeps the ledger locked",
        "end the other program, then run the same command again",
    ),
    (
        "lock timeout",
        "somebody else keeps the ledger locked",
        "end the other program, then run the same command again",
    ),
    ("password authentication", "the server refuses this user", "check user and password"),
    ("does not exist", "there is no such database or role", "create it, or check the URL"),
    ("permission denied", "this user may not use the ledger", "grant it, or name another user"),
    ("connection", "the server cannot be reached", "check host, port, and that it runs"),
)


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        driver = parsed.drivername
    except (sa.exc.ArgumentError, ValueError, AttributeError, TypeError):
        raise InputError(
            "ledger.url",
            "no database URL",
            "write sqlite:///path/to/ledger.db or postgresql+psycopg://user@host/name",
        ) from None
    if driver in ("sqlite", "sqlite+pysqlite"):
        name = parsed.database
        if not name or name.startswith((":memory:", "file:")) or parsed.query or parsed.host:
            raise InputError("ledger.url", "a ledger must be a file", "write sqlite:///path/to/ledger.db")
        if "\0" in name:
            raise InputError("ledger.url", "the path contains a NUL", "write sqlite:///path/to/ledger.db")
        if not name.isprintable() or len(name) > 1000:
            what = "the path is too long" if name.isprintable() else "the path holds what cannot be printed"
            raise InputError("ledger.url", what, "write sqlite:///path/to/ledger.db")
        return parsed.set(drivername="sqlite+pysqlite")
    if driver == "postgresql+psycopg":
        return parsed
    raise InputError(
        "ledger.url",
        f"{driver} is not supported",
        "use sqlite:/// or postgresql+psycopg:// (the driver is part of it)",
    )


def _prepare_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(str(path), "this is a folder", "name a file in it, such as ledger.db")
    durable.make_folder(path.parent)
    kind = file_system(path.parent.resolve())
    if kind in NETWORK_FILE_SYSTEMS:
        raise InputError(
            str(path),
            f"the folder is on a network file system ({kind}), where SQLite loses data",
            "use a local folder, or postgresql+psycopg:// for a team",
        )


def _engine(url: sa.URL, sqlite: bool) -> sa.Engine:
    if sqlite:
        engine = sa.create_engine(url, connect_args={"timeout": PATIENCE})
        sa.event.listen(engine, "connect", _connect_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ImportError:
        raise InputError("ledger.url", "psycopg is missing", "pip install 'tidegate[postgres]'") from None
    sa.event.listen(engine, "connect", _connect_postgresql)
    return engine


def _connect_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we begin by ourselves: the module would begin too late
    mode, level = journal(sqlite3.sqlite_version_info[:3])
    deadline = time.monotonic() + PATIENCE
    while True:  # switching the mode needs the file alone, and does not wait by itself
        try:
            found = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.005, 0.02))
    if found == "wal" and mode != "wal":
        raise sqlite3.OperationalError("database is locked")  # by a newer build, which keeps it in WAL
    for pragma in (f"synchronous = {level}", "fullfsync = on", "trusted_schema = off"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _connect_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL_SESSION:
            cursor.execute(statement)
    connection.commit()


def _passing(error: sa.exc.DBAPIError) -> bool:
    """True where the same transaction may well succeed a moment later: busy, cut off, or the server starts again."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    return state in _PASSING or (state is None and isinstance(error, sa.exc.OperationalError))


# serialization failure, deadlock, the server shuts down, crashed or starts up, lock timeout
_PASSING = frozenset({"40001", "40P01", "57P01", "57P02", "57P03", "55P03"})
