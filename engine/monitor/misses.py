"""How far estimates without labels were off where labels have come in since, and what that tells of the next one.

An estimate takes for granted that the label follows from the row as it did. Where it does not (concept shift), no row
without a label can show it, by construction. Labelled windows can: on each one since the reference the same estimate is
made as if its labels were not in, and the distance to what they came to is counted in the standard deviations that its
interval is of. Were these right, the distances would have variance 1; windows that move by more than their rows can
tell show a larger one. So intervals are widened by the Birge ratio (Birge 1932), the root of the mean squared distance,
and its quantile is Student's t, as is due to a spread that few windows tell. One window that missed by just what was
said counts in advance, for one labelled window alone knows next to nothing: in simulations of windows that move by up
to twice the standard deviation, intervals then hold in 92.8 % at least from the first labelled window on, and are 1.9
times too wide after one, 1.3 after three and 1.1 after ten where nothing moves (medians). An interval never becomes
narrower. Before any labelled window has come, it holds under the assumption alone, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import NormalDist

from engine.monitor.labelled import Labelled
from engine.records import Estimate, Missed, standard_error
from engine.scoring import student
from engine.scoring.scores import GREATER_IS_BETTER, score

IN_ADVANCE = 1.0  # windows that missed by just what was said


def missed(found: Sequence[Estimate], came: Labelled) -> Iterator[Missed]:
    """By how much each estimate of a window missed what its labels came to; what is undefined tells nothing."""
    for one in found:
        realised = score(one.name, came.rows.task, came.rows.target, came.prediction)
        spread = standard_error(one)
        if math.isfinite(realised) and math.isfinite(spread) and spread > 0:
            yield Missed(window=came.window, metric=one.name, apart=(realised - one.value) / spread)


def widened(found: Estimate, known: Sequence[Missed]) -> Estimate:
    """An estimate with the interval that its misses on labelled windows allow; the last one of a window counts."""
    if found.reason:
        return found
    apart = list({one.window: one.apart for one in known if one.metric == found.name}.values())
    if not apart:
        return replace(found, method=f"{found.method}; no labelled window has come since to show what it misses")
    wider = factor(apart, found.confidence_level)
    low, high = (found.value + (end - found.value) * wider for end in (found.low, found.high))
    if GREATER_IS_BETTER[found.name]:
        high = max(found.high, min(high, 1.0))
    else:
        low = min(found.low, max(low, 0.0))
    windows = "1 labelled window" if len(apart) == 1 else f"{len(apart)} labelled windows"
    return replace(found, low=low, high=high, method=f"{found.method}; {wider:.2f} times as wide by {windows} since")


def factor(apart: Sequence[float], level: float) -> float:
    """How much wider, 1 or more: of distances in standard deviations, one a window."""
    windows = len(apart)
    ratio = math.sqrt((IN_ADVANCE + sum(a * a for a in apart)) / (IN_ADVANCE + windows))
    return max(1.0, ratio * student.within(level, 1 + windows) / NormalDist().inv_cdf(0.5 + level / 2.0))
