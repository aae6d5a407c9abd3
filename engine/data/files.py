"""Any files as a table, for looking at data that no config describes: Parquet, CSV, Arrow IPC; local or in a bucket."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.system import places


def _parquet(source: Any) -> pa.Table:
    """As `pq.read_table`, which would import pyarrow.dataset for one file."""
    with pq.ParquetFile(source) as file:
        return file.read()


READERS: dict[str, Callable[[Any], pa.Table]] = {
    ".parquet": _parquet,
    ".csv": pacsv.read_csv,
    ".arrow": feather.read_table,
    ".feather": feather.read_table,
}
MIN_ROWS = 2


def open_tables(path: str, files: Sequence[str]) -> pa.Table:
    """The rows of all `files`, which `path` names; DataError where they differ in their columns."""
    if len(files) == 1:
        return open_table(files[0])
    tables = [_read(file) for file in files]
    first = tables[0].schema
    for file, table in zip(files, tables, strict=True):
        for name in dict.fromkeys([*first.names, *table.schema.names]):
            here, there = (s.field(name).type if name in s.names else "absent" for s in (table.schema, first))
            if "absent" in (here, there):
                raise DataError(f"{file}:{name}", f"is {here}, and {there} in {files[0]}", "compare files of one table")
    try:  # a CSV of whole numbers and one of fractions are one column of fractions
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(path, f"its files are of different types ({reason})", "store each column as one type") from None
    return _checked(path, table)


def open_table(path: str) -> pa.Table:
    """The file as a table, types guessed for CSV; DataError where it is missing, unreadable, or has too few rows."""
    return _checked(path, _read(path))


def _read(path: str) -> pa.Table:
    name = path.partition("?")[0] if "://" in path else path
    reader = READERS.get(Path(name).suffix.lower())
    if reader is None:
        raise DataError(path, f"{Path(name).suffix or 'no ending'} is not a format", f"use {' '.join(READERS)}")
    check_regular(path)
    try:
        table = reader(places.opened(path))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(path, "there is no such file", "check the path") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(path, f"cannot be read ({reason})", "write it again, or name another file") from error
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise DataError(f"{path}:{name or 'a column without a name'}", "two columns have this name", "rename one")
        if reader is pacsv.read_csv and pa.types.is_binary(table.schema.field(name).type):
            raise DataError(f"{path}:{name}", "is not UTF-8", "save the file as UTF-8")
    return table


def _checked(path: str, table: pa.Table) -> pa.Table:
    if table.num_rows < MIN_ROWS:
        raise DataError(path, f"has {table.num_rows} rows", f"a comparison needs at least {MIN_ROWS}")
    return table


def check_regular(path: str, absent: str = "check the path") -> None:
    """DataError where a local path names a folder, a pipe, a socket or a device: to open some of them waits for ever.

    `absent` says what to do where nothing is there.
    """
    if "://" in path:
        return
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise DataError(path, "there is no such file", absent) from None
    except OSError as error:
        raise DataError(path, f"cannot be opened ({error.strerror})", "check the path") from None
    except ValueError:  # a NUL, or half a surrogate pair
        raise DataError(ascii(path), "is no path", "write it in printable characters") from None
    if not stat.S_ISREG(mode):
        what = "is a folder" if stat.S_ISDIR(mode) else "is a pipe, a socket or a device"
        raise DataError(path, what, "name a file")
