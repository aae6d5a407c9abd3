"""The JSON form of records: to plain values and back, one canonical text, one digest.

A NaN or an infinity becomes null (JSON has neither) and comes back as NaN: an undecidable number stays undecidable.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
AS_IT_IS = frozenset({str, int, bool, type(None)})


def to_plain(value: Any) -> Any:
    """A record as JSON values. Non-finite floats become null, enums their value, tuples lists."""
    kind = type(value)  # the plain kinds first: a ledger that is proved or replayed goes through here by the million
    if kind in AS_IT_IS:
        return value
    if kind is dict:
        return {str(k): to_plain(v) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, float):  # np.float64 is one, too
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "item"):  # a NumPy scalar
        return to_plain(value.item())
    raise TypeError(f"{type(value).__name__} has no JSON form")


def from_plain(cls: type[T], data: Mapping[str, Any]) -> T:
    """The record of type `cls` that `to_plain` wrote, also after JSON.

    A null where a number belongs comes back as NaN (as None where the field may be None). Keys that are absent take
    their default, and a TypeError is raised where there is none; unknown keys raise KeyError and unknown enum values
    ValueError: an old reader must not guess.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    unknown = set(data) - set(hints)
    if unknown:
        raise KeyError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}")
    return cls(**{name: _revive(hints[name], value) for name, value in data.items()})


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """The fields of a record class, once: a ledger of a year is thousands of records of a few classes."""
    return typing.get_type_hints(cls)


def canonical(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN. What ids and hash chains are made of."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(*parts: Any) -> str:
    """sha256, hexadecimal, of the canonical form of `parts`."""
    return hashlib.sha256(canonical(list(parts)).encode()).hexdigest()


def _revive(hint: Any, value: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _revive(next(a for a in args if a is not type(None)), value)
    if hint is float:
        return math.nan if value is None else float(value)
    if origin is tuple:
        return tuple(_revive(args[0], v) for v in value)
    if origin is dict:
        return {k: _revive(args[1], v) for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    return value
