"""A row of the ledger, as everybody sees it who reads the ledger and does not open it (engine/promote/chain.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class LedgerRow(Protocol):
    """One row; it never changes."""

    @property
    def seq(self) -> int:
        """Place in the chain, from 1."""

    @property
    def id(self) -> str:
        """What `why` finds it by."""

    @property
    def kind(self) -> str:
        """decision, candidate, evaluation, cold, verdict, stage, action, cycle ..."""

    @property
    def window(self) -> str:
        """Empty where it belongs to none."""

    @property
    def model(self) -> str:
        """Empty where it belongs to none."""

    @property
    def at(self) -> str:
        """When it was written: ISO 8601 in UTC."""

    @property
    def hash(self) -> str:
        """What ties the row to all rows before it."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """The record, as `to_plain` wrote it."""
