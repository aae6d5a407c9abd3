from __future__ import annotations

import decimal
import uuid

import numpy as np
import pyarrow as pa
import pytest

from engine.data import ids
from engine.errors import DataError
from engine.records import fields


def chunked(values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


UUIDS = [uuid.UUID(int=n * 0x1234567890ABCDEF) for n in range(1, 5)]
AS_TEXT = [str(each) for each in UUIDS]


@pytest.mark.parametrize(
    "column",
    [
        chunked(AS_TEXT),
        chunked(AS_TEXT, pa.large_string()),
        chunked(AS_TEXT, pa.string_view()),
        chunked(AS_TEXT).dictionary_encode(),
        chunked([text.encode() for text in AS_TEXT], pa.binary()),
        chunked([each.bytes for each in UUIDS], pa.binary(16)),
        chunked([each.bytes for each in UUIDS], pa.uuid()),
        chunked(["x", *AS_TEXT]).slice(1),
        chunked([b"x" * 16, *(each.bytes for each in UUIDS)], pa.binary(16)).slice(1),
        pa.chunked_array([AS_TEXT[:1], [], AS_TEXT[1:]], pa.string()),
    ],
    ids=lambda column: str(column.type),
)
def test_texts_of_every_encoding_are_one_text_and_one_key(column: pa.ChunkedArray) -> None:
    made = ids.id_column(column, "f:id")
    assert made.to_pylist() == AS_TEXT
    assert ids.keys(made, "f:id").to_pylist() == ids.keys(chunked(AS_TEXT, ids.TEXT), "f:id").to_pylist()
    assert fields.were_text(ids.key_field("id", made))


@pytest.mark.parametrize(
    "column",
    [
        chunked([3, 1, 2], pa.int64()),
        chunked([3, 1, 2], pa.uint8()),
        chunked([decimal.Decimal(n) for n in (3, 1, 2)], pa.decimal128(38, 0)),
        chunked([decimal.Decimal(n) for n in (3, 1, 2)], pa.decimal128(20, 2)),
        chunked([3, 1, 2]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_whole_numbers_are_their_own_keys(column: pa.ChunkedArray) -> None:
    made = ids.id_column(column, "f:id")
    assert ids.keys(made, "f:id").equals(chunked([3, 1, 2], pa.int64()))
    assert ids.key_field("id", made).metadata is None  # a window of whole numbers is as it was


def test_bytes_of_another_size_are_hexadecimal() -> None:
    assert ids.id_column(chunked([b"\x00\xff\x1a"], pa.binary(3)), "f:id").to_pylist() == ["00ff1a"]


def test_keys_are_the_same_in_every_run() -> None:
    """They lie in fingerprints, and weights are drawn by them: no release may change them."""
    made = ids.row_keys(chunked(["C-10293", AS_TEXT[0]], ids.TEXT)).to_pylist()
    assert made == [C10293, FIRST]


C10293, FIRST = 2202204026172823959, 4291904345119179697


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (chunked(["a", None]), "1 rows have no id - give every row its own id"),
        (
            pa.chunked_array([pa.DictionaryArray.from_arrays([0, 1], ["a", None])]),
            "1 rows have no id - give every row its own id",
        ),
        (chunked(["a", ""]), "1 rows have an empty id - give every row its own id"),
        (
            chunked(["a", "b ", "\u00a0c"]),
            "2 ids have blanks around them, such as 'b ' - trim them: they would pair with no label",
        ),
        (chunked(["b", "a", "b"]), "id 'b' comes more than once - give every row its own id"),
        (chunked([2, 1, 2]), "id 2 comes more than once - give every row its own id"),
        (chunked([1.0]), "is double, neither whole numbers nor text - store an id of one of these kinds"),
        (chunked([b"\xff\xfe"]), "holds bytes that are no text - store ids as UTF-8 text, or as bytes of fixed size"),
        (
            chunked([decimal.Decimal("1.5")]),
            "holds a decimal that is no whole number of 64 bits - store ids as whole numbers or text",
        ),
    ],
)
def test_what_is_no_id_is_one_clear_line(column: pa.ChunkedArray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        ids.keys(ids.id_column(column, "f:id"), "f:id")
    assert str(caught.value) == f"f:id: {message}"


def test_two_ids_with_one_key_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "hashes", lambda data, offsets: np.arange(len(offsets) - 1, dtype=np.uint64) % 3)
    with pytest.raises(
        DataError, match=r"^f:id: ids 'a' and 'd' have one key of 64 bits - give one of them another id$"
    ):
        ids.keys(chunked(["a", "b", "c", "d"], ids.TEXT), "f:id")


def test_keys_of_many_ids_do_not_collide_and_fill_all_bits() -> None:
    found = ids.row_keys(chunked([f"C-{n}" for n in range(200_000)], ids.TEXT)).to_numpy()
    assert len(np.unique(found)) == len(found)
    bits = np.unpackbits(found.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.01  # nine standard errors


def test_places_are_those_of_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = chunked(["c", "x", "a"], ids.TEXT), chunked(["a", "b", "c"], ids.TEXT)
    assert ids.places(mine, theirs, "f:id").to_pylist() == [2, None, 0]
    assert ids.places(chunked([7, 5]), chunked([5, 6, 7]), "f:id").to_pylist() == [2, 0]
    assert ids.places(mine, chunked([], ids.TEXT), "f:id").null_count == 3
    with pytest.raises(DataError, match=r"^f:id: id 'a' comes more than once - "):
        ids.places(mine, chunked(["a", "a"], ids.TEXT), "f:id")
    monkeypatch.setattr(ids, "hashes", lambda data, offsets: np.diff(offsets).astype(np.uint64))
    line = r"^f:id: id 'b' has the key of 64 bits of 'a' - give one of them another id$"
    with pytest.raises(DataError, match=line):  # of rows in two files, which no check of one of them can find
        ids.places(chunked(["a"], ids.TEXT), chunked(["b"], ids.TEXT), "f:id")
