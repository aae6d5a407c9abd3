"""What the fields of a window say that no type says: that ids were texts, and the names of a label's codes.

It is metadata of the Arrow field, which stays with a table that is filtered, cut or joined.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_KIND, _CLASSES = b"kind", b"classes"
TEXT_IDS = {_KIND: b"text"}  # of keys that stand for texts


def named(classes: Sequence[str]) -> dict[bytes, bytes]:
    """Metadata of a label whose codes 0, 1, ... are these classes."""
    return {_CLASSES: json.dumps(list(classes)).encode()}


def were_text(field: pa.Field) -> bool:
    """Do the keys of this field stand for ids that are texts."""
    return (field.metadata or {}).get(_KIND) == TEXT_IDS[_KIND]


def classes_of(field: pa.Field) -> tuple[str, ...]:
    """The classes of a label in the order of their codes; empty where its codes have no names."""
    return tuple(json.loads((field.metadata or {}).get(_CLASSES, b"[]")))


def word(field: pa.Field, label: object) -> object:
    """The name of a code, or the label itself where it has none."""
    classes = classes_of(field)
    return classes[label] if classes and isinstance(label, int) else label


def said(classes: Sequence[str]) -> str:
    """Which codes the classes of a label have, for people: of two, which one is the positive class."""
    if len(classes) == 2:
        return f"{classes[1]} is the positive class, {classes[0]} the other"
    return f"the {len(classes)} classes are {', '.join(classes)}"


def quoted(word: str) -> str:
    """A class as an override takes it: `churned`, but `'on time'`."""
    return word if word.replace("_", "").isalnum() else "'" + word.replace("'", "\\'") + "'"
