"""Row ids of any kind, and the one kind that pairs rows: int64 keys.

A whole number is its own key. A text (a UUID, "C-10293") is known by 64 bits of its XXH64 from the reading of a window
on; messages say the text itself. Two texts of one window with one key are found and refused: of n rows that happens
with probability n^2 / 2^65, which is 3e-8 for a million rows and 3 % for 10^9.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.xxh64 import hashes
from engine.errors import DataError
from engine.records import fields

TEXT = pa.large_string()  # offsets of 64 bits: a column may hold more than 2 GB
UUID_BYTES = 16
CURE = "give every row its own id"


def id_column(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Ids in their canonical form, int64 or text: what two tables of the same rows are paired by, exactly.

    Integers and decimals without fractions are int64. Strings of every encoding are text as they are; 16 bytes are a
    UUID in its usual form, other bytes of fixed size are hexadecimal. DataError where a row has no id, an empty one, or
    one with blanks around it, which would pair with nothing; and for what is no id.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.cast(kind.storage_type), kind.storage_type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if column.null_count:
        raise DataError(where, f"{column.null_count} rows have no id", CURE)
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0):
        return _cast(column, pa.int64(), where)
    if pa.types.is_decimal(kind):
        cure = "store ids as whole numbers or text"
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            raise DataError(where, "holds a decimal that is no whole number of 64 bits", cure) from None
    if pa.types.is_fixed_size_binary(kind):
        return pa.chunked_array([_spelled(chunk) for chunk in column.chunks], TEXT)
    if not is_text(kind):
        raise DataError(where, f"is {kind}, neither whole numbers nor text", "store an id of one of these kinds")
    return _checked(_cast(column, TEXT, where), where)


def is_text(kind: pa.DataType) -> bool:
    """Strings of any layout; bytes too, which some writers mean strings by."""
    words = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    raw = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(is_(kind) for is_ in words + raw)


def keys(ids: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Unique int64 keys of canonical ids; DataError where an id comes twice, or two ids have one key."""
    found = row_keys(ids)
    twice = first_duplicate(found)
    if twice is None:
        return found
    if ids.type != TEXT:
        raise DataError(where, f"id {twice} comes more than once", CURE)
    texts = ids.filter(pc.equal(found, twice)).unique().to_pylist()
    if len(texts) == 1:
        raise DataError(where, f"id {texts[0]!r} comes more than once", CURE)
    raise DataError(where, f"ids {texts[0]!r} and {texts[1]!r} have one key of 64 bits", "give one of them another id")


def row_keys(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """int64 keys of canonical ids, whether or not they are unique."""
    if ids.type != TEXT:
        return ids
    return pa.chunked_array([pa.array(_hashed(chunk).view(np.int64)) for chunk in ids.chunks], pa.int64())


def key_field(name: str, ids: pa.ChunkedArray) -> pa.Field:
    """The field of the keys of these ids, which says what they were."""
    return pa.field(name, pa.int64(), metadata=fields.TEXT_IDS if ids.type == TEXT else None)


def check_kind(text: bool, of_window: bool, where: str, window: str) -> None:
    """DataError where ids that are to pair with those of a window are texts and those are not, or the other way."""
    if text != of_window:
        here, there = ("text" if kind else "whole numbers" for kind in (text, of_window))
        raise DataError(where, f"ids are {here} here, and {there} in window {window}", "store both as one type")


def first_duplicate(ids: pa.ChunkedArray) -> int | None:
    """The smallest id that comes more than once, None where all differ."""
    values = np.sort(ids.to_numpy())
    twice = values[1:][values[1:] == values[:-1]]
    return int(twice[0]) if len(twice) else None


def places(own: pa.ChunkedArray, others: pa.ChunkedArray, where: str) -> pa.Array:
    """Where each of N canonical ids stands among `others`, int32 (N,), null where it does not.

    By their keys; the texts behind equal keys are compared, so that no row is taken for another. DataError where they
    differ, or where an id comes twice in `others`, whose place `where` names.
    """
    at = pc.index_in(row_keys(own), value_set=keys(others, where).combine_chunks()).combine_chunks()
    if own.type == TEXT:
        mine, theirs = own.filter(at.is_valid()), others.take(at.drop_null())
        if not mine.equals(theirs):
            one, two = (column.filter(pc.not_equal(mine, theirs))[0].as_py() for column in (mine, theirs))
            raise DataError(where, f"id {two!r} has the key of 64 bits of {one!r}", "give one of them another id")
    return at


def _hashed(chunk: pa.Array) -> np.ndarray:
    return hashes(*_bytes(chunk)) if len(chunk) else np.empty(0, dtype=np.uint64)


def _bytes(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all texts, uint8, and where each begins and the last one ends, int64 (N + 1,)."""
    _, offsets, data = chunk.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64, count=len(chunk) + 1, offset=8 * chunk.offset)
    return np.frombuffer(data or b"", dtype=np.uint8), ends


def _checked(texts: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    empty, odd = 0, []
    for chunk in texts.chunks:
        if len(chunk):
            data, ends = _bytes(chunk)
            starts, ends = ends[:-1], ends[1:]
            empty += int((starts == ends).sum())
            if not empty:  # what begins and ends in printable ASCII has no blanks around it: no text need be looked at
                edges = np.stack([data[starts], data[ends - 1]])
                odd.append(chunk.filter(pa.array(((edges <= 32) | (edges >= 127)).any(axis=0))))
    if empty:
        raise DataError(where, f"{empty} rows have an empty id", CURE)
    strange = pa.chunked_array(odd, TEXT)
    bad = strange.filter(pc.not_equal(pc.utf8_trim_whitespace(strange), strange))
    if len(bad):
        what = f"{len(bad)} ids have blanks around them, such as {bad[0].as_py()!r}"
        raise DataError(where, what, "trim them: they would pair with no label")
    return texts


def _spelled(chunk: pa.Array) -> pa.Array:
    """Bytes of fixed size as hexadecimal text; 16 of them with the dashes of a UUID (RFC 9562)."""
    width, n = chunk.type.byte_width, len(chunk)
    raw = np.frombuffer(chunk.buffers()[1] or b"", dtype=np.uint8, count=n * width, offset=chunk.offset * width)
    raw = raw.reshape(n, width)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    dashes = [8, 13, 18, 23] if width == UUID_BYTES else []
    text = np.full((n, 2 * width + len(dashes)), ord("-"), dtype=np.uint8)
    places = [at for at in range(text.shape[1]) if at not in dashes]
    for byte, (high, low) in enumerate(zip(places[::2], places[1::2], strict=True)):
        text[:, high], text[:, low] = digits[raw[:, byte] >> 4], digits[raw[:, byte] & 15]
    offsets = np.arange(n + 1, dtype=np.int64) * text.shape[1]
    return pa.Array.from_buffers(TEXT, n, [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _cast(column: pa.ChunkedArray, kind: pa.DataType, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        what, cure = f"holds a value that does not fit {kind}", f"store it as {kind}"
        if kind == TEXT:
            what, cure = "holds bytes that are no text", "store ids as UTF-8 text, or as bytes of fixed size"
        raise DataError(where, what, cure) from None
