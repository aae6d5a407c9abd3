"""UPF: forecast the performance of the model that is kept and of the one that would be made; decide on a quantile.

Regol et al., When to retrain a machine learning model, ICML 2025, arXiv:2505.14903: future performance is forecast as a
distribution, and a retrain is made when a quantile of what it saves exceeds its price. They fit regressors to the
performance of every past model on every later window. A ledger holds the track of the champion alone, so the forecaster
here is a Bayesian line through the origin: a model loses `b` points a window of age.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from engine.decide.conf import DecideConf
from engine.decide.costs import points_below
from engine.decide.evidence import Evidence
from engine.decide.scope import cost_now
from engine.records import Money


def upf(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the stated quantile of what a retrain saves over the horizon is at least its cost."""
    rate = points_a_window(evidence, conf)
    scale = evidence.age * conf.point_value * conf.horizon
    saved = Money(mean=rate.mean * scale, std=rate.std * scale)
    cost = cost_now(evidence, conf).mean
    bound = saved.mean + NormalDist().inv_cdf(conf.quantile) * saved.std
    if not (math.isfinite(bound) and math.isfinite(cost)):
        return False, "the forecast is undecidable"
    said = f"a window of age is forecast to cost {rate.mean:+.2f} +- {rate.std:.2f} points"
    quantile = f"the {conf.quantile:g} quantile of what a retrain saves is {bound:.0f} {conf.currency}"
    return bound >= cost, f"{said}, the champion is {evidence.age} windows old; {quantile}, it costs {cost:.0f}"


def points_a_window(evidence: Evidence, conf: DecideConf) -> Money:
    """The slope b of `lost = b x age + noise`, from the champion's track.

    Prior N(staleness, staleness_std^2); noise of variance staleness_std^2 between windows and the standard errors of
    both estimates (Bishop, Pattern Recognition and Machine Learning, 3.3). NaN where the newest window is undecidable
    or there is none; an earlier one that is undecidable does not count.
    """
    if not evidence.track:
        return Money(mean=math.nan, std=math.nan)
    precision = 1 / conf.staleness_std**2
    weighted = conf.staleness * precision
    newest = evidence.track[-1].window
    for seen in evidence.track:
        lost = points_below(evidence.baseline, seen.estimate, evidence, conf)
        if not (math.isfinite(lost.mean) and math.isfinite(lost.std)):
            if seen.window == newest:
                return Money(mean=math.nan, std=math.nan)
            continue
        age = max(0, evidence.age - (newest - seen.window))
        weight = 1 / (conf.staleness_std**2 + lost.std**2)
        precision += weight * age * age
        weighted += weight * age * lost.mean
    return Money(mean=weighted / precision, std=math.sqrt(1 / precision))
