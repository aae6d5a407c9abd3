"""A value as Hydra's override grammar reads it back."""

from __future__ import annotations

import re
from typing import Any

BARE = re.compile(r"(?!(?:null|true|false|inf|nan)$)[a-z_][a-z0-9_]*", re.IGNORECASE)  # needs no quotes


def quote(value: Any) -> str:
    """`value` as Hydra's override grammar reads it back: plain values, lists and dictionaries."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(quote(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(k)}:{quote(v)}" for k, v in value.items()) + "}"
    text = str(value)
    return text if BARE.fullmatch(text) else _quote_text(text)


def _key(key: Any) -> str:
    """A key of a dictionary, which the grammar wants bare: what would end it is escaped."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", key) if isinstance(key, str) else quote(key)


def _quote_text(text: str) -> str:
    """In single quotes; only backslashes that stand before a quote or at the end are doubled, as the grammar wants."""
    parts, slashes = [], 0
    for char in text:
        if char == "\\":
            slashes += 1
            continue
        parts.append("\\" * (2 * slashes + 1) + "'" if char == "'" else "\\" * slashes + char)
        slashes = 0
    return "'" + "".join(parts) + "\\" * (2 * slashes) + "'"
