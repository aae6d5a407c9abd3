from __future__ import annotations

import threading
import time

from engine.track.background import Background


def test_jobs_are_done_in_order_by_another_thread() -> None:
    background, done = Background("test"), list[tuple[int, str]]()
    for number in range(100):
        background.submit(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    assert background.drain(10) == 0
    assert done == [(number, "test") for number in range(100)]
    background.submit(lambda: done.clear())  # it may be used again
    assert not background.idle
    assert background.drain(10) == 0
    assert (done, background.idle) == ([], True)


def test_nobody_waits_longer_than_asked_and_what_is_left_is_dropped() -> None:
    background, gate, done = Background("test"), threading.Event(), list[int]()
    background.submit(lambda: gate.wait(30) and None)
    for number in range(3):
        background.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    began = time.monotonic()
    assert background.drain(0.1) == 4  # three, and the end of the one under way
    assert time.monotonic() - began < 5
    background.submit(lambda: done.append(10))  # another thread has taken over
    assert background.drain(10) == 0
    gate.set()
    time.sleep(0.1)
    assert done == [10]


def test_nothing_was_handed_over() -> None:
    background = Background("test")
    assert background.idle
    assert background.drain(1) == 0
