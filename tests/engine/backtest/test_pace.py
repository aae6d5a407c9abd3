"""What is left, by what was done."""

from __future__ import annotations

from engine.backtest.pace import Pace


def test_what_is_left_is_told_by_weight_once_each_kind_was_met() -> None:
    pace = Pace({"models": 6, "scores": 4})
    pace.done("models", 1, 10.0)
    assert pace.left is None  # nothing is known of scores yet
    pace.done("scores", 1, 2.0)
    assert pace.left == 5 * 10.0 + 3 * 2.0
    pace.done("models", 2, 14.0)
    assert pace.left == 3 * 8.0 + 3 * 2.0


def test_what_was_found_is_done_and_tells_no_pace() -> None:
    pace = Pace({"models": 3, "scores": 1})
    pace.done("models", 2)
    pace.done("scores", 1)
    assert pace.left is None
    pace.done("models", 1, 5.0)
    assert pace.left == 0.0
