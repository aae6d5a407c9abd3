"""Bytes that are put aside."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from engine.train.pack.aside import Aside


def test_the_content_is_the_one_that_was_put_last_and_leaves_no_file(tmp_path: Path) -> None:
    aside = Aside(tmp_path / "job")
    assert aside.get() == b""
    for data in (b"abc" * 1000, b"short", b"", b"again"):
        aside.put(data)
        assert aside.get() == aside.get() == data
        assert (aside.part(1, 4), aside.part(2, None), aside.part(0, 9999)) == (data[1:4], data[2:], data)
        assert aside._held == (None if data else b"")
    assert list((tmp_path / "job").iterdir()) == []


def test_what_the_disk_refuses_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*values: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    aside = Aside(tmp_path)
    aside.put(b"first")
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    other = Aside(tmp_path)
    other.put(b"second")
    assert (other.get(), aside.get()) == (b"second", b"first")
    (tmp_path / "file").touch()
    third = Aside(tmp_path / "file")  # no folder
    third.put(b"third")
    assert third.get() == b"third"
