"""What the evaluation primitives hand back: the same tuples from every backend.

Shapes: N rows, C classes, B calibration bins, S segments. Counts are int64 and equal on every backend; sums
are float64. Arrays lie where the inputs lie.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# Flags of a row along an order by score.
POSITIVE = 1  # the row's label is 1
TIED = 2  # the row shares its score with another row, and one of that group is positive
GROUP_END = 4  # the last row of such a group

# Kinds of weights that the resample primitive draws from a 16-bit uniform u.
POISSON = 0  # the number of thresholds not above u: Poisson(1) with mean and variance 1.0000153
COIN = 1  # the top bit of u: 0 or 1

POISSON_THRESHOLDS = (24109, 48219, 60273, 64292, 65296, 65497, 65531, 65535)
"""65536 times the distribution function of Poisson(1), rounded; the last one closes the 16-bit range."""

# In how many values each third of the bettors forgets what it saw (kernels.stream.Betting).
MEMORIES = (16.0, 256.0, 4096.0)


class Order(NamedTuple):
    """Rows by descending score. Example: scores [1, 3, 3] -> rows [1, 2, 0] or [2, 1, 0], groups [0, 0,
    1]."""

    rows: Any  # int64 (N,): row numbers; the order within a tie group is free
    groups: Any  # int64 (N,): number of the tie group, rising along the order
    offsets: Any  # int64 (S + 1,): where each segment begins; [0, N] when there is one


class RankingSums(NamedTuple):
    """What a walk over each segment yields. AUROC = pairs / (2 * positives * negatives)."""

    pairs: Any  # int64 (S,): sum over negatives of 2 * positives above + positives tied
    positives: Any  # int64 (S,)
    negatives: Any  # int64 (S,)
    precision: Any  # float64 (S,): sum over positives of the precision at their score


class BinarySums(NamedTuple):
    """Sums of one pass over a binary problem; rows whose probability is NaN are counted and left out."""

    log_loss: Any  # float64 (): sum of -log of the probability given to the true label, clipped by eps
    squared_error: Any  # float64 (): sum of (label - probability)^2
    rows: Any  # int64 (B,): rows by bin of the probability
    positives: Any  # int64 (B,): positive rows by bin
    confidence: Any  # float64 (B,): sum of the probability by bin
    confusion: Any  # int64 (2, 2): [label, probability >= threshold]
    missing: Any  # int64 (): rows whose probability is NaN
    outside: Any  # int64 (): rows whose probability is below 0 or above 1


class CalibrationSums(NamedTuple):
    """Sums of one pass over confidences and their outcomes, by bin of the confidence and by outcome."""

    rows: Any  # int64 (B, 2)
    confidence: Any  # float64 (B, 2): sum of the confidence
    square: Any  # float64 (B, 2): sum of its square
    outside: Any  # int64 (): rows whose confidence is not within [0, 1]


class MulticlassSums(NamedTuple):
    """Sums of one pass over a problem of C classes; rows with a NaN are counted and left out."""

    log_loss: Any  # float64 ()
    squared_error: Any  # float64 (): sum over rows and classes
    rows: Any  # int64 (B,): rows by bin of the largest probability
    correct: Any  # int64 (B,): of these, rows whose first largest class is the true one
    confidence: Any  # float64 (B,): sum of the largest probability by bin
    missing: Any  # int64 ()
    outside: Any  # int64 ()
    unnormalised: Any  # int64 (): rows whose probabilities do not sum to one within sqrt(machine epsilon)


class RegressionSums(NamedTuple):
    """Sums of one pass over a regression problem; rows with a NaN are counted and left out."""

    absolute: Any  # float64 (): sum of |y_true - y_pred|
    squared: Any  # float64 ()
    pinball: Any  # float64 (): sum of the quantile loss at level alpha
    missing: Any  # int64 ()
