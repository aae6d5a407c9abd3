"""What a process keeps of finished cycles does not hold the cycles."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.act import metrics_of
from engine.cycle.past import Past, open_window
from engine.cycle.told import told
from engine.pipeline.lasting import Terms, lasting
from engine.pipeline.moments import facts, moments
from engine.pipeline.money import Prices, costs
from engine.promote import history
from engine.promote.ledger import Ledger
from engine.records import Cycle, from_plain, to_plain
from tests.engine import cycles
from tests.engine.world import Answer, World

TERMS = Terms(
    primary="roc_auc_score", floor=None, prices=Prices(hour=1, review=300, point=150, currency="EUR"), level=0.9
)
KIB = 1024


def as_large_as_a_month_of_flights() -> dict[str, Any]:
    """The payload of a quiet cycle with 41 columns, two comparisons of each, and slices: 0.2 MiB of it in memory."""
    plain: dict[str, Any] = to_plain(cycles.measured())
    plain |= {"candidate": None, "evaluation": None, "verdicts": [], "changes": []}
    for report in (plain["monitor"]["baseline"], plain["monitor"]["consecutive"]):
        report["columns"] = [{**report["columns"][0], "column": f"column {k}"} for k in range(41)]
    one = to_plain(cycles.cycle().evaluation)["slices"][0]
    plain["monitor"]["performance"]["slices"] = [{**one, "level": f"level {k}"} for k in range(30)]
    plain["validation"]["checks"] = [{**plain["validation"]["checks"][0], "column": f"c{k}"} for k in range(100)]
    return plain


def lived(ledger: Ledger, template: dict[str, Any], begin: int, end: int) -> None:
    """Windows as a watch lives through them: each looks at the past, is metered, and is recorded."""
    for k in range(begin, end):
        name = f"w{k:05d}"
        open_window(ledger, f"id-{name}", name, k)
        past = Past(ledger, name)
        past.metrics, past.watched, past.blocked, past.risk("m1"), past.decay("m1"), past.attempts({}, "roc_auc_score")
        now = copy.deepcopy(template)
        now |= {"id": f"c{k}", "window": name, "index": k}
        now["monitor"]["window"] = name
        lasting(ledger.history(), now, TERMS)
        ledger.append("cycle", f"c{k}", now, window=name)


def grown(folder: Path, early: int, late: int) -> float:
    """KiB a window, between these windows."""
    with Ledger.open(f"sqlite:///{folder}/ledger.db", "flights") as ledger:
        template = as_large_as_a_month_of_flights()
        tracemalloc.start()
        lived(ledger, template, 0, early)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        lived(ledger, template, early, late)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return (after - before) / KIB / (late - early)


@pytest.mark.parametrize(
    ("early", "late"), [pytest.param(6, 14, id="small"), pytest.param(30, 100, id="full", marks=pytest.mark.slow)]
)
def test_a_window_costs_a_process_a_tenth_of_its_record(
    tmp_path: Path,
    early: int,
    late: int,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After so many windows that what is held of large payloads is full."""
    monkeypatch.setattr(history, "HELD", 150_000)
    whole = grown(tmp_path, early, late)
    record_property("what a watch keeps of a window", f"{whole:.0f} KiB of 0.2 MiB, mean of windows {early} to {late}")
    assert whole < 30


def test_slices_are_left_in_the_ledger(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flights") as ledger:
        ledger.append("cycle", "c0", as_large_as_a_month_of_flights(), window="w0")
        (row,) = ledger.history()
        watched = told(row).watched
    assert watched is not None
    assert watched.performance is not None
    assert (len(watched.performance.metrics) > 0, watched.performance.slices) == (True, ())


def test_facts_are_the_cycle_for_whoever_asks_them(ended: tuple[World, Answer]) -> None:
    """Moments and costs of the whole payload and of what is kept are the same."""
    rows = ended[0].rows()
    prices = TERMS.prices
    for row in [row for row in rows if row.kind == "cycle"]:
        kept = facts(row.payload)
        assert costs(kept, prices) == costs(row.payload, prices)
        whole, part = (
            moments([r for r in rows if r.seq < row.seq], now, "roc_auc_score")[-1] for now in (row.payload, kept)
        )
        assert vars(whole) | {"cycle": 0} == vars(part) | {"cycle": 0}
        bare = {**row.payload, "pipeline": None}
        assert costs(facts(bare), prices) == costs(bare, prices)


def test_what_is_told_of_a_cycle_is_what_it_says(ended: tuple[World, Answer]) -> None:
    seen = 0
    with ended[0].ledger() as ledger:
        for row in ledger.rows("cycle"):
            cycle, found = from_plain(Cycle, row.payload), told(row)
            assert repr(found.metrics) == repr(metrics_of(cycle))  # NaN is NaN
            assert found.usable is cycle.validation.usable
            if cycle.monitor is None:
                assert found.watched is None
                continue
            assert found.watched is not None
            assert found.watched.model == cycle.monitor.model
            assert found.watched.tracked == {"risk", "expected_risk", "decay"}
            seen += 1
        newest = max(cycle.index for cycle in ended[0].cycles().values())
        last = next(cycle for cycle in ended[0].cycles().values() if cycle.index == newest)
        assert last.monitor is not None
        past = Past(ledger, "2027-01")
        assert past.decay(last.monitor.model) == last.monitor.decay
        assert past.risk(last.monitor.model) == last.monitor.risk
        assert past.risk("nobody") is None
    assert seen > 3
