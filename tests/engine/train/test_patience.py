from __future__ import annotations

from engine.train.patience import Patience


def test_a_worker_that_is_taken_away_uses_no_failure() -> None:
    patience = Patience(max_failures=0, max_preemptions=5)
    assert [patience.taken_away(epoch) for epoch in (0, 1, 3, 4, 9)] == [""] * 5
    assert patience.failures == 0
    assert patience.taken_away(10) == "its worker was taken away 6 times: more than search.max_preemptions"


def test_two_ends_in_the_same_epoch_are_a_failure() -> None:
    patience = Patience(max_failures=1, max_preemptions=5)
    assert [patience.taken_away(2) for _ in range(3)] == [""] * 3
    assert (patience.failures, patience.preemptions) == (1, 2)
    reason = "its worker died in epoch 3, again and again: perhaps for want of memory"
    assert patience.taken_away(2) == reason
    assert Patience(1, 0).taken_away(0) == "its worker was taken away 1 times: more than search.max_preemptions"


def test_what_ray_puts_down_to_memory_is_a_failure_at_once() -> None:
    patience = Patience(max_failures=1, max_preemptions=5)
    assert patience.taken_away(0, memory=True) == ""
    reason = "its worker died in epoch 5, again and again: the machine ran out of memory"
    assert patience.taken_away(4, memory=True) == reason
    assert patience.preemptions == 0


def test_its_own_failures_are_bounded_alone() -> None:
    patience = Patience(max_failures=2, max_preemptions=0)
    assert [patience.failed() for _ in range(3)] == [True, True, False]
    patience = Patience(max_failures=1, max_preemptions=9)
    assert patience.taken_away(0) == ""
    assert patience.failed()
    assert patience.taken_away(0) == ""  # the first in a row again: the trial began anew
    assert not patience.failed()
