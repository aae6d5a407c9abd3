"""The model of both sides of bench_sweep.py: the built-in network, and a note of its first training step."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from engine.train.model import TabularModel

NOTE = "TIDEGATE_BENCH_FIRST_STEP"  # names a file: [wall time, CPU seconds of all processes] at the first training step


class Net(TabularModel):
    """TabularModel; what it adds to a step is one look at an attribute."""

    noted = False

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if not self.noted:
            self.noted = True
            with contextlib.suppress(FileExistsError), open(os.environ[NOTE], "x") as file:
                json.dump([time.time(), cpu_seconds(os.environ[NOTE])], file)
        return super().training_step(batch, batch_idx)


def cpu_seconds(note: str) -> float:
    """CPU seconds so far of every process of this command: those whose environment names its note."""
    ticks = 0
    mark = f"{NOTE}={note}\0".encode()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if process.name.isdigit() and mark in (process / "environ").read_bytes():
                fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(map(int, fields[11:15]))  # its own time and that of children it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")
