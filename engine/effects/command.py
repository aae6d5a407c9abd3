"""Commands: a program of this machine is handed the message as JSON on its standard input.

A config never starts a program by itself: its absolute path must also stand in TIDEGATE_COMMANDS of the environment (a
list with `:` between), which is set by who runs the loop, not by who wrote the config. The program gets a minimal
environment and no shell, and is ended once its time is over; what it started ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import IO

from engine.effects.channels import Sent
from engine.effects.conf import ChannelConf
from engine.effects.message import Message
from engine.errors import one_line
from engine.system.redact import redact_text

LIST = "TIDEGATE_COMMANDS"
KEPT = 4096  # bytes of what it says on standard error, the last ones
SHOWN = 120  # characters of its last line


class Command:
    """Starts a program for each message."""

    def __init__(self, conf: ChannelConf, environment: Mapping[str, str]) -> None:
        self._argv, self._environment = list(conf.argv), environment

    def __call__(self, message: Message, timeout: float) -> Sent:
        """Run it once, for at most `timeout` seconds. Exit 0 is: delivered."""
        deadline = time.monotonic() + timeout
        refused = self._refusal()
        if refused:
            return Sent(ok=False, said=refused)
        try:
            process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TIDEGATE_KEY": message.key},
                cwd="/",
                start_new_session=True,  # a group of its own, to be ended whole
            )
        except OSError as error:
            return Sent(ok=False, said=f"cannot be started: {error.strerror}")
        try:
            return self._wait(process, json.dumps(message.plain()).encode(), deadline)
        finally:
            _end(process)
            process.wait()

    def _refusal(self) -> str:
        """Why the program is not started; empty: it is."""
        program = self._argv[0]
        if program not in self._environment.get(LIST, "").split(os.pathsep):
            return f"the program is not in {LIST} of the environment"
        try:
            found = os.stat(program)
        except OSError as error:
            return f"the program cannot be found: {error.strerror}"
        if not stat.S_ISREG(found.st_mode) or not os.access(program, os.X_OK):
            return "the program is no file that can be run"
        if found.st_mode & stat.S_IWOTH:
            return "the program can be changed by everybody"
        return ""

    def _wait(self, process: subprocess.Popen[bytes], given: bytes, deadline: float) -> Sent:
        tail = bytearray()
        reader = threading.Thread(target=_keep_end, args=(process.stderr, tail), daemon=True)
        writer = threading.Thread(target=_hand_over, args=(process.stdin, given), daemon=True)
        reader.start()
        writer.start()
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return Sent(ok=False, said="timed out, and was ended")
        if code == 0:
            return Sent(ok=True, said="exit 0")
        _end(process)  # what it left behind may hold the other end
        reader.join(5.0)
        lines = bytes(tail).decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        said = f"exit {code}" if code > 0 else f"ended by signal {-code}"
        return Sent(ok=False, said=one_line(redact_text(f"{said}: {last}" if last else said), SHOWN))


def _end(process: subprocess.Popen[bytes]) -> None:
    """The program, and what it has left behind in its group."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _keep_end(pipe: IO[bytes], tail: bytearray) -> None:
    """Read all, keep the end: a program that talks without end fills no memory. A pipe is its thread's, to the end: two
    that close it at once break it.
    """
    with contextlib.suppress(OSError), pipe:
        while chunk := pipe.read1(KEPT):  # type: ignore[attr-defined]
            tail += chunk
            del tail[:-KEPT]


def _hand_over(pipe: IO[bytes], given: bytes) -> None:
    """Write the message; a program that does not read it is no fault."""
    with contextlib.suppress(OSError), pipe:
        pipe.write(given)
