"""The rules, as they are written in conf/act."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.act.metrics import check_metric
from engine.errors import ConfigError
from engine.redact import redact_text

ACTIONS = ("log", "freeze", "rollback")
SEVERITIES = ("suspected", "detected")
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(kw_only=True, slots=True)
class RuleConf:
    """One rule."""

    metric: str
    """A name of metrics_of, such as model.roc_auc_score.low or pipeline.seconds."""
    when: str = ">"
    """Comparison of the metric with the threshold: > >= < <=."""
    threshold: float
    """In the metric's own unit."""
    windows: int = 1
    """In how many windows in a row it must hold; windows that did not measure the metric do not count."""
    severity: str = "suspected"
    """suspected or detected."""
    owner: str = "unassigned"
    """Who is told."""
    action: str = "log"
    """log, freeze or rollback."""
    runbook: str = ""
    """What the owner should do, in words or as a link."""

    def __post_init__(self) -> None:
        for name, allowed in (("when", tuple(COMPARISONS)), ("severity", SEVERITIES), ("action", ACTIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"act.rules:{name}", f"{value!r} is unknown", f"choose one of {' '.join(allowed)}")
        check_metric(self.metric, "act.rules:metric")
        if not math.isfinite(self.threshold):
            raise ConfigError("act.rules:threshold", f"{self.threshold} is no value", "choose a finite number")
        # both are recorded and shown to everybody
        self.owner, self.runbook = redact_text(self.owner), redact_text(self.runbook)
        if self.windows < 1:
            raise ConfigError("act.rules:windows", f"{self.windows} is below 1", "choose 1 or more")


@dataclass(kw_only=True, slots=True)
class ActConf:
    """The rules, by name."""

    rules: dict[str, RuleConf] = field(default_factory=dict)
    """Checked at the end of every cycle, in this order."""
