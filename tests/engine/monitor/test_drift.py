"""Drift: the false-alarm rate it promises, the changes it must see, and columns that cannot be judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Reference, compare
from engine.records import ColumnDrift, DriftOutcome, DriftReport
from kernels.pvalues import adjust

N = 2000
NUMERIC = ("height", "weight", "steps")
CATEGORICAL = ("shop", "street")
ZIPF = 1 / np.arange(1, 61) ** 1.2
UNFLOORED = {"numeric_floor": 0.0, "categorical_floor": 0.0, "missing_floor": 0.0}


def make_table(n: int, seed: list[int]) -> pa.Table:
    """A heavy tail with gaps, a normal, a count with ties; five shops, and sixty streets of which most are rare."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "height": pa.array(rng.standard_cauchy(n), mask=rng.random(n) < 0.03),
            "weight": rng.normal(70.0, 12.0, n),
            "steps": rng.poisson(3, n),
            "shop": rng.choice(["a", "b", "c", "d", "e"], n, p=[0.5, 0.3, 0.15, 0.04, 0.01]),
            "street": np.char.add("street ", rng.choice(60, n, p=ZIPF / ZIPF.sum()).astype(str)),
        }
    )


def reference_of(table: pa.Table, predictions: np.ndarray | None = None) -> Reference:
    return Reference(name="before", table=table, numeric=NUMERIC, categorical=CATEGORICAL, predictions=predictions)


def compared(live: pa.Table, conf: MonitorConf | None = None, reference: pa.Table | None = None) -> DriftReport:
    table = make_table(N, [0]) if reference is None else reference
    return compare(reference_of(table), live, "now", conf or MonitorConf())


def column(report: DriftReport, name: str) -> ColumnDrift:
    found = [c for c in report.columns if c.column == name]
    assert len(found) == 1, [c.column for c in report.columns]
    return found[0]


def replaced(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def null_reports(rows: int, references: int, windows: int, conf: MonitorConf) -> Iterator[DriftReport]:
    """Reports of windows that come from where their reference comes from, predictions included."""
    for k in range(references):
        rng = np.random.default_rng([k, rows])
        reference = reference_of(make_table(N, [k, 0]), rng.beta(2, 5, 1000))
        for w in range(windows):
            yield compare(reference, make_table(rows, [k, 1 + w, rows]), "now", conf, rng.beta(2, 5, rows))


def check_false_alarms(rows: int, references: int, windows: int, conf: MonitorConf) -> None:
    alarms = sum(bool(report.drifted) for report in null_reports(rows, references, windows, conf))
    assert alarms <= stats.binom.ppf(0.9999, references * windows, conf.alpha)


@pytest.mark.parametrize("rows", [50, 100, 300, 1000])
def test_a_window_without_drift_raises_an_alarm_at_most_as_often_as_stated(rows: int) -> None:
    check_false_alarms(rows, 25, 10, MonitorConf(alpha=0.05, **UNFLOORED))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 100, 300, 1000, 10_000])
def test_false_alarms_over_ten_thousand_windows(rows: int) -> None:
    check_false_alarms(rows, 500, 20, MonitorConf(alpha=0.01, **UNFLOORED))


@pytest.mark.parametrize("method", ["bh", "by", "holm", "bonferroni"])
def test_p_values_are_corrected_over_all_columns_that_could_be_judged(method: str) -> None:
    live = replaced(make_table(500, [1]), "height", [None] * 490 + [1.0] * 10)
    report = compared(live, MonitorConf(method=method))
    judged = [c for c in report.columns if c.outcome is not DriftOutcome.UNDECIDABLE]
    expected = adjust(np.array([c.pvalue for c in judged]), method)
    np.testing.assert_array_equal([c.adjusted_pvalue for c in judged], expected)
    assert [c.column for c in report.columns if math.isnan(c.adjusted_pvalue)] == ["height"]
    assert (report.method, report.alpha, report.reference, report.live) == (method, 0.01, "before", "now")


def test_numbers_are_tested_as_scipy_tests_them() -> None:
    old, new = make_table(N, [0]), make_table(300, [1])
    for name in ("weight", "steps"):
        truth = stats.ks_2samp(old[name].to_numpy(), new[name].to_numpy(), method="exact")
        found = column(compared(new), name)
        assert found.effect == pytest.approx(truth.statistic, abs=1e-12)
        assert found.pvalue == pytest.approx(truth.pvalue, rel=1e-9)
        assert (found.n_reference, found.n_live) == (N, 300)


def test_one_outlier_hides_nothing() -> None:
    live = make_table(300, [1])
    moved = live["weight"].to_numpy() + 12.0  # a standard deviation
    moved[0] = 1e30
    report = compared(replaced(live, "weight", moved))
    assert [c.column for c in report.drifted] == ["weight"]
    spoilt = make_table(N, [0])
    values = spoilt["weight"].to_numpy().copy()
    values[0] = -np.inf
    report = compared(
        replaced(live, "weight", live["weight"].to_numpy() + 12.0), None, replaced(spoilt, "weight", values)
    )
    assert [c.column for c in report.drifted] == ["weight"]


