"""What a further trial of a pack takes: as room.py foretells it, and as the process has it. In a process of its own.

    python -m tests.engine.train.pack.foretold <folder> <rows> <rows of a batch>

Prints one JSON object of bytes a trial of 3 x 128: foretold by a rehearsal, and taken (VmHWM) by each that a pack of
MANY has beyond one of FEW.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from engine.train.checkpoint import Keeper
from engine.train.loader import as_tensors
from engine.train.pack.gauge import HostGauge
from engine.train.pack.room import Room
from engine.train.pack.trial import PackedTrial
from tests.engine.train.pack.memory import make, status
from tests.engine.train.pack.packing import packed

FEW, MANY = 4, 28


def main(folder: Path, rows: int, batch: int) -> dict[str, float]:
    """Both numbers."""
    job = make(folder / "job", MANY, rows, batch, 128)
    tensors = as_tensors(job.train)
    trial = PackedTrial(job, job.plans[0], Keeper(None, ""), tensors, lambda epoch: "")
    HostGauge.free = lambda self: 1e8  # type: ignore[method-assign]
    Room(job, 64).joined(trial, tensors)
    HostGauge.free = lambda self: 1e15  # type: ignore[method-assign]
    foretold = trial.bytes
    del trial
    peaks = []
    for trials in (FEW, MANY):
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        ended = packed(make(folder / f"{trials}", trials, rows, batch, 128), workers=1)
        assert {trial.state.value for trial in ended} == {"finished"}
        peaks.append(status("VmHWM"))
    return {"foretold": foretold, "took": (peaks[1] - peaks[0]) / (MANY - FEW)}


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    print(json.dumps(main(Path(place), *map(int, numbers))))
