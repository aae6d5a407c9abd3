"""What is told outside: one record, one stable JSON form, one key by which a receiver knows a double."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import InputError, one_line
from engine.records.estimates import record
from engine.records.plain import from_plain, to_plain
from engine.system.redact import redact_text

VERSION = 1  # of the JSON form: fields may be added to a version, never changed or taken away
EVENTS = ("raised", "escalated", "resolved", "acted", "test", "summary")
SEVERITIES = ("suspected", "detected")
LONGEST = 2000  # characters of a text: a message goes to a pager, not to an archive

_TEXTS = ("loop", "window", "rule", "owner", "text", "metric", "runbook", "done")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@record
class Message:
    """One thing that happened to a loop, for a person or a program outside.

    `value` and `threshold` are in the metric's own unit; NaN, null in JSON, where there is none. An outbox posts it
    `cleaned`.

    Raises:
        InputError: an unknown event or severity, or a key that could not stand in a header.
    """

    key: str
    """Idempotency key, a digest of inputs: the same thing told again has the same. 1 to 128 of A-Z a-z 0-9 . _ : -"""
    loop: str
    window: str = ""
    rule: str = ""
    event: str
    """raised, escalated, resolved, acted, test; or summary: of messages that a rate limit held back."""
    severity: str = "suspected"
    owner: str = ""
    text: str
    metric: str = ""
    value: float = math.nan
    threshold: float = math.nan
    runbook: str = ""
    done: str = ""
    """What was done about it, in words; empty: nothing."""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            cure = "use a digest: 1 to 128 letters, digits, '.', '_', ':' or '-'"
            raise InputError("message:key", f"{redact_text(self.key)!r} is no key", cure)
        for name, allowed in (("event", EVENTS), ("severity", SEVERITIES)):
            if getattr(self, name) not in allowed:
                what = f"{getattr(self, name)!r} is unknown"
                raise InputError(f"message:{name}", what, f"choose one of {' '.join(allowed)}")

    def cleaned(self) -> Message:
        """The same message as it may be read by everybody: each text on one line of at most `LONGEST` characters, the
        secrets in it hidden.
        """
        clean: dict[str, Any] = {name: one_line(redact_text(getattr(self, name)), LONGEST) for name in _TEXTS}
        return replace(self, **clean)

    @property
    def title(self) -> str:
        """One line that says it all where there is room for one line."""
        about = f" {self.rule}" if self.rule else ""
        where = f"{self.loop} {self.window}".strip()
        return one_line(f"[{self.severity}] {where}:{about} {self.event}", 200)

    def plain(self) -> dict[str, Any]:
        """As JSON values, the version first."""
        return {"version": VERSION, **to_plain(self)}


def read_message(plain: Mapping[str, Any]) -> Message:
    """The message that `plain` wrote. InputError where its version is a later one."""
    fields = dict(plain)
    version = fields.pop("version", None)
    if version != VERSION:
        raise InputError("message:version", f"{version!r} is unknown", "use the release that wrote it")
    return from_plain(Message, fields)