def test_the_scale_of_a_column_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    old = replaced(make_table(N, [0]), "weight", 1.0 + 1e-5 * rng.normal(size=N))
    shifted = replaced(make_table(300, [1]), "weight", 1.0 + 1e-5 * (rng.normal(size=300) + 5))
    found = column(compared(shifted, None, old), "weight")
    assert found.outcome is DriftOutcome.DRIFT
    assert found.effect > 0.95


def test_significance_alone_is_no_alarm() -> None:
    rng = np.random.default_rng(5)
    old, new = (pa.table({"x": rng.normal(shift, 1, 300_000)}) for shift in (0.0, 0.05))
    reference = Reference(name="before", table=old, numeric=("x",), categorical=())
    found = compare(reference, new, "now", MonitorConf()).columns[0]
    assert found.adjusted_pvalue < 1e-10
    assert found.effect < found.floor
    assert found.outcome is DriftOutcome.NO_DRIFT


def test_effect_alone_is_no_alarm() -> None:
    found = column(compared(make_table(50, [4])), "street")
    assert found.effect > found.floor  # by chance: fifty rows, sixty streets
    assert found.outcome is DriftOutcome.NO_DRIFT


def test_a_rare_category_that_becomes_frequent_is_drift() -> None:
    live = make_table(300, [1])
    shops = live["shop"].to_numpy(zero_copy_only=False).copy()
    shops[:60] = "e"  # 1 % in the reference
    report = compared(replaced(live, "shop", shops))
    assert [c.column for c in report.drifted] == ["shop"]


@pytest.mark.parametrize("values", [["new"] * 40, [f"new {i}" for i in range(40)]], ids=["one", "many"])
def test_unseen_categories_are_drift(values: list[str]) -> None:
    live = make_table(200, [1])
    streets = live["street"].to_pylist()
    report = compared(replaced(live, "street", values + streets[40:]))
    assert [c.column for c in report.drifted] == ["street"]
    assert column(report, "street").effect > 0.2


def test_a_change_of_the_missing_rate_is_drift_of_its_own() -> None:
    live = make_table(300, [1])
    mask = np.random.default_rng(1).random(300) < 0.2
    report = compared(replaced(live, "height", np.where(mask, np.nan, live["height"].to_numpy())))
    assert [(c.column, c.kind) for c in report.drifted] == [("height is missing", "missing")]
    found = report.drifted[0]
    gone, before = round(found.missing_live * 300), round(found.missing_reference * N)
    assert found.effect == pytest.approx(gone / 300 - before / N)
    assert (found.n_reference, found.n_live) == (N, 300)
    assert column(report, "height").n_live == 300 - gone
    assert column(report, "height").missing_live == found.missing_live
    with pytest.raises(AssertionError):  # nothing is missing there: no test is spent on it
        column(report, "weight is missing")


def test_missing_categories_are_drift() -> None:
    live = make_table(300, [1])
    report = compared(replaced(live, "shop", [None] * 45 + live["shop"].to_pylist()[45:]))
    assert [c.column for c in report.drifted] == ["shop is missing"]


def test_a_constant_column_does_not_drift_until_it_changes() -> None:
    old = replaced(replaced(make_table(N, [0]), "steps", [7] * N), "shop", ["a"] * N)
    same = replaced(replaced(make_table(100, [1]), "steps", [7] * 100), "shop", ["a"] * 100)
    report = compared(same, None, old)
    for name in ("steps", "shop"):
        assert (column(report, name).outcome, column(report, name).pvalue) == (DriftOutcome.NO_DRIFT, 1.0)
    other = replaced(replaced(same, "steps", [8] * 100), "shop", ["b"] * 100)
    assert {c.column for c in compared(other, None, old).drifted} == {"steps", "shop"}


