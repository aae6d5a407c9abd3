"""The way back and the way by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.errors import ArtifactError, ConflictError, InputError
from engine.promote import rollback as module
from engine.promote.ledger import Ledger
from engine.promote.rollback import find_model, promote, rollback
from engine.promote.store import Store
from engine.records import Route, Stage
from tests.engine.promote.conftest import bring, make, step


def champions(ledger: Ledger, store: Store, *texts: str) -> list[str]:
    models = [make(store, text) for text in texts]
    for model in models:
        bring(ledger, model)
    return models


def live(ledger: Ledger) -> str | None:
    head = ledger.head(Stage.PRODUCTION)
    return head.model if head else None


def test_the_champion_before_comes_back_and_the_present_is_quarantined(ledger: Ledger, store: Store) -> None:
    old, new = champions(ledger, store, "old", "new")
    back, away = rollback(ledger, store, reason="false alarms", actor="anna", window="2026-02")
    assert (back.model, back.source, back.target) == (old, Stage.RETIRED, Stage.PRODUCTION)
    assert (away.model, away.source, away.target) == (new, Stage.PRODUCTION, Stage.QUARANTINED)
    assert (back.generation, back.route, back.actor, back.window) == (3, Route.ROLLBACK, "anna", "2026-02")
    assert "false alarms" in away.reason
    assert live(ledger) == old
    assert ledger.stage_of(new) is Stage.QUARANTINED
    assert [r.id for r in ledger.rows("stage")][-2:] == [back.id, away.id]
    ledger.verify()


def test_a_second_rollback_goes_further_back_and_never_to_quarantine(ledger: Ledger, store: Store) -> None:
    a, b, c = champions(ledger, store, "a", "b", "c")
    rollback(ledger, store, reason="r", actor="anna")
    assert live(ledger) == b
    rollback(ledger, store, reason="r", actor="anna")
    assert live(ledger) == a
    with pytest.raises(InputError, match="there is no earlier champion to go back to - retrain"):
        rollback(ledger, store, reason="r", actor="anna")
    assert live(ledger) == a
    assert ledger.stage_of(c) is Stage.QUARANTINED


def test_the_target_can_be_named(ledger: Ledger, store: Store) -> None:
    a, b, _ = champions(ledger, store, "a", "b", "c")
    rollback(ledger, store, reason="r", actor="anna", to=a)
    assert live(ledger) == a
    assert ledger.stage_of(b) is Stage.RETIRED


def test_a_quarantined_model_cannot_be_gone_back_to(ledger: Ledger, store: Store) -> None:
    _, b = champions(ledger, store, "a", "b")
    rollback(ledger, store, reason="r", actor="anna")
    with pytest.raises(InputError, match="quarantined -> production is not allowed by rollback"):
        rollback(ledger, store, reason="r", actor="anna", to=b)


def test_a_rehearsal_tells_all_and_changes_nothing(ledger: Ledger, store: Store) -> None:
    _, new = champions(ledger, store, "old", "new")
    before = ledger.rows()
    rehearsed = rollback(ledger, store, reason="r", actor="anna", rehearse=True)
    assert ledger.rows() == before
    assert live(ledger) == new
    assert rollback(ledger, store, reason="r", actor="anna") == rehearsed


def test_the_same_id_rolls_back_once(ledger: Ledger, store: Store) -> None:
    _, b, _ = champions(ledger, store, "a", "b", "c")
    first = rollback(ledger, store, reason="r", actor="rule harm", id="action 7")
    assert rollback(ledger, store, reason="r", actor="rule harm", id="action 7") == first
    assert live(ledger) == b


def test_a_damaged_predecessor_is_refused_before_anything_is_written(ledger: Ledger, store: Store) -> None:
    old, new = champions(ledger, store, "old", "new")
    store.path_of(old).unlink()
    before = ledger.rows()
    with pytest.raises(ArtifactError, match="the file is missing"):
        rollback(ledger, store, reason="r", actor="anna")
    assert ledger.rows() == before
    assert live(ledger) == new


def test_there_must_be_something_to_roll_back(ledger: Ledger, store: Store) -> None:
    with pytest.raises(InputError, match="no model is in production - promote one first"):
        rollback(ledger, store, reason="r", actor="anna")


@pytest.mark.parametrize(("reason", "actor"), [("", "anna"), ("r", "")])
def test_a_rollback_says_why_and_who(ledger: Ledger, store: Store, reason: str, actor: str) -> None:
    champions(ledger, store, "a", "b")
    with pytest.raises(InputError):
        rollback(ledger, store, reason=reason, actor=actor)
    assert len(ledger.rows()) == 11


def test_losing_a_race_is_told(ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = champions(ledger, store, "a", "b")
    c = make(store, "c")
    before = module._champion_before

    def slow(ledger: Ledger, champion: str) -> str:
        model = before(ledger, champion)
        bring(ledger, c)  # somebody promotes while we look
        return model

    monkeypatch.setattr(module, "_champion_before", slow)
    with pytest.raises(ConflictError, match=f"lost to generation 3 by loop: model {c}"):
        rollback(ledger, store, reason="r", actor="anna")
    assert live(ledger) == c
    assert [ledger.stage_of(m) for m in (a, b)] == [Stage.RETIRED, Stage.RETIRED]


# ---- by hand -----------------------------------------------------------------------------------------------


def test_a_person_may_skip_stages_and_the_row_says_so(ledger: Ledger, store: Store) -> None:
    (old,) = champions(ledger, store, "old")
    new = make(store, "new")
    bring(ledger, new, Stage.CANDIDATE)
    change, gone = promote(ledger, store, model=new[:12], target=Stage.PRODUCTION, reason="hot fix", actor="anna")
    assert (change.model, change.route, change.actor, change.reason) == (new, Route.MANUAL, "anna", "hot fix")
    assert (gone.model, gone.target) == (old, Stage.RETIRED)
    assert live(ledger) == new
    ledger.verify()


def test_a_damaged_model_is_not_promoted(ledger: Ledger, store: Store) -> None:
    new = make(store, "new")
    bring(ledger, new, Stage.CANDIDATE)
    store.path_of(new).unlink()
    with pytest.raises(ArtifactError):
        promote(ledger, store, model=new, target=Stage.STAGING, reason="r", actor="anna")
    (change,) = promote(ledger, store, model=new, target=Stage.QUARANTINED, reason="lost", actor="anna")
    assert change.target is Stage.QUARANTINED


def test_promotion_by_hand_refuses_what_makes_no_sense(ledger: Ledger) -> None:
    bring(ledger, "a", Stage.STAGING)
    cases = {
        "is in staging already": {"target": Stage.STAGING},
        "staging -> candidate is not allowed by manual": {"target": Stage.CANDIDATE},
        "without a name": {"target": Stage.RETIRED, "actor": " "},
        "without a reason": {"target": Stage.RETIRED, "reason": ""},
        "'b' is unknown": {"target": Stage.RETIRED, "model": "b"},
    }
    for message, fields in cases.items():
        with pytest.raises(InputError, match=re.escape(message)):
            promote(ledger, **{"model": "a", "reason": "r", "actor": "anna", **fields})  # type: ignore[arg-type]


def test_models_are_found_by_the_beginning_of_their_id(ledger: Ledger) -> None:
    for model in ("abc1", "abc2", "abc"):
        ledger.change(step(model, None, Stage.CANDIDATE, id=model))
    assert find_model(ledger, "abc1") == "abc1"
    assert find_model(ledger, "abc") == "abc", "a whole name beats a beginning"
    with pytest.raises(InputError, match="'ab' could be any of 3 models"):
        find_model(ledger, "ab")
    with pytest.raises(InputError, match="'' is unknown"):
        find_model(ledger, "")


def test_a_model_that_no_ledger_mentions_is_found_in_the_store(ledger: Ledger, tmp_path: Path) -> None:
    """A sweep by hand leaves one there; what the ledger knows comes first."""
    store = Store(tmp_path / "store")
    made = store.put({"weights": b"w"}, {"kind": "model"})
    for name in (made, made[:6]):
        assert find_model(ledger, name, store) == made
        with pytest.raises(InputError, match="is unknown - see `tidegate history`"):
            find_model(ledger, name)
    for name in ("", "zz"):
        with pytest.raises(InputError, match="is unknown"):
            find_model(ledger, name, store)
    ledger.change(step(f"{made[:6]}-of-the-ledger", None, Stage.CANDIDATE, id="i"))
    assert find_model(ledger, made[:6], store) == f"{made[:6]}-of-the-ledger"
