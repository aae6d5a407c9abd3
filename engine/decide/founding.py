"""When there is no champion and an attempt to found one has failed: the next one waits for new evidence.

The first attempt is made whatever it costs, so a window without a model is taken to be worth one attempt. k labelled
windows after the hold-out of the attempt that failed, another one pays where its chance to pass, times what these
windows were worth, is its cost: k p >= 1. On the same rows (k = 0) none is made.

    p = Phi((z - c r) / sqrt(1 + r^2 + k))        z  what failed, in standard errors above its bound
                                                  r  sqrt(rows then / rows now), of the hold-outs
                                                  c  critical value

Both estimates have their error, and in each window the world, and a model with more rows, may move by one of them. So
what nearly passed is tried again after two or three windows, what could not be told after five, what fell short by ten
standard errors after 37; a hold-out with more rows is sooner worth an attempt. Where nothing was measured (no trial
ended) p is the share of the attempts that passed, Beta(1, 1 + failed).
"""

from __future__ import annotations

import math
from statistics import NormalDist

from engine.decide.conf import DecideConf
from engine.decide.costs import acting
from engine.decide.evidence import Evidence, Failed
from engine.records import Money, standard_error

UNIT = NormalDist()


def chance(evidence: Evidence) -> float:
    """p: that an attempt now opens what the newest one did not."""
    last = evidence.failed[-1]
    z = shortfall(last)
    if not math.isfinite(z):
        return 1.0 / (2.0 + len(evidence.failed))
    assert last.estimate is not None  # or nothing were known of z
    r = math.sqrt(last.estimate.n / evidence.holdout_rows) if last.estimate.n and evidence.holdout_rows else 1.0
    critical = UNIT.inv_cdf(0.5 + last.estimate.confidence_level / 2)
    return UNIT.cdf((z - critical * r) / math.sqrt(1.0 + r * r + evidence.fresh))


def shortfall(last: Failed) -> float:
    """z, negative below the bound; NaN where nothing was measured."""
    if last.estimate is None or last.better == 0:
        return math.nan
    error = standard_error(last.estimate)
    return last.better * (last.estimate.value - last.bound) / error if error > 0 else math.nan


def worth(evidence: Evidence, conf: DecideConf) -> tuple[Money, Money]:
    """What the windows since were worth, and what an attempt now brings: that, times its chance."""
    cost = acting(evidence, conf).mean
    lost = evidence.fresh * cost
    return Money(mean=lost, std=0.0), Money(mean=chance(evidence) * lost, std=0.0)


def waits(evidence: Evidence, conf: DecideConf) -> str:
    """Why no attempt is made yet; empty: one is."""
    if not evidence.failed:
        return ""
    last, fresh = evidence.failed[-1], evidence.fresh
    said = f"there is no champion, and the attempt of {last.window} failed: {last.reason}"
    if not fresh:
        return f"{said}; no labelled window has come since, and the same rows would say the same"
    p = chance(evidence)
    if acting(evidence, conf).mean <= 0 or p * fresh >= 1:
        return ""
    since = f"{fresh} labelled window{'s' * (fresh > 1)} since, another one passes with {p:.2f}"
    return f"{said}; {since}: it is made once windows without a model, times that, are worth its cost ({p * fresh:.2f})"
