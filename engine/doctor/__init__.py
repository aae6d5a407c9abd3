"""Is this machine fit: each finding is good, a warning or bad, and says what to do.

Looks without changing anything but a temporary file beside the loop's folder; versions are read from the packages'
metadata, so nothing heavy is imported and a broken package cannot break the examination. Nothing waits longer than two
seconds for an answer from the network, and no secret is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.doctor import devices, ground, packages, services, watching
from engine.doctor.finding import Finding, State
from engine.doctor.ground import remarked, skewed
from engine.doctor.packages import version_of, versions

__all__ = ["Finding", "State", "examine", "remarked", "skewed", "version_of", "versions"]


def examine(folder: Path, version: Callable[[str], str] = version_of, cluster: str = "auto") -> list[Finding]:
    """All findings; `folder` is where the loop writes, `version` tells the version of a package, `cluster` is the
    address of the Ray that is joined: auto is RAY_ADDRESS, local is none.
    """
    return [
        packages.python(),
        packages.torch(version("torch")),
        packages.lightning(version("lightning")),
        packages.hydra(version("hydra-core")),
        packages.others(version),
        devices.gpu(version),
        devices.processor(),
        devices.numba(version("numba")),
        services.ray(version("ray"), cluster),
        services.dashboard(),
        services.wandb(version("wandb")),
        ground.storage(folder),
        ground.filesystem(folder),
        ground.disk(folder),
        ground.clock(folder),
        ground.sqlite(folder),
        *watching.watch(folder),
    ]
