"""Long simulations in pieces, which go on where they were stopped.

Where TIDEGATE_PROOFS names a folder, each finished piece is a line of a file there, and a run that is started again
takes it from there. A piece counts only for the code that made it: the file's name holds a digest of the statistics'
sources and of the proof's own file. Without that variable nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = ("engine/monitor", "kernels")
FOLDER = "TIDEGATE_PROOFS"


def code(proof: str, sources: Sequence[str] = SOURCES) -> str:
    """Digest of what the numbers of a proof (its file) are made by."""
    files = sorted(f for source in sources for f in (ROOT / source).rglob("*") if f.suffix in {".py", ".cu"})
    found = hashlib.sha256()
    for file in [*files, Path(proof)]:
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def pieces(proof: str, name: str, total: int, size: int, made: Callable[[range], list[int]]) -> list[int]:
    """Sums of `made` over 0 to total - 1, in ranges of `size`; each range is made once, whoever is stopped between."""
    sums: list[int] = []
    for piece in _made_once(proof, name, total, size, made, SOURCES):
        sums = [a + b for a, b in zip(sums or [0] * len(piece), piece, strict=True)]
    return sums


def gathered(
    proof: str, name: str, total: int, size: int, made: Callable[[range], list[Any]], sources: Sequence[str]
) -> list[Any]:
    """What `made` gives (JSON values), one after the other, in ranges of `size` of 0 to total - 1, each made once."""
    return [value for piece in _made_once(proof, name, total, size, made, sources) for value in piece]


def _made_once(
    proof: str, name: str, total: int, size: int, made: Callable[[range], list[Any]], sources: Sequence[str]
) -> Iterator[list[Any]]:
    folder = os.environ.get(FOLDER)
    kept: dict[str, list[Any]] = {}
    file = Path(folder) / f"{name.replace(' ', '-')}-{code(proof, sources)}.jsonl" if folder else None
    if file is not None and file.exists():
        for line in file.read_text().splitlines():
            try:
                kept |= json.loads(line)
            except ValueError:
                continue  # the process died in the middle of this line
    for start in range(0, total, size):
        piece = range(start, min(start + size, total))
        key = f"{piece.start}-{piece.stop}"
        if key not in kept:
            kept[key] = made(piece)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a") as out:
                    out.write("\n" + json.dumps({key: kept[key]}) + "\n")  # whatever was left of a line before
        yield kept[key]
