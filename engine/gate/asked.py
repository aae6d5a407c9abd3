"""What rules need of evaluate beyond its own config."""

from __future__ import annotations

from collections.abc import Iterable

from engine.gate.conf import RuleConf
from engine.records import Asked, AskedGap, AskedPerturbed, AskedSlice


def asked(rules: Iterable[RuleConf], primary: str) -> Asked:
    """Each thing once, in the order of the rules. Single columns by the primary metric are evaluated in any case."""
    slices: dict[AskedSlice, None] = {}
    gaps: dict[AskedGap, None] = {}
    perturbed: dict[AskedPerturbed, None] = {}
    for rule in rules:
        if rule.kind == "fairness":
            gaps[AskedGap(column=rule.by[0], metric=rule.metric)] = None
        elif rule.kind == "robustness":
            perturbed[AskedPerturbed(perturbation=rule.perturbed, metric=rule.metric)] = None
        elif rule.by and not plain(rule, primary):
            slices[AskedSlice(columns=rule.by, metric=rule.metric, pool=rule.pool)] = None
    return Asked(slices=tuple(slices), gaps=tuple(gaps), perturbed=tuple(perturbed))


def plain(rule: RuleConf, primary: str) -> bool:
    """Is this a slice that every evaluation has."""
    return len(rule.by) == 1 and rule.metric == primary and not rule.pool
