from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data import tables
from engine.data.conf import DataConf
from engine.data.features import Encoder
from engine.errors import DataError, InputError
from engine.records import Task, Window


def chunked(values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (chunked([1, 2, None], pa.int8()), chunked([1, 2, None], pa.int64())),
        (chunked([True, False]), chunked([1, 0], pa.int64())),
        (chunked([1.5, float("nan"), None]), chunked([1.5, None, None], pa.float64())),
        (chunked([1.5, float("inf")], pa.float32()), chunked([1.5, float("inf")], pa.float32())),
        (chunked(np.array([0.5], np.float16)), chunked([0.5], pa.float32())),
        (chunked([None, None], pa.null()), chunked([None, None], pa.float64())),
    ],
)
def test_numbers_have_one_form(column: pa.ChunkedArray, expected: pa.ChunkedArray) -> None:
    got = tables.numeric_column(column, "f:c")
    assert got.type == expected.type
    assert got.equals(expected)


@pytest.mark.parametrize(
    "column",
    [
        chunked(["1", None, "2"]),
        chunked([1, None, 2], pa.int16()),
        chunked(["1", None, "2"]).dictionary_encode(),
        chunked(["1", None, "2"], pa.large_string()),
    ],
)
def test_categories_are_strings(column: pa.ChunkedArray) -> None:
    assert tables.categorical_column(column, "f:c").equals(chunked(["1", None, "2"], pa.string()))


def test_times_are_utc_microseconds() -> None:
    moment = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    expected = chunked([moment], tables.TIME)
    for column in (
        chunked([moment.replace(tzinfo=None)], pa.timestamp("ns")),
        chunked([moment], pa.timestamp("s", "America/New_York")),
    ):
        assert tables.time_column(column, "f:t").equals(expected)
    day = tables.time_column(chunked([dt.date(2024, 5, 1)]), "f:t")
    assert day.equals(chunked([dt.datetime(2024, 5, 1, tzinfo=dt.UTC)], tables.TIME))


