"""A power cut at any moment: no artifact that can be seen is damaged, none that was acknowledged is lost."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.promote.store import Store
from engine.system import durable
from engine.system.durable import Step
from tests.engine.promote.disk import Disk


@dataclass(frozen=True)
class Acknowledged:
    """`put` returned this artifact."""

    artifact: str


Trace = Sequence[Step | Acknowledged]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """One process puts three artifacts that share files, the last one twice."""
    return record(tmp_path_factory.mktemp("disk"), (1, 2, 3, 3))


def record(folder: Path, numbers: Sequence[int], *, exists: bool = False) -> Trace:
    """The steps of putting artifacts of these numbers into a store, whose folders may exist."""
    recorded: list[Step | Acknowledged] = []

    def watch(step: Step, execute: Callable[[], None]) -> None:
        recorded.append(step)
        execute()

    store = Store(folder / "artifacts")
    if exists:
        for kind in ("blobs", "manifests"):
            (store.root / kind).mkdir(parents=True)
    shared = b"encoder" * 3
    with durable.intercept(watch):
        for number in numbers:
            files = {"weights": bytes([number]) * 64, "encoder": shared, "config": b"{}"}
            recorded.append(Acknowledged(store.put(files, {"number": number})))
    shutil.rmtree(store.root)
    return recorded


def explore(trace: Trace) -> tuple[int, list[str]]:
    """All states after each prefix of a trace: how many, and what is wrong with them."""
    disk, promised = Disk(), set[str]()
    count, wrong = 0, []
    for moment, event in enumerate(trace):
        if isinstance(event, Acknowledged):
            promised.add(event.artifact)
        else:
            disk.apply(event)
        for state in disk.states():
            count += 1
            wrong += [f"moment {moment}: {fault}" for fault in faults(state, promised)]
    return count, wrong


def faults(state: dict[Path, bytes], promised: set[str]) -> list[str]:
    """What the store would say of these files; on a dict, for there are thousands of states."""
    manifests = {p.stem: data for p, data in state.items() if p.parent.name == "manifests" and p.suffix == ".json"}
    blobs = {p.name: data for p, data in state.items() if p.parent.name == "blobs"}
    found = [f"{artifact[:8]} is lost" for artifact in promised - set(manifests)]
    for artifact, data in manifests.items():
        if hashlib.sha256(data).hexdigest() != artifact:
            found.append(f"manifest {artifact[:8]} is damaged")
            continue
        for name, entry in json.loads(data)["files"].items():
            if hashlib.sha256(blobs.get(entry["sha256"], b"missing")).hexdigest() != entry["sha256"]:
                found.append(f"{artifact[:8]} is visible, its {name} is damaged")
    return found


def test_no_state_shows_a_damaged_artifact_or_lacks_an_acknowledged_one(
    trace: Trace, record_property: Callable[[str, object], None]
) -> None:
    count, wrong = explore(trace)
    assert wrong == []
    assert count > 300
    record_property("no torn artifact: one process", f"0 bad of {count} states after {len(trace)} moments")


@pytest.mark.parametrize("mixtures", [5, pytest.param(150, marks=pytest.mark.slow)])
def test_two_processes_that_put_the_same_do_not_harm_each_other(
    tmp_path: Path, mixtures: int, record_property: Callable[[str, object], None]
) -> None:
    one, two = record(tmp_path, (1, 2)), record(tmp_path, (2, 1))
    chance = random.Random(3)
    total = 0
    for _ in range(mixtures):
        turns = [True] * len(one) + [False] * len(two)
        chance.shuffle(turns)
        first, second = iter(one), iter(two)
        count, wrong = explore([next(first if turn else second) for turn in turns])
        total += count
        assert wrong == []
    record_property("no torn artifact: two processes", f"0 bad of {total} states of {mixtures} mixtures")


def test_the_rules_on_a_dict_are_those_of_the_store(trace: Trace, tmp_path: Path) -> None:
    disk = Disk()
    number = 0
    for event in without(trace, "sync"):
        if isinstance(event, Acknowledged):
            continue
        disk.apply(event)
        for state in list(disk.states())[::5]:
            number += 1
            store = Store(tmp_path / str(number))
            for path, data in state.items():
                place = store.root / path.parent.name / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            damaged = set()
            for artifact in store.list():
                try:
                    store.verify(artifact)
                except durable.InputError:
                    damaged.add(artifact[:8])
            assert damaged == {
                word for fault in faults(state, set()) for word in fault.split() if len(word) == 8 and word.isalnum()
            } & {a[:8] for a in store.list()}
        if number > 150:
            return


def test_folders_that_somebody_else_just_made_are_made_durable(tmp_path: Path) -> None:
    made = [e for e in record(tmp_path, (1,)) if isinstance(e, Step) and e.operation == "mkdir"]
    assert len(made) == 3
    mine = record(tmp_path, (1,), exists=True)
    assert explore([*made, *mine])[1] == []
    assert [e.operation for e in mine[:2] if isinstance(e, Step)] == ["sync folder", "sync folder"]
    assert explore([*made, *mine[2:]])[1] != [], "without these two it could be lost"


def without(trace: Trace, operation: str) -> Trace:
    """The trace of a program that forgot one kind of step."""
    return [e for e in trace if isinstance(e, Acknowledged) or e.operation != operation]


def manifest_first(trace: Trace) -> Trace:
    """The trace of a program that writes the manifest before what it names."""
    ordered: list[Step | Acknowledged] = []
    pending: list[Step | Acknowledged] = []
    for event in trace:
        pending.append(event)
        if isinstance(event, Acknowledged):
            ordered += sorted(pending, key=lambda e: isinstance(e, Acknowledged) or "manifests" not in str(e.path))
            pending = []
    return ordered


def _manifest_before_blobs(event: Step | Acknowledged) -> int:
    return 2 if isinstance(event, Acknowledged) else int("manifests" not in str(event.path))


def in_place(trace: Trace) -> Trace:
    """The trace of a program that writes under the final name at once."""
    final = {e.path: e.target for e in trace if isinstance(e, Step) and e.target}
    return [
        e if isinstance(e, Acknowledged) else Step(e.operation, final.get(e.path) or e.path, e.data)
        for e in trace
        if isinstance(e, Acknowledged) or e.operation != "replace"
    ]


@pytest.mark.parametrize(
    "forget",
    [
        pytest.param(lambda t: without(t, "sync"), id="no fsync of files"),
        pytest.param(lambda t: without(t, "sync folder"), id="no fsync of folders"),
        pytest.param(manifest_first, id="manifest first"),
        pytest.param(in_place, id="no rename"),
    ],
)
def test_every_guard_is_needed(trace: Trace, forget: Callable[[Trace], Trace]) -> None:
    short = trace[: next(i for i, e in enumerate(trace) if isinstance(e, Acknowledged)) + 1]
    _, wrong = explore(forget(short))
    assert wrong
