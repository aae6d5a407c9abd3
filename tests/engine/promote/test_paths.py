"""Names from outside: none becomes a path or a key that leads out of the store, through whatever door it comes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from engine.errors import ArtifactError, InputError
from engine.promote.card import card
from engine.promote.gc import collect
from engine.promote.ledger import Ledger
from engine.promote.rollback import promote, rollback
from engine.promote.store import Store
from engine.records import Stage, canonical
from tests.engine.promote.conftest import bring

VECTORS = [
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
    *[
        "a//b",
        "//",
        "a/",
        "..%c0%af",
        "%00",
        "a%00",
        "a\t",
        "..;/x",
        "....//x",
        "\u3002\u3002/x",
        "\uff0e\uff0e\uff0fx",
        "a\u200b",
    ],
]


Raw = Callable[[Store, str, str], Any]


@pytest.fixture
def store(place: str) -> Store:
    return Store(place)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"  # the database does not matter here


@pytest.fixture
def everything(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Callable[[], list[str]]:
    """All names there are, in the store and around it."""

    def look() -> list[str]:
        found = [str(path) for path in tmp_path.rglob("*") if "ledger.db" not in path.name]
        if "://" in store.url:
            client = request.getfixturevalue("s3").client()
            bucket = store.url.split("/")[2]
            found += [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return sorted(found)

    return look


def forge(store: Store, raw: Raw, artifact: str, files: dict[str, Any]) -> str:
    """A manifest that its own id agrees with, of other files."""
    data = canonical({**store.manifest(artifact), "files": files}).encode("utf-8", "surrogatepass")
    other = hashlib.sha256(data).hexdigest()
    raw(store, "manifests", f"{other}.json").write_bytes(data)
    return other


def test_no_name_leaves_the_store_through_any_door(
    store: Store,
    raw: Raw,
    ledger: Ledger,
    url: str,
    everything: Callable[[], list[str]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    artifact = store.put({"a": b"evil"}, {})
    entry = store.manifest(artifact)["files"]["a"]
    bring(ledger, artifact)
    doors: dict[str, Callable[[str], object]] = {
        "put": lambda v: store.put({v: b"evil"}, {}),
        "manifest": store.manifest,
        "read": lambda v: store.read(v, "a"),
        "read a file": lambda v: store.read(artifact, v),
        "verify": store.verify,
        "export": lambda v: store.export(v, tmp_path / "out" / "deep"),
        "where": store.where,
        "card": lambda v: card(ledger, store, v),
        "promote": lambda v: promote(ledger, store, model=v, target=Stage.STAGING, reason="r", actor="a"),
        "roll back": lambda v: rollback(ledger, store, to=v or ".", reason="r", actor="a"),
        "loop": lambda v: Ledger.open(url, v),
    }
    refused, before = 0, everything()
    for vector in VECTORS:
        for name, door in doors.items():
            with pytest.raises(InputError) as caught:
                door(vector)
            assert "\n" not in str(caught.value), name
            refused += 1
    assert everything() == before
    for vector in VECTORS if store.root.exists() else VECTORS[::10]:  # the same code; a bucket takes its time
        with contextlib.suppress(UnicodeEncodeError):  # canonical JSON has no lone surrogate
            forged = forge(store, raw, artifact, {vector: entry})
            inside = everything()
            with pytest.raises(InputError, match="is no usable name"):
                store.export(forged, tmp_path / "out" / "deep")
            forged_blob = forge(store, raw, artifact, {"a": {"sha256": vector, "size": 4}})
            with pytest.raises(InputError, match="is no artifact id"):
                store.read(forged_blob, "a")
            raw(store, "manifests", f"{forged_blob}.json").unlink()
            assert everything() == inside
            raw(store, "manifests", f"{forged}.json").unlink()
            refused += 2
    kind = "folder" if "://" not in store.url else "bucket"
    count = len(VECTORS)
    doors_and_files = len(doors) + 2  # export and read of a forged manifest
    record_property(f"names that leave a {kind}", f"0 of {refused} tries: {count} vectors, {doors_and_files} doors")
    assert count >= 60


@pytest.mark.parametrize("vector", VECTORS)
def test_no_prefix_leaves_its_bucket(vector: str) -> None:
    try:
        place = Store(f"s3://bucket/models/{vector}").url
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert place.startswith("s3://bucket/models")
    assert not {"", ".", ".."} & set(place.removeprefix("s3://").split("/"))


def test_gc_leaves_names_alone_that_are_not_its_own(
    store: Store, raw: Raw, ledger: Ledger, everything: Callable[[], list[str]]
) -> None:
    artifact = store.put({"a": b"a"}, {})
    bring(ledger, artifact)
    strange = 0
    for vector in VECTORS:
        if "/" in vector or vector in ("", ".", ".."):
            continue  # no one name
        for kind in ("blobs", "manifests"):
            with contextlib.suppress(OSError, ValueError, ClientError):
                raw(store, kind, vector).write_bytes(b"somebody's")
                strange += 1
    assert strange > 100
    before = everything()
    assert collect([ledger], store, older_than=timedelta(0)).files == 0
    assert everything() == before
    store.verify(artifact)


def test_sizes_and_kinds_inside_a_forged_manifest_are_proved(store: Store, raw: Raw) -> None:
    artifact = store.put({"a": b"evil"}, {})
    entry = store.manifest(artifact)["files"]["a"]
    for digest in ("A" * 64, 5, None, ["a"], "../manifests/x"):
        with pytest.raises(InputError, match="is no artifact id"):
            store.read(forge(store, raw, artifact, {"a": {**entry, "sha256": digest}}), "a")
    with pytest.raises(ArtifactError, match="4 bytes instead of 5"):
        store.read(forge(store, raw, artifact, {"a": {**entry, "size": 5}}), "a")


@pytest.mark.parametrize("kind", ["blobs", "manifests", "signatures"])
def test_a_folder_swapped_for_a_link_is_refused(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path / "artifacts")
    artifact = store.put({"a": b"a"}, {})
    (tmp_path / "target").mkdir()
    (store.root / kind).rename(tmp_path / "moved") if kind != "signatures" else None
    (store.root / kind).symlink_to(tmp_path / "target")
    with pytest.raises(ArtifactError, match="this link leads out of the store"):
        store.place.write(kind, f"{artifact}.json", json.dumps({}).encode())
    if kind != "signatures":
        with pytest.raises(ArtifactError, match="this link leads out of the store"):
            store.put({"a": b"a"}, {})
    assert list((tmp_path / "target").iterdir()) == []
