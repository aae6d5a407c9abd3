"""The page of a loop from its ledger: of all windows, or of the newest where a watch writes it after each."""

from __future__ import annotations

from engine.records import Cycle, from_plain
from engine.verbs import pages
from tests.engine.world import World


def test_a_page_of_some_windows_says_so(young: World) -> None:
    config, _ = young.config()
    with young.ledger() as ledger:
        cycles = [from_plain(Cycle, row.payload) for row in ledger.rows("cycle")]
        whole, newest = pages.report_page(config, ledger, cycles), pages.report_page(config, ledger, cycles[-1:])
    said = f"This page tells of the newest 1 windows of {len(cycles)}; `tidegate report` tells of all."
    assert said in newest
    assert "This page tells of the newest" not in whole
    assert cycles[0].window in whole


def test_no_windows_are_a_page_too(young: World) -> None:
    config, _ = young.config()
    with young.ledger() as ledger:
        assert "no window yet" in pages.report_page(config, ledger, [])
