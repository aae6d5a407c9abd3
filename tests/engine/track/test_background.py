from __future__ import annotations

import threading

from engine.track.background import Background
from tests.patience import ENOUGH


def test_jobs_are_done_in_order_by_another_thread() -> None:
    background, done = Background("test"), list[tuple[int, str]]()
    for number in range(100):
        background.submit(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    assert background.drain(ENOUGH) == 0
    assert done == [(number, "test") for number in range(100)]
    background.submit(lambda: done.clear())  # it may be used again
    assert not background.idle
    assert background.drain(ENOUGH) == 0
    assert (done, background.idle) == ([], True)


def test_nobody_waits_longer_than_asked_and_what_is_left_is_dropped() -> None:
    background, begun, gate, done = Background("one that waits"), threading.Event(), threading.Event(), list[int]()

    def endless() -> None:
        begun.set()
        gate.wait(ENOUGH)

    background.submit(endless)
    assert begun.wait(ENOUGH)
    (old,) = (thread for thread in threading.enumerate() if thread.name == "one that waits")
    for number in range(3):
        background.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    assert background.drain(0.1) == 4  # three, and the end of the one under way
    assert old.is_alive(), "it was not waited for"
    background.submit(lambda: done.append(10))  # another thread has taken over
    assert background.drain(ENOUGH) == 0
    gate.set()
    old.join(ENOUGH)
    assert (old.is_alive(), done) == (False, [10])


def test_nothing_was_handed_over() -> None:
    background = Background("test")
    assert background.idle
    assert background.drain(1) == 0
