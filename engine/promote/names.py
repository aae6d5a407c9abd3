"""Which names may become a path or a key. Nothing is decoded or repaired: a name fits, or it is refused."""

from __future__ import annotations

import re

from engine.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
KEY_LENGTH = 256


def check_name(name: str, where: str) -> str:
    """`name`, where it may become one segment of a path; else an InputError at `where`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _DEVICE.fullmatch(name):
        raise InputError(
            where,
            f"{shown(name)} is no usable name",
            "use 1 to 128 letters, digits, '.', '_', '-', not starting with a dot and no device name",
        )
    return name


def check_sha256(text: str, where: str) -> str:
    """`text`, where it is a sha256 in lower-case hexadecimal; else an InputError at `where`."""
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise InputError(where, f"{shown(text)} is no artifact id", "give the 64 hexadecimal digits of one")
    return text


def check_key(text: str, where: str, *, empty: bool = False) -> str:
    """`text`, where it may be a key of the ledger: printable, one line, at most 256 characters."""
    if not isinstance(text, str) or len(text) > KEY_LENGTH or not text.isprintable() or not (text or empty):
        raise InputError(where, f"{shown(text)} is no usable key", f"use 1 to {KEY_LENGTH} printable characters")
    return text


def shown(text: object) -> str:
    """Anything, for an error line: quoted, escaped and cut short."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 80 else f"{quoted[:76]}...{quoted[-1]}"
