"""Degenerate input against every rule: none opens a gate, and each says what is wrong.

First with made numbers (what a report may hold), then with rows that go through evaluate.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.gate import RuleConf, judge
from engine.records import Answer, Asked, Estimate, EvaluationReport, Outcome, Task
from tests.engine.gate import made
from tests.engine.gate.made import COLD, OFFLINE, RELATIVE, RULES, good_report, judged, rows_of

NAN, INF = math.nan, math.inf
SAMPLED = [name for name in RULES if name not in ("memory", "size", "answers")]  # their numbers come from a sample
NUMBERS = [name for name in RULES if name != "answers"]


def numbers(**changes: Any) -> Callable[[EvaluationReport], EvaluationReport]:
    return lambda report: made.every(report, lambda e: replace(e, **changes))


def swapped(report: EvaluationReport) -> EvaluationReport:
    """Ends in the wrong order; a point has none, so it is stretched first."""
    return made.every(report, lambda e: replace(e, low=e.high + 0.001, high=e.low - 0.001))


def nothing(estimate: Estimate) -> None:
    """The number is not there."""


# kind -> (what is done to a good report, the rules that it touches, what their reasons say)
NUMBER_KINDS: dict[str, tuple[Callable[[EvaluationReport], EvaluationReport], list[str], str]] = {
    "value NaN": (numbers(value=NAN), NUMBERS, "not finite"),
    "low NaN": (numbers(low=NAN), NUMBERS, "not finite"),
    "high NaN": (numbers(high=NAN), NUMBERS, "not finite"),
    "all NaN, one class": (numbers(value=NAN, low=NAN, high=NAN, reason="one class"), NUMBERS, "one class"),
    "value infinite": (numbers(value=INF), NUMBERS, "not finite"),
    "high infinite": (numbers(high=INF), NUMBERS, "not finite"),
    "low infinite": (numbers(low=-INF), NUMBERS, "not finite"),
    "swapped interval": (swapped, NUMBERS, "its interval ends before it begins"),
    "no confidence level": (numbers(confidence_level=0.0), NUMBERS, "its interval has no confidence level"),
    "unknown confidence level": (numbers(confidence_level=NAN), NUMBERS, "its interval has no confidence level"),
    "certain": (numbers(confidence_level=1.0), NUMBERS, "its interval has no confidence level"),
    "no rows": (numbers(n=0), NUMBERS, "rests on 0 rows"),
    "negative rows": (numbers(n=-5), NUMBERS, "rests on -5 rows"),
    "one row": (numbers(n=1), SAMPLED, "rests on 1 rows"),
    "one row short": (numbers(n=29), SAMPLED, "rests on 29 rows, 30 are needed"),
    "too few clusters": (numbers(low=NAN, reason="too few clusters (1 of 5)"), NUMBERS, "too few clusters (1 of 5)"),
    "wrong metric": (numbers(name="accuracy_score"), NUMBERS, "was judged by|was not|was evaluated|no slice"),
    "no number": (lambda report: made.every(report, nothing), NUMBERS, "was not|no slice"),
    "missing baseline": (
        lambda r: replace(
            r,
            differences=(),
            slices=tuple(replace(s, difference=None) for s in r.slices),
            guarded=tuple(replace(s, difference=None) for s in r.guarded),
        ),
        list(RELATIVE),
        "was not evaluated",
    ),
    "missing slice": (
        lambda r: replace(r, slices=(), guarded=(), fairness=()),
        [name for name, rule in RULES.items() if rule.by],
        "no slice of .* was evaluated|was not evaluated",
    ),
    "another column": (
        lambda r: replace(
            r,
            slices=tuple(replace(s, column="x") for s in r.slices),
            guarded=tuple(replace(s, column="x") for s in r.guarded),
            fairness=tuple(replace(g, column="x") for g in r.fairness),
            robustness=tuple(replace(p, perturbation="x") for p in r.robustness),
        ),
        [name for name, rule in RULES.items() if rule.by or rule.kind == "robustness"],
        "was not evaluated|no slice of",
    ),
    "nothing was asked": (lambda r: replace(r, answers=()), ["answers"], "the artifact was asked nothing"),
    "one bad answer": (
        lambda r: replace(r, answers=(*r.answers, Answer(request="NaN", fine=False, reason="crashed: x"))),
        ["answers"],
        "crashed: x",
    ),
}


def test_every_rule_holds_on_the_good_report() -> None:
    """Otherwise what follows would prove nothing."""
    assert {name: judged(good_report(), name).outcome for name in RULES} == dict.fromkeys(RULES, Outcome.PASS)


@pytest.mark.parametrize("kind", NUMBER_KINDS)
def test_no_number_opens_a_gate(kind: str) -> None:
    change, touched, reason = NUMBER_KINDS[kind]
    broken = change(good_report())
    opened = []
    for name in touched:
        verdict = judged(broken, name)
        if verdict.outcome is Outcome.PASS:
            opened.append(name)
        said = [r.reason for r in verdict.rules if r.outcome is not Outcome.PASS]
        assert any(_says(text, reason) for text in said), (name, said)
    assert opened == []


@pytest.mark.parametrize("name", [n for n, rule in OFFLINE.items() if rule.kind != "fairness"])
def test_a_metric_of_unknown_direction_fails(name: str) -> None:
    result = judged(good_report(), name, greater_is_better={}).rules[0]
    assert result.outcome is Outcome.FAIL
    assert result.reason == f"{OFFLINE[name].metric} is no metric with a known direction"


@pytest.mark.parametrize("name", RULES)
def test_worn_rows_open_nothing(name: str) -> None:
    assert judged(good_report(), name, holdout_uses=5).outcome is Outcome.FAIL


@pytest.mark.parametrize("name", RULES)
def test_an_empty_report_opens_nothing(name: str) -> None:
    empty = EvaluationReport(model="a", champion="b", window="", fingerprint="", n_rows=0, metrics=())
    assert judged(empty, name).outcome is Outcome.FAIL
    first = judged(replace(empty, champion=""), name)
    assert first.outcome is Outcome.FAIL
    assert first.reason


def _says(text: str, wanted: str) -> bool:
    return re.search(wanted, text) is not None if "|" in wanted or ".*" in wanted else wanted in text


# ---- rows ----------------------------------------------------------------------------------------------------------


def with_(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda rows: rows | changes


def taken(count: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The first rows alone."""

    def change(rows: dict[str, Any]) -> dict[str, Any]:
        cut = {key: rows[key][:count] for key in ("target", "rows", "prediction", "champion_prediction")}
        slices = {name: levels[:count] for name, levels in rows["slices"].items()}
        other = {k: v if not isinstance(v, np.ndarray) else v[:count] for k, v in rows["predictions"].items()}
        return rows | cut | {"slices": slices, "predictions": other}

    return change


