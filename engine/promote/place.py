"""Where a store keeps its bytes: what a local folder and a bucket have in common.

Bytes are kept under a kind and a name:

    blobs/<sha256>              the bytes of one file
    signatures/<artifact>.json  who vouches for an artifact; only where a store signs
    manifests/<artifact>.json   written last: an artifact that can be seen is whole

What a place promises: a name is seen only once all its bytes are there and will stay; what was written is read
by everybody at once; to write a name again is to replace it whole. It does not prove what it reads: `Store` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from engine.system import durable

KINDS = ("blobs", "signatures", "manifests")
RESTORE = "put an intact copy back, or use another model"

Content = Callable[[], Iterator[bytes]]  # the pieces of a file, from its beginning at each call


@dataclass(frozen=True, order=True)
class Entry:
    """One name, as it was listed."""

    kind: str
    name: str
    size: int  # bytes
    modified: float  # seconds since 1970, by the clock of the place


class Place(Protocol):
    """A folder or a bucket."""

    url: str

    def where(self, kind: str, name: str) -> str:
        """What people are told of a name."""

    def settle(self, kinds: Iterable[str]) -> None:
        """Make ready to write; cheap when called again."""

    def add_blob(self, content: Content) -> tuple[str, int]:
        """Write a blob under the sha256 of its content, also over an equal one: sha256 and size in bytes.

        That heals a damaged blob, and tells gc that it is in use.
        """

    def write(self, kind: str, name: str, data: bytes) -> None:
        """Write a small name whole, or replace it."""

    def read(self, kind: str, name: str, where: str) -> Iterator[bytes]:
        """The bytes of a name in pieces; ArtifactError at `where` if it is missing or cannot be read."""

    def entries(self, kind: str) -> Iterator[Entry]:
        """All names of a kind, in no order; none where the kind has none yet."""

    def leftovers(self) -> Iterator[Entry]:
        """What writers that died have left: never part of an artifact."""

    def remove(self, entry: Entry) -> None:
        """Remove a name. A missing one is fine."""

    def now(self) -> float:
        """The clock that `modified` goes by."""

    def lock(self, *, exclusive: bool) -> AbstractContextManager[Callable[[], None]]:
        """Puts share this lock, who removes takes it alone, and calls what it gives before each removal."""

    def remarks(self) -> list[str]:
        """Try to write, read and remove: what is worth knowing of this place. InputError where it is unfit."""


class Digest:
    """sha256 and size of what passes by."""

    def __init__(self) -> None:
        self.sha, self.size = hashlib.sha256(), 0

    def over(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Hand on the pieces and count them."""
        for chunk in chunks:
            self.sha.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def pair(self) -> tuple[str, int]:
        """(sha256, size in bytes) of what has passed."""
        return self.sha.hexdigest(), self.size


def slices(data: bytes) -> Iterator[bytes]:
    """Bytes in pieces."""
    for start in range(0, len(data), durable.CHUNK):
        yield data[start : start + durable.CHUNK]
