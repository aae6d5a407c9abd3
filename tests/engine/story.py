"""What a ledger tells, so that two runs of one loop can be compared."""

from __future__ import annotations

from typing import Any

from engine.promote.chain import Row

TIMES = frozenset(
    {"seconds", "timings", "cost", "weights", "hours", "notes", "use", "pipeline"}
)  # what differs between two runs of one loop


def story(rows: list[Row]) -> list[Any]:
    """What the ledger tells, without the time of day: ids and models are named in the order in which they come.

    Ids are hashes of what led to them, the measured hours of a sweep among it: so they differ between two runs, but
    must refer to the same things.
    """
    names: dict[str, str] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key not in TIMES}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, str) and len(value) >= 64:
            return " ".join(names.setdefault(w, f"#{len(names)}") if len(w) >= 64 else w for w in value.split())
        return value

    return [plain([row.seq, row.kind, row.window, row.id, row.model, told(row)]) for row in rows]


def told(row: Row) -> dict[str, Any]:
    """What a row says; how well the pipeline ran is measured, and told by test_metering.py."""
    return {} if row.kind == "pipeline" else row.payload
