"""The rules, as they are written in conf/act."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from engine.act.metrics import check_metric
from engine.effects.conf import ChannelConf
from engine.errors import ConfigError
from engine.system.redact import redact_text

ACTIONS = ("log", "freeze", "rollback", "fallback", "retrain", "retune", "quarantine")
NOBODY = "unassigned"
SEVERITIES = ("suspected", "detected")
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(kw_only=True, slots=True)
class EscalateConf:
    """What happens to an alert that nobody acknowledges."""

    after: int = 0
    """Windows for which it may be open; 0: it is never escalated."""
    owner: str = ""
    """Who is told from then on; empty: the owner of the rule."""
    tell: list[str] = field(default_factory=list)
    """Further channels that are told from then on."""

    def __post_init__(self) -> None:
        if self.after < 0:
            raise ConfigError(
                "act.rules:escalate.after", f"{self.after} is below 0", "choose 1 or more, or 0 for never"
            )
        self.owner = redact_text(self.owner)


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
    """In how many windows it must hold; windows that did not measure the metric do not count."""
    within: int = 0
    """Of how many windows, the newest; 0: of as many as `windows`, so in a row."""
    resolve: int = 1
    """The alert ends once the rule has not held in so many windows in a row."""
    cooldown: int = 0
    """Windows in which an alert that was raised is not raised again while it stays open: no message, no action."""
    severity: str = "suspected"
    """suspected or detected."""
    owner: str = NOBODY
    """Who is told."""
    action: str = "log"
    """log, freeze, rollback, fallback, retrain, retune or quarantine."""
    actions: list[str] = field(default_factory=list)
    """Further actions, in their order."""
    tell: list[str] = field(default_factory=list)
    """Names of act.channels that get a message."""
    escalate: EscalateConf = field(default_factory=EscalateConf)
    """What happens where nobody acknowledges it."""
    runbook: str = ""
    """What the owner should do, in words or as a link."""

    def __post_init__(self) -> None:
        _check("act.rules:when", self.when, tuple(COMPARISONS))
        _check("act.rules:severity", self.severity, SEVERITIES)
        _check("act.rules:action", self.action, ACTIONS)
        for action in self.actions:
            _check("act.rules:actions", action, ACTIONS)
        check_metric(self.metric, "act.rules:metric")
        if not math.isfinite(self.threshold):
            raise ConfigError("act.rules:threshold", f"{self.threshold} is no value", "choose a finite number")
        # both are recorded and shown to everybody
        self.owner, self.runbook = redact_text(self.owner), redact_text(self.runbook)
        for name, least in (("windows", 1), ("within", 0), ("resolve", 1), ("cooldown", 0)):
            if getattr(self, name) < least:
                what = f"{getattr(self, name)} is below {least}"
                raise ConfigError(f"act.rules:{name}", what, f"choose {least} or more")
        if self.within and self.within < self.windows:
            what = f"{self.windows} of {self.within} windows can never be"
            raise ConfigError("act.rules:within", what, "choose as many as windows, or more")

    @property
    def span(self) -> int:
        """How many of the newest windows are looked at."""
        return self.within or self.windows

    @property
    def carried(self) -> Iterator[str]:
        """What is carried out, each once; to log is not."""
        return (action for action in dict.fromkeys((self.action, *self.actions)) if action != "log")


@dataclass(kw_only=True, slots=True)
class LimitConf:
    """How often an action may be carried out."""

    most: int
    """Times; above it the owner is told, and nothing is done."""
    windows: int
    """In so many windows, the newest included."""

    def __post_init__(self) -> None:
        for name, least in (("most", 0), ("windows", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"act.limits:{name}", f"{getattr(self, name)} is below {least}", f"choose {least} or more"
                )


@dataclass(kw_only=True, slots=True)
class ActConf:
    """The rules, by name, and how they are carried out."""

    rules: dict[str, RuleConf] = field(default_factory=dict)
    """Checked at the end of every cycle, in this order."""
    channels: dict[str, ChannelConf] = field(default_factory=dict)
    """Ways outside, by the names that rules tell."""
    deliver_seconds: float = 15.0
    """Seconds that sending may take after each cycle; what is left is sent later."""
    dry_run: bool = False
    """Say what would be done and what would be sent; do nothing."""
    limits: dict[str, LimitConf] = field(default_factory=dict)
    """How often each action may be carried out, by its name: {rollback: {most: 1, windows: 6}}."""
    fallback: str = ""
    """Action fallback: the model that takes over. Empty: the champion before; staging or preproduction: the model that
    is there; or the beginning of an id. It is recorded as the word of the rule's owner; one in quarantine never takes
    over."""
    helped_within: int = 3
    """An action has helped where the alert is good again, or a better model is promoted, within so many windows."""

    def __post_init__(self) -> None:
        for action in self.limits:
            _check("act.limits", action, ACTIONS[1:])
        for name, rule in self.rules.items():
            for channel in (*rule.tell, *rule.escalate.tell):
                if channel not in self.channels:
                    cure = (
                        f"choose one of {', '.join(self.channels)}" if self.channels else "describe it in act.channels"
                    )
                    raise ConfigError(f"act.rules.{name}.tell", f"there is no channel {channel!r}", cure)
        if not 0 < self.deliver_seconds <= 600:
            what = f"{self.deliver_seconds} is not between 0 and 600"
            raise ConfigError("act.deliver_seconds", what, "choose some seconds")
        for name, way in self.channels.items():
            if way.timeout > self.deliver_seconds:
                what = f"{way.timeout:g} s is longer than act.deliver_seconds = {self.deliver_seconds:g}: no slow"
                cure = "raise that, or lower this"
                raise ConfigError(f"act.channels.{name}.timeout", f"{what} send would ever end", cure)
        if self.helped_within < 1:
            raise ConfigError("act.helped_within", f"{self.helped_within} is below 1", "choose 1 or more")


def _check(where: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(where, f"{value!r} is unknown", f"choose one of {' '.join(allowed)}")
