"""The report on N labelled rows: metrics, the champion's beside them, slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from engine.evaluate.conf import EvaluateConf
from engine.evaluate.fairness import gap
from engine.evaluate.robustness import Predictions, guarded, perturbed, unknown
from engine.evaluate.worst import Feature, search
from engine.records import Asked, Estimate, EvaluationReport, SliceEstimate, Task
from engine.scoring.intervals import Rows, compare, estimate
from engine.scoring.scores import check_metric

NOTHING = Asked()
NO_PREDICTIONS: Predictions = MappingProxyType({})


def evaluate(
    *,
    model: str,
    champion: str,
    window: str,
    fingerprint: str,
    task: Task,
    target: np.ndarray,
    rows: np.ndarray,
    cluster: np.ndarray | None,
    prediction: np.ndarray,
    champion_prediction: np.ndarray | None,
    slices: Mapping[str, np.ndarray],
    conf: EvaluateConf,
    asked: Asked = NOTHING,
    predictions: Predictions = NO_PREDICTIONS,
    features: Sequence[Feature] = (),
    classes: tuple[str, ...] = (),
) -> EvaluationReport:
    """Report on N labelled rows.

    Args:
        model, champion: ids; champion is empty where there is none.
        window, fingerprint: which rows these are.
        task: what the label is.
        target: (N,) labels.
        rows: (N,) int64 row ids: the resampling weights are keyed by them.
        cluster: (N,) int64 codes of clusters that are resampled whole; None: rows are independent.
        prediction, champion_prediction: (N,) or (N, C), as models give them.
        slices: column -> (N,) levels as text.
        conf: metrics and intervals.
        asked: what the rules of the gate need beside: other slices, gaps between groups, perturbed rows.
        predictions: of the perturbed rows, by the name of the perturbation.
        features: what slices that nobody declared are looked for in; none: they are not.
        classes: the names of the label's codes, of two the positive one last; empty: they have none.

    Raises:
        ConfigError: a metric that says nothing about this task. What the rows themselves forbid is no error: it is an
            Estimate of NaN with its reason.
    """
    for metric in conf.metrics:
        check_metric(metric, task, "evaluate.metrics")
    every = Rows(task=task, target=target, ids=rows, cluster=cluster, classes=classes)
    if champion_prediction is None:
        metrics = tuple(estimate(m, every, prediction, conf) for m in conf.metrics)
        differences, champion_metrics = (), ()
    else:
        compared = [compare(m, every, champion_prediction, prediction, conf) for m in conf.metrics]
        differences, champion_metrics, metrics = zip(*compared, strict=True)
    found, searched = search(features, every, prediction, champion_prediction, conf)
    return EvaluationReport(
        model=model,
        champion=champion,
        window=window,
        fingerprint=fingerprint,
        n_rows=len(target),
        metrics=metrics,
        champion_metrics=champion_metrics,
        differences=differences,
        slices=tuple(
            _slice(column, level, at, every, prediction, champion_prediction, conf)
            for column, levels in slices.items()
            for level, at in _places(levels)
        ),
        guarded=tuple(
            found
            for one in asked.slices
            for found in guarded(one, every, prediction, champion_prediction, slices, conf)
        ),
        fairness=tuple(
            gap(one, every, prediction, slices[one.column], conf) for one in asked.gaps if one.column in slices
        ),
        robustness=tuple(perturbed(one, every, prediction, predictions, conf) for one in asked.perturbed),
        found=found,
        searched=searched,
        classes=classes,
    )


def _places(levels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every level in the order of the alphabet, and the places of its rows, ascending; no text is compared twice."""
    coded = pa.array(levels).dictionary_encode()
    codes = coded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    names: list[str] = coded.dictionary.to_pylist()
    ends = np.cumsum(np.bincount(codes, minlength=len(names))).tolist()
    parts = {name: order[first:end] for name, first, end in zip(names, [0, *ends], ends, strict=False)}
    for name in sorted(parts):
        yield name, parts[name]


def _slice(
    column: str,
    level: str,
    at: np.ndarray,
    rows: Rows,
    prediction: np.ndarray,
    champion_prediction: np.ndarray | None,
    conf: EvaluateConf,
) -> SliceEstimate:
    """The primary metric on the rows of one level; undecidable below `min_slice_rows`."""
    part = rows.take(at)
    own: Estimate
    both: Estimate | None = None
    if len(part) < conf.min_slice_rows:
        own = undecidable(conf, len(part), f"too few rows ({len(part)} of {conf.min_slice_rows})")
        both = None if champion_prediction is None else own
    elif champion_prediction is None:
        own = estimate(conf.primary, part, prediction[at], conf)
    else:
        both, _, own = compare(conf.primary, part, champion_prediction[at], prediction[at], conf)
    return SliceEstimate(column=column, level=level, estimate=own, difference=both)


def undecidable(conf: EvaluateConf, n: int, reason: str) -> Estimate:
    """The primary metric where it cannot be known."""
    return unknown(conf.primary, n, conf, reason)
