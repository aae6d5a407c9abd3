"""Stage 9, act: rules over metrics of the model and of the pipeline -> action items, each carried out once.

metrics.py what may be measured; conf.py the rules; rules.py which of them hold.
"""

from engine.act.conf import ACTIONS, COMPARISONS, NOBODY, SEVERITIES, ActConf, EscalateConf, LimitConf, RuleConf
from engine.act.metrics import METRICS, metrics_of
from engine.act.rules import act

__all__ = [
    "ACTIONS",
    "COMPARISONS",
    "METRICS",
    "NOBODY",
    "SEVERITIES",
    "ActConf",
    "EscalateConf",
    "LimitConf",
    "RuleConf",
    "act",
    "metrics_of",
]
