"""Stage 7, gate: EvaluationReport -> Verdict. Pure, and closed unless the evidence opens it.

A rule compares the bound of an interval, never a bare estimate:

    floor            the metric itself is at least as good as `threshold`
    superiority      challenger minus champion, paired on the same rows, is better than 0 by more than `margin`
    noninferiority   the same difference is not worse than `margin`
    calibration      the true calibration error is at most `threshold`
    fairness         the largest gap between the groups of a column is at most `threshold`
    robustness       under noise or without a column the metric is not worse than `margin`; in the window before or
                     after it is not worse than the champion's there
    latency, memory, size, answers    budgets and good manners of the artifact in a fresh process (gate.cold)

With `slice` a rule holds on every level of a column, or of the crossing of several.

PASS when the whole interval lies on the good side of the bound, FAIL when it lies on the other, INCONCLUSIVE between,
with the rows that would decide where that can be told. A gate passes only if every rule does: all must hold, so none
needs a smaller alpha (intersection-union; Berger 1982). Missing metrics, slices, baselines and rules FAIL, and so does
an undecidable estimate, but for one with too few rows or clusters, which is INCONCLUSIVE: more may cure it. An
interval at confidence level c gives each rule a one-sided error rate of (1 - c) / 2; below MIN_ROWS rows no interval
keeps that, so none passes. Two models that agree on almost every row have the exact interval of the few on which they
do not (engine/scoring/agreement.py): a margin is cleared from about ln(2 / (1 - c)) / margin rows on.

How often a gate at the edge of its rule opens by luck is measured for every metric, with few rows that are sought, long
tails and few clusters, in tests/engine/gate/test_rates.py.
"""

from __future__ import annotations

from engine.gate.asked import asked
from engine.gate.conf import COLD, GAPS, KINDS, RELATIVE, GateConf, RuleConf
from engine.gate.interval import MIN_ROWS
from engine.gate.sequential import judge_look
from engine.gate.verdict import judge, untrained
from engine.gate.wear import judge_worn

__all__ = [
    "COLD",
    "GAPS",
    "KINDS",
    "MIN_ROWS",
    "RELATIVE",
    "GateConf",
    "RuleConf",
    "asked",
    "judge",
    "judge_look",
    "judge_worn",
    "untrained",
]
