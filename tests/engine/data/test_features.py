from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.preprocessing import StandardScaler

from engine.data.conf import DataConf
from engine.data.features import Encoder
from engine.data.ids import id_column, row_keys
from engine.data.tables import concat
from engine.errors import ArtifactError, DataError
from engine.records import Task
from engine.records.fields import named as names_of

Conf = Callable[..., DataConf]
WORDS = names_of(["kept", "bought"])


def put(table: pa.Table, column: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def test_numbers_are_standardised_as_scikit_learn_does(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf())
    got = encoder.transform(table, labelled=True).numeric
    known = table.filter(table["bought"].is_valid())
    raw = np.stack([known["size"].to_numpy(), known["age"].to_numpy()], axis=1)
    expected = np.nan_to_num(StandardScaler().fit_transform(raw), nan=0.0)
    np.testing.assert_allclose(got[:, :2], expected, rtol=0, atol=1e-6)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous


def test_only_columns_with_gaps_in_training_get_an_indicator(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf())
    assert encoder.spec.numeric == ("size", "age", "age:missing")
    got = encoder.transform(table, labelled=False).numeric
    np.testing.assert_array_equal(got[:, 2], np.isnan(table["age"].to_numpy()))
    assert (got[got[:, 2] == 1, 1] == 0).all()
    # A gap that training never had becomes the mean, and no new column.
    gap = put(table, "size", [None] * 20 + [5.0] * 20)
    later = encoder.transform(gap, labelled=False).numeric
    assert later.shape == got.shape
    assert (later[:20, 0] == 0).all()


def test_fitting_sees_labelled_training_rows_only(table: pa.Table, make_conf: Conf) -> None:
    unlabelled = ~table["bought"].is_valid().to_numpy()
    size = table["size"].to_numpy().copy()
    size[unlabelled] = 1e9
    assert Encoder.fit(put(table, "size", size), make_conf()) == Encoder.fit(table, make_conf())


def test_categories_are_coded_by_frequency(table: pa.Table, make_conf: Conf) -> None:
    shops = ["b"] * 20 + ["c"] * 10 + ["a"] * 10
    train = put(put(table, "shop", shops), "bought", [0, 1] * 20)
    encoder = Encoder.fit(train, make_conf())
    assert encoder.vocabularies[0] == ("b", "a", "c")  # of equal frequency: in order of their names
    assert encoder.spec.cardinalities == (4, 3)
    live = put(train, "shop", ["a", "b", "c", None, "new"] * 8)
    codes = encoder.transform(live, labelled=False).categorical
    assert codes[:5, 0].tolist() == [2, 1, 3, 0, 0]
    assert codes.dtype == np.int64


def test_rare_categories_share_the_code_of_unknown_ones(table: pa.Table, make_conf: Conf) -> None:
    train = put(put(table, "shop", ["b"] * 35 + ["c"] * 5), "bought", [0, 1] * 20)
    assert Encoder.fit(train, make_conf(min_category_rows=6)).vocabularies[0] == ("b",)
    assert Encoder.fit(train, make_conf(min_category_rows=5)).vocabularies[0] == ("b", "c")


def test_extreme_and_constant_values_stay_bounded(table: pa.Table, make_conf: Conf) -> None:
    constant = put(table, "size", [0.1 + 0.2] * 40)
    encoder = Encoder.fit(constant, make_conf())
    assert encoder.scales[0] == 1.0
    assert abs(encoder.transform(constant, labelled=False).numeric[:, 0]).max() < 1e-6
    encoder = Encoder.fit(put(table, "size", [np.inf, -np.inf, *np.arange(38.0)]), make_conf())
    wild = put(table, "size", [np.inf, -np.inf, 1e300, -1e300] * 10)
    got = encoder.transform(wild, labelled=False).numeric
    assert got[:4, 0].tolist() == [8.0, -8.0, 8.0, -8.0]
    encoder = Encoder.fit(put(table, "size", pa.nulls(40, pa.float64())), make_conf())
    assert np.isfinite(encoder.transform(table, labelled=False).numeric).all()


def test_rows_without_a_label_are_left_out_only_where_labels_count(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf())
    known = encoder.transform(table, labelled=True)
    assert known.rows.tolist() == [i for i in range(40) if i % 10 != 9]
    assert known.target is not None
    assert known.target.dtype == np.float32
    assert len(known) == len(known.target) == len(known.numeric) == len(known.categorical) == 36
    everyone = encoder.transform(table, labelled=False)
    assert len(everyone) == 40
    assert everyone.target is None
    # Serving rows have no label column at all.
    assert len(encoder.transform(table.drop_columns(["bought"]), labelled=False)) == 40


def test_multiclass_targets_are_codes(table: pa.Table, make_conf: Conf) -> None:
    train = put(table, "bought", [0, 1, 2, 3] * 10)
    encoder = Encoder.fit(train, make_conf(task="multiclass", classes=5))
    target = encoder.transform(train, labelled=True).target
    assert target is not None
    assert target.dtype == np.int64
    assert target.tolist() == [0, 1, 2, 3] * 10
    assert encoder.spec.n_outputs == 5


def test_a_regression_target_keeps_its_unit(table: pa.Table, make_conf: Conf) -> None:
    train = put(table, "bought", np.arange(40.0))
    encoder = Encoder.fit(train, make_conf(task="regression"))
    dataset = encoder.transform(train, labelled=True)
    assert dataset.target is not None
    assert dataset.target.tolist() == list(range(40))
    assert encoder.spec.target_mean == np.arange(40.0).mean()
    assert encoder.spec.target_scale == np.arange(40.0).std()
    assert (encoder.spec.n_outputs, encoder.spec.task) == (1, Task.REGRESSION)


def test_no_feature_of_one_kind_is_an_empty_array(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf(categorical=[], slices=[]))
    assert encoder.transform(table, labelled=False).categorical.shape == (40, 0)
    encoder = Encoder.fit(table, make_conf(numeric=[]))
    assert encoder.transform(table, labelled=False).numeric.shape == (40, 0)


def test_json_gives_the_equal_encoder_back(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(put(table, "bought", np.arange(40) / 3), make_conf(task="regression"))
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))
    assert again == encoder
    for labelled in (False, True):
        one, two = encoder.transform(table, labelled=labelled), again.transform(table, labelled=labelled)
        assert one.numeric.tobytes() == two.numeric.tobytes()
        assert one.categorical.tobytes() == two.categorical.tobytes()


