"""Is the Ray that we started still alive. Where it is not, Ray's own code ends this process: after a minute, and with
nothing but a log of its own. So we look ourselves, and start it anew.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

VITAL = ("raylet", "gcs_server")


def dead() -> str:
    """The name of one of Ray's vital processes that has ended; empty where all live, or none is ours."""
    from ray._private import worker

    node = worker._global_node
    ended = [kind for kind, _ in node.dead_processes()] if node is not None else []
    return next((kind for kind in ended if kind in VITAL), "")


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as the command line has it: Tune has a handler of its own for Ctrl-C, which
    waits for Ray.

    It is set anew also where it is set already: Ray puts a handler of its own before Python's, which writes a trace
    and lets an alarm abort the process three seconds later, however far it has come with leaving. Tune's handler stays
    when its sweep is over, and would swallow the next Ctrl-C: the one before is put back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, ctrl_c = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    ours = signal.default_int_handler if before in (signal.SIG_DFL, None) else before
    signal.signal(signal.SIGTERM, ours)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        signal.signal(signal.SIGINT, signal.default_int_handler if ctrl_c is None else ctrl_c)


def interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread, as SIGTERM does."""
    _thread.interrupt_main(signal.SIGTERM)


def leave(process: str) -> None:
    """End this process: its main thread waits for an answer of Ray that will not come."""
    line = f"Ray itself ended ({process}) and left this process waiting - run the same command again, it goes on\n"
    sys.stderr.write(line)
    sys.stderr.flush()
    os._exit(1)
