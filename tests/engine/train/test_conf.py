from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.train.conf import BUILT_IN, ResidualConf, SearchConf, TabularConf, TrainConf
from engine.train.registry import OURS, resolve

TRAIN = [
    ({"windows": 0}, "train.windows: 0 is below 1 - train on at least one window"),
    ({"validation": 0.0}, "train.validation: 0.0 is not a share - choose a number between 0 and 1, such as 0.15"),
    ({"validation": 1.0}, "train.validation: 1.0 is not a share - choose a number between 0 and 1, such as 0.15"),
    ({"validation": math.nan}, "train.validation: nan is not a share - choose a number between 0 and 1, such as 0.15"),
    ({"max_epochs": 0}, "train.max_epochs: 0 is below 1 - choose a positive number"),
    ({"batch_size": 0}, "train.batch_size: 0 is below 1 - choose a positive number"),
    ({"threads": 0}, "train.threads: 0 is below 1 - choose a positive number"),
    ({"lr": 0.0}, "train.lr: 0.0 is not a positive number - choose one such as 2e-3"),
    ({"lr": math.nan}, "train.lr: nan is not a positive number - choose one such as 2e-3"),
    ({"lr": math.inf}, "train.lr: inf is not a positive number - choose one such as 2e-3"),
    ({"weight_decay": -1.0}, "train.weight_decay: -1.0 is not a number from 0 on - choose 0 or more"),
    ({"weight_decay": math.inf}, "train.weight_decay: inf is not a number from 0 on - choose 0 or more"),
    ({"seed": -1}, "train.seed: -1 is no seed - choose one from 0 to 4294967295"),
    ({"seed": 2**32}, "train.seed: 4294967296 is no seed - choose one from 0 to 4294967295"),
    (
        {"gpus": 2},
        "train.gpus: 2 is not a share of a GPU - choose a number from 0 to 1, such as 0.25: a trial trains on one GPU",
    ),
    (
        {"gpus": math.nan},
        "train.gpus: nan is not a share of a GPU - choose a number from 0 to 1, such as 0.25: a trial trains on one "
        "GPU",
    ),
    (
        {"gpus": 0, "accelerator": "gpu"},
        "train.gpus: 0 leaves no GPU to train.accelerator=gpu - choose a share such as 0.25, or accelerator=auto",
    ),
    (
        {"checkpoint_seconds": -1.0},
        "train.checkpoint_seconds: -1.0 is not a number from 0 on - choose seconds such as 10, or 0 for a checkpoint "
        "after every epoch",
    ),
    ({"accelerator": "tpu"}, "train.accelerator: 'tpu' is unknown - choose one of auto, cpu, gpu"),
    ({"precision": "16"}, "train.precision: '16' is unknown - choose one of auto, 32, bf16"),
    ({"schedule": "linear"}, "train.schedule: 'linear' is unknown - choose one of cosine, constant"),
]
SEARCH = [
    ({"mode": "most"}, "search.mode: 'most' is unknown - choose max or min"),
    ({"backend": "dask"}, "search.backend: 'dask' is unknown - choose ray or local"),
    ({"num_samples": 0}, "search.num_samples: 0 is below 1 - choose a positive number"),
    ({"grace_period": 0}, "search.grace_period: 0 is below 1 - choose a positive number"),
    ({"reduction_factor": 1}, "search.reduction_factor: 1 is below 2 - choose 2 or more"),
    ({"workers": -1}, "search.workers: -1 is negative - choose 0 or more"),
    ({"max_failures": -1}, "search.max_failures: -1 is negative - choose 0 or more"),
    ({"max_concurrent": -1}, "search.max_concurrent: -1 is negative - choose 0 or more"),
    ({"searcher": "bohb"}, "search.searcher: 'bohb' is unknown - choose random, grid, tpe or gp"),
    (
        {"scheduler": "pb2"},
        "search.scheduler: 'pb2' is unknown - choose none, asha, hyperband, median, paired or pbt",
    ),
    ({"perturbation_interval": 0}, "search.perturbation_interval: 0 is below 1 - choose a positive number"),
    ({"quantile": 0.6}, "search.quantile: 0.6 is no share up to a half - choose 0.25"),
    ({"quantile": math.nan}, "search.quantile: nan is no share up to a half - choose 0.25"),
    ({"perturbation": 1.0}, "search.perturbation: 1.0 is not between 0 and 1 - choose a number such as 0.2"),
    ({"resample": -0.1}, "search.resample: -0.1 is no chance - choose one from 0 to 1"),
    (
        {"scheduler": "pbt", "searcher": "tpe"},
        "search.searcher: tpe chooses points from what earlier trials gave, and a population begins at once"
        " - choose random or grid",
    ),
    (
        {"scheduler": "pbt", "num_samples": 1},
        "search.num_samples: a population of one has nobody to learn from - choose 4 or more",
    ),
    ({"startup": 0}, "search.startup: 0 is below 1 - choose a positive number"),
    ({"brackets": 0}, "search.brackets: 0 is below 1 - choose a positive number"),
    ({"brackets": 11}, "search.brackets: 11 is above 10 - choose a smaller number"),
    ({"min_trials": 0}, "search.min_trials: 0 is below 1 - choose a positive number"),
    ({"alpha": 0.0}, "search.alpha: 0.0 is no error rate below a half - choose a number such as 0.05"),
    ({"alpha": math.nan}, "search.alpha: nan is no error rate below a half - choose a number such as 0.05"),
    ({"time_budget": "soon"}, "search.time_budget: 'soon' is no duration - write 7d, 12h, 90m or 30s"),
    (
        {"time_budget": "0m"},
        "search.time_budget: 0m leaves no time - choose a longer one such as 30m, or null for no bound",
    ),
    (
        {"compute_hours": 0.0},
        "search.compute_hours: 0.0 is not a positive number - choose one such as 4, or null for no bound",
    ),
    (
        {"compute_hours": math.nan},
        "search.compute_hours: nan is not a positive number - choose one such as 4, or null for no bound",
    ),
    ({"metrics": ["log_loss:least"]}, "search.metrics:log_loss: 'least' is unknown - choose max or min"),
    (
        {"metrics": ["log_loss"]},
        "search.scheduler: asha compares trials by one metric, and search.metrics names more"
        " - add search.scheduler=none",
    ),
    (
        {"metrics": ["roc_auc_score"], "scheduler": "none"},
        "search.metrics: roc_auc_score is search.metric already - name the further metrics alone",
    ),
    (
        {"metrics": ["log_loss", "log_loss:min"], "scheduler": "none"},
        "search.metrics: a metric is named twice - name each of them once",
    ),
    ({"max_preemptions": -1}, "search.max_preemptions: -1 is negative - choose 0 or more"),
]
TABULAR = [
    ({"width": 0}, "model.width: 0 is below 1 - choose 1 or more"),
    ({"depth": -1}, "model.depth: -1 is below 0 - choose 0 or more"),
    ({"embedding": 0}, "model.embedding: 0 is below 1 - choose 1 or more"),
    (
        {"dropout": 1.0},
        "model.dropout: 1.0 is not a share up to 0.999 - choose 0 to switch it off, or a number such as 0.1",
    ),
]
RESIDUAL = [
    ({"width": 0}, "model.width: 0 is below 1 - choose 1 or more"),
    ({"blocks": -1}, "model.blocks: -1 is below 0 - choose 0 or more"),
    ({"blocks": 1025}, "model.blocks: 1025 is above 1024 - choose 1024 or less"),
    ({"expansion": 0.0}, "model.expansion: 0.0 is not between 0 and 16 - choose a number such as 2"),
    ({"expansion": math.nan}, "model.expansion: nan is not between 0 and 16 - choose a number such as 2"),
    TABULAR[-1],
]
CASES = [
    pytest.param(cls, wrong, message, id=message.split(" - ")[0])
    for cls, cases in ((TrainConf, TRAIN), (SearchConf, SEARCH), (TabularConf, TABULAR), (ResidualConf, RESIDUAL))
    for wrong, message in cases
]


