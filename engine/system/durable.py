"""The one door through which our bytes reach the disk: temporary file, fsync, rename, fsync of the folder.

A file written here is either there in full or not there at all, also after a power cut (the recipe is
PostgreSQL's `durable_rename`; rename without fsync loses data on ext4 and xfs). A failed fsync is final: the
kernel may have dropped the dirty pages, so trying again would report success for data that is gone.

Every effect is one `Step`. `intercept` lets a test stand between a step and its execution: to record it, to
let it fail, to kill the process before or after it. Nothing is intercepted unless a test asks for it.

Errors: an OSError becomes an InputError of one line that names the path; the temporary file is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError

CHUNK = 4 << 20  # bytes of one write step
TEMPORARY = ".tmp"  # suffix of a file that is not there yet; what a crash leaves, gc removes

_CURES = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EACCES: "choose a folder that this user may write",
    errno.EPERM: "choose a folder that this user may write",
    errno.EROFS: "choose a folder that can be written",
    errno.EEXIST: "a file is where a folder should be; choose another folder",
    errno.ENOTDIR: "a part of this path is a file; choose another folder",
    errno.EISDIR: "this path is a folder; choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path",
}


@dataclass(frozen=True)
class Step:
    """One effect on what lasts.

    `operation` is one of "mkdir", "create", "write", "sync", "replace", "sync folder", "remove", "commit", "send".
    """

    operation: str
    path: Path
    data: bytes = b""  # of a "write": what is appended to path
    target: Path | None = None  # of a "replace": the final name


Interceptor = Callable[[Step, Callable[[], None]], None]
_interceptor: Interceptor | None = None


@contextlib.contextmanager
def intercept(interceptor: Interceptor) -> Iterator[None]:
    """While this context lasts, steps go to `interceptor(step, execute)` instead of being executed."""
    global _interceptor
    previous, _interceptor = _interceptor, interceptor
    try:
        yield
    finally:
        _interceptor = previous


def perform(step: Step, execute: Callable[[], None]) -> None:
    """Execute one step, through the interceptor where there is one. Database commits come through, too."""
    if _interceptor is None:
        execute()
    else:
        _interceptor(step, execute)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file, durable and atomic; an existing one is replaced, its folder made where missing.

    Another process that does the same work may take the temporary for one that a crash has left, and remove it: then
    the file is written once more.
    """

    def write() -> None:
        write_chunks(Path(path), (data[i : i + CHUNK] for i in range(0, max(len(data), 1), CHUNK)))

    try:
        write()
    except InputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        write()


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of text in UTF-8."""
    write_bytes(path, text.encode())


def write_chunks(path: Path, chunks: Iterable[bytes], name: Callable[[], Path] | None = None) -> Path:
    """Write a file out of pieces, durable and atomic.

    Args:
        path: its final path; temporaries lie beside it.
        chunks: its content, in order.
        name: where given, called once the content is consumed, tells the final path (content addressing).

    Returns:
        The final path.
    """
    make_folder(path.parent)
    with reported(path):
        temporary = path.parent / f".{path.name[:64]}.{secrets.token_hex(8)}{TEMPORARY}"
        try:
            _fill(temporary, chunks)
            final = name() if name else path
            perform(Step("replace", temporary, target=final), lambda: os.replace(temporary, final))
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink()
            raise
        _sync_folder(final.parent)
    return final


def settle(path: str | Path) -> None:
    """Make a file that somebody else put in place durable: fsync it and its folder.

    A name that is visible may still be lost: whoever renamed it may have died before the fsync of the folder.
    """
    path = Path(path)
    with reported(path):
        perform(Step("sync", path), lambda: _sync(path, os.O_RDONLY))
        _sync_folder(path.parent)


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it, durable. An existing one is fine."""
    path = Path(path)
    with reported(path):
        missing = []
        folder = path
        while not folder.is_dir():
            missing.append(folder)
            if folder.parent == folder:
                break
            folder = folder.parent
        for folder in reversed(missing):
            perform(Step("mkdir", folder), lambda folder=folder: folder.mkdir(exist_ok=True))  # type: ignore[misc]
            _sync_folder(folder.parent)


def remove(path: str | Path) -> None:
    """Remove a file, durable. A missing one is fine."""
    path = Path(path)
    with reported(path):
        perform(Step("remove", path), lambda: path.unlink(missing_ok=True))
        _sync_folder(path.parent)


@contextlib.contextmanager
def reported(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block into one line about `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        cure = _CURES.get(error.errno or 0, "check the disk, then run the same command again")
        raise InputError(str(path), f"cannot be written: {reason}", cure) from error


def _fill(temporary: Path, chunks: Iterable[bytes]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = -1

    def create() -> None:
        nonlocal descriptor
        descriptor = os.open(temporary, flags, 0o644)

    try:
        perform(Step("create", temporary), create)
        for chunk in chunks:
            perform(Step("write", temporary, data=chunk), lambda chunk=chunk: _write_all(descriptor, chunk))  # type: ignore[misc]
        perform(Step("sync", temporary), lambda: os.fsync(descriptor))
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:  # a signal or a full pipe may cut a write short
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: those that were added, replaced and removed."""
    with reported(folder):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
    perform(Step("sync folder", folder), lambda: _sync(folder, flags))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Does the write-ahead log of this build of SQLite keep what was committed.

    Builds before 3.51.3, but for 3.50.7 and 3.44.6 and the fixes after them, can lose committed rows when a WAL is
    reset while two connections write (sqlite.org/wal.html#walresetbug).
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
