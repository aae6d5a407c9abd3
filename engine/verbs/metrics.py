"""The verb `metrics`: the numbers of a loop's newest window, for people, programs and Prometheus.

It needs the ledger alone; a loop may run meanwhile.
"""

from __future__ import annotations

from typing import Any

from engine.act import metrics_of
from engine.config.schema import Composer, Config
from engine.pipeline.openmetrics import Exposition
from engine.records import Cycle, from_plain, to_plain
from engine.verbs.archive import existing_ledger

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


def metrics(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The exposition of OpenMetrics on stdout; with --json the same numbers by the names that rules use, what spans
    windows with its interval and the ledger rows that it was made from.
    """
    with existing_ledger(config) as ledger:
        rows = ledger.rows("cycle")
        text = Exposition(ledger).text()
    answer: dict[str, Any] = {"loop": config.loop.name, "window": None, "metrics": {}, "lasting": []}
    if rows:
        cycle = from_plain(Cycle, rows[-1].payload)
        answer |= {"window": cycle.window, "at": rows[-1].at, "metrics": to_plain(metrics_of(cycle))}
        answer["lasting"] = to_plain(cycle.pipeline.lasting) if cycle.pipeline else []
    return (0 if rows else NEGATIVE), {**answer, "document": text}
