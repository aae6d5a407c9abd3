"""The ledger on every database: rows, heads, who wins, what was live, and what a broken one says."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from engine.errors import ConflictError, InputError, LedgerError
from engine.promote.chain import GENESIS
from engine.promote.ledger import Ledger
from engine.promote.stages import HEADS
from engine.records import Route, Stage, StageChange, digest, from_plain, to_plain
from tests.engine.promote.conftest import bring, step


def test_rows_come_back_in_order_and_chained(ledger: Ledger) -> None:
    payloads = [
        {"n": 1, "x": 0.1 + 0.2},
        {"s": "a\u0000b\n\u20ac"},
        {"list": [1, None, True], "d": {"a": {}}},
    ]
    made = [ledger.append("decision", f"id {i}", p, window=f"w{i}") for i, p in enumerate(payloads)]
    assert ledger.rows() == made
    assert [r.payload for r in made] == payloads
    assert [r.seq for r in made] == [1, 2, 3]
    assert [r.previous for r in made] == [GENESIS, made[0].hash, made[1].hash]
    last = made[2]
    content = [last.previous, "flights", 3, "id 2", "decision", "w2", "", last.at, payloads[2]]
    assert last.hash == digest(*content)
    assert ledger.verify() == 3


def test_a_second_append_of_an_id_writes_nothing(ledger: Ledger) -> None:
    first = ledger.append("decision", "d", {"value": 1})
    assert ledger.append("decision", "d", {"value": 2}) == first
    assert ledger.rows() == [first]


def test_a_window_has_one_decision(ledger: Ledger) -> None:
    first = ledger.append("decision", "d", {"value": 1}, window="2026-01", inputs={"seen": 7})
    again = ledger.append("decision", "e", {"value": 2}, window="2026-01", inputs={"seen": 8})
    assert again == first
    other = ledger.append("decision", "f", {"value": 3}, window="2026-02")
    made = [ledger.append("verdict", f"v{i}", {"value": i}, window="2026-01") for i in range(2)]
    assert [row.id for row in ledger.rows() if row.kind != "inputs"] == [row.id for row in (first, other, *made)]
    assert len(ledger.rows("inputs")) == 1


def test_an_id_cannot_name_rows_of_two_kinds(ledger: Ledger) -> None:
    ledger.append("decision", "d", {})
    with pytest.raises(LedgerError, match="id d is taken by a decision, it cannot name a cycle"):
        ledger.append("cycle", "d", {})
    assert len(ledger.rows()) == 1


def test_rows_are_found_by_kind_and_id(ledger: Ledger) -> None:
    ledger.append("decision", "a", {})
    ledger.append("cycle", "b", {})
    assert [r.id for r in ledger.rows("cycle")] == ["b"]
    found = ledger.find("a")
    assert found is not None
    assert found.kind == "decision"
    assert ledger.find("c") is None


def test_window_and_model_are_taken_from_the_payload(ledger: Ledger) -> None:
    row = ledger.append("verdict", "v", {"window": "2026-01", "model": "m", "outcome": "pass"})
    assert (row.window, row.model) == ("2026-01", "m")


def test_numbers_that_json_lacks_become_null(ledger: Ledger) -> None:
    assert ledger.append("decision", "d", {"x": math.nan, "y": math.inf}).payload == {"x": None, "y": None}
    assert ledger.verify() == 1


@pytest.mark.parametrize("id", ["", "a\nb", "a\0b", "x" * 257, "\ud800", "\x1b[2J"])
def test_keys_that_cannot_be_used_are_refused(ledger: Ledger, id: str) -> None:
    with pytest.raises(InputError, match=r"ledger:id: .* is no usable key - use 1 to 256 printable characters"):
        ledger.append("decision", id, {})
    assert ledger.rows() == []


def test_stage_rows_are_written_by_change_alone(ledger: Ledger) -> None:
    with pytest.raises(InputError, match=r"ledger:kind: a stage changes by change\(\) alone"):
        ledger.append("stage", "s", {})


def test_loops_of_one_database_do_not_see_each_other(ledger: Ledger, url: str) -> None:
    bring(ledger, "a")
    with Ledger.open(url, "other") as other:
        assert other.rows() == []
        assert other.head(Stage.PRODUCTION) is None
        bring(other, "a")
        assert other.verify() == 5
    assert ledger.verify() == 5


def test_a_ledger_outlives_its_process(url: str, clock: Callable[[], datetime]) -> None:
    with Ledger.open(url, "flights", now=clock) as first:
        bring(first, "a")
    with Ledger.open(url, "flights", now=clock) as second:
        assert second.verify() == 5
        head = second.head(Stage.PRODUCTION)
    assert head is not None
    assert (head.model, head.generation, head.since) == ("a", 1, "2026-01-01T00:05:00.000000+00:00")


# ---- stages ------------------------------------------------------------------------------------------------


def test_the_founding_model_walks_through_the_stages(ledger: Ledger) -> None:
    assert bring(ledger, "a").generation == 1
    assert ledger.stage_of("a") is Stage.PRODUCTION
    assert ledger.head(Stage.STAGING) is None
    assert ledger.generation(Stage.STAGING) == 2, "in and out again"
    assert [r.kind for r in ledger.rows()] == ["stage", "verdict", "stage", "stage", "stage"]


def test_a_new_champion_retires_the_old_one_in_the_same_transaction(ledger: Ledger) -> None:
    bring(ledger, "a")
    change = bring(ledger, "b")
    assert change.generation == 2
    head = ledger.head(Stage.PRODUCTION)
    assert head is not None
    assert head.model == "b"
    assert ledger.stage_of("a") is Stage.RETIRED
    retired = from_plain(StageChange, ledger.rows()[-1].payload)
    assert retired.id == "b:production:displaced"
    assert (retired.model, retired.source, retired.target) == ("a", Stage.PRODUCTION, Stage.RETIRED)
    assert ledger.verify() == 11


def test_a_newcomer_in_staging_displaces_the_one_before(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.STAGING)
    bring(ledger, "b", Stage.STAGING)
    assert ledger.stage_of("a") is Stage.RETIRED
    assert ledger.generation(Stage.STAGING) == 2


def test_leaving_production_leaves_it_empty(ledger: Ledger) -> None:
    bring(ledger, "a")
    ledger.change(step("a", Stage.PRODUCTION, Stage.QUARANTINED))
    assert ledger.head(Stage.PRODUCTION) is None
    assert ledger.generation(Stage.PRODUCTION) == 2
    assert ledger.verify() == 6


def test_the_same_change_is_recorded_once(ledger: Ledger) -> None:
    first = bring(ledger, "a")
    again = ledger.change(step("a", Stage.PREPRODUCTION, Stage.PRODUCTION), expected_generation=0)
    assert again == first
    assert len(ledger.rows()) == 5


def test_the_loser_is_told_who_won(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.PREPRODUCTION)
    seen = ledger.generation(Stage.PRODUCTION)
    ledger.change(step("a", Stage.PREPRODUCTION, Stage.PRODUCTION, actor="anna"), expected_generation=seen)
    bring(ledger, "b", Stage.PREPRODUCTION)
    before = ledger.rows()
    late = step("b", Stage.PREPRODUCTION, Stage.PRODUCTION)
    with pytest.raises(ConflictError, match="lost to generation 1 by anna: model a; expected generation 0"):
        ledger.change(late, expected_generation=seen)
    assert ledger.rows() == before
    assert ledger.change(late, expected_generation=1).generation == 2


def test_a_stale_source_is_a_conflict(ledger: Ledger) -> None:
    bring(ledger, "a")
    with pytest.raises(ConflictError, match="lost to generation 1 by loop: model a: a is production now"):
        ledger.change(step("a", Stage.STAGING, Stage.PREPRODUCTION, id="late"))
    with pytest.raises(ConflictError, match="nobody put ghost into staging: ghost is in no stage now"):
        ledger.change(step("ghost", Stage.STAGING, Stage.RETIRED))


def test_a_rehearsal_changes_nothing(ledger: Ledger) -> None:
    bring(ledger, "a")
    bring(ledger, "b", Stage.PREPRODUCTION)
    before, tip = ledger.rows(), ledger.tip()
    made = ledger.move(step("b", Stage.PREPRODUCTION, Stage.PRODUCTION), rehearse=True)
    assert [(c.model, c.target) for c in made] == [("b", Stage.PRODUCTION), ("a", Stage.RETIRED)]
    assert (ledger.rows(), ledger.tip()) == (before, tip)
    head = ledger.head(Stage.PRODUCTION)
    assert head is not None
    assert head.model == "a"


@pytest.mark.parametrize(
    "model", ["", "..", ".hidden", "a/b", "a\\b", "a b", "a\0", "%2e%2e", "x" * 129, "con", "nul.txt", "\xe9"]
)
def test_a_model_must_have_a_name_that_is_no_path(ledger: Ledger, model: str) -> None:
    with pytest.raises(InputError, match=r"stage:model: .* is no usable name"):
        ledger.change(step(model, None, Stage.CANDIDATE, id="x"))


# ---- evidence ----------------------------------------------------------------------------------------------


def verdict(ledger: Ledger, id: str, model: str, outcome: str) -> None:
    ledger.append("verdict", id, {"model": model, "outcome": outcome, "window": "2026-01"})


def test_a_change_forward_names_the_verdict_that_allowed_it(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.CANDIDATE)
    verdict(ledger, "v1", "a", "pass")
    assert ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING)).evidence == "v1"
    verdict(ledger, "v2", "a", "pass")
    change = ledger.change(step("a", Stage.STAGING, Stage.PREPRODUCTION, evidence="v1"))
    assert change.evidence == "v1"
    assert from_plain(StageChange, ledger.rows()[-1].payload) == change


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
def test_a_verdict_that_is_no_pass_shuts_the_way_forward(ledger: Ledger, outcome: str) -> None:
    bring(ledger, "a", Stage.CANDIDATE)
    verdict(ledger, "v1", "a", "pass")
    verdict(ledger, "v2", "a", outcome)
    with pytest.raises(InputError, match=f"verdict v2 says {outcome} - only a PASS lets a model forward"):
        ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING))
    assert ledger.change(step("a", Stage.CANDIDATE, Stage.RETIRED)).target is Stage.RETIRED


def test_nothing_goes_forward_without_a_verdict(ledger: Ledger) -> None:
    """At no step, also where a person put the model before it; a verdict on another model is none."""
    line = "stage:a: there is no verdict on it - append the verdict first"
    verdict(ledger, "v", "b", "pass")
    bring(ledger, "a", Stage.CANDIDATE)
    for source, target in itertools.pairwise((Stage.CANDIDATE, *HEADS)):
        before = ledger.rows()
        for rehearse in (False, True):
            with pytest.raises(InputError) as caught:
                ledger.change(step("a", source, target), rehearse=rehearse)
            assert str(caught.value) == line
        assert ledger.rows() == before
        assert ledger.stage_of("a") is source
        ledger.change(step("a", source, target, route=Route.MANUAL, actor="anna"))
    ledger.change(step("a", Stage.PRODUCTION, Stage.RETIRED))
    with pytest.raises(InputError) as caught:
        ledger.change(step("a", Stage.RETIRED, Stage.CANDIDATE, id="again"))
    assert str(caught.value) == line


def test_by_hand_and_back_need_no_verdict(ledger: Ledger) -> None:
    """A person's word, and a champion that was there before: their rows name no evidence."""
    for model in ("a", "b"):
        bring(ledger, model, Stage.CANDIDATE)
        by_hand = step(model, Stage.CANDIDATE, Stage.PRODUCTION, route=Route.MANUAL, actor="anna")
        assert ledger.change(by_hand).evidence == ""
    back = step("a", Stage.RETIRED, Stage.PRODUCTION, id="back", route=Route.ROLLBACK, actor="anna")
    returned, gone = ledger.move(back, displaced=Stage.QUARANTINED)
    assert (returned.route, returned.evidence, returned.generation) == (Route.ROLLBACK, "", 3)
    assert (gone.model, gone.target, gone.evidence) == ("b", Stage.QUARANTINED, "")
    again = step("b", Stage.QUARANTINED, Stage.CANDIDATE, id="again", route=Route.MANUAL, actor="anna")
    assert ledger.change(again).evidence == ""
    assert ledger.rows("verdict") == []
    assert ledger.verify() == len(ledger.rows())


