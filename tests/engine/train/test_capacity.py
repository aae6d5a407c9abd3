from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.train.capacity import gpu_share, workers


@pytest.mark.parametrize(
    ("wanted", "gpus", "accelerator", "share"),
    [
        (None, 0.0, "auto", 0.0),
        (None, 2.0, "auto", 1.0),
        (None, 2.0, "gpu", 1.0),
        (None, 2.0, "cpu", 0.0),
        (0.25, 2.0, "auto", 0.25),
        (0.0, 2.0, "auto", 0.0),
    ],
)
def test_the_share_of_a_gpu(wanted: float | None, gpus: float, accelerator: str, share: float) -> None:
    assert gpu_share(wanted, gpus, accelerator) == share


@pytest.mark.parametrize(
    ("cpus", "gpus", "threads", "share", "wanted", "count"),
    [
        (8, 0, 1, 0.0, 0, 8),
        (8, 0, 3, 0.0, 0, 2),
        (2, 0, 4, 0.0, 0, 1),
        (2, 0, 1, 0.0, 5, 5),  # they share the CPUs
        (16, 1, 1, 1.0, 0, 1),
        (16, 2, 1, 0.25, 0, 8),
        (4, 2, 1, 0.25, 0, 4),
        (16, 2, 1, 0.4, 0, 4),  # two on each: a trial never spans two GPUs
        (16, 1, 1, 0.1, 0, 10),
        (2, 1, 1, 0.25, 4, 4),
    ],
)
def test_workers(cpus: float, gpus: float, threads: int, share: float, wanted: int, count: int) -> None:
    assert workers(cpus=cpus, gpus=gpus, threads=threads, share=share, wanted=wanted) == count


def test_what_ray_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        workers(cpus=8, gpus=0, threads=1, share=0.5, wanted=0)
    assert str(error.value) == (
        "train.gpus: a trial wants 0.5 GPUs, and Ray has 0 - choose null or 0 to train on the CPU, or start where "
        "there is one"
    )
    with pytest.raises(ConfigError) as error:
        workers(cpus=8, gpus=1, threads=1, share=0.25, wanted=5)
    assert str(error.value) == (
        "search.workers: 5 workers of 0.25 GPUs each do not fit on the 1 that Ray has - choose 4 or fewer, or a "
        "smaller train.gpus"
    )
