"""The picture of a gate: better to the right, the bound in one line, nothing drawn that is not a number."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from engine.gate import judge
from engine.records import Answer, Outcome, RuleResult
from engine.report import forest
from engine.report.sentences import explained, sentence, sentences
from tests.engine.gate.made import AUC, COLD, DIRECTIONS, ECE, LOSS, OFFLINE, good_report, number


def rules(**changes: Any) -> dict[str, RuleResult]:
    """The results of every kind of rule, by name."""
    report = replace(good_report(), **changes)
    found = judge(report, OFFLINE, gate="offline", greater_is_better=DIRECTIONS).rules
    cold = judge(report, COLD, gate="cold", greater_is_better=DIRECTIONS).rules
    return {r.rule: r for r in (*found, *cold)}


MIXED: dict[str, Any] = {
    "metrics": (number(0.7, 0.02), number(0.79, 0.02, LOSS), number(0.2, 0.03, ECE)),
    "differences": (number(0.004, 0.01), number(-0.01, 0.01, LOSS)),
    "answers": (Answer(request="NaN", fine=False, reason="crashed: ValueError"),),
}


@pytest.mark.parametrize("name", ["floor", "floor of loss", "superiority", "calibration", "noise", "single call"])
def test_what_passes_lies_right_of_its_bound_in_either_direction(name: str) -> None:
    at = forest.place(rules()[name])
    assert at is not None
    assert 0 < at.low < at.value < at.high
    assert at.value - at.low == pytest.approx(1.96, abs=0.01)
    assert at.power == pytest.approx(1.96 + 0.8416, abs=0.01)


def test_what_fails_lies_left_and_what_is_open_holds_the_bound() -> None:
    found = rules(**MIXED)
    for name, result in found.items():
        at = forest.place(result)
        if at is None:
            continue
        left, right = at.high < 0, at.low > 0
        assert {Outcome.FAIL: left, Outcome.PASS: right, Outcome.INCONCLUSIVE: not (left or right)}[result.outcome], (
            name
        )
    assert {result.outcome for result in found.values()} == set(Outcome)


def test_the_plot_is_whole_and_says_its_numbers() -> None:
    found = rules(**MIXED)
    drawn = forest.plot(list(found.values()))
    assert drawn is not None
    root = ET.fromstring(drawn)
    titles = [element.text or "" for element in root.iter("title")]
    assert any(title.startswith("floor of loss: inconclusive, 0.7900 [0.7700, 0.8100], bound 0.8") for title in titles)
    shown = [name for name, result in found.items() if forest.place(result) is not None]
    assert len(titles) == 1 + len(shown)
    assert "answers[NaN]" not in shown
    words = [element.text or "" for element in root.iter("text")]
    assert "passes 80 %" in words
    assert any(word.startswith("log_loss, n 1,000, passes 80 % from 0.7714") for word in words)
    crosses = [path for path in root.iter("path") if "cross" in path.get("class", "")]
    assert len(crosses) == sum(found[name].outcome is Outcome.FAIL for name in shown)


def test_there_is_no_plot_without_a_number() -> None:
    lost = rules(metrics=(), differences=())["floor"]
    assert forest.plot([]) is None
    assert forest.plot([lost]) is None
    old = replace(rules()["floor"], better=0, kind="")  # of an earlier release
    assert forest.plot([old]) is None
    for odd in (math.nan, math.inf):
        broken = replace(rules()["floor"], estimate=number(odd, 0.1))
        assert forest.plot([broken]) is None
        assert "no number to draw" in forest.lines([broken])[0]


def test_lines_are_the_same_picture_in_text() -> None:
    found = rules(**MIXED)
    lines = dict(zip(found, forest.lines(list(found.values())), strict=True))
    assert "[" in lines["floor of loss"].split("inconclusive")[0]
    for name, line in lines.items():
        picture = line[36:69] if len(line) > 69 else ""
        if forest.place(found[name]) is None:
            assert "no number to draw" in line
            continue
        mark = {Outcome.PASS: "o", Outcome.FAIL: "x", Outcome.INCONCLUSIVE: "?"}[found[name].outcome]
        assert mark in picture, line
        side = picture.index(mark) - picture.index("|")
        assert {Outcome.PASS: side > 0, Outcome.FAIL: side < 0, Outcome.INCONCLUSIVE: True}[found[name].outcome], line
    far = forest.lines([replace(found["floor"], estimate=number(0.99, 0.001))])[0]
    picture = far.partition("  pass:")[0]
    assert picture.rindex("o") - picture.index("|") >= 14
    assert forest.lines([]) == []


ON = "on 1,000 rows"
SENTENCES = {
    "floor": "Yes, ranking quality (AUROC) of the new model is at least 0.6: "
    f"measured 0.7, 95 % sure of 0.68 to 0.72, {ON}.",
    "floor of loss": "It is not known yet whether log loss of the new model is at most 0.8: "
    f"measured 0.79, 95 % sure of 0.77 to 0.81, {ON}; about 8,200 rows would tell with 80 % certainty.",
    "superiority": "It is not known yet whether the new model is better than the champion in ranking quality (AUROC): "
    f"measured +0.004, 95 % sure of -0.006 to +0.014, {ON}; about 13,000 rows would tell with 80 % certainty.",
    "noninferiority by slice[north]": "Yes, the new model is at most 0.05 worse than the champion in ranking quality "
    f"(AUROC) for north: measured +0, 95 % sure of -0.02 to +0.02, {ON}.",
    "calibration": "No, it is not so that predicted probabilities are off by at most 0.15 on average: "
    f"measured 0.2, 95 % sure of 0.17 to 0.23, {ON}.",
    "demographic parity": "Yes, the shares of positive predictions of any two groups differ by at most 0.2: "
    f"measured 0.05, 95 % sure of 0.03 to 0.07, {ON}.",
    "missing column": "Yes, the new model is at most 0.1 worse in ranking quality (AUROC) under the test "
    f"'missing column': measured -0.01, 95 % sure of -0.02 to +0, {ON}.",
    "single call": "Yes, 99 of 100 calls with one row are answered within 20 ms: "
    "measured 9, 95 % sure of 7 to 11, on 1,000 calls.",
    "memory": "Yes, the model runs in at most 900 MB of memory: it is 500.",
    "answers[NaN]": "No, it is not so that the artifact deals with the request 'NaN' as it should: "
    "crashed: ValueError.",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_sentences(name: str) -> None:
    assert sentence(rules(**MIXED)[name]) == SENTENCES[name]


def test_requests_that_went_as_they_should_share_a_sentence() -> None:
    requests = [
        RuleResult(rule=f"artifact[{name}]", outcome=outcome, kind="answers", metric="", estimate=None, bound=math.nan,
                   reason="256 finite predictions")
        for name, outcome in (("NaN", Outcome.PASS), ("0 rows", Outcome.FAIL), ("1e308", Outcome.PASS))
    ]  # fmt: skip
    assert sentences(requests) == [
        "No, it is not so that the artifact deals with the request '0 rows' as it should: 256 finite predictions.",
        "Yes, the artifact deals with 2 requests as it should.",
    ]
    assert sentences(requests[1:]) == [sentence(requests[1]), sentence(requests[2])]


def test_every_kind_has_a_sentence_and_its_values() -> None:
    for result in rules(**MIXED).values():
        told = explained(result)
        assert told["sentence"].endswith(".")
        assert "holds" not in told["sentence"]
        assert told["outcome"] == result.outcome.value
        if result.estimate is not None:
            assert (told["low"], told["high"], told["n"]) == (
                result.estimate.low, result.estimate.high, result.estimate.n,
            )  # fmt: skip


def test_what_is_missing_is_said_and_what_is_old_is_not_guessed() -> None:
    lost = rules(metrics=(), differences=())["floor"]
    claim = "ranking quality (AUROC) of the new model is at least 0.6"
    assert sentence(lost) == f"It is not shown that {claim}: roc_auc_score was not evaluated."
    few = replace(good_report().metrics[0], value=math.nan, low=math.nan, high=math.nan, reason="too few rows (3)")
    open_ = rules(metrics=(few,))["floor"]
    assert sentence(open_).endswith("is at least 0.6: roc_auc_score is undecidable (too few rows (3)).")
    old = replace(rules()["floor"], kind="", better=0)
    assert sentence(old).startswith("Yes, the rule 'floor' holds: measured 0.7")
    assert AUC in explained(old)["metric"]
