from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.train import budget as module
from engine.train.budget import Budget, of_the_budget
from engine.train.conf import SearchConf


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def make(folder: Path, **conf: Any) -> Budget:
    return Budget(SearchConf(**conf), folder)


def test_wall_time_counts_earlier_runs_and_not_the_pause_between_them(tmp_path: Path, clock: Clock) -> None:
    first = make(tmp_path, time_budget="1m")
    clock.now += 40
    assert first.over() == ""
    first.write()
    clock.now += 1000  # nobody runs
    second = make(tmp_path, time_budget="1m")
    assert second.wall == 40
    clock.now += 20
    assert second.over() == "stopped: the budget is used up (search.time_budget=1m)"
    assert of_the_budget(second.over())
    assert make(tmp_path, time_budget="2m").over() == ""  # a larger one goes on


def test_compute_counts_every_epoch_that_was_trained(tmp_path: Path, clock: Clock) -> None:
    first = make(tmp_path, compute_hours=0.01)  # 36 seconds
    first.spend("trial-000", 1, 5.0, 2.0)
    first.spend("trial-001", 1, 4.0, 2.0)
    assert first.compute == 18.0
    first.write()
    second = make(tmp_path, compute_hours=0.01)
    second.spend("trial-000", 1, 5.0, 2.0)  # recalled from a checkpoint: the same second of the same epoch
    assert second.compute == 18.0
    second.spend("trial-001", 1, 4.5, 2.0)  # trained again
    assert second.compute == 27.0
    assert second.over() == ""
    second.ended("trial-000")
    second.spend("trial-002", 1, 4.5, 2.0)
    assert second.over() == "stopped: the budget is used up (search.compute_hours=0.01)"
    second.write()
    assert set(json.loads((tmp_path / "spent.json").read_text())["running"]) == {"trial-001", "trial-002"}


def test_it_is_written_once_a_second(tmp_path: Path, clock: Clock) -> None:
    budget = make(tmp_path)
    for epoch in range(1, 20):
        clock.now += 0.1
        budget.spend("trial-000", epoch, 0.1, 1.0)
    kept = json.loads((tmp_path / "spent.json").read_text())
    assert len(kept["running"]["trial-000"]) in (10, 11)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"wall": "x", "compute": 1, "running": {}}', '{"wall": 1, "comp'])
def test_a_damaged_count_begins_anew(text: str, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "spent.json").write_text(text)
    budget = make(tmp_path, time_budget="30s")
    assert (budget.wall, budget.compute, budget.over()) == (0.0, 0.0, "")


def test_without_a_budget_nothing_ends(tmp_path: Path, clock: Clock) -> None:
    budget = make(tmp_path)
    clock.now += 1e9
    budget.spend("trial-000", 1, 1e9, 8.0)
    assert budget.over() == ""
