"""Cleaning up: what is referenced stays, what nobody knows goes, nothing is removed too early."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ArtifactError
from engine.promote import objects
from engine.promote.gc import collect
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Stage
from engine.system import durable
from tests.engine.promote.conftest import bring, make
from tests.patience import ENOUGH

NOW = timedelta(0)
DAY = timedelta(days=1)


Age = Callable[..., None]


@pytest.fixture(params=["local on sqlite", "local on postgresql", "s3 on sqlite"])
def ground(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Kind of the store, kind of the database."""
    place, _, database = request.param.partition(" on ")
    return place, database


@pytest.fixture
def url(ground: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if ground[1] == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgresql").database())


@pytest.fixture
def store(ground: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts" if ground[0] == "local" else request.getfixturevalue("s3").bucket())


@pytest.fixture
def age(request: pytest.FixtureRequest) -> Age:
    """Make all that is in the store (of some kinds) so much older."""

    def local(folder: Path, days: float) -> None:
        then = time.time() - days * 86400
        for path in folder.rglob("*"):
            os.utime(path, (then, then), follow_symlinks=False)

    def do(store: Store, days: float, kinds: Sequence[str] = ("blobs", "signatures", "manifests", "locks")) -> None:
        for kind in kinds:
            if "://" in store.url:
                request.getfixturevalue("s3").age(f"{store.url}/{kind}", days)
            else:
                local(store.root / kind, days)

    return do


def test_only_what_no_ledger_mentions_goes(ledger: Ledger, store: Store, url: str, age: Age) -> None:
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


def test_a_rehearsal_removes_nothing(ledger: Ledger, store: Store, age: Age) -> None:
    unknown = make(store, "a")
    age(store, 2)
    rehearsed = collect([ledger], store, rehearse=True)
    assert rehearsed.artifacts == (unknown,)
    store.verify(unknown)
    assert collect([ledger], store) == rehearsed
    assert store.list() == []
    assert store.blobs() == []
    assert collect([ledger], store).files == 0


def test_what_is_young_is_kept_with_all_it_needs(ledger: Ledger, store: Store, age: Age) -> None:
    make(store, "old")
    age(store, 2)
    young = make(store, "young")
    age(store, 2, ["blobs"])
    collect([ledger], store)
    assert store.list() == [young]
    store.verify(young)


def cut_off(store: Store) -> None:
    """A put that dies before its manifest is there, and leaves what it has written."""

    def die(step: durable.Step, execute: Callable[[], None]) -> None:
        if (step.target or step.path).parent.name == "manifests" and step.operation in ("replace", "upload"):
            if step.operation == "replace":
                (step.path.parent / ".cut.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        if step.operation != "remove":  # the dead remove no lock
            execute()

    with durable.intercept(die), pytest.raises(KeyboardInterrupt):
        make(store, "a")


def test_leftovers_of_a_crash_go(ledger: Ledger, store: Store, age: Age) -> None:
    cut_off(store)
    assert [entry.name.rpartition(".")[2] for entry in store.leftovers()] == ["put" if "://" in store.url else "tmp"]
    age(store, 0.9)
    if "://" not in store.url:
        assert collect([ledger], store).files == 0, "it may still be under way"
    age(store, 1.1)
    assert collect([ledger], store).files == 3
    assert (list(store.leftovers()), list(store.blobs())) == ([], [])


def test_a_damaged_manifest_that_is_referenced_stops_it(
    ledger: Ledger, store: Store, age: Age, raw: Callable[[Store, str, str], Any]
) -> None:
    champion, unknown = make(store, "a"), make(store, "b")
    bring(ledger, champion)
    raw(store, "manifests", f"{champion}.json").write_bytes(b"{}")
    age(store, 2)
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
            if step.operation == "remove" and step.path.parent.name != "locks":
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


def test_it_waits_for_puts_that_are_under_way(ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(step: durable.Step, execute: Callable[[], None]) -> None:
        if step.operation in ("create", "upload") and step.path.parent.name == "manifests":
            inside.set()
            assert go_on.wait(ENOUGH)
        execute()

    made: list[str] = []
    with durable.intercept(slow):
        putting = threading.Thread(target=lambda: made.append(make(store, "a")))
        putting.start()
        assert inside.wait(ENOUGH)
        monkeypatch.setattr(objects, "PATIENCE", ENOUGH)
        cleaning = threading.Thread(target=lambda: collect([ledger], store, older_than=DAY))
        cleaning.start()
        cleaning.join(0.5)
        assert cleaning.is_alive()
        go_on.set()
        putting.join()
        cleaning.join()
    store.verify(made[0])
