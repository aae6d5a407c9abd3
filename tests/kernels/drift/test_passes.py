"""Windows in pieces against the same windows whole: equal for any split into batches and any memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernels.drift import DriftTable, Profile, Reason, fitting, partition, passes
from kernels.drift.columns import NumericColumn
from kernels.drift.passes import Batches
from kernels.drift.values import RANK, STATISTICS, SUMMED
from kernels.errors import OptionError, ProfileError

Window = dict[str, np.ndarray]
EXACT = tuple(name for name in STATISTICS if name not in SUMMED or name == "mannwhitney")


def window(seed: int, rows: int) -> Window:
    rng = np.random.default_rng(seed)
    return {
        "x": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(0.02 * seed, 1, rows)),
        "k": rng.integers(0, 12, rows),
        "z": np.where(rng.random(rows) < 0.6, 0.0, rng.lognormal(size=rows)),
        "f": (rng.normal(size=rows) / (1 + seed)).astype(np.float32),
        "id": 2**60 + rng.integers(0, 10**6, rows),
        "c": rng.choice(np.array(["a", "b", "c", "d"], dtype=object), rows),
    }


def in_batches(columns: Window, borders: list[int]) -> Batches:
    """The window cut at the borders; a new iterator each time."""
    rows = len(next(iter(columns.values())))

    def batches() -> Iterator[Window]:
        for first, last in itertools.pairwise([0, *borders, rows]):
            yield {name: values[first:last] for name, values in columns.items()}

    return batches


def assert_same(pieces: DriftTable, whole: DriftTable) -> None:
    """Bit for bit, but for the four sums whose float64 terms come in another order."""
    assert len(pieces) == len(whole)
    for mine, theirs in zip(pieces, whole, strict=True):
        if mine.statistic in EXACT or theirs.value is None:
            assert mine == theirs
        else:
            assert mine.value == pytest.approx(theirs.value, rel=1e-12, abs=1e-15)
            assert (mine.reason, mine.error, mine.n_live) == (Reason.NONE, 0.0, theirs.n_live)
            assert mine.pvalue == (None if theirs.pvalue is None else pytest.approx(theirs.pvalue, rel=1e-9))


def test_any_split_of_the_batches_gives_what_the_whole_window_gives(
    record_property: Callable[[str, object], None],
) -> None:
    reference, live = ({n: side[n] for n in "xzc"} for side in (window(0, 120), window(1, 400)))
    fitted = Profile.fit(reference)
    whole = fitted.compare(live, EXACT)
    rng = np.random.default_rng(4)
    splits, different = 200, 0
    for _ in range(splits):
        borders = sorted(rng.integers(0, 401, rng.integers(0, 8)).tolist())
        memory = int(rng.choice([600, 1_000_000]))
        different += fitted.compare_batches(in_batches(live, borders), EXACT, memory=memory) != whole
    record_property("a stream equals the whole window", f"{different} of {splits} random splits differ")
    assert different == 0


@pytest.mark.parametrize("memory", [600, 10_000, 10_000_000])
def test_every_statistic_in_any_memory(memory: int) -> None:
    reference, live = window(0, 4000), window(2, 3000)
    fitted = Profile.fit(reference)
    pieces = fitted.compare_batches(in_batches(live, [5, 5, 1700]), STATISTICS, memory=memory)
    assert_same(pieces, fitted.compare(live, STATISTICS))


@pytest.mark.parametrize("memory", [600, 10_000_000])
def test_both_windows_in_batches(memory: int) -> None:
    reference, live = window(0, 4000), window(2, 3000)
    batches = in_batches(reference, [100, 2000, 3999])
    fitted = Profile.fit_batches(batches, memory=memory)
    pieces = fitted.compare_batches(in_batches(live, [5, 1700]), STATISTICS, reference=batches, memory=memory)
    assert_same(pieces, Profile.fit(reference).compare(live, STATISTICS))


HARD: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "one live value": (np.random.default_rng(0).normal(size=20_000), np.full(30_000, 0.25)),
    "one value on both sides": (np.full(9000, 1.5), np.full(30_000, 1.5)),
    "all live rows between two quantiles": (
        np.random.default_rng(1).normal(size=20_000),
        np.random.default_rng(2).uniform(0.5, 0.5 + 1e-9, 30_000),
    ),
    "half of them one value there": (
        np.random.default_rng(3).normal(size=20_000),
        np.where(np.arange(30_000) % 2, 0.5 + 1e-12, np.random.default_rng(4).uniform(0.5, 0.5 + 1e-9, 30_000)),
    ),
    "beyond the reference on both ends": (
        np.random.default_rng(5).normal(size=20_000),
        np.random.default_rng(6).standard_cauchy(30_000) * 1e6,
    ),
    "wide doubles within narrow floats": (
        np.random.default_rng(7).normal(size=20_000).round(1).astype(np.float32),
        np.random.default_rng(8).normal(size=30_000).round(1) * (1 + 1e-12),
    ),
    "fractions within whole numbers": (
        np.random.default_rng(9).integers(0, 9, 20_000),
        np.random.default_rng(10).uniform(0, 9, 30_000),
    ),
    "infinities": (
        np.append(np.random.default_rng(11).normal(size=20_000), [np.inf] * 50 + [-np.inf] * 50),
        np.append(np.random.default_rng(12).normal(size=30_000), [np.inf] * 5000),
    ),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("streamed", [False, True], ids=["held reference", "streamed reference"])
def test_hard_values_stay_within_memory(case: str, streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pass brings more rows than it was given memory for, wherever the rows lie."""
    memory, brought = 8000, []
    gather = passes.gather

    def watched(*arguments: Any) -> dict[str, Any]:
        found = gather(*arguments)
        brought.append(sum(rows.size for rows in found.values()))
        return found

    monkeypatch.setattr(partition.passes, "gather", watched)
    x, y = ({"v": side} for side in HARD[case])
    batches = in_batches(x, [17, 9000])
    fitted = Profile.fit_batches(batches, memory=memory) if streamed else Profile.fit(x)
    for statistics in (RANK, ("ks",), ("kuiper",)):  # extremes alone take other ranges than sums do
        pieces = fitted.compare_batches(
            in_batches(y, [1, 15_000]), statistics, reference=batches if streamed else None, memory=memory
        )
        assert_same(pieces, Profile.fit(x).compare(y, statistics))
    assert max(brought, default=0) <= memory + 1000  # a sample of about 4096 rows a range may exceed it by chance


