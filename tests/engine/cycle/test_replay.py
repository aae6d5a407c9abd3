"""Decisions and verdicts made again from the ledger alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.cycle import replay
from engine.cycle.replay import Replayed
from engine.decide import POLICIES, Attempt, DecideConf, Evidence, Seen, decide
from engine.errors import InputError
from engine.promote.chain import Row
from engine.promote.ledger import Ledger
from engine.records import from_plain, to_plain
from tests.engine.cycles import cycle, estimate, trial
from tests.engine.world import LAST, Answer, World

OLD = Path(__file__).parents[1] / "decide" / "decisions_0_1_0.json"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "world") as opened:
        yield opened


def evidence(**more: Any) -> Evidence:
    """A champion that lost seven points."""
    known: dict[str, Any] = {
        "window": "w9",
        "index": 9,
        "model": "a",
        "greater_is_better": True,
        "baseline": estimate(0.8),
        "realised": estimate(0.73),
        "attempts": (Attempt(index=5, retuned=True, passed=True, hours=0.25, gain=estimate(0.01), age=2, lost=0.03),),
        "tuned_at": 5,
    }
    return Evidence(**(known | more))


def decided(ledger: Ledger, found: Evidence, conf: DecideConf) -> Row:
    found = from_plain(Evidence, to_plain(found))
    made = decide(found, conf)
    inputs = {"evidence": found, "conf": conf, "version": "1.2.3"}
    return ledger.append("decision", made.id, to_plain(made), inputs=inputs)


def test_every_decision_and_verdict_of_a_loop_is_made_again_bit_for_bit(ended: tuple[World, Answer]) -> None:
    with ended[0].ledger() as ledger:
        rows = [row for row in ledger.rows() if row.kind in ("decision", "verdict")]
        found = [(row.payload.get("gate", row.kind), replay.replay(ledger, row).state) for row in rows]
    assert len(found) == 12
    assert [name for name, state in found if state is Replayed.MEASURED] == ["cold", "cold"]
    assert {name for name, state in found if state is Replayed.EQUAL} == {"decision", "offline", "shadow"}
    assert {state for _, state in found} == {Replayed.EQUAL, Replayed.MEASURED}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.0, 1e308, 5e-324])
@pytest.mark.parametrize("policy", POLICIES)
def test_numbers_that_json_lacks_do_not_hide_a_decision(ledger: Ledger, policy: str, bad: float) -> None:
    seen = evidence(realised=estimate(bad), track=(Seen(at=9, window=9, estimate=estimate(bad)),), wanted=1)
    for how in ({}, {"planned": False}, {"planned": False, "learned": True}):
        row = decided(ledger, seen, DecideConf(policy=policy, hysteresis=0.2, **how))
        assert replay.replay(ledger, row).state is Replayed.EQUAL


@pytest.mark.parametrize("told", json.loads(OLD.read_text()), ids=lambda told: told["inputs"]["conf"]["policy"])
def test_what_release_0_1_0_decided_is_made_again_bit_for_bit(ledger: Ledger, told: dict[str, Any]) -> None:
    """Without the fields that came later, and under the same id: rows as that release wrote them."""
    row = ledger.append("decision", told["decision"]["id"], told["decision"], inputs=told["inputs"])
    done = replay.replay(ledger, row)
    assert (done.state, done.detail) == (Replayed.EQUAL, "made again from its inputs, bit for bit")


def test_another_outcome_is_named(ledger: Ledger) -> None:
    conf = DecideConf(planned=False)
    made = to_plain(decide(evidence(), conf))
    inputs = {"evidence": evidence(), "conf": conf, "version": "1.2.3"}
    forged = ledger.append("decision", "forged", {**made, "action": "keep"}, inputs=inputs)
    done = replay.replay(ledger, forged)
    assert done.state is Replayed.DIFFERENT
    assert done.detail == 'action is "keep", and its inputs give "retune"; made by tidegate 1.2.3'


def test_other_inputs_are_named(ledger: Ledger) -> None:
    """The id of a decision is the hash of its inputs: changed ones give another, whatever the outcome."""
    made = decide(evidence(), DecideConf(policy="never"))
    inputs = {"evidence": evidence(age=1), "conf": DecideConf(policy="never")}
    done = replay.replay(ledger, ledger.append("decision", made.id, to_plain(made), inputs=inputs))
    assert done.state is Replayed.DIFFERENT
    assert done.detail.startswith(f'id is "{made.id}", and its inputs give "')
    assert done.detail.endswith("made by tidegate unknown")


def test_inputs_are_written_with_what_was_made_of_them(ledger: Ledger) -> None:
    row = decided(ledger, evidence(), DecideConf())
    again = ledger.append("decision", row.id, {"other": 1}, inputs={"other": 1})
    assert again == row
    assert [(r.kind, r.id) for r in ledger.rows()] == [("inputs", f"{row.id}:inputs"), ("decision", row.id)]
    assert ledger.verify() == 2


def test_what_an_earlier_release_wrote_is_not_claimed_to_be_proved(ledger: Ledger) -> None:
    row = ledger.append("decision", "old", to_plain(decide(evidence(), DecideConf())))
    done = replay.replay(ledger, row)
    assert (done.state, done.detail) == (Replayed.UNRECORDED, "an earlier release did not record its inputs")


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"evidence": {}, "conf": {}},
        {"evidence": to_plain(evidence()), "conf": {"policy": "unknown"}},
        {"evidence": to_plain(evidence()), "conf": {"of_a_later_release": 1}},
        {"evidence": [], "conf": None},
    ],
)
def test_inputs_that_cannot_be_read_prove_nothing(ledger: Ledger, inputs: dict[str, Any]) -> None:
    done = replay.replay(ledger, ledger.append("decision", "d", {}, inputs=inputs))
    assert done.state is Replayed.DIFFERENT
    assert done.detail.startswith("its inputs cannot be read by this release: ")


def test_a_verdict_without_its_evaluation_proves_nothing(ledger: Ledger) -> None:
    told = {"gate": "offline", "greater_is_better": {}, "holdout_uses": 0, "max_holdout_uses": 5}
    inputs = {**told, "evaluation": "gone", "rules": []}
    done = replay.replay(ledger, ledger.append("verdict", "v", {"gate": "offline"}, inputs=inputs))
    assert done.state is Replayed.DIFFERENT
    assert "the row gone is missing" in done.detail


def test_a_sweep_without_a_model_is_made_again(ledger: Ledger) -> None:
    from engine.gate import untrained
    from engine.records import TrialState

    failed = replace(cycle().candidate, model="", trials=(replace(trial(TrialState.FAILED), reason="boom"),))
    ledger.append("candidate", "c", to_plain(failed), window="w9")
    verdict = untrained(failed, champion="a", window="w9")
    assert verdict.reason == "no trial of 1 finished: boom"
    inputs = {"candidate": "c", "champion": "a"}
    row = ledger.append("verdict", "v", to_plain(verdict), inputs=inputs)
    assert replay.replay(ledger, row).state is Replayed.EQUAL


# ---- which one -----------------------------------------------------------------------------------------------------


def test_things_are_found_by_window_id_and_model(ended: tuple[World, Answer]) -> None:
    world, loop = ended
    with world.ledger() as ledger:
        rows = [row for row in ledger.rows() if row.kind in replay.KINDS]
        assert replay.find(ledger, LAST) == [row for row in rows if row.window == LAST]
        for row in rows:
            assert replay.find(ledger, row.id) == [row]
            if not row.id.endswith(":displaced"):
                assert replay.find(ledger, row.id[:16]) == [row]
        champion = loop.value["champion"]
        assert replay.find(ledger, champion[:12]) == [row for row in rows if row.model == champion]
        with pytest.raises(InputError, match=r"why: 'zzz' is unknown - name a window, or the beginning of an id"):
            replay.find(ledger, "zzz")
        with pytest.raises(InputError, match=r"why: '' is unknown"):
            replay.find(ledger, "")


def test_an_ambiguous_beginning_is_refused(ledger: Ledger) -> None:
    for id in ("ab1", "ab2", "ab2:displaced"):
        ledger.append("decision", id, {})
    with pytest.raises(InputError, match=r"why: 'ab' could be any of 2 things - give more digits"):
        replay.find(ledger, "ab")
    assert [row.id for row in replay.find(ledger, "ab2")] == ["ab2"]
