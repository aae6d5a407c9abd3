"""Does somebody watch this loop, and does it live: by the sign of life that a watch leaves beside its records."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.doctor.finding import Finding, bad, good, warn
from engine.errors import one_line

SIGN = "watch.json"  # engine/verbs/watch.py writes it at each look
PATIENCE = 300.0  # seconds beyond the next look that was announced; founding a loop may take longer, and says so
LONGEST = 6 * 3600.0  # seconds for which one window may be decided on before somebody should look
AGAIN = "start it again: the same command goes on where it stopped"


def watch(folder: Path) -> Iterator[Finding]:
    """Nothing where nobody ever watched."""
    try:
        sign = json.loads((folder / SIGN).read_text())
        state, error, waiting = (one_line(sign[key], 900) for key in ("state", "error", "waiting"))
        age = (datetime.now(UTC) - datetime.fromisoformat(sign["at"])).total_seconds()
        due, where = float(sign["next"]) + PATIENCE, one_line(f"process {sign['pid']} on {sign['host']}")
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        yield warn("watch", f"{folder / SIGN} cannot be read ({type(fault).__name__})", "see whether a watch runs")
        return
    seen = f"{where}, {state}, last sign of life {max(0.0, age):.0f} s ago"
    if state == "ended":
        yield good("watch", f"ended {max(0.0, age):.0f} s ago")
    elif _gone(sign):
        yield bad("watch", f"{seen}, and that process is gone", AGAIN)
    elif error:
        yield bad("watch", f"{seen}: {error.rpartition(' - ')[0] or error}", error.rpartition(" - ")[2])
    elif age > due and not state.startswith("deciding"):
        yield bad("watch", seen, AGAIN)
    elif age > LONGEST:
        cure = f"see whether that process still works, or end it; {AGAIN}"
        yield warn("watch", f"{seen}: more than {LONGEST / 3600:.0f} hours for one window", cure)
    else:
        yield good("watch", f"{seen}{', ' if waiting else ''}{waiting}")


def _gone(sign: dict[str, Any]) -> bool:
    """Did the process end without a word; that can be told on its own machine alone."""
    if sign["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(sign["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except (OSError, ValueError):  # another user's, or no number: there may be one
        return False
    return False
