"""How many trials train at once: what they need against what Ray has."""

from __future__ import annotations

import os

from engine.errors import ConfigError


def cpus() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def gpu_share(wanted: float | None, gpus: float, accelerator: str) -> float:
    """GPUs of one trial: `train.gpus`, or, where that is null, a whole one if Ray has any and a trial may use it."""
    if wanted is not None:
        return wanted
    return 1.0 if gpus and accelerator != "cpu" else 0.0


def on_gpus(gpus: float, share: float) -> int:
    """Trials of so many GPUs each that fit on `gpus` of them; a trial never spans two."""
    return int(gpus) * int(1 / share + 1e-9)


def check(*, gpus: float, share: float, wanted: int, members: int = 1) -> None:
    """ConfigError where the GPUs that Ray has do not suffice for a trial of `members` processes, or for `wanted` trials
    at once (0: any number): Ray would wait for them for ever.
    """
    if not share:
        return
    fit = on_gpus(gpus, share) // members
    if not fit:
        if members > 1:
            what = f"{members} workers of {share:g} GPUs each do not fit on the {gpus:g} that Ray has"
            raise ConfigError("train.workers", what, "choose fewer, or train.accelerator=cpu")
        cure = "choose null or 0 to train on the CPU, or start where there is one"
        raise ConfigError("train.gpus", f"a trial wants {share:g} GPUs, and Ray has {gpus:g}", cure)
    if wanted > fit:
        each = f"{share:g} GPUs each" if members == 1 else f"{members} times {share:g} GPUs each"
        what = f"{wanted} workers of {each} do not fit on the {gpus:g} that Ray has"
        raise ConfigError("search.workers", what, f"choose {fit} or fewer, or a smaller train.gpus")


def too_small(has: dict[str, float], threads: int, members: int, share: float) -> ConfigError:
    """No node, nor several together, has room for the processes of one trial."""
    each = f"{threads} CPUs" + (f" and {share:g} GPUs" if share else "")
    there = f"{has.get('CPU', 0):g} CPUs" + (f" and {has.get('GPU', 0):g} GPUs" if share else "")
    what = f"{members} processes of {each} each do not fit on the nodes of Ray, which have {there}"
    return ConfigError("train.workers", what, "choose fewer, or a smaller train.threads")
