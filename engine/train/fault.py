"""Why a trial failed, in one line that names the place in the user's own code."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.errors import TidegateError
from engine.system.redact import redact_text

LONGEST = 200  # characters of what an error says
NOT_THEIRS = ("engine", "kernels", "lightning", "lightning_fabric", "torch", "ray", "numpy", *sys.stdlib_module_names)


def fault_of(error: BaseException) -> str:
    """What was raised; and, where it came through code that is not ours, `(package/file.py:line)` of the innermost."""
    if isinstance(error, TidegateError):
        return str(error)
    place = _place(error)
    said = " ".join(redact_text(str(error)).split())[:LONGEST]
    return f"{type(error).__name__}: {said}" + (f" ({place})" if place else "")


def _place(error: BaseException) -> str:
    """Of a file that is not installed, where there is one on the way: it is the one that a person edits."""
    edited, installed = "", ""
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in NOT_THEIRS:
            path = Path(trace.tb_frame.f_code.co_filename)
            depth = module.count(".") + (2 if path.stem == "__init__" else 1)
            place = f"{'/'.join(path.parts[-depth:])}:{trace.tb_lineno}"
            if "site-packages" in path.parts:
                installed = place
            else:
                edited = place
        trace = trace.tb_next
    return edited or installed
