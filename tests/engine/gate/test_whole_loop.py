"""Rules of every kind through a real loop: evaluated, judged, recorded, replayed, judged again, shown."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.cycle import replay
from engine.cycle.replay import Replayed
from engine.gate import RuleConf, judge
from engine.promote.ledger import Ledger
from engine.records import EvaluationReport, Outcome, canonical, from_plain, to_plain
from tests.engine.world import World, make_world

RULES = """\
+gate.rules={calibration: {kind: calibration, threshold: 0.5},
parity: {kind: fairness, metric: demographic_parity_difference, slice: colour, threshold: 0.95},
odds: {kind: fairness, metric: equalized_odds_difference, slice: colour, threshold: 0.99},
within: {kind: fairness, metric: calibration_within_groups, slice: colour, threshold: 0.9},
noise: {kind: robustness, metric: roc_auc_score, perturbation: noise, scale: 0.2, margin: 0.2},
gone: {kind: robustness, metric: log_loss, perturbation: missing, columns: [noise], margin: 0.5},
before: {kind: robustness, metric: roc_auc_score, perturbation: shifted, margin: 0.3},
by_colour: {kind: floor, metric: log_loss, threshold: 2.0, slice: [colour], pool: true}}""".replace("\n", " ")
METRICS = "evaluate.metrics=[roc_auc_score, log_loss, expected_calibration_error]"
KINDS = {"floor", "calibration", "fairness", "robustness"}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A loop of two windows that founded itself by all these rules, and a third window that nobody has seen."""
    world = make_world(tmp_path_factory.mktemp("rules"), windows=("2026-01", "2026-02", "2026-03"), rows=500)
    answer = world.ask("loop", "loop.until=2026-02", METRICS, "evaluate.min_slice_rows=60", RULES)
    assert answer.code == 0, answer.err
    return world


def asked(world: World, *more: str) -> Any:
    return world.ask("gate", METRICS, "evaluate.min_slice_rows=60", RULES, *more)


def test_the_first_model_is_judged_by_every_absolute_rule(judged: World) -> None:
    verdict = judged.cycles()["2026-02"].verdicts[0]
    assert (verdict.outcome, verdict.first) == (Outcome.PASS, True)
    assert verdict.reason.endswith("rules hold, absolute rules alone: there was no champion")
    assert {rule.kind for rule in verdict.rules} == KINDS
    assert all(rule.power == 0.8 for rule in verdict.rules)
    names = [rule.rule for rule in verdict.rules]
    assert [name for name in names if name.startswith("by_colour[")] == [
        "by_colour[blue]", "by_colour[green]", "by_colour[red]",
    ]  # fmt: skip
    report = judged.cycles()["2026-02"].evaluation
    assert report is not None
    shifted = next(p for p in report.robustness if p.perturbation == "window before")
    assert (shifted.estimate.n, shifted.difference.n) == (500, 500)


def test_the_verdict_is_made_again_bit_for_bit(judged: World) -> None:
    with judged.ledger() as ledger:
        states = {row.payload["gate"]: replay.replay(ledger, row).state for row in ledger.rows("verdict")}
    assert states == {"offline": Replayed.EQUAL, "cold": Replayed.MEASURED}


def test_judging_again_says_the_same_and_moves_nothing(judged: World) -> None:
    before = judged.rows()
    recorded = judged.cycles()["2026-02"].verdicts[0]
    answer = asked(judged)
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    assert canonical(answer.value["verdict"]) == canonical(recorded)
    assert canonical(answer.value["evaluation"]) == canonical(judged.cycles()["2026-02"].evaluation)
    assert judged.rows() == before
    told = {entry["rule"]: entry for entry in answer.value["explained"]}
    assert told.keys() == {rule.rule for rule in recorded.rules}
    for entry in told.values():
        assert entry["low"] <= entry["high"]
        assert entry["n"] > 0
        assert entry["power"] == 0.8
        assert entry["sentence"].endswith(".")
    floor = told["floor"]["sentence"]
    assert re.fullmatch(r"Yes, ranking quality \(AUROC\) of the new model is at least 0\.55: measured .* rows\.", floor)
    picture = [line for line in answer.err.splitlines() if re.match(r"(floor|noise|parity) .*[|:]", line)]
    assert len(picture) >= 3
    assert "passes 80 % from" in answer.err


