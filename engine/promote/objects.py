"""An object store as the place of a store: s3:// (tidegate[s3]), gs:// and abfs:// through fsspec.

An object is seen once its upload is complete, whole or not at all, and then by everybody at once: S3, Google Cloud
Storage and Azure promise that. What only looks like one and may show half a file (sftp, ftp, hdfs) is refused.

Blobs and manifests are written without a condition, also over equal ones: their keys name their content, so whoever
comes second writes the same bytes, heals a damaged object, and makes it young again for gc. With `If-None-Match` an
old blob would be found, not written, and gc could take it away under the artifact that needs it. So no write here
hangs on a condition; `remarks` says all the same where a store does not honour one.

There is no flock. `locks/<token>.put` stands while a put is under way, `locks/<token>.gc` while gc removes. Each
writes its own object first and lists second; these stores list what was written, so of two that meet at least one
sees the other: a put waits, gc steps back. Whoever dies leaves its object, which counts until its lease is over. So
what must hold is: no put takes longer than PUT_LEASE, and gc, which renews its lease as it goes, does not sleep
between that look and the one removal after it for longer than what is left of it.

Credentials and endpoint come from the environment (AWS_PROFILE, AWS_ENDPOINT_URL ...), never from the URL.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import ArtifactError, ConfigError, InputError
from engine.promote.object_errors import explained, is_missing
from engine.promote.place import Content, Digest, Entry
from engine.system import durable
from engine.system.durable import Step

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
PUT_LEASE = 86400.0  # seconds that a put may take; what one that died leaves is in the way of gc for so long
GC_LEASE = 600.0  # seconds that gc may be silent
PATIENCE = 20.0  # seconds that puts and gc wait for each other
PAUSE = 0.5  # seconds between two looks, at most
CONNECT, ANSWER, TRIES = 4.0, 6.0, 3  # seconds to connect and to wait for bytes; how often: 30 s in all at most
PART = 16 << 20  # bytes of one part of a large upload

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,254}")
_SEGMENT = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,127}")


class Objects:
    """Names below one prefix of a bucket."""

    def __init__(self, url: str) -> None:
        self.url = check_url(url)
        self._prefix = self.url.partition("://")[2]
        self._opened: Any = None
        self._held: set[str] = set()  # our own objects in locks/

    def where(self, kind: str, name: str) -> str:
        """The URL."""
        return f"{self.url}/{kind}/{name}"

    def settle(self, kinds: Iterable[str]) -> None:
        """Nothing: there are no folders."""

    def add_blob(self, content: Content) -> tuple[str, int]:
        """Read the content twice: the key must be known before the first byte is sent."""
        seen = Digest()
        for _ in seen.over(content()):
            pass
        sha256, size = seen.pair
        if size <= PART:
            self.write("blobs", sha256, b"".join(content()))
        else:
            self._upload(sha256, content)
        return sha256, size

    def write(self, kind: str, name: str, data: bytes) -> None:
        """One request."""

        def execute(key: str) -> None:
            self._fs.pipe_file(key, data)

        self._perform("upload", kind, name, execute, data)

    def read(self, kind: str, name: str, where: str) -> Iterator[bytes]:
        """The bytes of a name in pieces."""
        with _reported(where):
            file = self._fs.open(self._key(kind, name), "rb", block_size=durable.CHUNK, cache_type="none")
        with file:
            while chunk := self._piece(file, where):
                yield chunk

    def entries(self, kind: str) -> Iterator[Entry]:
        """All names of a kind, listed anew."""
        folder = f"{self._prefix}/{kind}"
        with _reported(f"{self.url}/{kind}"):
            try:
                listed = self._fs.ls(folder, detail=True, refresh=True)
            except FileNotFoundError as error:
                if not is_missing(error):  # a bucket that does not exist is not an empty one
                    raise
                return
        for found in listed:
            if found["type"] == "file" and found["name"] != folder:
                changed = found.get("LastModified") or found.get("updated") or found.get("last_modified")
                yield Entry(kind, found["name"].rpartition("/")[2], int(found["size"]), _seconds(changed))

    def leftovers(self) -> Iterator[Entry]:
        """The locks of the dead. Parts of uploads that were cut off: let a rule of the bucket remove them."""
        return (entry for entry in self.entries("locks") if entry.name not in self._held)

    def remove(self, entry: Entry) -> None:
        """One request."""

        def execute(key: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(key)

        self._perform("remove", entry.kind, entry.name, execute)

    def now(self) -> float:
        """The clock of the store, told by an object that is written for it."""
        name = f"{secrets.token_hex(8)}.now"
        self.write("locks", name, b"")
        try:
            return next(entry.modified for entry in self.entries("locks") if entry.name == name)
        finally:
            self.remove(Entry("locks", name, 0, 0.0))

    @contextmanager
    def lock(self, *, exclusive: bool = False) -> Iterator[Callable[[], None]]:
        """See above. InputError where the other side does not make way in time."""
        name = f"{secrets.token_hex(8)}.{'gc' if exclusive else 'put'}"
        lease = _Lease(self, name)
        self._held.add(name)
        try:
            self._wait(lease, name, exclusive)
            yield lease.keep if exclusive else lambda: None
        finally:
            with contextlib.suppress(InputError):  # what was done is done; the lease ends by itself
                self.remove(Entry("locks", name, 0, 0.0))
            self._held.discard(name)

    def remarks(self) -> list[str]:
        """Write, condition, remove: three requests."""
        name = f"{secrets.token_hex(8)}.probe"
        key = self._key("locks", name)
        self.write("locks", name, b"1")
        try:
            with _reported(self.url):
                refused = False
                try:
                    self._fs.pipe_file(key, b"2", mode="create")
                except FileExistsError:
                    refused = True
                except (NotImplementedError, TypeError, ValueError):
                    pass
        finally:
            self.remove(Entry("locks", name, 0, 0.0))
        if refused:
            return []
        return [
            f"{self.url}: conditional writes (If-None-Match) are not honoured - no decision of tidegate hangs on one;"
            " keep other programs from writing below this prefix"
        ]

    # ---- inside --------------------------------------------------------------------------------------------

    def _wait(self, lease: _Lease, name: str, exclusive: bool) -> None:
        """Until nobody is in the way."""
        ends = time.monotonic() + PATIENCE
        while True:
            lease.renew()
            others = self._in_the_way(name, exclusive)
            if not others:
                return
            if time.monotonic() > ends:
                who = "puts are under way" if others[0].endswith(".put") else "gc is at work"
                cure = (
                    f"run the same command again later; if its process is dead, remove {self.where('locks', others[0])}"
                )
                raise InputError(self.url, who, cure)
            if exclusive:  # puts go first
                self.remove(Entry("locks", name, 0, 0.0))
            time.sleep(PAUSE * (1 + secrets.randbelow(1000)) / 1000)

    def _in_the_way(self, name: str, exclusive: bool) -> list[str]:
        """The locks of others that count: gc heeds all, a put heeds gc. By the clock of the store."""
        entries = list(self.entries("locks"))
        now = next((entry.modified for entry in entries if entry.name == name), None)
        if now is None:
            raise InputError(self.url, "does not list what was written", "use a store that does, such as S3")
        leases = {".gc": GC_LEASE} | ({".put": PUT_LEASE} if exclusive else {})
        return sorted(
            entry.name
            for entry in entries
            if entry.name != name and now - entry.modified < leases.get(Path(entry.name).suffix, 0.0)
        )

    def _upload(self, sha256: str, content: Content) -> None:
        """In parts; the object is seen once the last request completes it, which an error prevents."""

        def execute(key: str) -> None:
            sent = Digest()
            file = self._fs.open(key, "wb", block_size=PART, autocommit=False)
            try:
                for chunk in sent.over(content()):
                    file.write(chunk)
                if sent.pair[0] != sha256:
                    raise ArtifactError(self.where("blobs", sha256), "its source changed meanwhile", "put it again")
                file.close()
                file.commit()
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    file.discard()
                file.closed = True  # else its __del__ would flush what was just discarded
                raise

        self._perform("upload", "blobs", sha256, execute)

    def _piece(self, file: Any, where: str) -> bytes:
        with _reported(where):
            chunk: bytes = file.read(durable.CHUNK)
        return chunk

    def _perform(self, operation: str, kind: str, name: str, execute: Callable[[str], None], data: bytes = b"") -> None:
        key = self._key(kind, name)
        with _reported(self.where(kind, name)):
            durable.perform(Step(operation, Path(key), data), lambda: execute(key))

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}/{kind}/{name}"

    @property
    def _fs(self) -> Any:
        if self._opened is None:
            self._opened = _open(self.url)
        return self._opened


class _Lease:
    """One object in locks/ that says: I am here."""

    def __init__(self, place: Objects, name: str) -> None:
        self._place, self._name, self._renewed = place, name, 0.0

    def renew(self) -> None:
        """Write it, which makes it young."""
        began = time.monotonic()
        self._place.write("locks", self._name, b"")
        self._renewed = began

    def keep(self) -> None:
        """Renew it in good time; InputError where it may have run out while this process slept."""
        silent = time.monotonic() - self._renewed
        if silent > GC_LEASE / 2:
            raise InputError(self._place.url, f"gc was held up for {silent:.0f} s", "run the same command again")
        if silent > GC_LEASE / 10:
            self.renew()


def check_url(url: str) -> str:
    """The URL of a prefix, without a slash at its end; ConfigError where it is none, without showing what it holds."""
    scheme, _, rest = url.partition("://")
    where = "promote.store"
    if scheme not in PACKAGES:
        cure = f"use a local folder, or one of {', '.join(f'{known}://' for known in PACKAGES)}"
        raise ConfigError(where, f"{ascii(scheme)[:40]}:// is no object store that shows whole objects alone", cure)
    bucket, *segments = rest.rstrip("/").split("/")
    if "@" in rest or "?" in rest:
        cure = "give credentials through the environment, such as AWS_PROFILE"
        raise ConfigError(where, f"{scheme}://... carries more than a bucket and a prefix", cure)
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or not all(_SEGMENT.fullmatch(s) for s in segments):
        cure = (
            f"write it as {scheme}://bucket/prefix, of letters, digits, '.', '_', '-', '='; no part begins with a dot"
        )
        raise ConfigError(where, f"{scheme}://... is no usable URL", cure)
    return "/".join([f"{scheme}://{bucket}", *segments])


def _open(url: str) -> Any:
    """The filesystem of a URL, with bounded patience and no memory of listings."""
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        options["config_kwargs"] = {
            "connect_timeout": CONNECT,
            "read_timeout": ANSWER,
            "retries": {"total_max_attempts": 1},  # s3fs tries again itself
        }
    try:
        import fsspec

        filesystem = fsspec.filesystem(scheme, **options)
    except ImportError:
        package = PACKAGES[scheme]
        cure = "pip install 'tidegate[s3]'" if scheme == "s3" else f"pip install {package}"
        raise ConfigError("promote.store", f"{scheme}:// needs {package}, which is not installed", cure) from None
    except Exception as error:
        raise explained(url, error) from error
    filesystem.retries = TRIES
    return filesystem


@contextmanager
def _reported(where: str) -> Iterator[None]:
    """Turn whatever a filesystem raises into one line about `where`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise explained(where, error) from error


def _seconds(moment: Any) -> float:
    return float(moment.timestamp()) if moment is not None else time.time()
