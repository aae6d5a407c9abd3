"""Cleaning up: what is referenced stays, what nobody knows goes, nothing is removed too early."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from engine import durable
from engine.errors import ArtifactError
from engine.promote.gc import collect
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Stage
from tests.engine.promote.conftest import bring, make

NOW = timedelta(0)
DAY = timedelta(days=1)


def age(store: Store, days: float) -> None:
    """Make all that is in the store so much older."""
    then = time.time() - days * 86400
    for path in store.root.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def test_only_what_no_ledger_mentions_goes(ledger: Ledger, store: Store, url: str) -> None:
    champion, candidate, parent, trial, unknown = (make(store, t) for t in ("a", "b", "c", "d", "e"))
    bring(ledger, champion)
    bring(ledger, candidate, Stage.CANDIDATE)
    ledger.append("candidate", "x", {"trials": [{"weights": f"store/{trial}"}]})
    child = store.put({}, {"parent": parent})
    with Ledger.open(url, "other") as other:
        bring(other, child, Stage.CANDIDATE)
    age(store, 2)
    done = collect([ledger], store)
    assert done.artifacts == (unknown,)
    assert store.list() == sorted([champion, candidate, parent, trial, child])
    for artifact in store.list():
        store.verify(artifact)
    assert done.files == 2, "its manifest and its weights; its config is shared"
    assert done.size > 100


def test_a_rehearsal_removes_nothing(ledger: Ledger, store: Store) -> None:
    unknown = make(store, "a")
    age(store, 2)
    rehearsed = collect([ledger], store, rehearse=True)
    assert rehearsed.artifacts == (unknown,)
    store.verify(unknown)
    assert collect([ledger], store) == rehearsed
    assert store.list() == []
    assert store.blobs() == []
    assert collect([ledger], store).files == 0


def test_what_is_young_is_kept_with_all_it_needs(ledger: Ledger, store: Store) -> None:
    make(store, "old")
    age(store, 2)
    young = make(store, "young")
    age_of_blobs = time.time() - 2 * 86400
    for blob in store.blobs():
        os.utime(blob, (age_of_blobs, age_of_blobs))
    collect([ledger], store)
    assert store.list() == [young]
    store.verify(young)


def test_leftovers_of_a_crash_go(ledger: Ledger, store: Store) -> None:
    def die(step: durable.Step, execute: Callable[[], None]) -> None:
        if step.operation == "replace" and step.path.parent.name == "manifests":
            (step.path.parent / ".cut.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        execute()

    with durable.intercept(die), pytest.raises(KeyboardInterrupt):
        make(store, "a")
    assert [p.name for p in store.leftovers()] == [".cut.tmp"]
    assert collect([ledger], store).files == 0, "it may still be under way"
    assert collect([ledger], store, older_than=NOW).files == 3
    assert (store.leftovers(), store.blobs()) == ([], [])


def test_a_damaged_manifest_that_is_referenced_stops_it(ledger: Ledger, store: Store) -> None:
    champion, unknown = make(store, "a"), make(store, "b")
    bring(ledger, champion)
    age(store, 2)
    store.path_of(champion).write_text("{}")
    with pytest.raises(ArtifactError, match="the manifest is altered"):
        collect([ledger], store)
    store.verify(unknown)


def test_a_crash_in_the_middle_leaves_nothing_visible_and_broken(ledger: Ledger, store: Store) -> None:
    champion, unknown = make(store, "a"), make(store, "b")
    bring(ledger, champion)
    for stop in (0, 1):
        left = stop

        def die(step: durable.Step, execute: Callable[[], None]) -> None:
            nonlocal left
            if step.operation == "remove":
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            execute()

        with durable.intercept(die), pytest.raises(KeyboardInterrupt):
            collect([ledger], store, older_than=NOW)
        assert len(store.list()) == 2 - stop
        for artifact in store.list():
            store.verify(artifact)
        assert make(store, "b") == unknown
    store.verify(champion)


def test_it_waits_for_puts_that_are_under_way(ledger: Ledger, store: Store) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(step: durable.Step, execute: Callable[[], None]) -> None:
        if step.operation == "create" and step.path.parent.name == "manifests":
            inside.set()
            assert go_on.wait(10)
        execute()

    made: list[str] = []
    with durable.intercept(slow):
        putting = threading.Thread(target=lambda: made.append(make(store, "a")))
        putting.start()
        assert inside.wait(10)
        cleaning = threading.Thread(target=lambda: collect([ledger], store, older_than=DAY))
        cleaning.start()
        cleaning.join(0.2)
        assert cleaning.is_alive()
        go_on.set()
        putting.join()
        cleaning.join()
    store.verify(made[0])
