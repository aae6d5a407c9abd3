"""Clusters that come again in every window of a shadow: five looks at them err no more often than stated.

Customers, say, some of whom the challenger serves better and some worse, the same ones in each window. What windows add
is then not independent of what was there: looks hang together more closely than the plan believes, which costs power
and no alpha. The looks pool the joined rows, and whole customers are resampled, across windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from engine.evaluate.conf import EvaluateConf
from engine.gate import RuleConf, judge_look
from engine.records import EvaluationReport, Look, Outcome, Task, Verdict
from engine.scoring.intervals import Rows, difference

ALPHA, LOOKS, CLUSTERS, ROWS = 0.025, 5, 60, 240
RULE = {"better": RuleConf(kind="superiority", metric="accuracy_score")}
CONF = EvaluateConf(n_resamples=200)


def opened(rng: np.random.Generator, spending: str, staying: int, *, whole: bool = True) -> bool:
    """Does the gate open on a challenger that is no better on average over customers. `staying` of CLUSTERS come in
    each window, the others are new every time; `whole`: resampled by customer, else by row.
    """
    fresh = CLUSTERS - staying
    luck = rng.choice([-0.15, 0.15], staying + fresh * LOOKS)  # of the challenger, by customer
    of = np.concatenate(
        [
            np.where(c < staying, c, staying + (c - staying) + fresh * w)
            for w in range(LOOKS)
            for c in [rng.integers(0, CLUSTERS, ROWS)]
        ]
    )
    target = rng.integers(0, 2, len(of))
    right = [rng.random(len(of)) < 0.7 + sign * luck[of] for sign in (-1, 1)]
    champion, challenger = (np.where(hit, target, 1 - target) * 0.8 + 0.1 for hit in right)
    ids, earlier = rng.integers(1 << 40) + np.arange(len(of)), list[Verdict]()
    for number in range(1, LOOKS + 1):
        n = number * ROWS
        rows = Rows(task=Task.BINARY, target=target[:n], ids=ids[:n], cluster=of[:n] if whole else None)
        found = difference("accuracy_score", rows, champion[:n], challenger[:n], CONF)
        report = EvaluationReport(
            model="new", champion="old", window="", fingerprint="", n_rows=n, metrics=(), differences=(found,)
        )
        look = Look(number=number, most=LOOKS, spending=spending, futility=0.0)
        verdict = judge_look(
            report, RULE, gate="shadow", greater_is_better={"accuracy_score": True}, look=look, earlier=earlier
        )
        if not verdict.waiting:
            return verdict.outcome is Outcome.PASS
        earlier.append(verdict)
    raise AssertionError("the last look decides")


@pytest.mark.parametrize("gates", [60, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("staying", [CLUSTERS, CLUSTERS // 2])
@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_five_looks_at_customers_who_come_again_err_as_stated(
    spending: str, staying: int, gates: int, record_property: Callable[[str, object], None]
) -> None:
    rng = np.random.default_rng(9)
    wrong = sum(opened(rng, spending, staying) for _ in range(gates))
    record_property(
        f"false promotions, {staying} of {CLUSTERS} clusters in all of five windows, {spending}",
        f"{wrong / gates:.4f} of {gates} null gates (alpha {ALPHA})",
    )
    chance = stats.binom.isf(1e-3, gates, ALPHA) / gates  # of so few gates alone
    assert wrong / gates <= (ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / gates) if gates >= 1000 else chance)


def test_the_simulation_can_tell_rows_from_clusters() -> None:
    """By row the same challengers pass several times as often."""
    rng = np.random.default_rng(9)
    wrong = sum(opened(rng, "pocock", CLUSTERS, whole=False) for _ in range(60))
    assert wrong > stats.binom.isf(1e-3, 60, ALPHA)
