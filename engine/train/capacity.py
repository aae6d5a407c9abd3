"""How many trials train at once: what they need against what Ray has."""

from __future__ import annotations

from engine.errors import ConfigError


def gpu_share(wanted: float | None, gpus: float, accelerator: str) -> float:
    """GPUs of one trial: `train.gpus`, or, where that is null, a whole one if Ray has any and a trial may use it."""
    if wanted is not None:
        return wanted
    return 1.0 if gpus and accelerator != "cpu" else 0.0


def workers(*, cpus: float, gpus: float, threads: int, share: float, wanted: int) -> int:
    """Workers to start: `wanted` of them, or, where that is 0, as many as CPUs and GPUs allow, and at least one.

    Args:
        cpus, gpus: what Ray has.
        threads: CPUs of one trial; more workers than these allow are let through, they share the CPUs.
        share: GPUs of one trial, up to 1; a trial never spans two.
        wanted: `search.workers`.

    Raises:
        ConfigError: the GPUs do not suffice; Ray would wait for them for ever.
    """
    by_cpu = max(1, int(cpus) // threads)
    if not share:
        return wanted or by_cpu
    fit = int(gpus) * int(1 / share + 1e-9)
    if not fit:
        cure = "choose null or 0 to train on the CPU, or start where there is one"
        raise ConfigError("train.gpus", f"a trial wants {share:g} GPUs, and Ray has {gpus:g}", cure)
    if wanted > fit:
        what = f"{wanted} workers of {share:g} GPUs each do not fit on the {gpus:g} that Ray has"
        raise ConfigError("search.workers", what, f"choose {fit} or fewer, or a smaller train.gpus")
    return wanted or min(by_cpu, fit)
