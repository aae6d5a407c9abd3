"""Which rules hold in a cycle, and the item that each asks for.

A rule names a metric, a comparison and a threshold; when it holds in `windows` windows in a row, of those that measured
the metric, its action is taken:

    log        told to the owner, in the ledger, on the terminal and in the report
    freeze     and no model is promoted until somebody thaws it (`tidegate promote thaw=true`)
    rollback   and production goes back to the champion before

`metrics_of` says which metrics there are. A metric that is NaN is itself an item, and so is one of the model that was
not computed though performance was: an alarm that cannot be raised must not look like silence. A metric of a stage that
did not run in this window says nothing. Such items are told and do nothing else, for nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from engine.act.conf import COMPARISONS, ActConf, RuleConf
from engine.act.metrics import metrics_of
from engine.records import ActionItem, Cycle, digest


def act(history: Sequence[Mapping[str, float]], cycle: Cycle, conf: ActConf) -> tuple[ActionItem, ...]:
    """The items of this cycle. `history` holds metrics_of the cycles before, oldest first."""
    now = metrics_of(cycle)
    performed = any(metric.startswith("model.") for metric in now)
    items = []
    for name, rule in conf.rules.items():
        value = now.get(rule.metric)
        if value is None:  # of a stage that did not run in this cycle, or misspelt
            if performed and rule.metric.startswith("model."):
                items.append(_item(name, rule, cycle, math.nan, f"{rule.metric} is not computed: see evaluate.metrics"))
        elif math.isnan(value):
            items.append(_item(name, rule, cycle, value, f"{rule.metric} cannot be computed"))
        elif _holds(rule, [*history, now]):
            lasted = f" for {rule.windows} windows" if rule.windows > 1 else ""
            said = f"{rule.metric} = {value:.4g} {rule.when} {rule.threshold:.4g}{lasted}"
            items.append(_item(name, rule, cycle, value, said + (f"; {rule.runbook}" if rule.runbook else "")))
    return tuple(items)


def _holds(rule: RuleConf, metrics: Sequence[Mapping[str, float]]) -> bool:
    newest = [m[rule.metric] for m in metrics if rule.metric in m][-rule.windows :]
    compare = COMPARISONS[rule.when]
    return len(newest) == rule.windows and all(compare(value, rule.threshold) for value in newest)


def _item(name: str, rule: RuleConf, cycle: Cycle, value: float, message: str) -> ActionItem:
    undecidable = math.isnan(value)
    return ActionItem(
        id=digest("action", cycle.loop, cycle.window, name),
        rule=name,
        metric=rule.metric,
        value=value,
        threshold=rule.threshold,
        severity="suspected" if undecidable else rule.severity,
        owner=rule.owner,
        action="log" if undecidable else rule.action,
        window=cycle.window,
        message=message,
    )