@pytest.mark.parametrize("change", [{"format": 2}, {"means": None}, {"surprise": 1}])
def test_an_altered_encoder_is_refused(table: pa.Table, make_conf: Conf, change: dict[str, Any]) -> None:
    data = Encoder.fit(table, make_conf()).to_dict() | change
    if change.get("means", 0) is None:
        del data["means"]
    with pytest.raises(ArtifactError, match=r"^encoder: is not of format 1 - load the model with the version that"):
        Encoder.from_dict(data)


def test_labels_of_one_class_are_refused(table: pa.Table, make_conf: Conf) -> None:
    with pytest.raises(DataError) as caught:
        Encoder.fit(put(table, "bought", [0] * 39 + [None]), make_conf())
    cure = "train on more windows, or check the label"
    assert str(caught.value) == f"bought: all 39 training rows have the label 0 - {cure}"


def test_rows_without_any_label_are_refused(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf())
    nothing = put(table, "bought", pa.nulls(40, pa.int64()))
    for refused in (
        lambda: Encoder.fit(nothing, make_conf()),
        lambda: encoder.transform(nothing, labelled=True),
    ):
        with pytest.raises(DataError, match=r"^bought: no row has a label - wait for the labels of this window$"):
            refused()
    with pytest.raises(DataError, match=r"^bought: the training rows have no label column - train on labelled"):
        Encoder.fit(table.drop_columns(["bought"]), make_conf())


def test_a_missing_column_is_named(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf())
    with pytest.raises(DataError, match=r"^floor: the rows lack this column - read them with the model's data config$"):
        encoder.transform(table.drop_columns(["floor"]), labelled=False)


def test_the_model_keeps_the_names_of_classes(table: pa.Table, make_conf: Conf) -> None:
    named = table.set_column(
        table.column_names.index("bought"), pa.field("bought", pa.int64(), metadata=WORDS), table["bought"]
    )
    encoder = Encoder.fit(named, make_conf(positive="bought"))
    assert encoder.words == ("kept", "bought")
    assert Encoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    plain = Encoder.fit(table, make_conf())
    ours, before = encoder.transform(named, labelled=True), plain.transform(table, labelled=True)
    assert np.array_equal(np.asarray(ours.target), np.asarray(before.target))
    with pytest.raises(DataError) as caught:
        encoder.transform(table, labelled=True)
    assert str(caught.value) == (
        "bought: the model knows the classes kept, bought, and the labels are codes without names - set "
        "data.classes=[kept,bought], or train a model on these labels in a new loop"
    )
    with pytest.raises(DataError, match=r"knows the classes codes without names, and the labels are kept, bought - "):
        plain.transform(named, labelled=True)
    alike = named.filter(pc.equal(named["bought"], 1))
    with pytest.raises(DataError, match=r"^bought: all \d+ training rows have the label bought - "):
        Encoder.fit(alike, make_conf(positive="bought"))


def test_an_encoder_without_names_is_written_as_before_there_were_names(table: pa.Table, make_conf: Conf) -> None:
    """Its bytes are part of a model's id."""
    written = Encoder.fit(table, make_conf()).to_dict()
    assert "words" not in written
    assert Encoder.from_dict(written).words == ()


def test_windows_of_words_and_of_codes_are_not_joined(table: pa.Table) -> None:
    named = table.set_column(
        table.column_names.index("bought"), pa.field("bought", pa.int64(), metadata=WORDS), table["bought"]
    )
    assert concat([named, named]).schema.field("bought").metadata == WORDS
    with pytest.raises(DataError, match=r"^bought: its labels are words in one window and codes in another"):
        concat([named, table])


def test_requests_may_have_ids_of_text(table: pa.Table, make_conf: Conf) -> None:
    encoder = Encoder.fit(table, make_conf())
    own = [f"C-{i}" for i in range(table.num_rows)]
    rows = encoder.transform(put(table, "id", own), labelled=False)
    assert rows.rows.dtype == np.int64
    assert rows.rows.tolist() == row_keys(id_column(pa.chunked_array([own]), "id")).to_pylist()
    assert np.array_equal(rows.numeric, encoder.transform(table, labelled=False).numeric)
    again = encoder.transform(put(table, "id", pa.array(["C-1"] * table.num_rows)), labelled=False)
    assert len(set(again.rows.tolist())) == 1  # a client may ask twice of one row
    with pytest.raises(DataError, match=r"^id: 1 rows have no id - give every row its own id$"):
        encoder.transform(put(table, "id", pa.array([None, *["C-1"] * (table.num_rows - 1)])), labelled=False)
