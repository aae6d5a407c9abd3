"""Regression metrics: mean absolute, squared and quantile errors, R^2.

Shapes: N rows, K outputs; y_true and y_pred are both (N,) or both (N, K). Sums are float64. multioutput is
"uniform_average" or "raw_values" (one value an output). NaN without rows. See kernels.metrics for NaN and
errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arrays import Array, check_option, working_dtype
from kernels.errors import OptionError, ShapeError
from kernels.measures import moments
from kernels.measures.pointwise import row_loss
from kernels.metrics import inputs

MULTIOUTPUT = ("uniform_average", "raw_values")


def mean_absolute_error(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, multioutput: str = "uniform_average",
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean of |y_true - y_pred|, in the units of y.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    return _mean_loss("absolute", y_true, y_pred, 0.5, sample_weight, multioutput, nan_policy, backend)


def mean_squared_error(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, multioutput: str = "uniform_average",
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean of (y_true - y_pred)^2, in squared units of y.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    return _mean_loss("squared", y_true, y_pred, 0.5, sample_weight, multioutput, nan_policy, backend)


def root_mean_squared_error(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, multioutput: str = "uniform_average",
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Square root of the mean squared error, in the units of y; averaged over outputs after the root.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    return _mean_loss("root", y_true, y_pred, 0.5, sample_weight, multioutput, nan_policy, backend)


def mean_pinball_loss(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, alpha: float = 0.5,
    multioutput: str = "uniform_average", nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Mean quantile loss at level alpha: alpha d for d = y_true - y_pred >= 0, (alpha - 1) d below.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    if not 0.0 <= alpha <= 1.0:
        raise OptionError(f"alpha: {alpha} - pass a quantile level within [0, 1]")
    return _mean_loss("pinball", y_true, y_pred, alpha, sample_weight, multioutput, nan_policy, backend)


def r2_score(
    y_true: Array, y_pred: Array, *, sample_weight: Array | None = None, multioutput: str = "uniform_average",
    nan_policy: str = "raise", backend: str | None = None,
) -> Any:  # fmt: skip
    """Coefficient of determination, 1 - residual sum of squares / total sum of squares around the mean.

    NaN for fewer than two rows and for constant y_true, where scikit-learn says 0.0 or 1.0.

    NaN: nan_policy "raise" (default), "omit" or "propagate".
    """
    data = _data(y_true, y_pred, sample_weight, multioutput, nan_policy, backend)
    values = []
    for true, pred in _outputs(data):
        weight = data.weight
        count = np.full_like(true, true.shape[0], shape=()) if weight is None else weight.sum()
        center = moments.mean(true.sum() if weight is None else (true * weight).sum(), count)
        if true.shape[0]:  # a mean may round past equal values, which would then seem to vary
            center = np.clip(center, true.min(), true.max())
        apart = true - center
        if weight is None:
            sums = inputs.primitive("scores", data.backend).regression_sums(true, pred, alpha=0.5)
            residual, first, second = sums.squared, apart.sum(), np.square(apart).sum()
        else:
            residual = (np.square(true - pred) * weight).sum()
            first, second = (apart * weight).sum(), (np.square(apart) * weight).sum()
        value = moments.determination(residual, first, second, count)
        values.append(value if true.shape[0] >= 2 else np.full_like(value, np.nan))
    return _combined(values, data, multioutput, y_pred)


def _mean_loss(
    loss: str, y_true: Array, y_pred: Array, alpha: float, sample_weight: Array | None, multioutput: str,
    nan_policy: str, backend: str | None,
) -> Any:  # fmt: skip
    data = _data(y_true, y_pred, sample_weight, multioutput, nan_policy, backend)
    values = []
    for true, pred in _outputs(data):
        if data.weight is None:
            sums = inputs.primitive("scores", data.backend).regression_sums(true, pred, alpha=alpha)
            total = {"absolute": sums.absolute, "pinball": sums.pinball}.get(loss, sums.squared)
            weight = np.full_like(true, true.shape[0], shape=())
        else:
            total = (row_loss(loss, true, pred, alpha) * data.weight).sum()
            weight = data.weight.sum()
        mean = moments.mean(total, weight)
        values.append(np.sqrt(mean) if loss == "root" else mean)
    return _combined(values, data, multioutput, y_pred)


def _data(
    y_true: Array, y_pred: Array, sample_weight: Array | None, multioutput: str, nan_policy: str,
    backend: str | None,
) -> inputs.Rows:  # fmt: skip
    check_option(multioutput, "multioutput", MULTIOUTPUT)
    data = inputs.rows(
        y_true, y_pred, sample_weight, nan_policy=nan_policy, backend=backend, ndims=(1, 2), true_ndims=(1, 2)
    )
    if data.y_true.shape != data.y_pred.shape:
        raise ShapeError(
            f"y_pred: shape {tuple(data.y_pred.shape)} is not that of y_true {tuple(data.y_true.shape)} - "
            "pass both as (N,) or both as (N, K)"
        )
    for x, name in ((data.y_true, "y_true"), (data.y_pred, "y_pred")):
        working_dtype(x.dtype, name)  # DTypeError for text, complex and extended numbers
    return data._replace(
        y_true=data.y_true.astype(np.float64, copy=False), y_pred=data.y_pred.astype(np.float64, copy=False)
    )


def _outputs(data: inputs.Rows) -> list[tuple[Any, Any]]:
    if data.y_true.ndim == 1:
        return [(data.y_true, data.y_pred)]
    columns = range(data.y_true.shape[1])
    return [(data.y_true[:, k].copy(), data.y_pred[:, k].copy()) for k in columns]


def _combined(values: list[Any], data: inputs.Rows, multioutput: str, template: Array) -> Any:
    stacked = np.stack(values)
    if data.undefined:
        stacked = np.full_like(stacked, np.nan)
    raw = multioutput == "raw_values"
    return inputs.result(stacked if raw else stacked.mean(), template)
