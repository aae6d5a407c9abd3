"""Track: what reviewers see of a loop. The port, the null tracker, and the adapter for Weights & Biases.

`wandb` is imported by wandb_writer.py alone, and only once a tracker of that kind starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from engine.track.port import BEST, NullTracker, TrackConf, Tracker, resync, sweep_of, tell_sweep

__all__ = ["BEST", "NullTracker", "TrackConf", "Tracker", "make_tracker", "resync", "sweep_of", "tell_sweep", "unsent"]


def unsent(folder: Path) -> str:
    """A line for people where runs were written offline below `folder`; empty where there are none."""
    where = folder / "wandb"
    found = next(where.glob("offline-run-*"), None) if where.is_dir() else None
    return f"offline runs of W&B lie in {where}: `wandb sync {where}/offline-run-*` sends them" if found else ""


def make_tracker(
    conf: TrackConf,
    folder: Path,
    *,
    warn: Callable[[str], None] | None = None,
    patience: float | None = None,
) -> Tracker:
    """The tracker that the config names.

    Args:
        conf: the kind and its settings.
        folder: offline runs go to `folder/wandb/offline-run-*`; made when the first run is written.
        warn: takes one line when the service fails; the log of `engine.track` where it is None.
        patience: seconds that the end waits for runs not yet written; None: a few, so that no command hangs.
    """
    if conf.kind == "none" or os.environ.get("WANDB_MODE") == "disabled":
        return NullTracker()
    from engine.track.weights_and_biases import PATIENCE, WandbTracker

    told = warn or logging.getLogger(__name__).warning
    return WandbTracker(conf, folder, warn=told, patience=PATIENCE if patience is None else patience)
