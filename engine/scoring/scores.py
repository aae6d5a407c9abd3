"""How predictions become numbers: one place that knows what each kernel metric wants and which way it points.

NumPy and the kernels are imported by those who compute: a verb that only names a metric (a rollback, say) starts
sooner.

Predictions are what a model gives: probabilities (N,) or (N, C), or values (N,) in regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from engine.records import Task

if TYPE_CHECKING:
    import numpy as np

_CLASSIFICATION = {
    "roc_auc_score": True,
    "average_precision_score": True,
    "log_loss": False,
    "brier_score_loss": False,
    "expected_calibration_error": False,
    "accuracy_score": True,
    "balanced_accuracy_score": True,
    "precision_score": True,
    "recall_score": True,
    "f1_score": True,
    "matthews_corrcoef": True,
}
_REGRESSION = {
    "mean_absolute_error": False,
    "mean_squared_error": False,
    "root_mean_squared_error": False,
    "mean_pinball_loss": False,
    "r2_score": True,
}
GREATER_IS_BETTER: Mapping[str, bool] = MappingProxyType(_CLASSIFICATION | _REGRESSION)
OF_LABELS = frozenset(
    {
        "accuracy_score",
        "balanced_accuracy_score",
        "precision_score",
        "recall_score",
        "f1_score",
        "matthews_corrcoef",
    }
)
SHARES = OF_LABELS - {"matthews_corrcoef"} | {"roc_auc_score", "average_precision_score"}  # of cases that are right
AVERAGED = frozenset({"precision_score", "recall_score", "f1_score"})
EVERY_CLASS = frozenset({"roc_auc_score", "average_precision_score", "expected_calibration_error"})
BY_ROW = frozenset({"log_loss", "brier_score_loss"})


def _of(task: Task) -> Mapping[str, bool]:
    return _REGRESSION if task is Task.REGRESSION else _CLASSIFICATION


def says_something(metric: str, task: Task) -> bool:
    """Is this a metric of models of that task."""
    return metric in _of(task)


def check_metric(metric: str, task: Task, key: str) -> None:
    """ConfigError where `metric` is unknown or says nothing about this task; `key` is where it was named."""
    allowed = _of(task)
    if metric not in allowed:
        cure = f"choose one of {', '.join(sorted(allowed))}"
        raise ConfigError(key, f"{metric!r} is no metric of a {task.value} model", cure)


def direction(metric: str) -> str:
    """max or min: which end of this metric is the better one."""
    return "max" if GREATER_IS_BETTER[metric] else "min"


def as_scored(metric: str, task: Task, prediction: np.ndarray) -> np.ndarray:
    """Predictions as the metric takes them: the likelier class (int64) for metrics of labels, else unchanged."""
    if metric not in OF_LABELS or task is Task.REGRESSION:
        return prediction
    if task is Task.MULTICLASS:
        likeliest: np.ndarray = prediction.argmax(axis=1).astype("int64")
        return likeliest
    return (prediction >= 0.5).astype("int64")


def as_truth(task: Task, target: np.ndarray) -> np.ndarray:
    """Labels as the metrics take them: class codes int64, or float64 values."""
    return target.astype("float64" if task is Task.REGRESSION else "int64")


def options(metric: str, task: Task, classes: int) -> dict[str, Any]:
    """Keyword arguments that a multiclass metric needs beside truth and prediction: macro averages, one against
    rest, all C classes whether or not they occur.
    """
    if task is not Task.MULTICLASS:
        return {}
    if metric == "roc_auc_score":
        return {"multi_class": "ovr"}
    if metric in BY_ROW:
        import numpy as np

        return {"labels": np.arange(classes)}
    return {"average": "macro"} if metric in AVERAGED else {}


def absent(metric: str, task: Task, target: np.ndarray, prediction: np.ndarray, classes: Sequence[str] = ()) -> str:
    """Why a multiclass metric that looks at every class is undefined on these rows: one has none. Else empty.

    `classes` are the names of the codes, where they have some.
    """
    if task is not Task.MULTICLASS or metric not in EVERY_CLASS:
        return ""
    import numpy as np

    missing = np.setdiff1d(np.arange(prediction.shape[1]), as_truth(task, target))
    if not len(missing):
        return ""
    return f"no row has the label {classes[missing[0]] if classes else missing[0]}"


def score(metric: str, task: Task, target: np.ndarray, prediction: np.ndarray) -> float:
    """The metric of these rows; NaN where it is undefined (one class only, a class without rows, no rows)."""
    if absent(metric, task, target, prediction):
        return float("nan")
    from kernels import metrics

    function = getattr(metrics, metric)
    more = options(metric, task, prediction.shape[-1])
    return float(function(as_truth(task, target), as_scored(metric, task, prediction), **more))


def row_losses(metric: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Losses (N,) whose mean is a multiclass `log_loss` or `brier_score_loss` of probabilities (N, C), C > 1.

    Resampled as such they need no row of every class, in the window or in any slice of it.
    """
    import numpy as np

    codes = as_truth(Task.MULTICLASS, target)[:, None]
    if metric == "log_loss":
        tiny = np.finfo(prediction.dtype).eps  # the clip of kernels.metrics.log_loss
        return np.asarray(-np.log(np.clip(np.take_along_axis(prediction, codes, axis=1)[:, 0], tiny, 1 - tiny)))
    hot = codes == np.arange(prediction.shape[1])
    return np.asarray(np.square(hot - prediction).sum(axis=1) * (0.5 if prediction.shape[1] == 2 else 1.0))
