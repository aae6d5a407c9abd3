"""The I/O seam: whole or absent, in the right order, one line where the disk says no."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.system import durable
from engine.system.durable import Step


def record(action: Callable[[], object]) -> list[Step]:
    """The steps of `action`, which is carried out."""
    steps: list[Step] = []

    def watch(step: Step, execute: Callable[[], None]) -> None:
        steps.append(step)
        execute()

    with durable.intercept(watch):
        action()
    return steps


def failing(at: int, code: int) -> durable.Interceptor:
    """An interceptor that lets step number `at` fail, and every later one too, as a broken disk does."""
    count = -1

    def fail(step: Step, execute: Callable[[], None]) -> None:
        nonlocal count
        count += 1
        if count >= at:
            raise OSError(code, os.strerror(code))
        execute()

    return fail


def test_writes_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    durable.write_bytes(path, b"first")
    durable.write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("size", [0, 1, durable.CHUNK - 1, durable.CHUNK, durable.CHUNK + 1])
def test_every_size_comes_back(tmp_path: Path, size: int) -> None:
    data = bytes(size)
    durable.write_bytes(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data


def test_syncs_before_the_rename_and_the_folder_after_it(tmp_path: Path) -> None:
    steps = record(lambda: durable.write_text(tmp_path / "file", "text"))
    assert [s.operation for s in steps] == ["create", "write", "sync", "replace", "sync folder"]
    assert steps[3].target == tmp_path / "file"
    assert {s.path for s in steps[:4]} == {steps[0].path}
    assert steps[0].path.parent == tmp_path, "a rename is atomic only inside one file system"


def test_a_new_folder_is_synced_in_the_folder_above(tmp_path: Path) -> None:
    steps = record(lambda: durable.make_folder(tmp_path / "a" / "b"))
    expected = [("mkdir", "a"), ("sync folder", tmp_path.name), ("mkdir", "b"), ("sync folder", "a")]
    assert [(s.operation, s.path.name) for s in steps] == expected


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_failure_at_any_step_is_one_line_and_leaves_the_earlier_file(tmp_path: Path, code: int) -> None:
    path = tmp_path / "file"
    durable.write_bytes(path, b"before")
    steps = record(lambda: durable.write_bytes(path, b"before"))
    for at in range(len(steps)):
        with durable.intercept(failing(at, code)), pytest.raises(InputError) as caught:
            durable.write_bytes(path, b"after")
        line = str(caught.value)
        assert line.startswith(f"{path}: cannot be written: {os.strerror(code)} - ")
        assert "\n" not in line
        # Only once the rename is done (the fsync of the folder fails) may the new content show.
        assert path.read_bytes() == (b"after" if at == len(steps) - 1 else b"before")
        assert [p.name for p in tmp_path.iterdir()] == ["file"], "no temporary is left"
        durable.write_bytes(path, b"before")


def test_a_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    syncs = 0

    def fail(step: Step, execute: Callable[[], None]) -> None:
        nonlocal syncs
        if step.operation == "sync":
            syncs += 1
            raise OSError(errno.EIO, "Input/output error")
        execute()

    with durable.intercept(fail), pytest.raises(InputError, match="Input/output error"):
        durable.write_bytes(tmp_path / "file", b"data")
    assert syncs == 1
    assert not (tmp_path / "file").exists()


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file/sub: cannot be written: .* - "):
        durable.write_bytes(tmp_path / "file" / "sub" / "name", b"data")


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "link").symlink_to(outside)
    durable.write_bytes(tmp_path / "link", b"new")
    assert outside.read_text() == "precious"
    assert (tmp_path / "link").read_bytes() == b"new"


@pytest.mark.parametrize("times", [1, 2])
def test_a_temporary_that_another_process_swept_away_is_written_once_more(tmp_path: Path, times: int) -> None:
    swept = 0

    def sweep(step: Step, execute: Callable[[], None]) -> None:
        nonlocal swept
        if step.operation == "replace" and swept < times:
            step.path.unlink()
            swept += 1
        execute()

    path = tmp_path / "record.json"
    with durable.intercept(sweep):
        if times == 1:
            durable.write_bytes(path, b"whole")
            assert path.read_bytes() == b"whole"
        else:  # that is no accident
            with pytest.raises(InputError, match="No such file or directory"):
                durable.write_bytes(path, b"whole")
            assert not path.exists()
    assert list(tmp_path.iterdir()) == ([path] if times == 1 else [])


def test_the_interceptor_is_gone_after_its_context(tmp_path: Path) -> None:
    with pytest.raises(InputError), durable.intercept(failing(0, errno.EIO)):
        durable.write_bytes(tmp_path / "file", b"data")
    durable.write_bytes(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


def test_remove_is_quiet_about_what_is_not_there(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "file", b"data")
    steps = record(lambda: durable.remove(tmp_path / "file"))
    assert [s.operation for s in steps] == ["remove", "sync folder"]
    durable.remove(tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_settle_syncs_the_file_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    steps = record(lambda: durable.settle(tmp_path / "file"))
    assert [(s.operation, s.path) for s in steps] == [("sync", tmp_path / "file"), ("sync folder", tmp_path)]
