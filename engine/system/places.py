"""Where tables lie: a file, a folder, a glob, or a URI of any of these (s3://, file://); and how one is opened."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.errors import DataError
from engine.system import reach


def listed(path: str, endings: Sequence[str]) -> list[str]:
    """The files that `path` names, in the order of their names: itself, or those of a folder or glob that have one of
    the endings. DataError where a folder or glob holds none.

    Hidden files and those that begin with _ are what other programs left in a folder, and are no part of it.
    """
    if "://" in path:
        return _remote(path, endings)
    if "\0" in path or (not _folder(path) and (not has_magic(path) or Path(path).exists())):
        return [path]  # whoever opens it says what is wrong with it
    found = Path(path).rglob("*") if _folder(path) else map(Path, glob(path, recursive=True))
    named = sorted(str(file) for file in found if file.suffix.lower() in endings and file.is_file() and _shown(file))
    return _some(path, named, endings)


def opened(path: str) -> Any:
    """What Arrow's readers take: the path itself, or an open file behind a URI; DataError where it cannot be opened."""
    if "://" not in path:
        return path
    found, inner = filesystem(path)
    try:
        return found.open_input_file(inner)
    except FileNotFoundError:
        raise DataError(path, "there is no such file", "check the path") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read ({_reason(error)})", "check the URI and the rights") from None


def size(path: str) -> int:
    """Bytes of a file; 0 where that cannot be told."""
    if "://" in path:
        found, inner = filesystem(path)
        return int(found.get_file_info(inner).size or 0)
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


def _folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _remote(path: str, endings: Sequence[str]) -> list[str]:
    """The same behind a URI."""
    from pyarrow import fs

    head, mark, query = path.rpartition("?")  # which is a sign of globs, too
    head, end = (head, mark + query) if "=" in query else (path, "")
    base = head
    while has_magic(base):  # the folder that a glob begins with
        base = posixpath.dirname(base)
    there, inner = filesystem(base + end)
    try:
        info = there.get_file_info(inner)
        if info.type != fs.FileType.Directory:
            return [path]
        entries = there.get_file_info(fs.FileSelector(inner, recursive=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be listed ({_reason(error)})", "check the URI and the rights") from None
    root = base.rstrip("/")
    files = [e.path[len(inner) :].lstrip("/") for e in entries if e.type == fs.FileType.File]
    wanted = head[len(base) :].lstrip("/") if base != head else "*"
    kept = [f for f in sorted(files) if fnmatch.fnmatch(f, wanted) and Path(f).suffix.lower() in endings]
    shown = [f"{root}/{f}{end}" for f in kept if _shown(Path(f))]
    return _some(path, shown, endings)


def filesystem(path: str, instead: str = "use a file, or a URI such as s3://") -> tuple[Any, str]:
    """Arrow's file system of a URI, and the path in it; DataError where there is none, or its server does not answer.
    `instead` says what could be named where this is no URI of a kind that Arrow knows.
    """
    from pyarrow import fs

    if fault := reach.no_answer(path):
        raise DataError(path, fault, "check the network, and the URI: endpoint_override, scheme, region")
    try:
        found, inner = fs.FileSystem.from_uri(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be opened ({_reason(error)})", instead) from None
    return found, str(inner)


def _shown(file: Path) -> bool:
    return not file.name.startswith((".", "_"))


def _some(path: str, files: list[str], endings: Sequence[str]) -> list[str]:
    if not files:
        raise DataError(
            path, f"holds no file {' '.join(f'*{e}' for e in endings)}", "name another folder, glob or file"
        )
    return files


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
