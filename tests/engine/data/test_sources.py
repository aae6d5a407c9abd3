from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.data.conf import DataConf
from engine.data.sources import ParquetSource
from engine.data.tables import label_digest, write_parquet
from engine.errors import ClassError, DataError, InputError
from engine.records import Window
from engine.records.fields import classes_of, were_text

Conf = Callable[..., DataConf]


def replace(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Rewrite a Parquet file."""
    pq.write_table(change(pq.read_table(path)), path)


def swap(column: str, values: object) -> Callable[[pa.Table], pa.Table]:
    """A change that replaces one column."""
    return lambda t: t.set_column(t.column_names.index(column), column, pa.array(values))


def test_windows_come_in_order_of_their_names(folder: Path, make_conf: Conf) -> None:
    for clutter in ("_SUCCESS.parquet", ".w0.parquet.part", ".hidden.parquet", "notes.txt"):
        (folder / "windows" / clutter).write_text("")
    (folder / "windows" / "w0.parquet").mkdir()
    source = ParquetSource(make_conf())
    assert source.names() == ["w1", "w2"]
    assert [source.read(name, labelled=False).index for name in source.names()] == [0, 1]


def test_a_window_holds_the_declared_columns_only(folder: Path, make_conf: Conf) -> None:
    window = ParquetSource(make_conf()).read("w1", labelled=False)
    assert isinstance(window, Window)
    assert window.table.column_names == ["id", "at", "size", "age", "shop", "floor", "group"]
    assert window.table.schema.field("floor").type == pa.string()
    assert (window.n_rows, window.labelled) == (40, False)
    assert window.path == str(folder / "windows" / "w1.parquet")


def test_a_cluster_that_is_no_feature_is_read_too(folder: Path, make_conf: Conf) -> None:
    window = ParquetSource(make_conf(slices=[], cluster="group")).read("w1", labelled=False)
    assert window.table.column_names == ["id", "at", "size", "age", "shop", "floor", "group"]
    with pytest.raises(DataError, match=r"w1\.parquet:team: there is no such column - .*change data\.cluster$"):
        ParquetSource(make_conf(cluster="team")).read("w1", labelled=False)


def test_labels_join_by_id_and_rows_without_one_stay(folder: Path, make_conf: Conf) -> None:
    window = ParquetSource(make_conf()).read("w1", labelled=True)
    labels = pq.read_table(folder / "labels" / "w1.parquet")
    truth = dict(zip(labels["id"].to_pylist(), labels["bought"].to_pylist(), strict=True))
    assert window.n_rows == 40
    assert window.labelled
    assert window.table["bought"].to_pylist() == [truth.get(i) for i in window.table["id"].to_pylist()]
    assert window.table["bought"].null_count == 4


def test_labels_that_were_not_asked_for_are_not_touched(folder: Path, make_conf: Conf) -> None:
    for path in (folder / "labels").iterdir():
        path.unlink()
    assert "bought" not in ParquetSource(make_conf()).read("w1", labelled=False).table.column_names


def test_labels_may_be_a_column_of_the_window(folder: Path, make_conf: Conf, table: pa.Table) -> None:
    pq.write_table(table, folder / "windows" / "w1.parquet")
    source = ParquetSource(make_conf(labels=None))
    assert source.read("w1", labelled=True).table["bought"].equals(table["bought"])
    assert "bought" not in source.read("w1", labelled=False).table.column_names


def test_the_fingerprint_follows_content_not_encoding(folder: Path, make_conf: Conf) -> None:
    source = ParquetSource(make_conf())
    before = source.read("w1", labelled=True).fingerprint
    path = folder / "windows" / "w1.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=7, compression="none", use_dictionary=False)
    assert source.read("w1", labelled=True).fingerprint == before
    assert source.read("w1", labelled=False).fingerprint != before
    replace(path, swap("size", np.zeros(40)))
    assert source.read("w1", labelled=True).fingerprint != before


def test_a_uri_reads_like_a_folder(folder: Path, make_conf: Conf) -> None:
    local = ParquetSource(make_conf())
    uri = ParquetSource(make_conf(path=(folder / "windows").as_uri(), labels=(folder / "labels").as_uri()))
    assert uri.names() == local.names()
    assert uri.read("w2", labelled=True).fingerprint == local.read("w2", labelled=True).fingerprint


def test_an_empty_folder_names_itself_and_the_cure(tmp_path: Path, make_conf: Conf) -> None:
    windows = tmp_path / "windows"
    with pytest.raises(DataError) as caught:
        ParquetSource(make_conf(prepare="python prepare.py")).names()
    assert str(caught.value) == f"{windows}: no windows (*.parquet) there - run `python prepare.py`"
    windows.mkdir()
    with pytest.raises(DataError, match=r"no windows \(\*\.parquet\) there - set data\.path, or put windows there"):
        ParquetSource(make_conf()).names()
    (windows / "w1.csv").write_text("id,at\n")
    (windows / "notes.txt").write_text("no table")
    with pytest.raises(DataError, match=r"there - the 1 other tables there must be Parquet: pyarrow\.parquet"):
        ParquetSource(make_conf()).names()


def test_labels_that_lie_elsewhere_are_asked_for(folder: Path, make_conf: Conf) -> None:
    """Whoever keeps labels in files of their own, and has not said so, is told how."""
    source = ParquetSource(make_conf(labels=None))
    line = r"bought: there is no such column - add the column, or change data\.label, or name the folder of label "
    with pytest.raises(DataError, match=line + r"files in data\.labels$"):
        source.read("w1", labelled=True)


def test_a_uri_that_cannot_be_opened_is_named(make_conf: Conf) -> None:
    with pytest.raises(DataError, match=r"^nowhere://x: cannot be opened .+ - use a folder or a URI such as s3://$"):
        ParquetSource(make_conf(path="nowhere://x")).names()


WINDOW_FAULTS = {
    "no such column": (
        lambda t: t.drop_columns(["age"]),
        "w1.parquet:age: there is no such column - add the column, or change data.numeric",
    ),
    "misspelt column": (
        lambda t: t.rename_columns({"group": "groups"}),
        "w1.parquet:group: there is no such column - did you mean 'groups'? Add the column, or change data.slices",
    ),
    "two columns of one name": (
        lambda t: t.append_column("age", t["age"]),
        "w1.parquet:age: two columns have this name - rename one",
    ),
    "text for a number": (
        swap("size", ["big"] * 40),
        "w1.parquet:size: is string, not a number - store numbers, or move it to data.categorical",
    ),
    "a day for a number": (
        swap("size", [dt.date(2026, 1, 1)] * 40),
        "w1.parquet:size: is date32[day], not a number - store a number made of it, such as days before data.time, "
        "or a category such as the weekday",
    ),
    "fractions for a category": (
        swap("shop", np.zeros(40)),
        "w1.parquet:shop: is double, not a category - store strings or whole numbers, or move it to data.numeric",
    ),
    "a number for a time": (
        swap("at", np.arange(40)),
        "w1.parquet:at: is int64, not a time - store timestamps or dates",
    ),
    "a row without a time": (
        lambda t: t.set_column(1, "at", pc.if_else(pc.equal(t["id"], 3), None, t["at"])),
        "w1.parquet:at: 1 rows have no time - give every row its time",
    ),
    "fractions for an id": (
        swap("id", np.arange(40) / 2),
        "w1.parquet:id: is double, neither whole numbers nor text - store an id of one of these kinds",
    ),
    "a text twice": (
        swap("id", ["C-7", *(f"C-{i}" for i in range(39))]),
        "w1.parquet:id: id 'C-7' comes more than once - give every row its own id",
    ),
    "a row without an id": (
        swap("id", [None, *range(39)]),
        "w1.parquet:id: 1 rows have no id - give every row its own id",
    ),
    "an id twice": (
        swap("id", [7, *range(39)]),
        "w1.parquet:id: id 7 comes more than once - give every row its own id",
    ),
    "an id beyond int64": (
        swap("id", np.arange(40, dtype=np.uint64) + np.uint64(2**63)),
        "w1.parquet:id: holds a value that does not fit int64 - store it as int64",
    ),
    "no row": (
        lambda t: t.slice(0, 0),
        "w1.parquet: is empty - a window needs at least 2 rows: widen its interval, or remove it",
    ),
    "one row": (
        lambda t: t.slice(0, 1),
        "w1.parquet: has one row - a window needs at least 2 rows: widen its interval, or remove it",
    ),
}


@pytest.mark.parametrize("fault", WINDOW_FAULTS)
def test_a_broken_window_is_one_clear_line(folder: Path, make_conf: Conf, fault: str) -> None:
    change, message = WINDOW_FAULTS[fault]
    replace(folder / "windows" / "w1.parquet", change)
    with pytest.raises(DataError) as caught:
        ParquetSource(make_conf()).read("w1", labelled=False)
    assert str(caught.value) == f"{folder}/windows/{message}"


LABEL_FAULTS = {
    "wrong label": (
        swap("bought", np.full(36, 4)),
        "w1.parquet:bought: 36 rows have a label that is none of 0..1, such as 4 - store 0 and 1, or "
        "list both labels in data.classes, the positive one last",
    ),
    "no label": (
        swap("bought", pa.nulls(36, pa.int64())),
        "w1.parquet:bought: no row has a label - wait for the labels, or raise data.label_lag",
    ),
    "an id twice": (
        swap("id", [5, *range(5, 40)]),
        "w1.parquet:id: id 5 comes more than once - give every row its own id",
    ),
    "labels of other rows": (
        swap("id", np.arange(900, 936)),
        "w1.parquet:id: no id is in window w1 - make data.labels the labels of data.path",
    ),
    "ids of another kind": (
        lambda t: t.set_column(0, "id", t["id"].cast(pa.string())),
        "w1.parquet:id: ids are text here, and whole numbers in window w1 - store both as one type",
    ),
    "words where nobody said which is positive": (
        swap("bought", ["kept", "bought"] * 18),
        "data.positive: the labels are 'bought' and 'kept', and which one is the positive class is not said - set "
        "data.positive=bought or =kept",
    ),
    "no such column": (
        lambda t: t.rename_columns({"bought": "sold"}),
        "w1.parquet:bought: there is no such column - add the column, or change data.label",
    ),
}


@pytest.mark.parametrize("fault", LABEL_FAULTS)
def test_broken_labels_are_one_clear_line(folder: Path, make_conf: Conf, fault: str) -> None:
    change, message = LABEL_FAULTS[fault]
    replace(folder / "labels" / "w1.parquet", change)
    with pytest.raises(InputError) as caught:
        ParquetSource(make_conf()).read("w1", labelled=True)
    assert str(caught.value) == (message if message.startswith("data.") else f"{folder}/labels/{message}")


def as_text(table: pa.Table) -> pa.Table:
    """The same rows under ids that are texts."""
    return table.set_column(0, "id", pa.array([f"C-{i}" for i in table["id"].to_pylist()]))


def in_words(table: pa.Table) -> pa.Table:
    """The same labels as words, dictionary-encoded as many writers do."""
    at = table.column_names.index("bought")
    words = pa.array([None if y is None else ["kept", "bought"][y] for y in table["bought"].to_pylist()])
    return table.set_column(at, "bought", words.dictionary_encode())


def test_ids_of_text_pair_the_same_rows(folder: Path, make_conf: Conf) -> None:
    before = ParquetSource(make_conf()).read("w1", labelled=True)
    for place in ("windows", "labels"):
        replace(folder / place / "w1.parquet", as_text)
    source = ParquetSource(make_conf())
    after = source.read("w1", labelled=True)
    assert after.table.drop_columns(["id"]).equals(before.table.drop_columns(["id"]))
    assert after.table["id"].type == pa.int64()
    assert were_text(after.table.schema.field("id"))
    assert not were_text(before.table.schema.field("id"))
    assert after.fingerprint != before.fingerprint
    labels = source.labels("w1")
    assert label_digest(labels, "id", "bought") == label_digest(after.table, "id", "bought")


def test_labels_of_words_are_codes_with_names(folder: Path, make_conf: Conf) -> None:
    before = ParquetSource(make_conf()).read("w1", labelled=True)
    for name in ("w1", "w2"):
        replace(folder / "labels" / f"{name}.parquet", in_words)
    for change in ({"positive": "bought"}, {"classes": ["kept", "bought"]}):
        source = ParquetSource(make_conf(**change))
        after = source.read("w1", labelled=True)
        assert after.table.equals(before.table)
        assert classes_of(after.table.schema.field("bought")) == ("kept", "bought") == source.learnt
        assert classes_of(source.labels("w1").schema.field("bought")) == ("kept", "bought")
    turned = ParquetSource(make_conf(positive="kept")).read("w1", labelled=True)
    assert turned.table["bought"].equals(pc.subtract(1, before.table["bought"]))
    assert len({before.fingerprint, after.fingerprint, turned.fingerprint}) == 3
    assert classes_of(before.table.schema.field("bought")) == ()


def test_a_class_is_known_if_any_founding_window_has_it(folder: Path, make_conf: Conf) -> None:
    path = folder / "labels" / "w1.parquet"
    replace(path, in_words)
    replace(folder / "labels" / "w2.parquet", swap("bought", ["gone", *(["kept"] * 35)]))
    conf = make_conf(task="multiclass")
    found = ParquetSource(conf, founding=2).read("w2", labelled=True).table["bought"].to_pylist()
    assert (found.count(1), found.count(2)) == (1, 35)  # bought, gone, kept
    with pytest.raises(ClassError, match=r"w2\.parquet:bought: 1 rows have the label 'gone', none of the classes"):
        ParquetSource(conf, founding=1).read("w2", labelled=True)


def test_whole_numbers_that_are_no_codes_are_listed(folder: Path, make_conf: Conf) -> None:
    replace(folder / "labels" / "w1.parquet", swap("bought", [10, 20, 30] * 12))
    with pytest.raises(
        DataError, match=r"36 rows .* such as 30 - store codes 0\.\.1, or found a loop with data\.classes=31$"
    ):
        ParquetSource(make_conf(task="multiclass")).read("w1", labelled=True)
    window = ParquetSource(make_conf(task="multiclass", classes=[10, 20, 30])).read("w1", labelled=True)
    assert set(window.table["bought"].drop_null().to_pylist()) == {0, 1, 2}
    assert classes_of(window.table.schema.field("bought")) == ("10", "20", "30")


def test_labels_that_are_not_there_are_named(folder: Path, make_conf: Conf) -> None:
    (folder / "labels" / "w2.parquet").unlink()
    with pytest.raises(DataError) as caught:
        ParquetSource(make_conf()).read("w2", labelled=True)
    cure = "write it, or set data.labels / data.path"
    assert str(caught.value) == f"{folder}/labels/w2.parquet: there is no such file - {cure}"


def test_an_unknown_window_names_a_near_one(folder: Path, make_conf: Conf) -> None:
    with pytest.raises(DataError, match=r"windows: there is no window 'w22' - did you mean 'w2'\?$"):
        ParquetSource(make_conf()).read("w22", labelled=False)


@pytest.mark.parametrize("keep", [0, 3, 500, -5])
def test_a_file_cut_short_is_named(folder: Path, make_conf: Conf, keep: int) -> None:
    path = folder / "windows" / "w1.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"w1\.parquet: is not a whole Parquet file \(.+\) - write it again$"):
        ParquetSource(make_conf()).read("w1", labelled=False)


def test_a_damaged_page_is_named(folder: Path, make_conf: Conf) -> None:
    path = folder / "windows" / "w1.parquet"
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)  # the header of the first page; the footer stays whole
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"w1\.parquet: is not a whole Parquet file \(.+\) - write it again$"):
        ParquetSource(make_conf()).read("w1", labelled=False)


@pytest.mark.parametrize("column", range(7))
def test_a_flipped_bit_in_a_file_of_ours_is_found(folder: Path, make_conf: Conf, column: int) -> None:
    path = folder / "windows" / "w1.parquet"
    write_parquet(pq.read_table(path), path)
    chunk = pq.read_metadata(path).row_group(0).column(column)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[start + chunk.total_compressed_size - 1] ^= 0x10  # the last byte of its last page
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"w1\.parquet: is not a whole Parquet file \(.+\) - write it again$"):
        ParquetSource(make_conf()).read("w1", labelled=False)


def test_a_file_that_may_not_be_read_is_named(folder: Path, make_conf: Conf, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(stream: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")  # what a user who is not root gets

    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(DataError, match=r"w1\.parquet: may not be read - give this user the right to read it$"):
        ParquetSource(make_conf()).read("w1", labelled=False)


def test_importing_data_starts_nothing_heavy() -> None:
    heavy = ("torch", "ray", "lightning", "pandas")
    code = f"import sys, engine.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
