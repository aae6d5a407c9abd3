"""Reads the offline files of W&B back: LevelDB log framing (32 KiB blocks) around protobuf records.

The format is private to wandb; this reader serves the tests alone.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

BLOCK, FILE_HEADER, CHUNK_HEADER = 32_768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """What a reviewer would see of one run."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    system: list[dict[str, Any]] = field(default_factory=list)


def read_runs(folder: Path) -> list[OfflineRun]:
    """Every run below `folder`, by job type and name."""
    runs = [read_run(path) for path in sorted(folder.rglob("run-*.wandb"))]
    return sorted(runs, key=lambda r: (r.job_type, r.name))


def read_run(path: Path) -> OfflineRun:
    run = OfflineRun()
    for record in records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name, run.group = record.run.run_id, record.run.display_name, record.run.run_group
            run.project, run.job_type, run.tags = record.run.project, record.run.job_type, tuple(record.run.tags)
            run.config |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
        elif kind == "config":
            run.config |= {u.key: json.loads(u.value_json) for u in record.config.update}
        elif kind == "history":
            run.history.append(_items(record.history.item))
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "artifact" and record.artifact.type != "run_table":
            run.artifacts.append(record.artifact)
        elif kind == "stats":
            run.system.append({i.key: json.loads(i.value_json) for i in record.stats.item})
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    for entry in run.history:
        for key, value in entry.items():
            if key.endswith(".path") and value.endswith(".table.json"):
                run.tables[key.removesuffix(".path")] = json.loads((path.parent / "files" / value).read_text())
    return run


def records(data: bytes) -> Iterator[pb.Record]:
    """The records of a file that was finished; a torn or altered one raises ValueError."""
    if data[:4] != b":W&B":
        raise ValueError("not a W&B file")
    position, parts = FILE_HEADER, b""
    while position + CHUNK_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < CHUNK_HEADER:
            position += left
            continue
        checksum, size, kind = struct.unpack("<IHB", data[position : position + CHUNK_HEADER])
        if size == 0 and kind == 0:
            position += left
            continue
        start = position + CHUNK_HEADER
        chunk = data[start : start + size]
        if len(chunk) < size or zlib.crc32(bytes([kind]) + chunk) != checksum:
            raise ValueError(f"broken chunk at byte {position}")
        position = start + size
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            yield pb.Record.FromString(parts)


def _items(items: Any) -> dict[str, Any]:
    """key or nested key, joined by dots -> value."""
    return {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}