def spoiled(value: float, *keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """One prediction of thousands is no number."""

    def change(rows: dict[str, Any]) -> dict[str, Any]:
        made_: dict[str, Any] = {}
        for key in keys:
            made_[key] = rows[key].copy()
            made_[key][7] = value
        return rows | made_

    return change


def perturbed(value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda rows: rows | {"predictions": dict.fromkeys(rows["predictions"], value(rows))}


def in_slice(value: str, count: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`count` rows have a level of their own."""

    def change(rows: dict[str, Any]) -> dict[str, Any]:
        shop = rows["slices"]["shop"].astype("U8")
        shop[:count] = value
        return rows | {"slices": rows["slices"] | {"shop": shop}}

    return change


OFF = list(OFFLINE)
SLICED = [name for name, rule in OFFLINE.items() if rule.by and name != "crossing"]
FAIR = [name for name, rule in OFFLINE.items() if rule.kind == "fairness"]
QUALITY = ["floor", "floor by slice", "superiority", "noninferiority by slice", *RELATIVE]
ROBUST = [name for name, rule in OFFLINE.items() if rule.kind == "robustness"]
LABELLED = [name for name in OFF if name != "demographic parity"]  # shares of predictions need no labels

ROW_KINDS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], list[str], str]] = {
    "no rows": (taken(0), OFF, "too few rows|no slice"),
    "one row": (taken(1), OFF, "too few rows|no slice|one group"),
    "twenty rows": (taken(20), OFF, "too few rows|rests on 20 rows|no slice"),
    "sixty rows of one model twice": (
        lambda rows: (few := taken(60)(rows)) | {"champion_prediction": few["prediction"]},
        list(RELATIVE),
        "straddles|too few rows|no slice",
    ),
    "sixty rows that nothing changes": (
        lambda rows: (few := taken(60)(rows)) | {"predictions": dict.fromkeys(few["predictions"], few["prediction"])},
        ["noise", "missing column"],
        "straddles",
    ),
    "NaN among the predictions": (spoiled(NAN, "prediction"), OFF, "a prediction is not finite"),
    "infinity among the predictions": (spoiled(INF, "prediction"), OFF, "a prediction is not finite"),
    "NaN among the champion's": (spoiled(NAN, "champion_prediction"), list(RELATIVE), "a prediction is not finite"),
    "one class": (
        lambda rows: rows | {"target": np.ones(len(rows["target"]))},
        LABELLED,
        "labels are all the same|too few rows of a label",
    ),
    "one cluster": (
        lambda rows: rows | {"cluster": np.zeros(len(rows["target"]), np.int64)},
        OFF,
        "too few clusters",
    ),
    "one cluster a group": (
        lambda rows: rows | {"cluster": (rows["slices"]["shop"] == "north").astype(np.int64)},
        OFF,
        "too few clusters",
    ),
    "constant predictions": (
        lambda rows: rows | {"prediction": np.full(len(rows["target"]), 0.5)},
        ["floor", "floor by slice", "superiority", "noninferiority by slice"],
        "misses",
    ),
    "the label turned round": (lambda rows: rows | {"prediction": 1 - rows["prediction"]}, QUALITY, "misses"),
    "no champion's predictions": (with_(champion_prediction=None), list(RELATIVE), "was not evaluated|no floor"),
    "one group alone": (in_slice("north", 3000), FAIR, "there is one group alone"),
    "a group of twelve rows": (in_slice("tiny", 12), SLICED, "too few rows"),
    "no slices": (with_(slices={}), [*SLICED, "crossing"], "was not evaluated|no slice"),
    "perturbed rows give NaN": (
        perturbed(lambda rows: np.full(len(rows["target"]), NAN)),
        ROBUST,
        "a prediction is not finite",
    ),
    "perturbed rows were not tried": (with_(predictions={}), ROBUST, "it was not tried"),
    "no window before": (perturbed(lambda rows: "too few windows: there is none"), ROBUST, "too few windows"),
    "perturbed rows are answered at random": (
        perturbed(lambda rows: np.random.default_rng(1).random(len(rows["target"]))),
        ROBUST,
        "misses",
    ),
}


def test_every_rule_holds_on_the_good_rows() -> None:
    report = made.evaluated(rows_of())
    found = {name: judged(report, name) for name in OFF}
    assert {name: (v.outcome, v.reason) for name, v in found.items() if v.outcome is not Outcome.PASS} == {}


@functools.cache
def report_of(kind: str) -> EvaluationReport:
    """A champion is named even where it gave no predictions: that is missing evidence, and no first model."""
    return made.evaluated(ROW_KINDS[kind][0](rows_of()), champion="champion")


@pytest.mark.parametrize("kind", ROW_KINDS)
def test_no_rows_open_a_gate(kind: str) -> None:
    _, touched, reason = ROW_KINDS[kind]
    report = report_of(kind)
    opened = []
    for name in touched:
        verdict = judged(report, name)
        if verdict.outcome is Outcome.PASS:
            opened.append(name)
        assert any(_says(r.reason, reason) for r in verdict.rules), (name, verdict.reason)
    assert opened == []


def test_forty_rows_without_an_error_prove_no_accuracy() -> None:
    """Truly right in 94 % of all rows, forty of them show no error in one gate of twelve: it must not open."""
    target = np.arange(40.0) % 2
    shown = {
        "task": Task.BINARY, "target": target, "rows": np.arange(40), "cluster": None, "prediction": target * 0.8 + 0.1,
        "champion_prediction": target * 0.8 + 0.1, "slices": {},
    }  # fmt: skip
    conf = replace(made.CONF, primary="accuracy_score", metrics=["accuracy_score"])
    report = made.evaluated(shown, conf, asked=Asked())
    rule = RuleConf(kind="floor", metric="accuracy_score", threshold=0.95)
    verdict = judge(report, {"r": rule}, gate="offline", greater_is_better=made.DIRECTIONS)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_none_of_all_kinds_opens_any_rule(record_property: Any) -> None:
    """The count of it all."""
    reports = [(report_of(kind), touched) for kind, (_, touched, _) in ROW_KINDS.items()]
    reports += [(change(good_report()), touched) for change, touched, _ in NUMBER_KINDS.values()]
    outcomes = [judged(report, name).outcome for report, touched in reports for name in touched]
    assert len(reports) >= 40
    opened = outcomes.count(Outcome.PASS)
    assert opened == 0
    figure = f"{opened} of {len(outcomes)} pairs: {len(reports)} kinds of input, {len(RULES)} rules"
    record_property("degenerate input opens no gate", figure)


def test_the_cold_rules_are_all_there() -> None:
    """A new kind of rule must be given its degenerate inputs here."""
    from engine.gate import KINDS

    assert {rule.kind for rule in (OFFLINE | COLD).values()} | {"worst_slice"} == set(KINDS)  # alone it opens nothing