def test_evidence_must_be_recorded_and_about_the_model(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.CANDIDATE)
    verdict(ledger, "v", "b", "pass")
    with pytest.raises(InputError, match="verdict v is about b"):
        ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING, evidence="v"))
    with pytest.raises(InputError, match="verdict nothing is not recorded"):
        ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING, evidence="nothing"))


def test_quarantine_ends_by_new_evidence_alone(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.CANDIDATE)
    verdict(ledger, "old", "a", "pass")
    ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING))
    ledger.change(step("a", Stage.STAGING, Stage.QUARANTINED))
    back = step("a", Stage.QUARANTINED, Stage.CANDIDATE, id="back")
    with pytest.raises(InputError, match="verdict old is older than its exclusion"):
        ledger.change(back)
    verdict(ledger, "new", "a", "pass")
    assert ledger.change(back).evidence == "new"


def test_threads_of_one_process_take_turns(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda i: ledger.append("decision", f"d{i % 20}", {"by": i % 20}), range(40)))
    assert len({row.seq for row in rows}) == 20
    assert ledger.verify() == 20


# ---- what was live -----------------------------------------------------------------------------------------


def test_live_tells_what_was_in_production_at_any_moment(ledger: Ledger) -> None:
    bring(ledger, "a")  # minutes 1 to 5
    bring(ledger, "b")  # 6 to 10, its displaced row 11
    ledger.change(step("b", Stage.PRODUCTION, Stage.QUARANTINED))  # 12

    def at(minute: float) -> str | None:
        row = ledger.live(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute))
        return row.model if row else None

    moments = (0, 4.99, 5, 9.99, 10, 11, 11.99, 12, 99)
    assert [at(m) for m in moments] == [None, None, "a", "a", "b", "b", "b", None, None]
    paris = timezone(timedelta(hours=1))
    assert ledger.live(datetime(2026, 1, 1, 0, 5, 30)) == ledger.find("a:production"), "no zone means UTC"
    assert ledger.live(datetime(2026, 1, 1, 1, 5, 30, tzinfo=paris)) == ledger.find("a:production")


