"""Slow imports beside the first work of a command: windows are read and checked meanwhile.

Arrow and Numba let go of the interpreter's lock where they compute, and a module's file is read without it, so that two
CPUs are of use; and nobody who only mistyped a key waits for torch.
"""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Warmup:
    """Imports a module in a thread. Whoever needs it imports it as ever, and waits there for what is left."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where the module is not there yet."""
        if self._thread is None and self._module not in sys.modules:
            self._thread = threading.Thread(target=self._import, daemon=True, name="imports")
            self._thread.start()

    def _import(self) -> None:
        with resting_collector(), suppress(Exception):  # whoever needs it meets the same fault
            importlib.import_module(self._module)

    def close(self) -> None:
        """Wait for its end: Python cannot leave in the middle of an import."""
        if self._thread is not None:
            self._thread.join()


@contextmanager
def resting_collector() -> Iterator[None]:
    """Nothing is looked through for garbage inside, and never again what has come by the end of it: modules stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()
