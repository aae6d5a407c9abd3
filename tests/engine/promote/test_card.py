"""The model card: everything that decided, said once, and nothing that breaks the page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ArtifactError, InputError
from engine.promote.card import card, render, write_all
from engine.promote.ledger import Ledger
from engine.promote.rollback import promote
from engine.promote.store import Store
from engine.records import (
    Candidate,
    Estimate,
    EvaluationReport,
    Outcome,
    RuleResult,
    SliceEstimate,
    Stage,
    Trial,
    TrialState,
    Verdict,
    to_plain,
)
from tests.engine.promote.conftest import bring, step


def estimate(name: str, value: float, reason: str = "") -> Estimate:
    return Estimate(
        name=name,
        value=value,
        low=value - 0.01,
        high=value + 0.01,
        n=1000,
        confidence_level=0.95,
        method="delong",
        reason=reason,
    )


@pytest.fixture
def model(ledger: Ledger, store: Store) -> str:
    """A model that was trained, evaluated, refused by one rule, and put into staging by hand."""
    manifest = {"data": {"2026-01": "f" * 64}, "code": {"commit": "abc123"}, "packages": {"torch": "2.13"}}
    model = store.put({"weights.safetensors": b"w" * 50}, manifest)
    states = (TrialState.FINISHED, TrialState.FINISHED, TrialState.FAILED)
    trials = tuple(
        Trial(id=str(i), params={}, state=s, reason="", curve=(), best_epoch=0, value=math.nan, seconds=1.0)
        for i, s in enumerate(states)
    )
    made = Candidate(
        model=model,
        decision="d",
        metric="roc_auc_score",
        value=0.7,
        params={"train.lr": 0.01},
        trials=trials,
        training_windows=("2026-01", "2026-02"),
        holdout_window="2026-03",
        n_rows=5000,
        seconds=60.0,
        cost=0.5,
    )
    small = replace(estimate("roc_auc_score", math.nan, "3 rows"), n=3)
    report = EvaluationReport(
        model=model,
        champion="c" * 64,
        window="2026-03",
        fingerprint="e" * 64,
        n_rows=1000,
        metrics=(estimate("roc_auc_score", 0.71), estimate("log_loss", math.nan, "one class only")),
        differences=(estimate("roc_auc_score", 0.02),),
        slices=(
            SliceEstimate(column="origin", level="a|b", estimate=estimate("roc_auc_score", 0.65), difference=None),
            SliceEstimate(column="origin", level="tiny", estimate=small, difference=None),
        ),
    )
    rule = RuleResult(
        rule="calibrated",
        outcome=Outcome.INCONCLUSIVE,
        metric="log_loss",
        estimate=None,
        bound=0.1,
        reason="<script>alert(1)</script> is missing",
    )
    verdict = Verdict(
        gate="offline",
        model=model,
        champion="c" * 64,
        window="2026-03",
        outcome=Outcome.INCONCLUSIVE,
        reason="1 rule is open",
        rules=(rule,),
        first=True,
    )
    ledger.change(step(model, None, Stage.CANDIDATE))
    for kind, value in (("candidate", made), ("evaluation", report), ("verdict", verdict)):
        ledger.append(kind, kind, to_plain(value))
    promote(ledger, store, model=model, target=Stage.STAGING, reason="demo [x](http://evil)", actor="anna")
    return model


def test_the_card_holds_all_that_decided(ledger: Ledger, store: Store, model: str) -> None:
    made = card(ledger, store, model[:10], owner="ops")
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert (made["model"], made["stage"], made["owner"], made["loop"]) == (model, "staging", "ops", "flights")
    assert made["data"] == {
        "training_windows": ["2026-01", "2026-02"],
        "holdout_window": "2026-03",
        "n_rows": 5000,
        "fingerprints": {"2026-01": "f" * 64},
    }
    assert made["training"]["trials"] == {"finished": 2, "failed": 1}
    assert made["evaluations"][0]["metrics"][0]["value"] == 0.71
    assert [g["outcome"] for g in made["gates"]] == ["inconclusive"]
    assert [h["target"] for h in made["history"]] == ["candidate", "staging"]
    assert made["files"]["weights.safetensors"]["size"] == 50
    assert made["tip"] == ledger.tip().hash
    assert made["limits"] == [
        "It has seen 2026-01 to 2026-02; of other times nothing is claimed.",
        "It was judged by absolute floors alone: there was no champion to compare it with.",
        "log_loss on 2026-03 is undecidable: one class only.",
        "On 2026-03, 1 slices are undecidable, such as origin=tiny.",
        "offline gate of 2026-03: calibrated: <script>alert(1)</script> is missing.",
        "anna moved it by hand to staging: demo [x](http://evil).",
    ]


def test_the_page_says_it_and_stays_a_page(ledger: Ledger, store: Store, model: str) -> None:
    page = render(card(ledger, store, model))
    assert "| roc_auc_score | 0.71 | [0.7, 0.72] at 95% | 0.02 [0.01, 0.03] at 95% | delong |" in page
    assert "| log_loss | undecidable | one class only |  | delong |" in page
    assert "| origin = a\\|b | roc_auc_score | 0.65 | [0.64, 0.66] at 95% | 1000 |" in page
    assert "| Owner | not named |" in page
    assert "| candidate to staging | anna | demo [x]\\(http://evil) |" in page
    assert "<script>" not in page
    assert "nan" not in page.lower().replace("tenant", "")
    widths = {line.replace("\\|", "").count("|") for line in page.splitlines() if line.startswith("| 2026")}
    assert widths == {5}, "each row of gates and history has its four cells"


def test_a_bare_model_has_a_card_that_says_how_little_is_known(ledger: Ledger, store: Store) -> None:
    model = store.put({}, {})
    ledger.change(step(model, None, Stage.CANDIDATE))
    made = card(ledger, store, model)
    assert made["limits"] == ["It was never evaluated on held-out rows."]
    assert "| Trained on | unknown (undecidable rows) |" in render(made)


def test_every_model_that_was_in_production_has_its_card_on_disk(
    ledger: Ledger, store: Store, model: str, tmp_path: Path
) -> None:
    damaged = store.put({}, {"damaged": True})
    bring(ledger, damaged)
    promote(ledger, store, model=model, target=Stage.PRODUCTION, reason="demo", actor="anna")
    store.path_of(damaged).unlink()
    folder = tmp_path / "run"
    (fault,) = write_all(ledger, store, folder, owner="ops")
    assert damaged in fault
    assert "the file is missing" in fault
    (place,) = (folder / "models").iterdir()
    assert place.name == model[:12]
    made = json.loads((place / "card.json").read_text())
    assert made == card(ledger, store, model, owner="ops")
    assert (place / "card.md").read_text() == render(made)
    assert made["stage"] == "production"


def test_there_is_no_card_without_model_or_manifest(ledger: Ledger, store: Store, model: str) -> None:
    with pytest.raises(InputError, match="'beef' is unknown"):
        card(ledger, store, "beef")
    store.path_of(model).unlink()
    with pytest.raises(ArtifactError, match="the file is missing"):
        card(ledger, store, model)
