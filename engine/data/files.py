"""Any one file as a table, for looking at data that no config describes: Parquet, CSV, Arrow IPC."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq

from engine.errors import DataError

READERS = {
    ".parquet": pq.read_table,
    ".csv": pacsv.read_csv,
    ".arrow": feather.read_table,
    ".feather": feather.read_table,
}
MIN_ROWS = 2


def open_table(path: str) -> pa.Table:
    """The file as a table, types guessed for CSV; DataError where it is missing, unreadable, or has too few rows."""
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(path, f"{Path(path).suffix or 'no ending'} is not a format", f"use {' '.join(READERS)}")
    try:
        table = reader(path)
    except FileNotFoundError:
        raise DataError(path, "there is no such file", "check the path") from None
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(path, f"cannot be read ({reason})", "write it again, or name another file") from error
    if table.num_rows < MIN_ROWS:
        raise DataError(path, f"has {table.num_rows} rows", f"a comparison needs at least {MIN_ROWS}")
    return table
