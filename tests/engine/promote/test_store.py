"""The artifact store: what goes in comes out, and what is damaged is named, never returned."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import durable
from engine.errors import ArtifactError, InputError
from engine.promote.store import Store
from tests.engine.promote.conftest import make

FILES = {"weights.safetensors": bytes(range(256)) * 8, "encoder.json": b'{"a":1}', "empty": b""}


def blob(store: Store, artifact: str, name: str) -> Path:
    return store.root / "blobs" / store.manifest(artifact)["files"][name]["sha256"]


def test_what_goes_in_comes_out(store: Store) -> None:
    artifact = store.put(FILES, {"fingerprint": "f", "metrics": {"auroc": 0.7}})
    assert {name: store.read(artifact, name) for name in FILES} == FILES
    manifest = store.manifest(artifact)
    assert manifest["metrics"] == {"auroc": 0.7}
    assert manifest["files"]["empty"] == {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0}
    assert store.list() == [artifact]
    store.verify(artifact)


def test_the_id_is_the_hash_of_the_manifest(store: Store) -> None:
    artifact = store.put(FILES, {})
    assert hashlib.sha256(store.path_of(artifact).read_bytes()).hexdigest() == artifact


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


def test_putting_again_heals(store: Store) -> None:
    artifact = store.put(FILES, {})
    blob(store, artifact, "encoder.json").write_bytes(b"garbage")
    assert store.put(FILES, {}) == artifact
    store.verify(artifact)


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


@pytest.mark.parametrize("damage", [Path.unlink, cut, lengthen, flip, empty, link, folder])
@pytest.mark.parametrize("part", ["manifest", "weights.safetensors"])
def test_damage_is_named_and_nothing_is_returned(store: Store, part: str, damage: Callable[[Path], None]) -> None:
    artifact = store.put(FILES, {})
    path = store.path_of(artifact) if part == "manifest" else blob(store, artifact, part)
    damage(path)
    for action in (store.verify, lambda a: store.read(a, "weights.safetensors")):
        with pytest.raises(ArtifactError) as caught:
            action(artifact)  # type: ignore[operator]
        line = str(caught.value)
        assert artifact in line
        assert "\n" not in line
        assert " - put an intact copy back" in line
        assert part in ("manifest",) or line.split(": ")[0].endswith(":weights.safetensors")


def test_damage_to_one_file_leaves_the_others_readable(store: Store) -> None:
    artifact = store.put(FILES, {})
    flip(blob(store, artifact, "weights.safetensors"))
    assert store.read(artifact, "encoder.json") == FILES["encoder.json"]


def test_an_unknown_file_names_those_there_are(store: Store) -> None:
    artifact = store.put(FILES, {})
    with pytest.raises(ArtifactError, match=r"has no such file - its files are: empty, encoder\.json, weights"):
        store.read(artifact, "weigths")


def test_an_unknown_format_is_refused(store: Store) -> None:
    data = store.path_of(store.put({}, {})).read_bytes().replace(b'"format":1', b'"format":2')
    other = hashlib.sha256(data).hexdigest()
    store.path_of(other).write_bytes(data)
    with pytest.raises(ArtifactError, match="format 2 is unknown - use the version of tidegate that wrote it"):
        store.manifest(other)


@pytest.mark.parametrize("key", ["files", "format"])
def test_keys_of_the_store_are_not_the_callers(store: Store, key: str) -> None:
    with pytest.raises(InputError, match=f"manifest:{key}: this key belongs to the store"):
        store.put(FILES, {key: 1})


def test_export_writes_proved_files(store: Store, tmp_path: Path) -> None:
    artifact = store.put(FILES, {})
    out = store.export(artifact, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == FILES
    flip(blob(store, artifact, "weights.safetensors"))
    with pytest.raises(ArtifactError, match="the bytes are altered"):
        store.export(artifact, tmp_path / "again")
    assert not (tmp_path / "again" / "weights.safetensors").exists()


def test_the_manifest_is_written_last_and_all_before_it_is_durable(store: Store) -> None:
    steps: list[durable.Step] = []

    def watch(step: durable.Step, execute: Callable[[], None]) -> None:
        steps.append(step)
        execute()

    with durable.intercept(watch):
        artifact = store.put(FILES, {})
    renames = [s.target for s in steps if s.operation == "replace"]
    assert renames[-1] == store.path_of(artifact)
    assert len(renames) == len(FILES) + 1
    started = next(i for i, s in enumerate(steps) if s.path.parent.name == "manifests")
    last_of_blobs = max(i for i, s in enumerate(steps) if "blobs" in s.path.parts)
    assert last_of_blobs < started
    assert (steps[last_of_blobs].operation, steps[last_of_blobs].path.name) == ("sync folder", "blobs")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_at_any_step_leaves_what_can_be_read_whole(tmp_path: Path, code: int) -> None:
    total = 0

    def count(_step: durable.Step, execute: Callable[[], None]) -> None:
        nonlocal total
        total += 1
        execute()

    with durable.intercept(count):
        expected = make(Store(tmp_path / "count"), "text")

    for at in range(total):
        store = Store(tmp_path / str(at))
        seen = 0

        def fail(_step: durable.Step, execute: Callable[[], None], at: int = at) -> None:
            nonlocal seen
            seen += 1
            if seen > at:
                raise OSError(code, os.strerror(code))
            execute()

        with durable.intercept(fail), pytest.raises(InputError) as caught:
            make(store, "text")
        assert os.strerror(code) in str(caught.value)
        for artifact in store.list():
            store.verify(artifact)
        assert store.leftovers() == []
        assert make(store, "text") == expected
        store.verify(expected)


TRAVERSALS = [
    *["", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "//etc/passwd", "a/../../x", "a/b", "./a"],
    *[
        "..\\x",
        "C:\\x",
        "C:x",
        "\\\\server\\share",
        "a\\..\\b",
        "%2e%2e",
        "%2e%2e%2fx",
        "%252e%252e",
        "..%2f",
    ],
    *[
        "..%5c",
        "a#b",
        "a?b",
        "#",
        "?",
        "a\0b",
        "\0",
        "a\nb",
        "a\rb",
        "\x1b[31m",
        "~",
        "~root",
        "$HOME",
        "${x}",
    ],
    *["`id`", "a;b", "a|b", "a&b", "*", "a b", " a", "a ", ".hidden", "...", "a:b", "file:a", "http://a"],
    *[
        "CON",
        "con",
        "NUL",
        "nul.txt",
        "AUX",
        "PRN",
        "COM1",
        "lpt9.log",
        "x" * 129,
        "x" * 300,
        "\u2025",
        "\uff0e",
    ],
    *["\u00e9", "\u202e", "\ud800", "a\u0301", "\uff0f", "blobs/x", "manifests/x"],
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_leaves_the_store(store: Store, tmp_path: Path, name: str) -> None:
    artifact = store.put(FILES, {})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError):
        store.put({name: b"evil"}, {})
    for action in (store.manifest, store.verify, store.path_of, lambda a: store.read(a, "empty")):
        with pytest.raises(InputError, match=r"artifact: .* is no artifact id"):
            action(name)  # type: ignore[operator]
    with pytest.raises(ArtifactError):
        store.read(artifact, name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "..", "a/b"])
def test_names_inside_a_forged_manifest_do_not_become_paths(store: Store, tmp_path: Path, name: str) -> None:
    artifact = store.put({"a": b"evil"}, {})
    manifest = json.loads(store.path_of(artifact).read_bytes())
    manifest["files"] = {name: manifest["files"]["a"]}
    forged = json.dumps(manifest).encode()
    other = hashlib.sha256(forged).hexdigest()
    store.path_of(other).write_bytes(forged)
    with pytest.raises(InputError, match="is no usable name"):
        store.export(other, tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("digest", ["../manifests/x", "../../secret", "", "A" * 64, 5])
def test_digests_inside_a_forged_manifest_do_not_become_paths(store: Store, digest: object) -> None:
    artifact = store.put({"a": b"evil"}, {})
    manifest = json.loads(store.path_of(artifact).read_bytes())
    manifest["files"]["a"]["sha256"] = digest
    forged = json.dumps(manifest).encode()
    other = hashlib.sha256(forged).hexdigest()
    store.path_of(other).write_bytes(forged)
    with pytest.raises(InputError, match="is no artifact id"):
        store.read(other, "a")


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_a_folder_swapped_for_a_link_is_refused(store: Store, tmp_path: Path, kind: str) -> None:
    store.put(FILES, {})
    (store.root / kind).rename(tmp_path / "moved")
    (tmp_path / "target").mkdir()
    (store.root / kind).symlink_to(tmp_path / "target")
    with pytest.raises(ArtifactError, match="this link leads out of the store"):
        store.put(FILES, {})
    assert list((tmp_path / "target").iterdir()) == []
