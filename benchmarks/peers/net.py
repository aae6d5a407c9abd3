"""The model of both sides of bench_sweep.py: the built-in network, and a note of its first training step."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import torch

from engine.train.model import TabularModel

NOTE = "TIDEGATE_BENCH_FIRST_STEP"  # a file that holds the wall time of the first training step of all trials


class Net(TabularModel):
    """TabularModel; what it adds to a step is one look at an attribute."""

    noted = False

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if not self.noted:
            self.noted = True
            with contextlib.suppress(FileExistsError), open(os.environ[NOTE], "x") as file:
                file.write(repr(time.time()))
        return super().training_step(batch, batch_idx)
