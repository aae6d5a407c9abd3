"""The list that `make test` begins with (tests/conftest.py)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent


def test_files_that_take_long_are_there() -> None:
    names = (ROOT / "longest.txt").read_text().splitlines()
    assert len(set(names)) == len(names) > 20
    assert [name for name in names if not (ROOT / name).is_file()] == []