SPOILT: dict[str, Callable[[pa.Table], pa.Table]] = {
    "all NaN": lambda t: replaced(t, "weight", np.full(t.num_rows, np.nan)),
    "all null": lambda t: replaced(t, "weight", pa.nulls(t.num_rows, pa.float64())),
    "no type": lambda t: replaced(t, "weight", pa.nulls(t.num_rows)),
    "nearly all null": lambda t: replaced(t, "weight", [None] * (t.num_rows - 49) + [70.0] * 49),
    "text": lambda t: replaced(t, "weight", ["70"] * t.num_rows),
    "times": lambda t: replaced(t, "weight", np.arange(t.num_rows).astype("datetime64[s]")),
    "integers too large to be compared with fractions": lambda t: replaced(t, "weight", [2**62 + 1] * t.num_rows),
    "absent": lambda t: t.drop_columns(["weight"]),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_bad_column_is_undecidable_and_hides_no_other(kind: str) -> None:
    live = make_table(300, [1])
    moved = replaced(live, "steps", live["steps"].to_numpy() + 3)
    good = compared(moved)
    for report in (
        compared(SPOILT[kind](moved)),
        compared(moved, None, SPOILT[kind](make_table(N, [0]))),
    ):
        found = column(report, "weight")
        assert found.outcome is DriftOutcome.UNDECIDABLE
        assert found.reason
        assert math.isnan(found.adjusted_pvalue)
        for other in {*NUMERIC, *CATEGORICAL} - {"weight"}:
            assert column(report, other).pvalue == column(good, other).pvalue
        assert column(report, "steps").outcome is DriftOutcome.DRIFT


def test_a_column_that_lost_all_values_is_named_by_its_missing_rate() -> None:
    live = replaced(make_table(300, [1]), "weight", np.full(300, np.nan))
    report = compared(live)
    assert column(report, "weight").reason == "0 values in the live window, 50 are needed"
    assert [c.column for c in report.drifted] == ["weight is missing"]


@pytest.mark.parametrize("kind", ["absent", "lists"])
def test_bad_categories_are_undecidable(kind: str) -> None:
    live = make_table(300, [1])
    spoilt = live.drop_columns(["shop"]) if kind == "absent" else replaced(live, "shop", [["a"]] * 300)
    found = column(compared(spoilt), "shop")
    assert found.outcome is DriftOutcome.UNDECIDABLE
    assert found.reason.startswith("the live window ")


@pytest.mark.parametrize(("rows", "outcome"), [(0, DriftOutcome.UNDECIDABLE), (49, DriftOutcome.UNDECIDABLE)])
def test_too_few_rows_are_undecidable_on_either_side(rows: int, outcome: DriftOutcome) -> None:
    few, many = make_table(rows, [1]), make_table(300, [2])
    for report, side in ((compared(few), "live window"), (compared(many, None, few), "reference")):
        judged = [c for c in report.columns if c.kind != "missing"]
        assert {c.outcome for c in judged} == {outcome}
        assert all(f"in the {side}, 50 are needed" in c.reason for c in judged)


def test_no_column_at_all_is_an_empty_report() -> None:
    empty = Reference(name="before", table=make_table(100, [0]), numeric=(), categorical=())
    assert compare(empty, make_table(100, [1]), "now", MonitorConf()).columns == ()


def test_integers_beyond_the_floats_are_told_apart() -> None:
    old, new = (pa.table({"x": pa.array(2**60 + k + np.zeros(100, np.int64))}) for k in (0, 1))
    reference = Reference(name="before", table=old, numeric=("x",), categorical=())
    assert compare(reference, new, "now", MonitorConf()).columns[0].effect == 1.0


def test_predictions_of_several_classes_drift_class_by_class() -> None:
    rng = np.random.default_rng(7)
    old, new = rng.dirichlet([4, 4, 4], N), rng.dirichlet([4, 4, 4], 400)
    table, live = make_table(N, [0]), make_table(400, [1])
    quiet = compare(reference_of(table, old), live, "now", MonitorConf(), new)
    assert [c.column for c in quiet.columns if c.kind == "prediction"] == [f"prediction[{k}]" for k in range(3)]
    assert not quiet.drifted
    new[:, :2] = np.stack([new[:, 0] + 0.5 * new[:, 1], 0.5 * new[:, 1]], axis=1)
    loud = compare(reference_of(table, old), live, "now", MonitorConf(), new)
    assert {c.column for c in loud.drifted} == {"prediction[0]", "prediction[1]"}


def test_predictions_that_are_not_numbers_are_counted() -> None:
    rng = np.random.default_rng(7)
    old, new = rng.random(N), rng.random(300)
    new[:60] = np.nan
    report = compare(reference_of(make_table(N, [0]), old), make_table(300, [1]), "now", MonitorConf(), new)
    assert column(report, "prediction").n_live == 240
    assert [c.column for c in report.drifted] == ["prediction is missing"]
    lost = compare(
        reference_of(make_table(N, [0]), old), make_table(300, [1]), "now", MonitorConf(), np.full(300, np.nan)
    )
    assert column(lost, "prediction").outcome is DriftOutcome.UNDECIDABLE


def test_the_largest_excess_over_its_floor_comes_first() -> None:
    live = make_table(300, [1])
    moved = replaced(replaced(live, "steps", live["steps"].to_numpy() + 1), "weight", live["weight"].to_numpy() + 100)
    assert [c.column for c in compared(moved).drifted] == ["weight", "steps"]
    conf = MonitorConf(numeric_floor=0.0)
    shifted = replaced(moved, "shop", ["new"] * 300)
    assert [c.column for c in compared(shifted, conf).drifted] == ["weight", "steps", "shop"]


def test_a_reference_is_fitted_once() -> None:
    reference = reference_of(make_table(N, [0]))
    first = compare(reference, make_table(300, [1]), "now", MonitorConf())
    fitted = reference.numbers, reference.categories
    assert compare(reference, make_table(300, [1]), "now", MonitorConf()) == first
    assert (reference.numbers, reference.categories) == fitted
    assert reference.numbers is fitted[0]
