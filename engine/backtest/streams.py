"""Simulated pasts whose truth is known in closed form: a linear concept that moves, and features that move or do not.

    y = x . w_t + e,   x ~ N(mu_t, I),   e ~ N(0, v_t)          of window t, n rows
    model i:  w estimated by least squares on its training windows: the mean of their w plus N(0, I / rows)
    risk(i, t) = v_t + |w_i - w_t|^2 + ((w_i - w_t) . mu_t)^2   mean squared error, exactly

What is measured on n rows is the truth plus its own sampling error: the residuals are normal, so a mean squared error
has variance 2 risk^2 / n, and the paired difference of two models 2 (a^2 + b^2 - 2 c^2) / n with c the covariance of
their residuals. v_t wanders from window to window: some windows are harder for every model, which is no drift. Where
the labels become noisier (harder, partly) it jumps and stays: what is lost then no model brings back.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from engine.backtest.conf import KINDS as KINDS
from engine.errors import ConfigError
from engine.records import Estimate

LEVEL = 0.95
QUANTILE = NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True, kw_only=True)
class StreamConf:
    """A simulated past."""

    kind: str = "abrupt"  # one of KINDS
    windows: int = 120
    rows: int = 5000  # a window
    features: int = 8
    training: int = 3  # windows that a model is trained on
    jump: float = 0.1  # abrupt, harder: risk that a jump of the concept, or of the noise, adds to a noise of variance 1
    every: float = 12.0  # abrupt, benign, harder: windows between two jumps, on average
    season: float = 24.0  # seasonal: windows of a year
    step: float = 0.035  # gradual: way of the concept a window
    swing: float = 0.17  # seasonal: radius of its circle
    shift: float = 0.5  # benign: standard deviations that a third of the columns jump
    hardness: float = 0.02  # standard deviation of v_t
    floor: float = 0.15  # standard deviations that a column must move to be reported as drifted
    lag: int = 1
    shadow: int = 0
    retrain_hours: float = 0.5
    retune_hours: float = 3.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("backtest.kind", f"{self.kind!r} is unknown", f"choose one of {', '.join(KINDS)}")


class Stream:
    """One simulated past; see engine/backtest/hindsight.py for what its methods answer."""

    greater_is_better = False

    def __init__(self, conf: StreamConf, seed: int) -> None:
        self.conf, self.lag, self.shadow, self.training = conf, conf.lag, conf.shadow, conf.training
        rng = np.random.default_rng([seed, KINDS.index(conf.kind)])
        n, f = conf.windows, conf.features
        self.concept = _concept(conf, rng)  # (n, f)
        self.centre = _centre(conf, rng)  # (n, f) mu
        noise = 1.0 + conf.hardness * rng.standard_normal(n)
        fitted = rng.standard_normal((n, f)) / math.sqrt(conf.training * conf.rows)
        self.models = fitted + np.stack([self.concept[max(0, i + 1 - conf.training) : i + 1].mean(0) for i in range(n)])
        self.off = self.models[:, None, :] - self.concept[None, :, :]  # (model, window, f)
        self.noise = noise + _harder(conf, seed)
        self.risk = self.noise + (self.off**2).sum(2) + np.einsum("iwf,wf->iw", self.off, self.centre) ** 2
        self._seen, self._paired = rng.standard_normal((n, n)), rng.standard_normal((n, n))
        self._moved = rng.standard_normal((n, n, f)) * math.sqrt(1 / conf.rows + 1 / (conf.rows * conf.training))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """w000, w001 ..."""
        return tuple(f"w{i:03}" for i in range(self.conf.windows))

    def truth(self, model: int, window: int) -> float:
        """The exact risk."""
        return float(self.risk[model, window])

    def measured(self, model: int, window: int) -> Estimate:
        """The risk as n rows tell it."""
        risk = self.truth(model, window)
        error = risk * math.sqrt(2 / self.conf.rows)
        return self._estimate(risk + error * self._seen[model, window], error)

    def gain(self, model: int, champion: int) -> Estimate:
        """The difference of two risks as the same n rows tell it."""
        at = model + 1
        own, other = self.truth(model, at), self.truth(champion, at)
        ours, theirs, centre = self.off[model, at], self.off[champion, at], self.centre[at]
        both = self.noise[at] + ours @ theirs + (ours @ centre) * (theirs @ centre)
        variance = 2 * (own**2 + other**2 - 2 * both**2) / self.conf.rows
        error = math.sqrt(max(0.0, variance))
        return self._estimate(own - other + error * self._paired[model, champion], error)

    def passes(self, model: int, champion: int) -> bool:
        """Superiority: the whole interval of the difference lies on the better side."""
        return self.gain(model, champion).high < 0

    def moved(self, model: int, window: int) -> tuple[int, int]:
        """Columns whose mean has visibly moved from that of the model's training rows."""
        trained = self.centre[max(0, model + 1 - self.conf.training) : model + 1].mean(0)
        apart = np.abs(self.centre[window] - trained + self._moved[model, window])
        return int((apart > self.conf.floor).sum()), self.conf.features

    def hours(self, model: int, *, retuned: bool) -> float:
        """As configured."""
        return self.conf.retune_hours if retuned else self.conf.retrain_hours

    def _estimate(self, value: float, error: float) -> Estimate:
        return Estimate(
            name="mean_squared_error",
            value=float(value),
            low=float(value - QUANTILE * error),
            high=float(value + QUANTILE * error),
            n=self.conf.rows,
            confidence_level=LEVEL,
            method="simulated",
        )


