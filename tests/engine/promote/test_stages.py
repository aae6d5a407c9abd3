"""The table of transitions, said once more as a matrix, and the fold that heads must agree with."""

from __future__ import annotations

import itertools

import pytest

from engine.errors import InputError
from engine.promote.stages import HEADS, TRANSITIONS, Fold, check_transition, fold
from engine.records import Route, Stage, StageChange
from tests.engine.promote.conftest import PATH, step

# From above to the right: E by evidence, M by hand, R by rollback, . never.
MATRIX = """
               candidate staging preproduction production quarantined retired
new            EM        .       .             .          .           .
candidate      .         EM      M             M          EM          EM
staging        .         .       EM            M          EM          EM
preproduction  .         .       .             EM         EM          EM
production     .         .       .             .          EMR         EM
quarantined    EM        .       .             .          .           EM
retired        EM        .       .             MR         EM          .
"""
HEAD, *LINES = [line.split() for line in MATRIX.strip().splitlines()]
CELLS = [
    (None if source == "new" else Stage(source), Stage(target), allowed)
    for source, *cells in LINES
    for target, allowed in zip(HEAD, cells, strict=True)
]
LETTERS = {Route.EVIDENCE: "E", Route.MANUAL: "M", Route.ROLLBACK: "R"}


def test_the_matrix_is_complete() -> None:
    assert len(CELLS) == (len(Stage) + 1) * len(Stage)
    assert set(TRANSITIONS) == {None, *Stage}


@pytest.mark.parametrize(("source", "target", "allowed"), CELLS)
@pytest.mark.parametrize("route", Route)
def test_a_transition_is_allowed_as_the_matrix_says(
    source: Stage | None, target: Stage, allowed: str, route: Route
) -> None:
    change = step("m", source, target, route=route, actor="anna")
    if LETTERS[route] in allowed:
        check_transition(change)
    else:
        what = f"stage:m: {source.value if source else 'new'} -> {target.value} is not allowed by {route.value} - "
        with pytest.raises(InputError) as caught:
            check_transition(change)
        assert str(caught.value).startswith(what)


def test_the_refusal_names_the_ways_there_are() -> None:
    with pytest.raises(InputError, match=r"from candidate it may go to quarantined, retired, staging$"):
        check_transition(step("m", Stage.CANDIDATE, Stage.PRODUCTION))
    with pytest.raises(InputError, match=r"- use another route$"):
        check_transition(step("m", Stage.STAGING, Stage.RETIRED, route=Route.ROLLBACK))


@pytest.mark.parametrize("actor", ["", "  ", "loop"])
def test_by_hand_means_by_somebody(actor: str) -> None:
    with pytest.raises(InputError, match="a manual change without a name - say who: actor=<name>"):
        check_transition(step("m", Stage.STAGING, Stage.RETIRED, route=Route.MANUAL, actor=actor))


@pytest.mark.parametrize("route", [Route.MANUAL, Route.ROLLBACK])
def test_what_no_gate_decided_needs_a_reason(route: Route) -> None:
    with pytest.raises(InputError, match="without a reason - say why: reason=<text>"):
        check_transition(step("m", Stage.RETIRED, Stage.PRODUCTION, route=route, actor="anna", reason=" "))


def climb(model: str, generations: dict[Stage, int]) -> list[StageChange]:
    """The changes that take a model to production; counts the generations."""
    made = []
    for source, target in itertools.pairwise(PATH):
        assert target is not None
        if source in HEADS:
            generations[source] += 1
        if target in HEADS:
            generations[target] += 1
        made.append(step(model, source, target, generation=generations.get(target, 0)))
    return made


def test_heads_are_what_the_changes_lead_to() -> None:
    generations = dict.fromkeys(HEADS, 0)
    changes = climb("a", generations) + climb("b", generations)
    state = fold([*changes, step("a", Stage.PRODUCTION, Stage.RETIRED)])
    assert state.models == {Stage.PRODUCTION: "b"}
    assert state.generations == {Stage.STAGING: 4, Stage.PREPRODUCTION: 4, Stage.PRODUCTION: 2}
    assert state.stages == {"a": Stage.RETIRED, "b": Stage.PRODUCTION}
    state.add(step("b", Stage.PRODUCTION, Stage.QUARANTINED))
    assert state.models == {}
    assert state.generations[Stage.PRODUCTION] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (step("a", Stage.STAGING, Stage.PREPRODUCTION, generation=1), "a was not in staging"),
        (step("a", None, Stage.STAGING, generation=2), "generation 2 of staging is out of turn"),
        (step("a", None, Stage.CANDIDATE, generation=1), "generation 1 of candidate is out of turn"),
    ],
)
def test_changes_that_contradict_each_other_are_named(change: StageChange, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fold().add(change)