def test_a_clock_that_is_set_back_does_not_turn_history_round(url: str) -> None:
    times = iter([datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)])
    with Ledger.open(url, "flights", now=lambda: next(times)) as ledger:
        first, second = ledger.append("decision", "a", {}), ledger.append("decision", "b", {})
        assert second.at == first.at
        assert ledger.verify() == 2


# ---- by hand -----------------------------------------------------------------------------------------------


def test_a_manual_change_needs_a_name_and_a_reason_and_is_marked(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.CANDIDATE)
    jump = {"source": Stage.CANDIDATE, "target": Stage.PRODUCTION, "route": Route.MANUAL}
    with pytest.raises(InputError, match="a manual change without a name"):
        ledger.change(step("a", **jump))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a change by hand without a reason"):
        ledger.change(step("a", actor="anna", **{**jump, "reason": " "}))  # type: ignore[arg-type]
    ledger.change(step("a", actor="anna", **jump))  # type: ignore[arg-type]
    assert json.loads(json.dumps(to_plain(ledger.rows()[-1].payload)))["route"] == "manual"
    assert ledger.verify() == 2


def test_the_clock_of_a_server_is_compared(url: str) -> None:
    """Doctor says by how much; a file has no clock of its own."""
    slow = timedelta(hours=1)
    with Ledger.open(url, "flights", now=lambda: datetime.now(UTC) - slow) as ledger:
        ahead = ledger.ahead()
    assert ahead == (0 if url.startswith("sqlite") else pytest.approx(slow.total_seconds(), abs=30))


def test_history_reads_what_is_new(ledger: Ledger, url: str) -> None:
    """What another client wrote is there; what was read is not read again; a history that was rewritten is noticed."""
    with Ledger.open(url, "flights") as other:
        for number in range(3):
            (other if number % 2 else ledger).append("decision", f"d{number}", {"n": number})
            found = ledger.history()
            assert found == ledger.rows()
        assert all(a is b for a, b in zip(found, ledger.history(), strict=True))
        found.clear()
        assert len(ledger.history()) == 3, "the caller has a list of his own"
        ledger._history.rows[-1] = replace(ledger._history.rows[-1], hash="0" * 64)
        other.append("decision", "d3", {})
    with pytest.raises(LedgerError, match="row 4 does not follow the one that was read before"):
        ledger.history()