@pytest.mark.parametrize(
    ("task", "column", "message"),
    [
        (
            Task.BINARY,
            chunked([0, 2]),
            "f:y: 1 rows have a label that is none of 0..1, such as 2 - store 0 and 1, or list both labels in "
            "data.classes, the positive one last",
        ),
        (
            Task.MULTICLASS,
            chunked([0, 3]),
            "f:y: 1 rows have a label that is none of 0..2, such as 3 - store codes 0..2, or found a loop "
            "with data.classes=4",
        ),
        (
            Task.MULTICLASS,
            chunked([-1, 1]),
            "f:y: 1 rows have a label that is none of 0..2, such as -1 - store codes 0..2",
        ),
        (
            Task.BINARY,
            chunked([0.0, 0.5]),
            "f:y: holds a fraction, not class codes - store whole numbers from 0",
        ),
        (
            Task.BINARY,
            chunked(["no", "yes"]),
            "f:y: is string, not a number - store 0 and 1, one for each class",
        ),
        (
            Task.MULTICLASS,
            chunked(["no", "yes"]),
            "f:y: is string, not a number - store codes 0..2, one for each class",
        ),
        (
            Task.REGRESSION,
            chunked([1.0, float("inf")]),
            "f:y: holds an infinite label - store finite numbers, null where unknown",
        ),
    ],
)
def test_a_wrong_label_is_refused(task: Task, column: pa.ChunkedArray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        tables.label_column(column, task, 3, "f:y")
    assert str(caught.value) == message


def test_labels_have_one_form() -> None:
    codes = tables.label_column(chunked([1.0, 0.0, float("nan")]), Task.BINARY, 2, "f:y")
    assert codes.equals(chunked([1, 0, None], pa.int64()))
    assert tables.label_column(chunked([True, False]), Task.BINARY, 2, "f:y").equals(chunked([1, 0]))
    assert tables.label_column(chunked([3, None]), Task.REGRESSION, 2, "f:y").equals(chunked([3.0, None]))


def test_fingerprint_is_of_the_content_alone(table: pa.Table) -> None:
    cut = pa.concat_tables([table.slice(0, 7), table.slice(7, 20), table.slice(27)])
    assert tables.fingerprint(cut) == tables.fingerprint(table)
    # The bytes beneath a null are no content.
    mask = np.array([False, True])
    one, other = (pa.table({"c": pa.array(np.array([1, hidden]), mask=mask)}) for hidden in (5, 6))
    assert tables.fingerprint(one) == tables.fingerprint(other)


def test_fingerprint_tells_every_difference(table: pa.Table) -> None:
    size = table["size"].to_numpy().copy()
    size[3] += 1e-12
    shop = table["shop"].to_pylist()
    shop[0] = "d"
    others = [
        table.slice(1),
        table.take(list(range(39, -1, -1))),
        table.rename_columns(["id2", *table.column_names[1:]]),
        table.set_column(table.column_names.index("size"), "size", pa.array(size)),
        table.set_column(table.column_names.index("shop"), "shop", pa.array(shop)),
        table.set_column(table.column_names.index("age"), "age", table["age"].fill_null(0)),
        table.set_column(table.column_names.index("age"), "age", table["age"].cast(pa.float64())),
        table.drop_columns(["group"]),
    ]
    prints = {tables.fingerprint(other) for other in [table, *others]}
    assert len(prints) == len(others) + 1


def test_split_by_time_never_cuts_equal_times() -> None:
    minutes = [5, 1, 3, 3, 3, 3, 2, 4]
    times = [dt.datetime(2024, 5, 1, 0, m, tzinfo=dt.UTC) for m in minutes]
    table = pa.table({"id": list(range(8)), "at": pa.array(times, tables.TIME)})
    for fraction in (0.05, 0.25, 0.5, 0.7, 0.9, 0.99):
        earlier, later = tables.split_by_time(table, "at", fraction)
        assert earlier.num_rows + later.num_rows == 8
        assert min(earlier.num_rows, later.num_rows) > 0
        assert max(earlier["at"].to_pylist()) < min(later["at"].to_pylist())
    earlier, _ = tables.split_by_time(table, "at", 0.25)
    assert earlier["id"].to_pylist() == [1, 6]


def test_split_by_time_takes_the_fraction_it_is_asked_for(table: pa.Table) -> None:
    earlier, later = tables.split_by_time(table, "at", 0.8)
    assert (earlier.num_rows, later.num_rows) == (32, 8)


def test_split_by_time_refuses_what_it_cannot_cut() -> None:
    table = pa.table({"at": pa.array([dt.datetime(2024, 5, 1)] * 3, tables.TIME)})
    with pytest.raises(DataError, match=r"^at: all 3 rows have one time - give rows their own time, or more rows$"):
        tables.split_by_time(table, "at", 0.5)
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
            tables.split_by_time(table, "at", fraction)


def test_concat_joins_whole_numbers_and_fractions() -> None:
    joined = tables.concat([pa.table({"a": [1, 2]}), pa.table({"a": [0.5]})])
    assert joined["a"].to_pylist() == [1.0, 2.0, 0.5]


def test_write_parquet_gives_equal_bytes_for_equal_tables(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "w.parquet"
    tables.write_parquet(table, path)
    first = path.read_bytes()
    assert pq.read_table(path).equals(table)
    tables.write_parquet(table, path)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["w.parquet"]


def test_write_parquet_says_where_it_may_not_write(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written: .+ - .+"):
        tables.write_parquet(table, tmp_path / "file" / "w.parquet")


def test_align_finds_the_rows_of_a_dataset(table: pa.Table, make_conf: Callable[..., DataConf]) -> None:
    dataset = Encoder.fit(table, make_conf()).transform(table, labelled=True)
    aligned = tables.align(table, "id", dataset.rows)
    assert aligned["id"].to_pylist() == dataset.rows.tolist()
    assert dataset.target is not None
    assert aligned["bought"].to_pylist() == dataset.target.tolist()
    with pytest.raises(DataError, match=r"^id: 1 of 2 ids are not in the window - use its own rows$"):
        tables.align(table, "id", np.array([3, 99]))


def test_clusters_are_periods_of_time_or_a_column(make_conf: Callable[..., DataConf]) -> None:
    times = [dt.datetime(2024, 5, day, hour, tzinfo=dt.UTC) for day, hour in [(1, 1), (1, 1), (1, 9), (2, 1), (8, 1)]]
    table = pa.table({"at": pa.array(times, tables.TIME), "shop": ["a", None, "a", "b", None]})
    expected = {
        "hour": [0, 0, 1, 2, 3],
        "day": [0, 0, 0, 1, 2],
        "week": [0, 0, 0, 0, 1],
        "shop": [0, 2, 0, 1, 2],
    }
    for cluster, codes in expected.items():
        found = tables.clusters(table, make_conf(cluster=cluster))
        assert found is not None
        assert found.tolist() == codes
    assert tables.clusters(table, make_conf()) is None


@pytest.mark.parametrize(("first", "ids"), [(2, [0, 1, 2, 3]), (1, [0, 1, 2, 3]), (7, [0, 1, 7, 8])])
def test_windows_are_joined_and_no_two_rows_share_an_id(first: int, ids: list[int]) -> None:
    """Weights of a bootstrap are keyed by row id: two rows of one id would go up and down together."""
    parts = [
        Window(
            name=name,
            index=index,
            table=pa.table({"id": np.arange(2) + begin, "x": [float(index)] * 2}),
            fingerprint=name,
            path=name,
            labelled=True,
        )
        for index, (name, begin) in enumerate((("a", 0), ("b", first)))
    ]
    joined = tables.join(parts, "id")
    assert (joined.name, joined.index, joined.n_rows) == ("b", 1, 4)
    assert joined.table["id"].to_pylist() == ids
    assert joined.table["x"].to_pylist() == [0.0, 0.0, 1.0, 1.0]
    assert joined.fingerprint not in ("a", "b", tables.join(parts[::-1], "id").fingerprint)