def test_another_window_and_two_named_models(judged: World) -> None:
    with judged.ledger() as ledger:
        model = ledger.rows("candidate")[0].model
    before = judged.rows()
    answer = asked(judged, model[:10], "window=2026-01")
    assert answer.value["verdict"]["window"] == "2026-01"
    assert {r["reason"] for r in answer.value["verdict"]["rules"] if r["rule"] == "before"} == {
        "roc_auc_score is undecidable (too few windows: there is no labelled window before)"
    }
    assert answer.code == 3
    itself = asked(judged, f"artifact={model[:10]}", f"against={model[:10]}")
    assert (itself.code, itself.err) == (2, "against: is the challenger itself - name another model\n")
    strict = asked(judged, "gate.rules.floor.threshold=0.999")
    assert strict.code == 3
    assert strict.value["verdict"]["outcome"] == "fail"
    assert "No, it is not so that ranking quality (AUROC) of the new model is at least 0.999" in strict.err
    assert judged.rows() == before


def test_a_gate_without_a_ledger_or_a_challenger_is_one_line(tmp_path: Path, judged: World) -> None:
    empty = World(judged.folder, tmp_path / "nothing")
    answer = asked(empty)
    assert (answer.code, answer.out) == (2, "")
    assert "there is no ledger - run `tidegate loop` first" in answer.err
    wrong = asked(judged, "gate.rules.noise.columns=[colour]")
    assert wrong.code == 2
    assert wrong.err.startswith("gate.rules.noise.columns: 'colour' is not in data.numeric - choose one of pull, push")


def test_the_report_draws_the_rules_and_says_them(judged: World) -> None:
    assert judged.run("report") == 0
    page = (judged.out / "report.html").read_text()
    assert "The rules of the gate: each interval against its bound, in its own standard errors" in page
    assert "Yes, the shares of positive predictions of any two groups differ by at most 0.95" in page
    assert "passes 80" in page


# ---- ledgers of earlier releases ----------------------------------------------------------------------------------


def test_what_an_earlier_release_recorded_is_made_again(judged: World) -> None:
    """Rows without the fields that came since: no power, no kinds, rows needed at even odds, and its wording."""
    report = judged.cycles()["2026-02"].evaluation
    assert report is not None
    near = replace(report.metrics[0], value=0.71, low=0.68, high=0.74, n=900)
    report = replace(report, metrics=(near, *report.metrics[1:]), champion="c" * 64)
    plain = json.loads(canonical(report))
    for name in ("guarded", "fairness", "robustness", "infra", "answers"):
        del plain[name]
    told = {"gate": "offline", "greater_is_better": {"roc_auc_score": True}, "holdout_uses": 0, "max_holdout_uses": 5}
    rule = {"kind": "floor", "metric": "roc_auc_score", "threshold": 0.70, "margin": 0.0, "slice": None}
    verdict = judge(
        from_plain(EvaluationReport, plain),
        {"floor": RuleConf(**rule)},
        **(told | {"power": 0.5}),  # type: ignore[arg-type]
    )
    assert verdict.outcome is Outcome.INCONCLUSIVE
    payload: dict[str, Any] = to_plain(verdict)
    for key in ("kind", "better", "power", "detectable"):
        del payload["rules"][0][key]
    ratio = (0.71 - 0.68) / (0.71 - 0.70)
    rows = math.floor(900 * ratio * ratio) + 1
    said = f"roc_auc_score 0.7100 [0.6800, 0.7400] straddles 0.7000; about {rows:,} rows would decide"
    assert (payload["rules"][0]["rows_needed"], payload["rules"][0]["reason"]) == (rows, said)
    with Ledger.open(f"sqlite:///{judged.out}/old.db", "world") as ledger:
        ledger.append("evaluation", "e", plain, window="w")
        inputs = {**told, "evaluation": "e", "rules": [{"name": "floor", **rule}], "version": "0.1"}
        row = ledger.append("verdict", "v", payload, window="w", inputs=inputs)
        assert replay.replay(ledger, row).state is Replayed.EQUAL
        forged = {**payload, "outcome": "pass"}
        wrong = replay.replay(ledger, ledger.append("verdict", "f", forged, window="w", inputs=inputs))
        assert (wrong.state, wrong.detail) == (
            Replayed.DIFFERENT,
            'outcome is "pass", and its inputs give "inconclusive"; made by tidegate 0.1',
        )
        cut = {key: value for key, value in payload.items() if key != "outcome"}
        less = replay.replay(ledger, ledger.append("verdict", "l", cut, window="w", inputs=inputs))
        assert less.state is Replayed.DIFFERENT  # a field without a default cannot be left out
