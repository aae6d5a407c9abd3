from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.effects import command
from engine.effects.channels import Sent, make_channels
from engine.effects.command import LIST, SHOWN
from engine.effects.conf import ChannelConf
from tests.engine.effects.made import message
from tests.patience import timed, until

SOON = 60.0  # seconds


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Sent]:
    """Runs a script as a channel does; it finds its own folder in $0."""

    def running(
        script: str, *arguments: str, timeout: float = SOON, mode: int = 0o755, listed: str | None = None
    ) -> Sent:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        program.chmod(mode)
        conf = ChannelConf(kind="command", argv=[str(program), *arguments])
        held = {LIST: str(program) if listed is None else listed, "CANARY_TOKEN": "canary"}
        return make_channels({"ops": conf}, held)["ops"].send(message(window="w1"), timeout)

    return running


def test_the_program_gets_the_message_on_its_standard_input(run: Callable[..., Sent], tmp_path: Path) -> None:
    assert run("cat > got; printf '%s' \"$TIDEGATE_KEY\" > key") == Sent(ok=True, said="exit 0")
    assert json.loads((tmp_path / "got").read_text()) == message(window="w1").plain()
    assert (tmp_path / "key").read_text() == "k"


def test_no_shell_sees_the_arguments(run: Callable[..., Sent], tmp_path: Path) -> None:
    assert run('printf "%s|" "$@" > got', "a b", "$(touch evil)", ";touch evil").ok
    assert (tmp_path / "got").read_text() == "a b|$(touch evil)|;touch evil|"
    assert not (tmp_path / "evil").exists()


def test_each_pipe_is_one_threads(run: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that close one at the same time break it: the message was delivered, and the loop fell over."""
    users: dict[str, set[str]] = {"stdin": set(), "stderr": set()}
    real, closed = subprocess.Popen, threading.Semaphore(0)

    class Watched:
        def __init__(self, pipe: Any, name: str) -> None:
            self._pipe, self._name = pipe, name

        def __getattr__(self, what: str) -> Any:
            users[self._name].add(threading.current_thread().name)
            return getattr(self._pipe, what)

        def __enter__(self) -> Watched:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()
            closed.release()

    def popen(*given: Any, **more: Any) -> Any:
        process: Any = real(*given, **more)
        process.stdin, process.stderr = Watched(process.stdin, "stdin"), Watched(process.stderr, "stderr")
        return process

    monkeypatch.setattr(command.subprocess, "Popen", popen)
    assert run("cat > got").ok
    assert all(closed.acquire(timeout=SOON) for _ in users)
    assert [len(names) for names in users.values()] == [1, 1]
    assert threading.main_thread().name not in set().union(*users.values())


def test_the_environment_is_minimal(run: Callable[..., Sent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary-0123456789")
    assert run("/usr/bin/env > got").ok
    names = {line.partition("=")[0] for line in (tmp_path / "got").read_text().splitlines()}
    assert names <= {"PATH", "LANG", "TIDEGATE_KEY", "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize("listed", ["", "/bin/true", "program", "*", "/"])
def test_a_program_that_is_not_on_the_list_of_the_environment_is_not_started(
    listed: str, run: Callable[..., Sent], tmp_path: Path
) -> None:
    sent = run("touch started", listed=listed)
    assert sent == Sent(ok=False, said="the program is not in TIDEGATE_COMMANDS of the environment")
    assert run("touch started", listed=f"{tmp_path}/program-old:{tmp_path}/pro").said == sent.said
    assert not (tmp_path / "started").exists()


def test_a_program_that_everybody_can_change_is_not_started(run: Callable[..., Sent], tmp_path: Path) -> None:
    assert run("touch started", mode=0o777).said == "the program can be changed by everybody"
    assert run("touch started", mode=0o644).said == "the program is no file that can be run"
    assert not (tmp_path / "started").exists()


def test_a_program_that_is_not_there_is_told() -> None:
    for path, said in (
        ("/nonexistent/page", "the program cannot be found: No such file or directory"),
        ("/tmp", "the program is no file that can be run"),
    ):
        conf = ChannelConf(kind="command", argv=[path])
        assert make_channels({"ops": conf}, {LIST: path})["ops"].send(message(), SOON) == Sent(ok=False, said=said)


def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00no program")
    program.chmod(0o755)
    conf = ChannelConf(kind="command", argv=[str(program)])
    sent = make_channels({"ops": conf}, {LIST: str(program)})["ops"].send(message(), SOON)
    assert sent.said == "cannot be started: Exec format error"


def test_of_what_it_says_one_line_is_told_without_secrets(
    run: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_TOKEN", "canary-0123456789")
    sent = run("echo canary-stdout; echo first >&2; echo 'no: canary-0123456789' >&2; exit 3")
    assert sent == Sent(ok=False, said="exit 3: no: ***")
    sent = run("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1")
    assert len(sent.said) <= SHOWN


def test_a_program_that_ignores_its_input_is_no_fault(run: Callable[..., Sent]) -> None:
    assert run("exec 0<&-; exit 0").ok


def test_a_program_that_was_ended_by_a_signal_is_told(run: Callable[..., Sent]) -> None:
    assert run("kill -9 $$").said == "ended by signal 9"


def test_after_its_time_it_is_ended_with_all_that_it_started(run: Callable[..., Sent], tmp_path: Path) -> None:
    child = tmp_path / "child"
    for seconds in (1.0, 10.0, 60.0):  # it may be slow to begin
        sent = run("sleep 3600 & echo $! > part; mv part child; sleep 3600", timeout=seconds)
        assert sent == Sent(ok=False, said="timed out, and was ended")
        if child.exists():
            break
    until(lambda: gone(int(child.read_text())))


def test_what_it_leaves_behind_does_not_hold_us_up(run: Callable[..., Sent], tmp_path: Path) -> None:
    sent, seconds = timed(lambda: run("sleep 3600 & echo $! > child; exit 1"), 4.0)
    assert sent.said == "exit 1"
    assert seconds < 4.0
    until(lambda: gone(int((tmp_path / "child").read_text())))


def gone(pid: int) -> bool:
    """Has that process ended; what nobody has waited for yet is gone, too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
