"""The artifact store: what goes in comes out, and what is damaged is named, never returned."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ArtifactError, InputError
from engine.promote.store import Store
from engine.system import durable
from tests.engine.promote.conftest import make

FILES = {"weights.safetensors": bytes(range(256)) * 8, "encoder.json": b'{"a":1}', "empty": b""}


Raw = Callable[[Store, str, str], Any]
Blob = Callable[[Store, str, str], Any]
Stored = Callable[[Store, str], Any]


@pytest.fixture
def store(place: str) -> Store:
    """One body of tests, every place."""
    return Store(place)


@pytest.fixture
def blob(raw: Raw) -> Callable[[Store, str, str], Any]:
    """The stored bytes of one file of an artifact."""
    return lambda store, artifact, name: raw(store, "blobs", store.manifest(artifact)["files"][name]["sha256"])


@pytest.fixture
def stored(raw: Raw) -> Callable[[Store, str], Any]:
    """The stored bytes of a manifest."""
    return lambda store, artifact: raw(store, "manifests", f"{artifact}.json")


def test_what_goes_in_comes_out(store: Store) -> None:
    artifact = store.put(FILES, {"fingerprint": "f", "metrics": {"auroc": 0.7}})
    assert {name: store.read(artifact, name) for name in FILES} == FILES
    manifest = store.manifest(artifact)
    assert manifest["metrics"] == {"auroc": 0.7}
    assert manifest["files"]["empty"] == {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0}
    assert store.list() == [artifact]
    store.verify(artifact)


def test_the_id_is_the_hash_of_the_manifest(store: Store, stored: Stored) -> None:
    artifact = store.put(FILES, {})
    assert hashlib.sha256(stored(store, artifact).read_bytes()).hexdigest() == artifact


def test_putting_twice_is_putting_once(store: Store) -> None:
    first = store.put(FILES, {"b": 1, "a": 2})
    assert store.put(dict(reversed(FILES.items())), {"a": 2, "b": 1}) == first
    assert len(store.blobs()) == len(FILES)
    assert store.put(FILES, {"a": 3}) != first
    assert len(store.blobs()) == len(FILES), "equal files are kept once"


def test_files_can_come_from_paths(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(durable.CHUNK + 17))
    artifact = store.put({"weights": source}, {})
    assert store.read(artifact, "weights") == source.read_bytes()
    assert store.put({"weights": source.read_bytes()}, {}) == artifact


def test_a_source_that_is_missing_is_one_line(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere: the file is missing - "):
        store.put({"weights": tmp_path / "nowhere"}, {})
    assert store.list() == []
    assert store.leftovers() == []


def test_putting_again_heals(store: Store, blob: Blob) -> None:
    artifact = store.put(FILES, {})
    blob(store, artifact, "encoder.json").write_bytes(b"garbage")
    assert store.put(FILES, {}) == artifact
    store.verify(artifact)


def unlink(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [unlink, cut, lengthen, flip, empty, link, folder])
@pytest.mark.parametrize("part", ["manifest", "weights.safetensors"])
def test_damage_is_named_and_nothing_is_returned(
    store: Store, blob: Blob, stored: Stored, part: str, damage: Callable[[Any], None]
) -> None:
    artifact = store.put(FILES, {})
    path = stored(store, artifact) if part == "manifest" else blob(store, artifact, part)
    if damage in (link, folder) and not isinstance(path, Path):
        return  # a bucket has neither
    damage(path)
    for action in (store.verify, lambda a: store.read(a, "weights.safetensors")):
        with pytest.raises(ArtifactError) as caught:
            action(artifact)  # type: ignore[operator]
        line = str(caught.value)
        assert artifact in line
        assert "\n" not in line
        assert " - put an intact copy back" in line
        assert part in ("manifest",) or line.split(": ")[0].endswith(":weights.safetensors")


def test_damage_to_one_file_leaves_the_others_readable(store: Store, blob: Blob) -> None:
    artifact = store.put(FILES, {})
    flip(blob(store, artifact, "weights.safetensors"))
    assert store.read(artifact, "encoder.json") == FILES["encoder.json"]


def test_an_unknown_file_names_those_there_are(store: Store) -> None:
    artifact = store.put(FILES, {})
    with pytest.raises(ArtifactError, match=r"has no such file - its files are: empty, encoder\.json, weights"):
        store.read(artifact, "weigths")


def test_an_unknown_format_is_refused(store: Store, stored: Stored) -> None:
    data = stored(store, store.put({}, {})).read_bytes().replace(b'"format":1', b'"format":2')
    other = hashlib.sha256(data).hexdigest()
    stored(store, other).write_bytes(data)
    with pytest.raises(ArtifactError, match="format 2 is unknown - use the version of tidegate that wrote it"):
        store.manifest(other)


@pytest.mark.parametrize("key", ["files", "format"])
def test_keys_of_the_store_are_not_the_callers(store: Store, key: str) -> None:
    with pytest.raises(InputError, match=f"manifest:{key}: this key belongs to the store"):
        store.put(FILES, {key: 1})


def test_export_writes_proved_files(store: Store, blob: Blob, tmp_path: Path) -> None:
    artifact = store.put(FILES, {})
    out = store.export(artifact, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == FILES
    flip(blob(store, artifact, "weights.safetensors"))
    with pytest.raises(ArtifactError, match="the bytes are altered"):
        store.export(artifact, tmp_path / "again")
    assert not (tmp_path / "again" / "weights.safetensors").exists()


def test_the_manifest_is_written_last(store: Store) -> None:
    seen: list[str] = []

    def watch(step: durable.Step, execute: Callable[[], None]) -> None:
        if step.operation in ("replace", "upload"):
            seen.append((step.target or step.path).parent.name)
        execute()

    with durable.intercept(watch):
        store.put(FILES, {})
    assert [kind for kind in seen if kind != "locks"] == ["blobs"] * len(FILES) + ["manifests"]


def test_all_before_the_manifest_is_durable_when_it_is_begun(tmp_path: Path) -> None:
    steps: list[durable.Step] = []

    def watch(step: durable.Step, execute: Callable[[], None]) -> None:
        steps.append(step)
        execute()

    with durable.intercept(watch):
        Store(tmp_path).put(FILES, {})
    started = next(i for i, s in enumerate(steps) if s.path.parent.name == "manifests")
    last_of_blobs = max(i for i, s in enumerate(steps) if "blobs" in s.path.parts)
    assert last_of_blobs < started
    assert (steps[last_of_blobs].operation, steps[last_of_blobs].path.name) == ("sync folder", "blobs")


FAULTS = {
    "full": (errno.ENOSPC, ""),
    "broken": (errno.EIO, ""),
    "denied": (errno.EACCES, ""),
    "failed fsync": (errno.EIO, "sync"),
}


def test_a_disk_that_fails_at_any_step_leaves_what_can_be_read_whole(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    operations: list[str] = []

    def count(step: durable.Step, execute: Callable[[], None]) -> None:
        operations.append(step.operation)
        execute()

    with durable.intercept(count):
        expected = make(Store(tmp_path / "count"), "text")

    faults = 0
    for name, (code, only) in FAULTS.items():
        for at in [at for at, operation in enumerate(operations) if operation.startswith(only)]:
            store = Store(tmp_path / name / str(at))
            durable.make_folder(store.root.parent)
            seen = 0

            def fail(step: durable.Step, execute: Callable[[], None]) -> None:
                nonlocal seen
                seen += 1
                if seen > at and step.operation.startswith(only):  # noqa: B023
                    raise OSError(code, os.strerror(code))  # noqa: B023
                execute()

            with durable.intercept(fail), pytest.raises(InputError) as caught:
                make(store, "text")
            assert os.strerror(code) in str(caught.value)
            assert "\n" not in str(caught.value)
            for artifact in store.list():
                store.verify(artifact)
            assert list(store.leftovers()) == []
            assert make(store, "text") == expected
            store.verify(expected)
            faults += 1
    record_property("a failing disk under the store", f"{faults} of {faults} faults: one line, the earlier state whole")
    assert faults > 3 * len(operations) > 50
