from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from engine.records import Check, CheckOutcome
from engine.validate.conf import ValidateConf
from engine.validate.facts import Column
from engine.validate.leakage import Labelled, check_leakage

Look = Callable[..., dict[tuple[str, str], Check]]
OK, VIOLATED, UNDECIDABLE = CheckOutcome.OK, CheckOutcome.VIOLATED, CheckOutcome.UNDECIDABLE


def column(values: Any) -> Column:
    return Column("c", pa.chunked_array([pa.array(values)]))


def leak(feature: Any, label: Any, **conf: Any) -> tuple[CheckOutcome, float]:
    found = check_leakage(column(feature), column(label), ValidateConf(**conf))
    return found.outcome, float(found.observed.removeprefix("AUROC ") or "nan")


def test_the_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 2000)
    for feature in (label + rng.normal(size=2000), -label + rng.normal(size=2000), rng.integers(0, 4, 2000)):
        outcome, auroc = leak(feature, label)
        truth = roc_auc_score(label, feature)
        assert auroc == pytest.approx(max(truth, 1 - truth), abs=5e-5)
        assert outcome is OK


def test_a_feature_that_is_the_label_leaks() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 2000)
    for feature in (
        label,
        1.0 - label,
        label + 1e-9 * rng.normal(size=2000),
        np.where(label, "late", "early"),
    ):
        assert leak(feature, label) == (VIOLATED, 1.0)


def test_being_missing_can_leak() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 2000)
    assert leak(pa.array(rng.normal(size=2000), mask=label == 1), label) == (VIOLATED, 1.0)
    assert leak(np.where(label == 1, np.nan, rng.normal(size=2000)), label) == (VIOLATED, 1.0)


def test_an_id_as_a_category_gains_nothing() -> None:
    rng = np.random.default_rng(3)
    outcome, auroc = leak([f"id {i}" for i in range(2000)], rng.integers(0, 2, 2000))
    assert outcome is OK
    assert auroc < 0.55


def test_a_few_rows_prove_nothing() -> None:
    label = [1, 1, 1] + [0] * 997
    assert leak(label, label)[0] is UNDECIDABLE
    assert leak([0, 1] * 500, label)[0] is OK
    assert leak([0, 1] * 500, [1] * 1000)[0] is UNDECIDABLE


def test_any_class_and_a_quantity_can_leak() -> None:
    rng = np.random.default_rng(4)
    classes = rng.integers(0, 3, 3000)
    assert leak((classes == 2) * 1.0, classes)[0] is VIOLATED
    assert leak(rng.normal(size=3000), classes)[0] is OK
    minutes = rng.normal(size=3000)
    assert leak(np.exp(minutes), minutes)[0] is VIOLATED
    assert leak(minutes + rng.normal(size=3000), minutes)[0] is OK


def test_the_limit_is_that_of_the_conf() -> None:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 4000)
    feature = label + 0.5 * rng.normal(size=4000)
    assert leak(feature, label)[0] is OK
    assert leak(feature, label, leakage_auroc=0.8)[0] is VIOLATED


def test_only_labelled_rows_are_looked_at_and_not_too_many(good: pa.Table) -> None:
    assert Labelled(good, "y", ValidateConf()).label.n == 1000 - good["y"].null_count
    few = Labelled(good, "y", ValidateConf(leakage_rows=100))
    assert (few.label.n, few.label.missing) == (100, 0)
    ids = few.column("id").values.to_pylist()
    assert ids == sorted(ids)


def test_a_window_says_which_feature_leaks(good: pa.Table, look: Look) -> None:
    leaking = good.set_column(2, "size", good["y"].cast(pa.float64()))
    checks = look(leaking, ValidateConf(leakage_auroc=0.95), labelled=True)
    assert checks["leakage", "size"].outcome is VIOLATED
    assert checks["leakage", "age"].outcome is OK
    # At a limit of .99, 470 rows a class do not prove it; but they do not clear it either.
    assert look(leaking, labelled=True)["leakage", "size"].outcome is UNDECIDABLE
    assert ("leakage", "size") not in look(leaking)
