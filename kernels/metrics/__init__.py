"""Evaluation metrics under scikit-learn's names, argument order and values.

Every function takes NumPy, CuPy or torch arrays, all on one device, and computes where they lie: Numba on the
CPU, CUDA C++ on a GPU, NumPy for backend="reference". The result is a float64 scalar in the library of the
predictions, on their device (`np.float64`, a 0-d CuPy array or torch tensor).

`expected_<metric>` is the metric that rows are expected to have whose labels are not known, only their probabilities.

Missing values: nan_policy="raise" (default) raises MissingValueError, because a model that answers NaN must
not be scored on the rest in silence; "omit" leaves the rows out; "propagate" gives NaN. Looking for them, and
for the classes, waits for a CUDA device once.

Undefined values (no rows, no weight, one class only) are NaN, never a silent 0.0 or 1.0; where scikit-learn
differs the function says so. Weights are finite and not negative. Sums are float64 whatever the dtype of the
predictions; scikit-learn sums float32 log losses in float32.

Errors: ShapeError, DTypeError, DeviceError, OptionError, MissingValueError,
BackendUnavailable of kernels.errors. Counts are int64 and, with AUROC, equal on every backend bit for bit;
other values agree to 1e-12.
"""

from __future__ import annotations

from kernels.metrics.classification import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)
from kernels.metrics.expected import (
    expected_average_precision_score,
    expected_brier_score_loss,
    expected_confusion_matrix,
    expected_log_loss,
    expected_roc_auc_score,
)
from kernels.metrics.probability import (
    BinaryScores,
    binary_scores,
    brier_score_loss,
    expected_calibration_error,
    log_loss,
)
from kernels.metrics.ranking import average_precision_score, ndcg_score, roc_auc_score
from kernels.metrics.regression import (
    mean_absolute_error,
    mean_pinball_loss,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)

__all__ = [
    "BinaryScores",
    "accuracy_score",
    "average_precision_score",
    "balanced_accuracy_score",
    "binary_scores",
    "brier_score_loss",
    "confusion_matrix",
    "expected_average_precision_score",
    "expected_brier_score_loss",
    "expected_calibration_error",
    "expected_confusion_matrix",
    "expected_log_loss",
    "expected_roc_auc_score",
    "f1_score",
    "log_loss",
    "matthews_corrcoef",
    "mean_absolute_error",
    "mean_pinball_loss",
    "mean_squared_error",
    "ndcg_score",
    "precision_score",
    "r2_score",
    "recall_score",
    "roc_auc_score",
    "root_mean_squared_error",
]
