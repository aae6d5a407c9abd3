"""Buckets: no broken artifact is seen whatever the server does, every refusal is one line, nothing hangs."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import ArtifactError, ConfigError, InputError
from engine.promote import objects
from engine.promote.gc import collect
from engine.promote.ledger import Ledger
from engine.promote.place import Entry
from engine.promote.store import Store
from engine.system import durable
from tests.engine.promote.buckets import ENVIRONMENT, Environ, Server, error
from tests.engine.promote.conftest import make, open_filesystem
from tests.patience import ENOUGH, timed

Record = Callable[[str, object], None]
NOW = timedelta(0)


@pytest.fixture
def store(s3: Server) -> Store:
    return Store(s3.bucket())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"  # the database does not matter here


def refusal(action: Callable[[], object]) -> str:
    """The one line of an action that is refused, without any secret."""
    with pytest.raises(InputError) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line
    assert " - " in line
    assert caught.value.exit_code == 2
    assert not [value for value in ENVIRONMENT.values() if value.startswith("canary") and value in line]
    return line


def from_request(k: int, answer: tuple[str, bytes]) -> Callable[[Environ], tuple[str, bytes] | None]:
    """The server fails from its k-th request on."""
    count = itertools.count()
    return lambda environ: answer if next(count) >= k else None


# ---- whole or not there ------------------------------------------------------------------------------------


def whole(store: Store) -> bool:
    """Is every artifact that can be seen as it should be."""
    for artifact in store.list():
        store.verify(artifact)
    return True


@pytest.mark.parametrize("errors", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_server_that_fails_at_any_request_shows_no_broken_artifact(
    s3: Server, store: Store, errors: int, record_property: Record
) -> None:
    with s3.ruled(lambda _: None) as requests:
        expected = make(store, "text")
    total = len(requests)
    assert [path.split("/")[4] for method, path in requests if method == "PUT"] == [
        "locks",
        "blobs",
        "blobs",
        "manifests",
    ]
    answers = {
        "denied": error("403 Forbidden", "AccessDenied"),
        "full": error("507 Insufficient Storage", "InsufficientStorage"),
        "broken": error("500 Internal Server Error", "InternalError"),
        "busy": error("503 Service Unavailable", "SlowDown"),
    }
    said = {"denied": "access is denied", "broken": "the store failed", "full": "the store is full", "busy": "is busy"}
    refused = 0
    for name, answer in [*answers.items()][:errors]:
        for k in range(total):
            prefix = f"{store.url}/{name}-{k}"
            broken = Store(prefix)
            with s3.ruled(from_request(k, answer)):
                if k < total - 1:
                    assert said[name] in refusal(lambda broken=broken: make(broken, "text"))  # type: ignore[misc]
                else:  # the lock could not be taken away: the put is done
                    assert make(broken, "text") == expected
                refused += 1
            assert whole(broken)
            assert broken.list() == ([expected] if k >= total - 1 else [])
            assert make(broken, "text") == expected, "the same command again"
            assert whole(broken)
    record_property(
        "a failing bucket leaves nothing broken", f"{refused} of {errors * total} ({errors} errors at each request)"
    )


def test_a_put_that_is_cut_off_after_any_request_shows_no_broken_artifact(
    s3: Server, store: Store, record_property: Record
) -> None:
    """Every order in which what was asked for may have reached the store: all subsets of unanswered requests."""
    bodies: list[durable.Step] = []

    def watch(step: durable.Step, execute: Callable[[], None]) -> None:
        bodies.append(step)
        execute()

    shared = {"encoder": b"same", "config": b"{}"}
    with durable.intercept(watch):
        first = store.put({"weights": b"1" * 64, **shared}, {"n": 1})
        second = store.put({"weights": b"2" * 64, **shared}, {"n": 2})
    steps = [step for step in bodies if step.path.parent.name != "locks"]
    states = 0
    seen: set[frozenset[str]] = set()
    for k in range(len(steps) + 1):
        sure = {f"{s.path.parent.name}/{s.path.name}": s.data for s in steps[:k]}
        flying = steps[k : k + 1]  # one request is out at a time: it may have arrived, or not
        for arrived in ([], flying):
            state = sure | {f"{s.path.parent.name}/{s.path.name}": s.data for s in arrived}
            states += 1
            seen.add(frozenset(state))
            target = Store(f"{store.url}/state-{states}")
            for name, data in state.items():
                kind, _, key = name.partition("/")
                target.place.write(kind, key, data)
            assert whole(target)
            assert set(target.list()) <= {first, second}
    assert len(seen) >= 7
    early = [s for s in steps if s.path.parent.name == "manifests"][:1]
    target = Store(f"{store.url}/wrong")
    target.place.write("manifests", early[0].path.name, early[0].data)
    with pytest.raises(ArtifactError, match="the file is missing"):
        whole(target)  # what a manifest that does not come last would look like
    record_property("a put cut off between any two requests", f"0 broken artifacts seen in {states} states")


def test_a_large_file_is_uploaded_in_parts_and_seen_at_the_end_alone(
    s3: Server, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART", 5 << 20)  # the least that S3 takes
    source = tmp_path / "weights"
    source.write_bytes(os.urandom(11 << 20))
    with s3.ruled(lambda _: None) as requests:
        artifact = store.put({"weights": source}, {})
    assert sum(method == "PUT" and "/blobs/" in path for method, path in requests) == 2
    assert store.read(artifact, "weights") == source.read_bytes()
    source.write_bytes(os.urandom(11 << 20))

    def fail(environ: Environ) -> tuple[str, bytes] | None:
        second = "partNumber=2" in environ["QUERY_STRING"]
        return error("500 Internal Server Error", "InternalError") if second else None

    with s3.ruled(fail):
        assert "the store failed" in refusal(lambda: store.put({"weights": source}, {}))
    assert len(store.blobs()) == 1
    assert store.list() == [artifact]


def test_a_source_that_changes_meanwhile_is_not_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART", 5 << 20)
    turns = itertools.count()

    def content() -> Iterator[bytes]:
        turn = next(turns)
        return iter([bytes([turn]) * (6 << 20)])

    with pytest.raises(ArtifactError, match="its source changed meanwhile - put it again"):
        store.place.add_blob(content)
    assert store.blobs() == []


# ---- gc and puts -------------------------------------------------------------------------------------------


def test_gc_and_puts_never_meet(
    s3: Server, store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    """A whole put at each request of gc, and a whole gc at each request of a put, on shared old blobs."""
    monkeypatch.setattr(objects, "PATIENCE", ENOUGH)
    objects_seen = {"put in gc": 0, "gc in put": 0}

    def between(outer: Callable[[], object], inner: Callable[[], object], at: int) -> bool:
        count, done = itertools.count(), False

        def meet(_step: durable.Step, execute: Callable[[], None]) -> None:
            nonlocal done
            if threading.current_thread() is threading.main_thread() and next(count) == at:
                done = True
                other = threading.Thread(target=inner)
                other.start()
                other.join(0.1)
                execute()
                others.append(other)
            else:
                execute()

        others: list[threading.Thread] = []
        with durable.intercept(meet):
            outer()
            for other in others:
                other.join()
        return done

    def scene(name: str, at: int) -> bool:
        old = make(store, f"{name}-{at}")  # nobody refers to it
        s3.age(store.url, 2)
        made: list[str] = []

        def put() -> None:  # the same weights and config again, under another manifest
            weights = f"{name}-{at}".encode() * 100
            made.append(store.put({"weights.safetensors": weights, "config.json": b"{}"}, {"new": at, "at": name}))

        def clean() -> None:
            with contextlib.suppress(InputError):  # it says that puts are under way
                collect([ledger], store)

        met = between(clean, put, at) if name == "put in gc" else between(put, clean, at)
        if met:
            objects_seen[name] += 1
            assert whole(store)
            assert made[0] in store.list()
            assert made[0] != old
        return met

    for name in objects_seen:
        at = 0
        while scene(name, at):
            at += 1
    assert min(objects_seen.values()) >= 5
    record_property("puts met by gc at each request", f"0 artifacts harmed in {sum(objects_seen.values())} meetings")


def test_gc_waits_for_a_put_and_says_which(
    s3: Server, store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PATIENCE", 0.3)
    store.place.write("locks", "feed.put", b"")
    line = refusal(lambda: collect([ledger], store))
    assert line.startswith(
        f"{store.url}: puts are under way - run the same command again later; if its process is dead, "
    )
    assert line.endswith(f"remove {store.url}/locks/feed.put")
    for name in ("dead.gc", "dead.now", "dead.probe"):
        store.place.write("locks", name, b"")
    s3.age(store.url, 1.1)
    assert collect([ledger], store, older_than=NOW).files == 4, "their leases are over"
    assert list(store.place.entries("locks")) == []


def test_a_put_waits_for_gc_and_gc_that_slept_stops(s3: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PATIENCE", 0.3)
    with store.lock(exclusive=True) as keep:
        assert ": gc is at work - " in refusal(lambda: make(store, "a"))
        keep()
        later = time.monotonic() + 400
        with monkeypatch.context() as asleep:
            asleep.setattr(
                objects, "time", SimpleNamespace(monotonic=lambda: later)
            )  # no other clock: requests need it
            assert "gc was held up for 4" in refusal(keep)
    make(store, "a")
    store.place.write("locks", "dead.gc", b"")
    s3.age(f"{store.url}/locks", 0.1)
    make(store, "b")
    assert len(store.list()) == 2


# ---- what is said ------------------------------------------------------------------------------------------


def test_a_store_that_does_not_honour_conditions_is_named(s3: Server, store: Store) -> None:
    assert list(store.remarks()) == []

    def ignore(environ: Environ) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)

    with s3.ruled(ignore):
        (remark,) = store.remarks()
    assert remark.startswith(f"{store.url}: conditional writes (If-None-Match) are not honoured - ")
    assert list(store.place.entries("locks")) == []
    with s3.ruled(ignore):
        assert whole(store)
        first = make(store, "a")
        assert make(store, "a") == first
        assert whole(store)


def test_a_store_that_does_not_list_what_was_written_is_refused(s3: Server, store: Store) -> None:
    def blind(environ: Environ) -> tuple[str, bytes] | None:
        lists = environ["REQUEST_METHOD"] == "GET" and "list-type" in environ["QUERY_STRING"]
        return ("200 OK", b"<ListBucketResult></ListBucketResult>") if lists else None

    with s3.ruled(blind):
        assert "does not list what was written" in refusal(lambda: make(store, "a"))


def test_credentials_and_buckets_that_are_wrong(s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(objects, "_open", open_filesystem)
    url = "s3://no-such-bucket-at-all/p"
    for action in (
        lambda: make(Store(url), "a"),
        lambda: Store(url).list(),
        lambda: Store(url).remarks(),
        lambda: Store(url).verify("0" * 64),
    ):
        assert "there is no such bucket" in refusal(action) or action.__code__.co_names[-1] == "verify"
    for code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
        told = error("403 Forbidden", code, f"the key {ENVIRONMENT['AWS_SECRET_ACCESS_KEY']} is wrong")
        with s3.ruled(lambda _, told=told: told):  # type: ignore[misc]
            assert f"access is denied ({code}) - check the credentials" in refusal(
                lambda: make(Store(s3.bucket()), "a")
            )
    for name in ENVIRONMENT:
        if name.startswith("AWS_") and "METADATA" not in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ": no credentials were found - set AWS_PROFILE" in refusal(lambda: Store("s3://bucket/p").list())


def test_nothing_hangs(s3: Server, monkeypatch: pytest.MonkeyPatch, record_property: Record) -> None:
    monkeypatch.setattr(objects, "_open", open_filesystem)
    monkeypatch.setattr(objects, "CONNECT", 0.4)
    monkeypatch.setattr(objects, "ANSWER", 0.6)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        port = closed.getsockname()[1]
        for place in (f"http://127.0.0.1:{silent.getsockname()[1]}", f"http://127.0.0.1:{port}"):
            monkeypatch.setenv("AWS_ENDPOINT_URL", place)
            said, seconds = timed(lambda: refusal(lambda: Store("s3://bucket/p").list()), 3 * 1.0 + 4)
            assert "does not answer - check the network and the endpoint" in said
            assert seconds < 3 * 1.0 + 4, "three tries"
    record_property("a silent bucket is given up", f"after {objects.TRIES} tries of {4 + 6} s at most")


@pytest.mark.parametrize(
    "url",
    ["sftp://host/p", "file:///etc", "http://host/p", "memory://p", "s3fs://bucket", "S3://bucket/p", "://bucket"],
)
def test_places_that_may_show_half_a_file_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"promote\.store: .*:// is no object store that shows whole"):
        Store(url)


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def absent(*_words: object, **_options: object) -> None:
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", absent)
    for package, url, cure in (("s3fs", "s3://bucket", "'tidegate[s3]'"), ("gcsfs", "gs://bucket", "gcsfs")):
        with pytest.raises(ConfigError) as caught:
            Store(url).list()
        assert (
            str(caught.value)
            == f"promote.store: {url[:2]}:// needs {package}, which is not installed - pip install {cure}"
        )


def test_a_name_that_is_gone_is_removed_in_peace(store: Store) -> None:
    store.place.remove(Entry("blobs", "0" * 64, 0, 0.0))
