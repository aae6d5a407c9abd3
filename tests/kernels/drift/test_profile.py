"""A profile gives what the functions give, from any container, after a round trip, and in any number of
batches."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kernels import drift
from kernels.drift import Profile, Reason
from kernels.drift.columns import CategoricalColumn, NumericColumn
from kernels.drift.values import STATISTICS
from kernels.errors import OptionError, ProfileError, ShapeError

EQUAL: dict[str, Callable[[Any, Any], Any]] = {
    "ks": lambda x, y: drift.ks_2samp(x, y).statistic,
    "kuiper": lambda x, y: drift.kuiper_2samp(x, y).statistic,
    "cvm": lambda x, y: drift.cramervonmises_2samp(x, y).statistic,
    "anderson": lambda x, y: drift.anderson_2samp(x, y).statistic,
    "mannwhitney": lambda x, y: 1 - drift.mannwhitneyu(x, y).statistic / (len(x) * len(y)),
    "wasserstein": drift.wasserstein_distance,
    "energy": drift.energy_distance,
    "psi": drift.psi,
    "kl": drift.kl_divergence,
    "js": drift.jensen_shannon_distance,
    "hellinger": drift.hellinger_distance,
    "chisquare": lambda x, y: drift.chisquare(x, y).statistic,
}


def windows(seed: int = 0, n: int = 700, m: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)), rng.normal([0, 0.1, 0.3, 1.0], 1, size=(m, 4))


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("others", [(), ("energy",), ("ks",), ("psi",)])
def test_every_path_to_a_statistic_gives_the_same(name: str, others: tuple[str, ...]) -> None:
    reference, live = windows()
    table = Profile.fit(reference).compare(live, (name, *others))
    for f in range(4):
        expected = EQUAL[name](reference[:, f], live[:, f])
        assert table.row(str(f), name).value == pytest.approx(float(expected), rel=1e-12)


def test_p_values_are_those_of_the_functions() -> None:
    reference, live = windows()
    table = Profile.fit(reference).compare(live, STATISTICS)
    for function, name in (
        (drift.ks_2samp, "ks"),
        (drift.kuiper_2samp, "kuiper"),
        (drift.cramervonmises_2samp, "cvm"),
        (drift.anderson_2samp, "anderson"),
        (drift.mannwhitneyu, "mannwhitney"),
    ):
        for f, p in enumerate(function(reference, live).pvalue):
            assert table.row(str(f), name).pvalue == pytest.approx(float(p), rel=1e-12)
    for f, p in enumerate(drift.chisquare(reference, live).pvalue):  # SciPy's: another test of the same bins
        assert np.log(table.row(str(f), "chisquare").pvalue) == pytest.approx(np.log(p), rel=0.25, abs=0.2)
        assert table.row(str(f), "psi").pvalue == table.row(str(f), "chisquare").pvalue
    assert table.row("0", "wasserstein").pvalue is None


def test_large_windows_take_the_cells_and_stay_exact() -> None:
    reference, live = (v.astype(np.float32) for v in windows(3, 60_000, 9_000))
    fitted = Profile.fit(reference)
    for _ in range(2):
        table = fitted.compare(live, ("ks",))
        for f, column in enumerate(fitted.columns):
            assert isinstance(column, NumericColumn)
            assert column.cells[0] is not None
            assert table.row(str(f), "ks").value == drift.ks_2samp(reference[:, f], live[:, f]).statistic
    doubles = fitted.compare(live.astype(np.float64), ("ks",))
    assert [row.value for row in doubles] == [row.value for row in table]


def test_the_reference_is_a_copy_and_sorted_when_first_needed() -> None:
    reference, live = windows(4, 60_000, 900)
    table = np.asfortranarray(reference)
    fitted = Profile.fit(table)
    column = fitted.columns[0]
    assert isinstance(column, NumericColumn)
    table[:] = 0.0
    before = fitted.compare(live, ("psi", "chisquare", "missing"))
    assert not column.held.ascending
    ks = fitted.compare(live, ("ks",))
    assert not column.held.ascending
    assert fitted.compare(live, ("ks", "cvm")).row("2", "ks") == ks.row("2", "ks")
    assert column.held.ascending
    assert (column.values == np.sort(reference[:, 0])).all()
    assert fitted.compare(live, ("psi", "chisquare", "missing")) == before
    assert before.row("2", "psi").value == drift.psi(reference[:, 2], live[:, 2], backend="reference")
    assert ks.row("2", "ks").value == drift.ks_2samp(reference[:, 2], live[:, 2]).statistic
    counts = fitted.count([live])
    assert fitted.compare_counts(counts, ("psi", "chisquare", "missing")) == before


def test_ks_of_a_reference_is_the_same_before_and_after_it_is_sorted() -> None:
    reference, live = windows(5, 60_000, 70_000)
    reference[:100, 1], live[:50, 2] = np.nan, np.inf
    fitted, asked = Profile.fit(reference), ("ks", "kuiper")
    before = fitted.compare(live, asked)
    columns = [c for c in fitted.columns if isinstance(c, NumericColumn)]
    assert [c.held.ascending for c in columns] == [False] * len(columns)
    by_definition = fitted.compare(live, asked, backend="reference")
    assert [c.held.ascending for c in columns] == [False] * len(columns)
    medians = [c.median for c in columns]
    for column in columns:
        assert column.values.size == column.n
        assert column.median == column.values[column.n // 2] == np.sort(column.values)[column.n // 2]
    assert fitted.compare(live, asked) == before == Profile.fit(np.sort(reference, axis=0)).compare(live, asked)
    assert [replace(row, backend="cpu") for row in by_definition] == list(before)
    loaded = [NumericColumn(c.name, c.held, c.missing, c.edges, c.counts, c.sigma) for c in columns]
    assert [c.median for c in loaded] == medians


def test_large_arrow_columns_are_held_and_not_copied() -> None:
    reference, live = windows(6, 60_000, 70_000)
    lost = np.zeros(60_000, bool)
    lost[::7] = True
    table = pa.table({"whole": reference[:, 0], "gaps": pa.array(reference[:, 1], mask=lost)})
    whole, gaps = fitted = Profile.fit(table).columns
    assert isinstance(whole, NumericColumn)
    assert isinstance(gaps, NumericColumn)
    assert np.shares_memory(whole.held.rows, table["whole"].chunk(0).to_numpy())
    assert not np.shares_memory(gaps.held.rows, table["gaps"].chunk(0).to_numpy(zero_copy_only=False))
    assert len(fitted) == 2
    plain = Profile.fit({"whole": reference[:, 0], "gaps": reference[~lost, 1]})
    asked = {"whole": live[:, 0], "gaps": live[:, 1]}
    want = [row.value for row in plain.compare(asked, ("ks", "psi"))]
    assert [row.value for row in Profile(fitted).compare(asked, ("ks", "psi"))] == want
    assert (whole.values == np.sort(reference[:, 0])).all()
    assert (table["whole"].to_numpy() == reference[:, 0]).all()


def test_backends_agree() -> None:
    reference, live = windows()
    fitted = Profile.fit(reference)
    for mine, theirs in zip(
        fitted.compare(live, STATISTICS), fitted.compare(live, STATISTICS, backend="reference"), strict=True
    ):
        assert (mine.backend, theirs.backend) == ("cpu", "reference")
        assert mine.value == pytest.approx(theirs.value, rel=1e-11)


def mixed(seed: int, rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "amount": np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(size=rows)),
        "count": rng.integers(0, 30, rows),
        "city": rng.choice(np.array(["Oslo", "Rome", "Lima"], dtype=object), rows),
        "code": rng.integers(0, 4, rows),
    }


def test_containers_agree() -> None:
    reference, live = mixed(1, 400), mixed(2, 300)
    expected = Profile.fit(reference, categorical=["code"]).compare(live, STATISTICS)
    assert {row.statistic for row in expected if row.column == "city"} == {
        "psi", "kl", "js", "hellinger", "chi2", "tv", "linf", "missing",
    }  # fmt: skip
    for make in (pa.table, lambda columns: pa.record_batch(pa.table(columns).to_batches()[0]), pd.DataFrame):
        fitted = Profile.fit(make(reference), categorical=["code"])
        assert fitted.names == ("amount", "count", "city", "code")
        assert fitted.compare(make(live), STATISTICS) == expected


def test_arrow_nulls_dictionaries_and_instants() -> None:
    table = pa.table(
        {
            "big": pa.array([1, 2, None, 2**60]),
            "word": pa.array(["x", "y", None, "x"]).dictionary_encode(),
            "at": pa.array([1, 2, 3, None], pa.timestamp("us")),
            "flag": pa.array([True, False, None, True]),
        }
    )
    rows = Profile.fit(table).compare(table, ("wasserstein", "tv", "missing"))
    assert [(row.column, row.missing_live, row.value) for row in rows if row.statistic != "missing"] == [
        ("big", 1, 0.0), ("word", 1, 0.0), ("at", 1, 0.0), ("flag", 1, 0.0),
    ]  # fmt: skip
    frame = pd.DataFrame({"at": pd.to_datetime(["2020-01-01", None])})
    assert Profile.fit(frame).compare(frame, ("ks",)).row("at", "ks").missing_live == 1


def test_unseen_categories_count() -> None:
    fitted = Profile.fit({"c": np.array(["a"] * 50 + ["b"] * 50)})
    row = fitted.compare({"c": np.array(["a"] * 50 + ["z"] * 50)}, ("tv", "chi2"))
    assert row.row("c", "tv").value == 0.5
    assert row.row("c", "chi2").pvalue < 1e-9


def test_every_category_keeps_its_count() -> None:
    """A pool of the rare ones, chosen by the reference, would look too full in every live window."""
    rng = np.random.default_rng(8)
    names = np.char.add("k", rng.integers(0, 20_000, (2, 15_000)).astype(str))
    fitted = Profile.fit({"c": names[0]})
    column = fitted.columns[0]
    assert isinstance(column, CategoricalColumn)
    assert column.counts.sum() == 15_000
    assert len(column.categories) == len(np.unique(names[0]))
    assert fitted.compare({"c": names[1]}, ("chi2",)).rows[0].pvalue > 0.05


def test_one_bad_column_hides_no_other() -> None:
    reference, live = mixed(1, 400), mixed(2, 300)
    fitted = Profile.fit(reference)
    table = fitted.compare({"amount": np.array(["a", "b"]), "count": live["count"], "city": live["city"]})
    assert {row.reason for row in table if row.column == "amount"} == {Reason.NOT_COMPARABLE}
    assert {row.reason for row in table if row.column == "code"} == {Reason.COLUMN_ABSENT}
    assert table.row("count", "ks") == fitted.compare(live).row("count", "ks")
    assert table.row("city", "tv") == fitted.compare(live).row("city", "tv")


def test_round_trip(tmp_path: Path) -> None:
    reference, live = mixed(1, 400), mixed(2, 300)
    fitted = Profile.fit(reference)
    path = tmp_path / "deep" / "profile.npz"
    fitted.save(path)
    fitted.save(path)
    assert Profile.load(path).compare(live, STATISTICS) == fitted.compare(live, STATISTICS)
    assert os.listdir(path.parent) == ["profile.npz"]


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "profile.npz"
    with pytest.raises(ProfileError, match="no such file - fit a profile"):
        Profile.load(path)
    Profile.fit(mixed(1, 50)).save(path)
    whole = path.read_bytes()
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ProfileError, match=r"profile\.npz: damaged or not a profile - fit and save it again"):
            Profile.load(path)


def rewrite(path: Path, **changed: Any) -> None:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **(arrays | changed))


def test_wrong_contents_are_named(tmp_path: Path) -> None:
    path = tmp_path / "profile.npz"
    Profile.fit(np.arange(20.0)).save(path)
    with np.load(path) as archive:
        header = json.loads(bytes(archive["header"]))
    for field, changed in (
        ("0.values", {"values_0": np.arange(20.0)[::-1]}),
        ("0.values", {"values_0": np.arange(20, dtype=np.int16)}),
        ("0.edges", {"edges_0": np.zeros(9)}),
        ("0.counts", {"counts_0": np.full(10, 3)}),
        ("0.counts", {"counts_0": np.full(10, -2)}),
        ("header", {"header": np.frombuffer(json.dumps(header | {"version": 9}).encode(), np.uint8)}),
    ):
        Profile.fit(np.arange(20.0)).save(path)
        rewrite(path, **changed)
        with pytest.raises(ProfileError, match=rf"profile\.npz:{field}: "):
            Profile.load(path)


class Canary:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_nothing_in_a_profile_is_executed(tmp_path: Path) -> None:
    path, canary = tmp_path / "profile.npz", tmp_path / "executed"
    Profile.fit(np.arange(20.0)).save(path)
    rewrite(path, counts_0=np.array([Canary(canary)], dtype=object))
    with pytest.raises(ProfileError, match="damaged or not a profile"):
        Profile.load(path)
    assert not canary.exists()


def test_table_prints_and_exports() -> None:
    reference, live = windows()
    table = Profile.fit(reference[:, :2], names=["a", "b"]).compare({"a": live[:, 0]})
    text = str(table)
    assert " ".join(text.split()[:9]) == "column statistic value p n reference n live missing"
    assert len(text.splitlines()) == len(table) + 1
    assert "column_absent" in text
    assert json.loads(json.dumps(table.to_dicts(), allow_nan=False))[0]["column"] == "a"
    arrow = table.to_arrow()
    assert arrow.num_rows == len(table)
    assert arrow["value"].to_pylist() == [row.value for row in table]
    corrected = table.adjusted("bonferroni")
    raw = [row.pvalue for row in table]
    tests = sum(p is not None for p in raw)
    assert corrected == tuple(None if p is None else min(1.0, p * tests) for p in raw)
    with pytest.raises(OptionError, match="a: no 'energy' in this table"):
        table.row("a", "energy")


def test_refusals() -> None:
    reference, live = windows()
    fitted = Profile.fit(reference)
    with pytest.raises(OptionError, match="statistics: 'ks' is one string"):
        fitted.compare(live, "ks")
    with pytest.raises(OptionError, match="statistics: 'kss' is not known - use ks, "):
        fitted.compare(live, ("kss",))
    with pytest.raises(ShapeError, match="live: 3 columns against 4"):
        fitted.compare(live[:, :3])
    with pytest.raises(OptionError, match="categorical: 'x' is not a column"):
        Profile.fit(reference, categorical=["x"])
    with pytest.raises(OptionError, match="names: 'a' occurs twice"):
        Profile.fit(reference[:, :2], names=["a", "a"])
    with pytest.raises(ShapeError, match="names: 1 names for 4 columns"):
        Profile.fit(reference, names=["a"])
