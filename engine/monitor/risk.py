"""Does the deployed model do worse than on its hold-out: a test that may be looked at after every labelled row.

Podkopaev and Ramdas 2022 (arXiv 2110.06177): a shift is harmful where the risk in production exceeds the risk on the
hold-out by more than a tolerance; drift that costs nothing never alarms. The hold-out gives an upper bound of the
source risk at delta / 2; production bets against "the mean loss is at most bound + tolerance" at the other half
(kernels.stream.Betting): the chance of ever a false alarm is at most delta, whenever one looks.

It holds where losses, given those before, have that mean: independent rows, or clusters of rows as one loss each, their
mean. A cluster that comes in two windows counts as two. Regression: the scale is taken from the hold-out itself, which
the bound does not know. The state is the numbers in the record, so a loop that starts again goes on from its ledger.

Shapes: M rows, C classes, U units (rows, or clusters in the order in which they first come).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from engine.monitor.conf import MonitorConf
from engine.records import Estimate, Task
from engine.records.observed import Risk, RiskOutcome
from kernels.stream import Betting, ConfidenceSequence, from_state, upper_bound

EVERY = {"row": 100, "cluster": 10}  # units after which a fresh bettor begins
SCALE = 5.0  # mean absolute errors of the hold-out that make a loss of 1


def kind_of(conf: MonitorConf, task: Task) -> str:
    """brier, error or absolute; of a regression always absolute."""
    if task is Task.REGRESSION:
        return "absolute"
    return "brier" if conf.risk_loss == "auto" else conf.risk_loss


def losses(kind: str, task: Task, target: np.ndarray, prediction: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """(M,) losses in [0, 1] of predictions (M,) or (M, C); NaN where a prediction is not finite.

    brier     squared error of the probability; of many classes half the sum over classes
    error     1 where the likelier class is not the label
    absolute  |error| / scale, at most 1
    """
    if kind == "absolute":
        return np.asarray(np.minimum(np.abs(target - prediction) / scale, 1.0), np.float64)
    if task is Task.MULTICLASS:
        hot = target.astype(np.int64)[:, None] == np.arange(prediction.shape[1])
        wrong = prediction.argmax(axis=1) != target
        brier = np.square(hot - prediction.astype(np.float64)).sum(axis=1) / 2
    else:
        wrong, brier = (prediction >= 0.5) != (target > 0.5), np.square(target - prediction.astype(np.float64))
    found = np.minimum(brier, 1.0) if kind == "brier" else wrong.astype(np.float64)
    return np.where(np.isfinite(brier), found, np.nan)


def expected_losses(kind: str, task: Task, probability: np.ndarray, prediction: np.ndarray | None = None) -> np.ndarray:
    """Losses that calibrated probabilities (..., M) or (..., M, C) expect of predictions (M,) or (M, C), for rows
    without labels (Amoukou et al. 2024); without predictions, of themselves. Of (..., M).

    They see harm that shows in the probabilities alone: where calibration breaks, they are wrong and do not know it.
    """
    told = probability if prediction is None else prediction.astype(np.float64)
    if task is Task.BINARY:
        if kind == "brier":
            return np.asarray(probability * (1 - told) ** 2 + (1 - probability) * told**2, np.float64)
        return np.asarray(np.where(told >= 0.5, 1 - probability, probability), np.float64)
    if kind == "brier":
        found = (1 + np.square(told).sum(axis=-1)) / 2 - (probability * told).sum(axis=-1)
    else:
        likelier = np.broadcast_to(told.argmax(axis=-1)[..., None], (*probability.shape[:-1], 1))
        found = 1 - np.take_along_axis(probability, likelier, axis=-1)[..., 0]
    return np.asarray(found, np.float64)


def by_unit(loss: np.ndarray, cluster: np.ndarray | None) -> np.ndarray:
    """(U,) the losses, or the mean of each cluster in the order in which clusters first come."""
    if cluster is None:
        return loss
    _, first, code = np.unique(cluster, return_index=True, return_inverse=True)
    means = np.bincount(code, loss) / np.bincount(code)
    return np.asarray(means[np.argsort(first)])


def begin(kind: str, source: str, units: np.ndarray, unit: str, conf: MonitorConf, scale: float = 1.0) -> Risk:
    """Before the first window: what the hold-out says. Without a bound below 1 no harm can be shown, ever."""
    fine = bool(len(units)) and bool(np.isfinite(units).all())
    high = upper_bound(units, delta=conf.risk_delta / 2) if fine else math.nan
    bound = high + conf.risk_tolerance
    reason = "" if bound < 1 else f"the {len(units)} {unit}s of {source} leave no risk that would be too high"
    return Risk(
        loss=kind,
        unit=unit,
        scale=scale,
        source=_estimate(kind, float(units.mean()) if fine else math.nan, 0.0, high, len(units), conf),
        source_window=source,
        tolerance=conf.risk_tolerance,
        delta=conf.risk_delta,
        outcome=RiskOutcome.UNDECIDABLE,
        reason=(reason or "no labels have come in since") if fine else f"the losses on {source} are not finite",
        risk=_estimate(kind, math.nan, 0.0, 1.0, 0, conf),
    )


def follow(risk: Risk, window: str, units: np.ndarray, conf: MonitorConf) -> Risk:
    """With the losses (U,) of the next labelled window, in the order of their arrival."""
    if not risk.bound < 1:
        return replace(risk, windows=(*risk.windows, window))
    if not len(units) or not np.isfinite(units).all():
        why = "a loss is not finite" if len(units) else "no row has a label"
        outcome = risk.outcome if risk.since else RiskOutcome.UNDECIDABLE
        return replace(
            risk, windows=(*risk.windows, window), outcome=outcome, reason=f"{window}: {why}", newest=math.nan
        )
    bets, sequence = _streams(risk)
    bets.update(units)
    sequence.update(units)
    mean, low, high = (float(number[0]) for number in sequence.bounds)
    alarm = bool(bets.alarm[0])
    n = risk.risk.n + len(units)
    if alarm:  # whoever rejects "at most the bound" has a lower bound above it
        low = max(low, risk.bound)
    said = f"{risk.loss} is above {risk.bound:.4f}, what {risk.source_window} and the tolerance allow"
    return replace(
        risk,
        outcome=RiskOutcome.ALARM if alarm else RiskOutcome.NO_ALARM,
        reason=said if alarm else "",
        risk=_estimate(risk.loss, mean, low, max(high, low), n, conf),
        newest=float(units.mean()),
        evidence=float(bets.evidence[0]),
        since=risk.since or (window if alarm else ""),
        windows=(*risk.windows, window),
        bets=numbers(bets),
        bounds=numbers(sequence),
    )


def _streams(risk: Risk) -> tuple[Betting, ConfidenceSequence]:
    """The test and the sequence where the last window left them."""
    bets = Betting(bound=risk.bound, delta=risk.delta / 2, every=EVERY[risk.unit])
    sequence = ConfidenceSequence(delta=risk.delta / 2)
    return resumed(bets, risk.bets), resumed(sequence, risk.bounds)


def resumed(fresh: Any, known: tuple[float, ...]) -> Any:
    """A stream that goes on from the numbers of a record; a fresh one where there are none."""
    if not known:
        return fresh
    header, arrays = fresh.state()
    return from_state(header, arrays | {"state": np.array([known])})


def numbers(stream: Betting | ConfidenceSequence) -> tuple[float, ...]:
    """The state of one stream, as a record holds it."""
    return tuple(stream.state()[1]["state"][0].tolist())


def _estimate(kind: str, value: float, low: float, high: float, n: int, conf: MonitorConf) -> Estimate:
    level = 1 - conf.risk_delta / 2
    return Estimate(name=kind, value=value, low=low, high=high, n=n, confidence_level=level, method="betting")