def _concept(conf: StreamConf, rng: np.random.Generator) -> np.ndarray:
    """w_t, (windows, features)."""
    n, f = conf.windows, conf.features
    still: np.ndarray = np.tile(rng.standard_normal(f), (n, 1))
    if conf.kind in ("abrupt", "mixed", "partly"):
        still += _jumps(rng, n, f, conf.every, lambda: _unit(rng, f) * math.sqrt(conf.jump))
    if conf.kind == "gradual":
        ways = np.cumsum(0.3 * rng.standard_normal((n, f)), axis=0) + rng.standard_normal(f)
        still += np.cumsum(conf.step * ways / np.linalg.norm(ways, axis=1, keepdims=True), axis=0)
    if conf.kind == "seasonal":
        angle = 2 * np.pi * (np.arange(n) / conf.season + rng.random())
        still[:, 0] += conf.swing * np.cos(angle)
        still[:, 1] += conf.swing * np.sin(angle)
    return still


def _centre(conf: StreamConf, rng: np.random.Generator) -> np.ndarray:
    """mu_t, (windows, features): it moves where the shift is benign, and in the mixed stream at times of its own."""
    n, f = conf.windows, conf.features
    if conf.kind not in ("benign", "mixed"):
        return np.zeros((n, f))

    def jump() -> np.ndarray:
        return conf.shift * np.where(rng.permutation(f) < max(1, f // 3), rng.choice([-1.0, 1.0], f), 0.0)

    return _jumps(rng, n, f, conf.every, jump)


def _harder(conf: StreamConf, seed: int) -> np.ndarray:
    """What lastingly adds to v_t, (windows,): it jumps up or down, and never below 0."""
    if conf.kind not in ("harder", "partly"):
        return np.zeros(conf.windows)
    rng = np.random.default_rng([seed, KINDS.index(conf.kind), 1])
    path = _jumps(rng, conf.windows, 1, conf.every, lambda: rng.choice([-conf.jump, conf.jump], 1))
    return np.asarray(np.abs(path[:, 0]))


def _jumps(rng: np.random.Generator, n: int, f: int, every: float, jump: Callable[[], np.ndarray]) -> np.ndarray:
    """A path that stays where it is, and jumps in every `every`-th window on average."""
    path = np.zeros((n, f))
    for t in range(1, n):
        path[t] = path[t - 1] + (jump() if rng.random() < 1 / every else 0.0)
    return path


def _unit(rng: np.random.Generator, f: int) -> np.ndarray:
    way = rng.standard_normal(f)
    return np.asarray(way / np.linalg.norm(way))