@pytest.mark.parametrize(("cls", "wrong", "message"), CASES)
def test_a_wrong_value_is_refused_in_one_line(cls: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        cls(**wrong)
    assert str(error.value) == message


@pytest.mark.parametrize("cls", [TrainConf, SearchConf, TabularConf, ResidualConf])
def test_the_defaults_are_fit_for_use(cls: Any) -> None:
    assert cls() == cls()


def test_the_ends_of_what_is_allowed() -> None:
    assert TrainConf(seed=2**32 - 1, weight_decay=0.0, max_epochs=1, batch_size=1, windows=1).seed == 2**32 - 1
    assert TabularConf(depth=0, dropout=0.0, width=1, embedding=1).depth == 0
    assert SearchConf(time_budget="90m").seconds == 5400
    assert SearchConf().seconds is None
    assert SearchConf(num_samples=1, workers=0, max_failures=0, reduction_factor=2).workers == 0


def test_the_classes_of_our_models_and_their_bounds() -> None:
    assert list(BUILT_IN) == list(OURS)
    for target, conf in BUILT_IN.items():
        assert set(conf.__dataclass_fields__) - {"_target_"} == set(arguments(resolve(target)))


def arguments(model: type[Any]) -> list[str]:
    """What a model is built from, besides what every model gets."""
    return [name for name in inspect.signature(model).parameters if name not in ("spec", "train")]
