from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.train.capacity import check, gpu_share, on_gpus


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
    ("gpus", "share", "count"),
    [(1, 1.0, 1), (2, 0.25, 8), (2, 0.4, 4), (1, 0.1, 10), (0, 0.5, 0)],  # 0.4: two on each, a trial never spans two
)
def test_trials_on_gpus(gpus: float, share: float, count: int) -> None:
    assert on_gpus(gpus, share) == count


def test_what_ray_does_not_have_is_refused() -> None:
    check(gpus=0, share=0.0, wanted=99)
    check(gpus=1, share=0.25, wanted=4)
    with pytest.raises(ConfigError) as error:
        check(gpus=0, share=0.5, wanted=0)
    assert str(error.value) == (
        "train.gpus: a trial wants 0.5 GPUs, and Ray has 0 - choose null or 0 to train on the CPU, or start where "
        "there is one"
    )
    with pytest.raises(ConfigError) as error:
        check(gpus=1, share=0.25, wanted=5)
    assert str(error.value) == (
        "search.workers: 5 workers of 0.25 GPUs each do not fit on the 1 that Ray has - choose 4 or fewer, or a "
        "smaller train.gpus"
    )
