"""What a loop stands on: the folder it writes to, its disk, its clock, and SQLite."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from engine.doctor.finding import Finding, bad, good, warn
from engine.errors import TidegateError
from engine.system.durable import wal_is_safe
from engine.system.mounts import NETWORK_FILE_SYSTEMS, file_system

GIB = 1024**3
SKEW = 5.0  # seconds between two clocks that may be called one
LEDGER = "ledger.db"


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def storage(folder: Path) -> Finding:
    """Write, fsync, rename: what every artifact goes through."""
    place = existing(folder)
    within = folder.absolute().relative_to(place).parts
    if within and (place / within[0]).exists():
        return bad("storage", f"{place / within[0]} is no folder", "choose a folder, or move the file away: out=...")
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".tidegate-doctor-") as scratch:
            path = Path(scratch) / "a"
            with path.open("wb") as file:
                file.write(b"tide")
                file.flush()
                os.fsync(file.fileno())
            os.replace(path, path.with_name("b"))
    except OSError as error:
        return bad("storage", f"{place}: {error.strerror}", "choose a folder that this user may write: out=...")
    return good("storage", f"{place}: write, fsync and rename work")


def filesystem(folder: Path) -> Finding:
    """SQLite's locks do not hold on network file systems."""
    kind = file_system(existing(folder).resolve())
    if kind in NETWORK_FILE_SYSTEMS:
        cure = "put out= on a local disk, or promote.ledger=postgresql+psycopg://..."
        return bad("file system", kind, cure)
    return good("file system", kind or "local")


def disk(folder: Path) -> Finding:
    """Room for the models of a year."""
    free = shutil.disk_usage(existing(folder)).free
    if free < 2 * GIB:
        return bad("disk", f"{free / GIB:.1f} GiB free", "free some space, or put out= elsewhere")
    return good("disk", f"{free / GIB:.0f} GiB free")


def clock(folder: Path) -> Finding:
    """The clock of the disk under out=: another machine's, where it is one."""
    try:
        with tempfile.NamedTemporaryFile(dir=existing(folder), prefix=".tidegate-doctor-") as file:
            file.write(b"tide")
            file.flush()
            written = os.fstat(file.fileno()).st_mtime
    except OSError:
        return good("clock", "not compared: nothing can be written")
    return skewed("clock", written - time.time(), "the disk of out=")


def skewed(what: str, seconds: float, whose: str) -> Finding:
    """A finding about a clock that is `seconds` ahead of ours. Windows, ages and leases are reckoned with both."""
    if abs(seconds) <= SKEW:
        return good(what, f"{whose} agrees within {SKEW:.0f} s")
    side = "ahead" if seconds > 0 else "behind"
    return bad(what, f"{whose} is {abs(seconds):.0f} s {side}", "let both machines set their clocks by NTP")


def sqlite(folder: Path) -> Finding:
    """Builds that can lose committed rows in WAL mode are named where a ledger is in that mode."""
    version = sqlite3.sqlite_version_info
    found = ".".join(map(str, version))
    if wal_is_safe(version):
        return good("SQLite", f"{found}: WAL")
    if (folder / f"{LEDGER}-wal").exists():
        cure = "use the newer Python everywhere, or end the commands that keep it open and run one with it"
        return bad("SQLite", f"{found}: {LEDGER} is in WAL mode, in which this build can lose rows", cure)
    return good("SQLite", f"{found}: rollback journal, for this build's WAL can lose rows")


def remarked(what: str, remarks: Callable[[], Iterable[str]], fine: str) -> Finding:
    """A finding out of what a part says of itself, `what is wrong - what to do` each, such as a store's remarks."""
    try:
        said = next(iter(remarks()), "")
    except TidegateError as error:
        said = str(error)
        found, _, cure = said.rpartition(" - ")
        return bad(what, found or said, cure or "mend it")
    found, _, cure = said.rpartition(" - ")
    return warn(what, found or said, cure or "see the documentation") if said else good(what, fine)
