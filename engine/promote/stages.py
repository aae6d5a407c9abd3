"""The stages a model can be in, and every allowed transition, in one table.

    (new) -> candidate -> staging -> preproduction -> production
                 |           |             |               |
                 |           |             |               +-> quarantined   it did harm, or was rolled back
                 +-----------+-------------+---------------+-> retired       another one took its place, or it
                                                                             was not needed any more

Forward only by evidence, one stage at a time: each step names a recorded verdict, a PASS on that model. A person
may skip stages forward, with a name and a reason in place of the verdict.
From aside (quarantined, retired) a model starts again as a candidate, on evidence newer than what put it
there, or by a person's word; only a rollback, or a person, brings a retired champion straight back; nothing
brings a quarantined one straight back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.errors import InputError
from engine.records import Route, Stage, StageChange

# Stages that hold one model at a time: each has a head with a generation.
HEADS = (Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)
# Stages a model gets into because it is good: a negative verdict shuts them.
FORWARD = frozenset(HEADS)
ASIDE = frozenset({Stage.QUARANTINED, Stage.RETIRED})

_E, _M, _R = Route.EVIDENCE, Route.MANUAL, Route.ROLLBACK
TRANSITIONS: Mapping[Stage | None, Mapping[Stage, frozenset[Route]]] = {
    None: {
        Stage.CANDIDATE: frozenset({_E, _M}),
    },
    Stage.CANDIDATE: {
        Stage.STAGING: frozenset({_E, _M}),
        Stage.PREPRODUCTION: frozenset({_M}),
        Stage.PRODUCTION: frozenset({_M}),
        Stage.QUARANTINED: frozenset({_E, _M}),
        Stage.RETIRED: frozenset({_E, _M}),
    },
    Stage.STAGING: {
        Stage.PREPRODUCTION: frozenset({_E, _M}),
        Stage.PRODUCTION: frozenset({_M}),
        Stage.QUARANTINED: frozenset({_E, _M}),
        Stage.RETIRED: frozenset({_E, _M}),
    },
    Stage.PREPRODUCTION: {
        Stage.PRODUCTION: frozenset({_E, _M}),
        Stage.QUARANTINED: frozenset({_E, _M}),
        Stage.RETIRED: frozenset({_E, _M}),
    },
    Stage.PRODUCTION: {
        Stage.QUARANTINED: frozenset({_E, _M, _R}),
        Stage.RETIRED: frozenset({_E, _M}),
    },
    Stage.RETIRED: {
        Stage.CANDIDATE: frozenset({_E, _M}),
        Stage.PRODUCTION: frozenset({_M, _R}),
        Stage.QUARANTINED: frozenset({_E, _M}),
    },
    Stage.QUARANTINED: {
        Stage.CANDIDATE: frozenset({_E, _M}),
        Stage.RETIRED: frozenset({_E, _M}),
    },
}


def check_transition(change: StageChange) -> None:
    """Refuse a transition that the table does not allow; a manual one needs a person and a reason."""
    source = change.source.value if change.source else "new"
    targets = TRANSITIONS[change.source]
    if change.route not in targets.get(change.target, frozenset()):
        allowed = sorted(t.value for t, routes in targets.items() if change.route in routes)
        raise InputError(
            f"stage:{change.model}",
            f"{source} -> {change.target.value} is not allowed by {change.route.value}",
            f"from {source} it may go to {', '.join(allowed)}" if allowed else "use another route",
        )
    if change.route is Route.MANUAL and (not change.actor.strip() or change.actor == "loop"):
        raise InputError(f"stage:{change.model}", "a manual change without a name", "say who: actor=<name>")
    if change.route is not Route.EVIDENCE and not change.reason.strip():
        raise InputError(f"stage:{change.model}", "a change by hand without a reason", "say why: reason=<text>")


@dataclass
class Fold:
    """The state that a sequence of stage changes leads to: what the heads must say."""

    models: dict[Stage, str] = field(default_factory=dict)  # head -> model, no entry where it is empty
    generations: dict[Stage, int] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)  # model -> where it is

    def add(self, change: StageChange) -> None:
        """Apply one change. ValueError where it contradicts those before it."""
        if self.stages.get(change.model) is not change.source:
            raise ValueError(f"{change.model} was not in {change.source.value if change.source else 'no stage'}")
        if change.source in HEADS and self.models.get(change.source) == change.model:
            del self.models[change.source]
            self.generations[change.source] = self.generations.get(change.source, 0) + 1
        if change.target in HEADS:
            self.models[change.target] = change.model
            self.generations[change.target] = self.generations.get(change.target, 0) + 1
        if change.generation != (self.generations[change.target] if change.target in HEADS else 0):
            raise ValueError(f"generation {change.generation} of {change.target.value} is out of turn")
        self.stages[change.model] = change.target


def fold(changes: Iterable[StageChange]) -> Fold:
    """All of `changes`, in order, from nothing."""
    state = Fold()
    for change in changes:
        state.add(change)
    return state