def test_ks_alone_brings_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = []
    gather = passes.gather

    def watched(*arguments: Any) -> dict[str, Any]:
        found = gather(*arguments)
        brought.append(sum(rows.size for rows in found.values()))
        return found

    monkeypatch.setattr(partition.passes, "gather", watched)
    rng = np.random.default_rng(0)
    x, y = {"v": rng.normal(size=200_000)}, {"v": rng.normal(0.01, 1, 200_000)}
    fitted = Profile.fit(x)
    pieces = fitted.compare_batches(in_batches(y, [100_000]), ("ks",))
    assert pieces == fitted.compare(y, ("ks",))
    assert len(brought) == 1
    assert brought[0] < 20_000


ALIKE: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "float64": lambda rng: rng.normal(size=150_000),
    "float32": lambda rng: rng.normal(size=150_000).astype(np.float32),
    "long tails": lambda rng: rng.standard_cauchy(150_000),
    "int64": lambda rng: rng.integers(-(2**62), 2**62, 150_000),
    "uint64": lambda rng: rng.integers(2**63 - 5, 2**64, 150_000, dtype=np.uint64),
    "whole numbers": lambda rng: rng.normal(0, 3e4, 150_000).astype(np.int32),
}


@pytest.mark.parametrize("case", ALIKE)
def test_large_windows_that_are_alike_take_few_passes(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few splitters for so many rows, as 4096 are for a hundred million: all that may hide D would be 20 passes."""
    monkeypatch.setattr(fitting, "SPLITTERS", 64)
    run, memory = [], 15_000
    gather, count = passes.gather, passes.count
    monkeypatch.setattr(partition.passes, "gather", lambda *words: run.append("gather") or gather(*words))  # type: ignore[func-returns-value]
    monkeypatch.setattr(partition.passes, "count", lambda *words: run.append("count") or count(*words))  # type: ignore[func-returns-value]
    x, y = ({"v": ALIKE[case](np.random.default_rng(seed))} for seed in (1, 2))
    batches = in_batches(x, [70_000])
    fitted = Profile.fit_batches(batches, memory=memory)
    for statistics in (("ks",), ("kuiper",)):
        run.clear()
        pieces = fitted.compare_batches(in_batches(y, [9]), statistics, reference=batches, memory=memory)
        assert_same(pieces, Profile.fit(x).compare(y, statistics))
        assert len(run) <= 8, run  # of both windows, so half as many of each


@pytest.mark.parametrize("bins", [10, 3, [-1.0, 0.0, 4.0]])
@pytest.mark.parametrize("memory", [300, 10_000_000])
def test_a_reference_in_batches_has_the_edges_of_the_whole(bins: Any, memory: int) -> None:
    reference = window(0, 5000) | {"mostly": np.where(np.arange(5000) % 9, 7.0, np.arange(5000.0))}
    whole = Profile.fit(reference, bins=bins)
    for borders in ([], [1, 2, 4000], list(range(0, 5000, 450))):
        pieces = Profile.fit_batches(in_batches(reference, borders), bins=bins, memory=memory)
        assert pieces.names == whole.names
        for mine, theirs in zip(pieces.columns, whole.columns, strict=True):
            assert mine.missing == theirs.missing
            assert mine.counts.tolist() == theirs.counts.tolist()
            if isinstance(mine, NumericColumn):
                assert isinstance(theirs, NumericColumn)
                assert mine.edges.tolist() == theirs.edges.tolist()
                assert mine.edges.dtype == theirs.edges.dtype
                assert mine.sigma == pytest.approx(theirs.sigma, rel=1e-12)


def test_counts_alone_give_binned_statistics_and_bounds(tmp_path: Path) -> None:
    reference, live = window(0, 5000), window(1, 3000)
    whole = Profile.fit(reference).compare(live, STATISTICS)
    fitted = Profile.fit_batches(in_batches(reference, [999]))
    fitted.save(tmp_path / "profile.npz")
    loaded = Profile.load(tmp_path / "profile.npz")
    bounds = loaded.compare_batches(in_batches(live, [10]), STATISTICS)
    for mine, counted, theirs in zip(loaded.compare(live, STATISTICS), bounds, whole, strict=True):
        if mine.statistic not in RANK:
            assert mine == theirs
            assert counted == theirs
            continue
        assert mine.reason is Reason.NEEDS_ROWS
        if mine.statistic in SUMMED:
            assert counted.reason is Reason.NEEDS_ROWS
        else:
            assert counted.value <= theirs.value <= counted.value + counted.error + 1e-15
            assert counted.error < 0.005


def test_a_damaged_profile_of_counts_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "profile.npz"
    Profile.fit_batches(in_batches({"x": np.arange(50.0)}, [])).save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for changed in ({"rows_0": arrays["rows_0"][:-1]}, {"rows_0": -arrays["rows_0"]}):
        np.savez(path, **(arrays | changed))
        with pytest.raises(ProfileError, match=r"profile\.npz:x\.rows: not what a profile holds"):
            Profile.load(path)
    np.savez(path, **(arrays | {"values_0": arrays["values_0"] + 0.5}))
    with pytest.raises(ProfileError, match=r"profile\.npz:x\.edges: not what a profile holds"):
        Profile.load(path)


def test_parts_fitted_on_given_edges_merge_to_the_whole() -> None:
    reference, live = window(0, 4000), window(1, 3000)
    edges = [-1.0, 0.0, 1.0, 5.0]
    cuts = [{n: v[a:b] for n, v in reference.items()} for a, b in ((0, 1500), (1500, 1501), (1501, 4000))]
    parts = [Profile.fit(part, bins=edges) for part in cuts]
    whole = Profile.fit(reference, bins=edges).compare(live, STATISTICS)
    for order in itertools.permutations(parts):
        assert order[0].merge(order[1]).merge(order[2]).compare(live, STATISTICS) == whole
    with pytest.raises(ProfileError, match="merge: x has other bins on the two sides - fit both with the same"):
        parts[0].merge(Profile.fit(cuts[2]))
    with pytest.raises(ProfileError, match="merge: profiles of different columns"):
        parts[0].merge(Profile.fit({"x": np.arange(3.0)}))
    with pytest.raises(ProfileError, match="merge: x was fitted in batches - fit all of its batches in one fit_scan"):
        parts[0].merge(Profile.fit_batches(in_batches(reference, []), bins=edges))


def test_scans_in_parts_are_one_scan() -> None:
    """Three parts, each scanned for itself, in another order each time."""
    reference, live = window(0, 4000), window(1, 3000)
    rng = np.random.default_rng(1)

    def in_parts(columns: Window) -> passes.Scan:
        rows = len(columns["x"])
        cuts = [0, rows // 5, rows // 2, rows]
        parts = [in_batches({n: v[a:b] for n, v in columns.items()}, [50, 300]) for a, b in itertools.pairwise(cuts)]
        return lambda work: [work(parts[k]()) for k in rng.permutation(3)]

    fitted = Profile.fit_scan(in_parts(reference))
    table = fitted.compare_scan(in_parts(live), STATISTICS, reference=in_parts(reference), memory=5000)
    assert_same(table, Profile.fit(reference).compare(live, STATISTICS))


def test_arrow_batches_with_nulls_and_words() -> None:
    live = pa.table({"x": pa.array([1.0, None, 2.5, 3.0] * 50), "w": pa.array(["a", None, "b", "b"] * 50)})
    reference = live.slice(3, 150)
    fitted = Profile.fit(reference)
    whole = fitted.compare(live, STATISTICS)
    assert_same(fitted.compare_batches(lambda: live.to_batches(max_chunksize=7), STATISTICS), whole)
    counted = Profile.fit_batches(lambda: reference.to_batches(max_chunksize=9))
    again = counted.compare_batches(
        lambda: live.to_batches(max_chunksize=7), STATISTICS, reference=lambda: reference.to_batches(max_chunksize=9)
    )
    assert_same(again, whole)
    json.dumps(again.to_dicts(), allow_nan=False)


def test_a_batch_that_lacks_a_column_hides_no_other() -> None:
    reference, live = window(0, 400), window(1, 300)
    fitted = Profile.fit(reference)
    without = {name: values for name, values in live.items() if name != "x"}
    table = fitted.compare_batches(lambda: [live, without], ("ks", "energy", "tv"))
    assert {row.reason for row in table if row.column == "x"} == {Reason.COLUMN_ABSENT}
    assert table.row("k", "energy").n_live == 600
    words = live | {"x": np.array(["a"] * 300)}
    table = fitted.compare_batches(lambda: [live, words], ("ks",))
    assert table.row("x", "ks").reason is Reason.NOT_COMPARABLE


def test_refusals() -> None:
    reference, live = window(0, 2000), window(1, 2000)
    fitted = Profile.fit(reference)
    once = in_batches(live, [500])()
    with pytest.raises(
        ProfileError, match=r"x: a later pass over the batches found other rows than the first - pass a f"
    ):
        fitted.compare_batches(lambda: once, ("energy",))
    with pytest.raises(OptionError, match="memory: 0 - use a number of values of at least 1"):
        fitted.compare_batches(in_batches(live, []), ("ks",), memory=0)
    with pytest.raises(OptionError, match="statistics: 'kss' is not known"):
        fitted.compare_batches(in_batches(live, []), ("kss",))
    with pytest.raises(ProfileError, match="batches: there is none - a reference needs at least one"):
        Profile.fit_batches(list)
    with pytest.raises(ProfileError, match="x: not in every batch - give all batches the same columns"):
        Profile.fit_batches(lambda: [reference, {n: v for n, v in reference.items() if n != "x"}])
    with pytest.raises(OptionError, match="categorical: 'y' is not a column"):
        Profile.fit_batches(in_batches(reference, []), categorical=["y"])
    with pytest.raises(OptionError, match="bins: 1 - use an integer of at least 2, or edges"):
        Profile.fit_batches(in_batches(reference, []), bins=1)
