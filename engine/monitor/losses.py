"""Metrics of a regression on rows without labels, from a model of the loss of a row (direct loss estimation).

Least squares with a ridge on a basis of the row (basis.py: the prediction, bent, and the features, bent at their
quartiles, without crossings of two) predicts the absolute or squared error of a row; which basis is decided by
cross-fitted squared error. The metric is the mean of the predicted losses. Its interval is of the realised value: the
coefficients' error in sandwich form, by cluster where rows come in clusters, and the luck of the live rows, from a
second model of the squared residuals.

Shapes: N reference rows, M live rows, P columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.monitor.basis import KINDS, Basis, Features, folds
from engine.monitor.expected import LOSSES
from engine.monitor.labelled import Labelled, Live, MetricsConf, inflation, scaled, summed
from engine.records import Estimate
from engine.scoring.intervals import Rows

FOLDS = 5
RIDGE = 1.0
QUARTILES = (0.25, 0.5, 0.75)
REPLICATES = 20_000
CHECK = "error of the mean loss"
LEAST_SPREAD = 0.1  # of the mean squared residual: where the model of residuals says less, it is not believed


@dataclass(frozen=True, kw_only=True)
class LossModel:
    """One loss of the reference rows, by least squares."""

    basis: Basis
    theta: np.ndarray  # (P,)
    covariance: np.ndarray  # (P, P) of its error
    spread: np.ndarray  # (P,) coefficients of the squared residuals
    least: float  # below which those are not believed
    mean: float  # of the loss on the reference rows
    ratio: float  # variance by cluster over that by row of a mean residual

    @classmethod
    def fit(cls, loss: np.ndarray, rows: Rows, t: np.ndarray, features: Features, seed: int) -> LossModel:
        """Of the losses (N,) of labelled rows."""
        cluster = rows.cluster
        fold = folds(rows.ids if cluster is None else cluster, FOLDS, seed)
        best: tuple[float, Basis, np.ndarray, np.ndarray] | None = None
        for kind in KINDS:
            basis = Basis.fit(kind, t, features, QUARTILES)
            design = basis.design(t, features)
            left = loss - _crossed(design, loss, fold)
            wrong = float(left @ left)
            if best is None or wrong < best[0]:
                best = wrong, basis, design, left
        assert best is not None  # there is always a line
        _, basis, design, left = best
        bread = np.linalg.inv(_bend(design))
        by_row = float(left @ left)
        by_unit = float((summed(left, cluster) ** 2).sum())
        score = summed(design * left[:, None], cluster)
        square = left * left
        return cls(
            basis=basis,
            theta=bread @ (design.T @ loss),
            covariance=bread @ (score.T @ score * (len(score) / max(len(score) - 1, 1))) @ bread,
            spread=bread @ (design.T @ square),
            least=LEAST_SPREAD * float(square.mean()),
            mean=float(loss.mean()),
            ratio=by_unit / by_row if by_row > 0 else math.nan,
        )

    def mean_of(self, t: np.ndarray, features: Features) -> tuple[float, float, float]:
        """(mean loss of rows, variance of that by the coefficients' error, mean variance of a row's loss)."""
        total, columns, variance = 0.0, np.zeros(self.basis.width), 0.0
        for _, design in self.basis.chunks(t, features):
            total += float(np.maximum(design @ self.theta, 0.0).sum())
            columns += design.sum(axis=0)
            variance += float(np.maximum(design @ self.spread, self.least).sum())
        n = max(len(t), 1)
        columns /= n
        return total / n, float(columns @ self.covariance @ columns), variance / n


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Models of the losses of a regression's reference rows."""

    reference: Labelled
    conf: MetricsConf

    @classmethod
    def fit(cls, reference: Labelled, conf: MetricsConf) -> Losses:
        """On labelled rows that the model was not trained on; each loss when it is first asked for."""
        return cls(reference=reference, conf=conf)

    @property
    def method(self) -> str:
        """In words."""
        kinds = dict.fromkeys(self._models[loss].basis.kind for loss in self._kinds)
        return f"mean of a loss model of {len(self.reference.rows)} rows ({', '.join(kinds)})"

    @property
    def _kinds(self) -> list[str]:
        return list(dict.fromkeys(LOSSES[m] for m in self.conf.metrics if m in LOSSES)) or ["absolute"]

    @cached_property
    def _models(self) -> dict[str, LossModel]:
        return {kind: self._fitted(kind) for kind in self._kinds}

    def _fitted(self, loss: str) -> LossModel:
        rows = self.reference.rows
        values = _loss(loss, rows, self.reference.prediction)
        t = self.reference.prediction.astype(np.float64)
        return LossModel.fit(values, rows, t, self.reference.features, self.conf.seed)

    @property
    def scale(self) -> float:
        """The check is a share of the mean loss already."""
        return 1.0

    def check(self, newest: Labelled) -> tuple[Estimate, float]:
        """By how much the model's mean loss is wrong on the newest labelled rows, as a share of the mean loss: its
        size, 0 where the interval holds 0.
        """
        loss = self._kinds[0]
        model = self._models[loss]
        values = _loss(loss, newest.rows, newest.prediction)
        t = newest.prediction.astype(np.float64)
        said, by_model, _ = model.mean_of(t, newest.features)
        design = model.basis.design(t, newest.features)
        left = values - np.maximum(design @ model.theta, 0.0)
        error = math.sqrt(
            by_model + float((summed(left - left.mean(), newest.rows.cluster) ** 2).sum()) / len(left) ** 2
        )
        middle = abs(float(values.mean()) - said) / model.mean
        half = self._far(min(newest.rows.units, self.reference.rows.units)) * error / model.mean
        return Estimate(
            name=CHECK,
            value=middle,
            low=max(middle - half, 0.0),
            high=middle + half,
            n=len(newest.rows),
            confidence_level=self.conf.confidence_level,
            method="Student's t, by cluster" if newest.rows.cluster is not None else "Student's t",
        ), 0.0

    def estimates(self, metrics: list[str], live: Live) -> list[Estimate]:
        """Each metric with an interval of its realised value."""
        t = live.prediction.astype(np.float64)
        found = []
        known: dict[str, tuple[float, float]] = {}
        for metric in metrics:
            loss = LOSSES[metric]
            if loss not in known:
                model = self._models[loss]
                value, by_model, of_row = model.mean_of(t, live.features)
                wider = 1.0
                if self.reference.rows.cluster is not None and live.cluster is not None:
                    wider = inflation(model.ratio, self.reference.rows.cluster, live.cluster)
                half = self._far(self.reference.rows.units) * math.sqrt(by_model + wider * of_row / live.n_rows)
                known[loss] = value, half
            found.append(self._estimate(metric, *known[loss], live.n_rows))
        return found

    def _estimate(self, metric: str, value: float, half: float, n: int) -> Estimate:
        ends = [value, max(value - half, 0.0), value + half]
        if metric == "root_mean_squared_error":
            ends = [math.sqrt(end) for end in ends]
        if metric == "mean_pinball_loss":
            ends = [0.5 * end for end in ends]
        return Estimate(
            name=metric,
            value=ends[0],
            low=ends[1],
            high=ends[2],
            n=n,
            confidence_level=self.conf.confidence_level,
            method="sandwich of the loss model and luck of the rows",
        )

    def _far(self, count: int) -> float:
        """Standard deviations that hold the confidence level, on as many units."""
        rng = np.random.default_rng([self.conf.seed, 3])
        drawn = np.abs(rng.standard_normal(REPLICATES) * scaled(rng, REPLICATES, max(count - 1, 1)))
        return float(np.quantile(drawn, self.conf.confidence_level))


def _loss(kind: str, rows: Rows, prediction: np.ndarray) -> np.ndarray:
    apart = rows.target.astype(np.float64) - prediction
    found: np.ndarray = np.abs(apart) if kind == "absolute" else apart * apart
    return found


def _bend(design: np.ndarray) -> np.ndarray:
    found: np.ndarray = design.T @ design + RIDGE * np.diag([1e-9, *np.ones(design.shape[1] - 1)])
    return found


def _crossed(design: np.ndarray, loss: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predicted losses (N,) by models of the other folds: their sums are those of all rows less the fold's own."""
    bend, toward = _bend(design), design.T @ loss
    out = np.empty(len(loss))
    for k in range(FOLDS):
        at = fold == k
        own = design[at]
        out[at] = own @ np.linalg.solve(bend - own.T @ own, toward - own.T @ loss[at])
    return out
