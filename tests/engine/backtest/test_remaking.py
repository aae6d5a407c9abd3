"""What is kept of a past is made anew where the code that made it has changed."""

from __future__ import annotations

import grimp

from engine.backtest.remaking import MADE_BY, ROOT

MAKERS = ("data", "evaluate", "models", "monitor", "scoring", "train")  # rooms whose code makes models and numbers


def test_every_module_that_makes_a_number_counts() -> None:
    graph = grimp.build_graph("engine", cache_dir=None)
    used = graph.find_upstream_modules("engine.backtest.remaking")
    makers = {name.replace(".", "/") for name in used if name.split(".")[1:2] and name.split(".")[1] in MAKERS}
    assert {"engine/scoring/firm", "engine/models/predicted", "engine/monitor/drift"} <= makers
    assert {name for name in makers if not any(f"{name}.py".startswith(part) for part in _folders())} == set()


def _folders() -> list[str]:
    """Parts of MADE_BY as the beginnings of paths."""
    return [f"{part}/" if (ROOT / part).is_dir() else part for part in MADE_BY]
