"""A PostgreSQL server of our own, for the tests: made by initdb, reached by a socket in a private folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.memory import in_memory


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, the newest version there is."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda folder: int(folder.parent.name), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


class Server:
    """A running server."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder, self.programs, self._user = folder, programs, user
        self.data = folder / "data"

    def database(self) -> str:
        """The URL of an empty schema: to a ledger it is a database, and a thousand times cheaper to make."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(host=str(self.folder), user="tidegate", dbname="postgres") as admin:
            admin.execute(f"CREATE SCHEMA {name}".encode())
        return f"postgresql+psycopg://tidegate@/postgres?host={self.folder}&options=-csearch_path%3D{name}"

    def control(self, *arguments: str) -> None:
        """pg_ctl with these arguments."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-s", *arguments)

    def start(self) -> None:
        log = self.folder / "log"
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=60"
        self.control("-l", str(log), "-o", options, "start")

    def crash(self) -> None:
        """Stop as if the power had gone, and start again."""
        self.control("-m", "immediate", "stop")
        self.start()

    def initialise(self) -> None:
        self._run("initdb", "-D", str(self.data), "-U", "tidegate", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.programs / program), *arguments],
            check=True,
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=120,
        )


def plain_user() -> str | None:
    """PostgreSQL refuses to run as root: the user to run as instead, None where we are none."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def serve(programs: Path) -> Iterator[Server]:
    """A server for the time of the block."""
    user = plain_user()
    folder = Path(tempfile.mkdtemp(prefix="tg-pg-", dir=in_memory()))  # short: a socket's path may not exceed 107 bytes
    try:
        if user:
            shutil.chown(folder, user)
        server = Server(folder, programs, user)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
