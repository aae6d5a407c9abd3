"""Windows that come whole, in pieces, late, twice, again and in any order: what is decided on, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError, DataError, InputError, LabelsError
from engine.watch.arrival import ARRIVAL, Known, State
from tests.engine.watch.made import TERMS, World

NAMES = [f"2026-0{month}" for month in range(1, 10)]


def founded(count: int = 3) -> World:
    """The first windows have been decided on."""
    world = World()
    for name in NAMES[:count]:
        world.put(name)
    world.run(world.watcher(), 30)
    assert world.decided() == NAMES[1:count]
    world.events.clear()
    return world


def test_windows_are_decided_on_as_they_land() -> None:
    world = World()
    watcher = world.watcher()
    world.run(watcher, 20)
    assert world.said() == [("idle", "")]
    for name in NAMES[:4]:
        world.put(name)
        world.run(watcher, 40)
    assert world.decided() == NAMES[1:4]
    assert world.said("landed") == [("landed", name) for name in NAMES[:4]]
    assert world.reads == NAMES[:4], "each file is read once"


def test_a_file_that_still_grows_is_not_read() -> None:
    world = founded()
    watcher = world.watcher()
    for _ in range(6):
        world.put(NAMES[3], whole=False)
        world.run(watcher, 6)
    assert NAMES[3] not in world.reads
    world.put(NAMES[3])
    world.run(watcher, 9)
    assert NAMES[3] not in world.reads
    world.run(watcher, 2)
    assert world.decided()[-1] == NAMES[3]


def test_a_marker_says_that_a_window_is_whole() -> None:
    world = replace(founded(), markers=NAMES[:3])
    world.put(NAMES[3])
    watcher = world.watcher()
    world.run(watcher, 50)
    assert NAMES[3] not in world.reads
    world.markers = NAMES[:4]
    world.run(watcher, 6)
    assert world.decided()[-1] == NAMES[3]


def test_order_of_arrival_does_not_matter_within_the_grace() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[4])
    world.run(watcher, 60)
    assert world.said("waiting", "gap") == [("waiting", "")]
    assert world.events[-1].text == "2026-05 waits for 2026-04"
    world.put(NAMES[3])
    world.run(watcher, 20)
    assert world.decided()[-2:] == [NAMES[3], NAMES[4]]
    assert world.said("gap", "late") == []


def test_a_gap_is_waited_for_then_recorded_and_what_comes_later_is_trained_on_alone() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[5])
    world.run(watcher, 100)
    assert world.decided()[-1] == NAMES[2]
    world.run(world.watcher(), 20)  # another process: the time it waited is not lost
    assert world.decided()[-1] == NAMES[5]
    (gap,) = [row for row in world.table if row.kind == ARRIVAL]
    assert (gap.window, gap.payload["missing"]) == (NAMES[5], NAMES[3:5])
    world.put(NAMES[4])
    world.put(NAMES[6])
    world.run(watcher, 20)
    assert world.decided()[-1] == NAMES[6]
    assert world.said("late") == [("late", NAMES[4])]
    assert {event.what: event.text for event in world.events}[
        "late"
    ] == "came after 2026-06 was decided on: it is trained on from now on"
    assert world.views[NAMES[6]] == [*NAMES[:3], *NAMES[4:7]]
    assert NAMES[4] not in world.decided()


def test_a_late_window_that_no_check_lets_through_is_not_trained_on() -> None:
    world = founded()
    world.terms = replace(TERMS, sequence=False)
    world.put(NAMES[4])
    watcher = world.watcher()
    world.run(watcher, 20)
    world.unfit[NAMES[3]] = "few_rows"
    world.put(NAMES[3])
    world.run(watcher, 20)
    (late,) = [event for event in world.events if event.what == "late"]
    assert late.text == "came after 2026-05 was decided on: it is not trained on: few_rows"
    assert late.warning
    world.put(NAMES[5])
    world.run(watcher, 20)
    assert NAMES[3] not in world.views[NAMES[5]]
    del world.unfit[NAMES[3]]
    world.put(NAMES[3], "mended")
    world.put(NAMES[6])
    world.run(watcher, 20)
    assert NAMES[3] in world.views[NAMES[6]]
    assert NAMES[3] not in world.decided()


def test_a_window_before_the_founding_ones_is_left_out() -> None:
    world = founded()
    world.put("2025-12")
    world.put(NAMES[3])
    world.run(world.watcher(), 20)
    assert world.views[NAMES[3]] == NAMES[:4]
    assert world.said("late") == [("late", "2025-12")]


def test_the_same_rows_under_two_names_are_decided_on_once() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[3], f"rows of {NAMES[2]}")
    world.put(NAMES[4])
    world.run(watcher, 20)
    assert world.said("duplicate") == [("duplicate", NAMES[3])]
    assert world.events[0].text == "the same rows as 2026-03 - write its own rows"
    assert world.decided()[-1] == NAMES[4], "nothing is missing"
    assert NAMES[3] not in world.views[NAMES[4]]
    world.put(NAMES[3], "rows of its own")
    world.run(watcher, 20)
    assert world.state(NAMES[3]) is State.LATE


def test_other_rows_under_a_name_that_was_decided_on_are_refused() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[2], "other rows")
    world.run(watcher, 20)
    (event,) = [event for event in world.events if event.what == "rewritten"]
    assert event.text.endswith(
        "were decided on; no model is trained or judged on them - put the old file back, or give"
        " the new rows a name of their own"
    )
    assert Known.of(world.table).rewritten == {NAMES[2]}
    world.run(world.watcher(), 20)
    world.put(NAMES[2])
    world.run(world.watcher(), 20)
    assert world.said("rewritten", "restored") == [("rewritten", NAMES[2]), ("restored", NAMES[2])]
    assert Known.of(world.table).rewritten == frozenset()


def test_a_file_that_is_touched_or_gets_its_labels_is_the_same_window() -> None:
    world = founded()
    watcher = world.watcher()
    rows = list(world.table)
    for name in NAMES[:3]:
        world.put(name)
    world.run(watcher, 50)
    assert world.table == rows
    assert world.reads.count(NAMES[0]) == 2


def test_before_it_is_decided_on_a_window_may_be_written_again() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[4])
    world.run(watcher, 20)
    world.put(NAMES[4], "better rows")
    world.put(NAMES[3])
    world.run(watcher, 20)
    assert world.decided()[-2:] == NAMES[3:5]
    assert Known.of(world.table).entries[NAMES[4]].fingerprint == "better rows"
    by_kind = Known.in_book(lambda kind: [row for row in world.table if row.kind == kind])  # as a ledger gives them
    assert by_kind.entries == Known.of(world.table).entries


def test_a_window_that_cannot_be_read_is_recorded_and_the_next_goes_on_after_the_grace() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[3], whole=False)
    world.put(NAMES[4])
    world.run(watcher, 15)
    assert world.said("unreadable") == [], "a disk may stumble once"
    world.run(watcher, 20)
    assert world.said("unreadable") == [("unreadable", NAMES[3])]
    assert world.state(NAMES[3]) is State.UNREADABLE
    world.run(watcher, 90)
    assert world.decided()[-1] == NAMES[4]
    assert world.said("gap") == [("gap", NAMES[4])]
    world.put(NAMES[3])
    world.run(watcher, 20)
    assert world.state(NAMES[3]) is State.LATE


def test_a_file_that_may_be_read_later_lands_without_being_written_again() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[3], whole=False)
    world.run(watcher, 50)
    world.files[NAMES[3]].content = "rows"  # somebody gave us the right to read it
    world.run(watcher, 50)
    assert world.decided()[-1] == NAMES[3]


def test_labels_are_waited_for_without_end() -> None:
    world = World(label_files={NAMES[0]: 1})
    watcher = world.watcher()
    for name in NAMES[:3]:
        world.put(name)
    world.run(watcher, 500)
    assert world.decided() == []
    assert world.events[-1].text == "2026-02 waits for the labels of 2026-02"
    world.label_files = dict.fromkeys(NAMES[:2], 1)
    world.run(watcher, 20)
    assert world.decided() == NAMES[1:3], "2026-03 wants the labels of 2026-02 alone"
    world.put(NAMES[3])
    world.run(watcher, 500)
    assert world.decided()[-1] == NAMES[2]
    world.label_files[NAMES[2]] = 1
    world.run(watcher, 20)
    assert world.decided()[-1] == NAMES[3]


def test_a_loop_that_waits_for_labels_in_the_window_is_asked_again() -> None:
    world = founded()
    watcher = world.watcher()
    world.faults[NAMES[3]] = LabelsError("w:late", "no row has a label", "wait")
    world.put(NAMES[3])
    world.put(NAMES[4])
    world.run(watcher, 500)
    assert world.said("waiting", "failed", "error", "idle") == [("waiting", NAMES[3])]
    world.faults.clear()
    world.run(watcher, 20)
    assert world.decided()[-2:] == NAMES[3:5]


def test_a_window_whose_cycle_cannot_end_is_given_up_for_those_that_wait() -> None:
    world = founded()
    watcher = world.watcher()
    world.faults[NAMES[3]] = DataError("labels", "are broken", "mend them")
    world.put(NAMES[3])
    world.run(watcher, 300)
    assert world.said("error", "failed") == [("error", NAMES[3])], "nobody waits behind it, and it is said once"
    world.put(NAMES[4])
    world.run(watcher, 20)
    assert world.said("failed") == [("failed", NAMES[3])]
    assert world.decided()[-1] == NAMES[4]
    assert "given up after 100 s: labels: are broken - mend them; mend it, then" in str(
        world.table[-2].payload["reason"]
    )


def test_what_is_no_windows_fault_is_tried_again_after_a_longer_while() -> None:
    world = founded()
    watcher = world.watcher()
    world.away = "cannot be listed"
    waits = [watcher.turn() for _ in range(10)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert watcher.error is not None
    assert world.events[0].text == "folder: cannot be listed - look there (tried again in 5 s)"
    world.away = ""
    world.put(NAMES[3])
    world.run(watcher, 20)
    assert watcher.error is None
    assert world.decided()[-1] == NAMES[3]
    world.faults[NAMES[4]] = InputError("store", "cannot be written", "free some space")
    world.put(NAMES[4])
    world.run(watcher, 1000)
    assert world.said("failed") == []
    world.faults[NAMES[4]] = ConfigError("gate", "is wrong", "mend it")
    with pytest.raises(ConfigError):
        world.run(watcher, 1000)


def test_a_window_that_vanishes_before_its_turn_is_said() -> None:
    world = founded()
    watcher = world.watcher()
    world.put(NAMES[4])
    world.run(watcher, 20)
    del world.files[NAMES[4]]
    world.run(watcher, 20)
    assert world.said("gone") == [("gone", NAMES[4])]
    world.put(NAMES[4])
    world.put(NAMES[3])
    world.run(watcher, 20)
    assert world.decided()[-2:] == NAMES[3:5]


def test_a_ledger_that_a_loop_began_is_taken_up() -> None:
    """Windows that were decided on before anybody watched: none is decided on again, none is late."""
    world = World()
    for index, name in enumerate(NAMES[:5]):
        world.put(name)
        if index:
            world.append("cycle", f"cycle {name}", {"window": name, "index": index})
    world.put(NAMES[5])
    world.run(world.watcher(), 30)
    assert world.decided() == NAMES[1:6]
    assert world.said("late", "duplicate") == []


def test_no_window_behind_the_last_one_is_decided_on() -> None:
    world = founded()
    world.terms = replace(TERMS, until=NAMES[4])
    for name in NAMES[3:7]:
        world.put(name)
    watcher = world.watcher()
    assert not watcher.known.behind(NAMES[4])
    world.run(watcher, 20)
    assert world.decided()[-1] == NAMES[4]
    assert watcher.known.behind(NAMES[4])


def test_a_name_that_the_ledger_cannot_have_is_ignored_and_said_once() -> None:
    world = founded()
    world.put("2026-\n04")
    world.run(world.watcher(), 50)
    assert world.said("ignored") == [("ignored", "")]


# ---- any order, any delay, any kill ----------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


PUT = st.tuples(
    st.integers(0, len(NAMES) - 1),
    st.integers(0, 500),  # when
    st.sampled_from(["own", "own", "own", "own", "twin", "other", "pieces"]),
)


@settings(max_examples=150)
@given(st.lists(PUT, min_size=4, max_size=16), st.sets(st.integers(0, 60), max_size=6), st.booleans())
def test_each_window_is_decided_once_in_order_and_nothing_is_lost_in_silence(
    puts: list[tuple[int, int, str]], kills: set[int], told: bool
) -> None:
    world = World(terms=replace(TERMS, sequence=told), every=30.0)
    steps = 0

    def die(kind: str) -> None:
        nonlocal steps
        steps += 1
        if steps in kills:
            raise Killed

    world.die = die
    watcher = world.watcher()

    def go_on(seconds: float) -> None:
        nonlocal watcher
        end = world.clock + seconds
        while world.clock < end:
            try:
                world.run(watcher, end - world.clock)
            except Killed:
                watcher = world.watcher()

    for number, when, how in sorted(puts, key=lambda put: put[1]):
        go_on(max(0.0, when - world.clock))
        name = NAMES[number]
        content = {"twin": f"rows of {NAMES[number - 1]}", "other": f"others {name}"}.get(how)
        world.put(name, content, whole=how != "pieces")
    go_on(1200)
    known, decided = Known.of(world.table), world.decided()
    assert world.turns < 400, "it does not look without end"
    assert decided == sorted(set(decided)), "once, and in order"
    contents = [known.entries[name].fingerprint for name in decided]
    assert len(set(contents)) == len(contents), "the same rows are not decided on twice"
    for name, view in world.views.items():
        seen = [known.entries[other] for other in view]
        assert view == sorted(set(view))
        assert all(entry.fingerprint for entry in seen), f"{name} saw a window that never was whole"
    assert set(known.entries) == set(world.files), "each file has its word in the ledger"
    for name in world.files:
        state, founding = known.entries[name].state, not decided or name < decided[0]
        aside = state in (State.LATE, State.DUPLICATE, State.UNREADABLE, State.REWRITTEN, State.RESTORED)
        assert name in decided or founding or aside, f"{name} is lost: {state}"
        assert not (name in decided and name in known.late)
    if len([e for e in known.entries.values() if not known.out(e)]) >= 2:
        assert decided, "it never began"
