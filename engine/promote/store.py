"""The artifact store: models, immutable, named by what they contain, in a local folder or an object store.

A manifest says what belongs together: name, sha256 and size of each file, and whatever the trainer has to say;
the artifact id is the sha256 of its bytes. Blobs come first, then the signature where the store signs, the manifest
last: an artifact that can be seen is whole. Nothing is ever changed in place, nothing that is read back is a pickle,
and no name that comes from outside becomes a path or a key: those are made of sha256 alone (see place.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from engine.errors import ArtifactError, InputError
from engine.promote.local import Local, read_file
from engine.promote.names import check_name, check_sha256, shown
from engine.promote.objects import Objects
from engine.promote.place import KINDS, RESTORE, Digest, Entry, Place, slices
from engine.promote.signing import Signing
from engine.records import canonical
from engine.system import durable

FORMAT = 1  # of the manifest
_OURS = ("files", "format")
_WRITTEN = ("blobs", "manifests")


class Store:
    """Artifacts below one folder or one prefix of a bucket. Many processes may put and read at once."""

    def __init__(self, url: str | Path, signing: Signing | None = None) -> None:
        """Nothing is opened yet.

        Args:
            url: a local folder, or `s3://bucket/prefix`; see objects.py for what else there is.
            signing: whether new artifacts are signed, and whether those that are not are refused.
        """
        self.place: Place = Objects(str(url)) if "://" in str(url) else Local(Path(url))
        self.signing = signing or Signing()

    @property
    def url(self) -> str:
        """What another process needs to open the same store."""
        return self.place.url

    @property
    def root(self) -> Path:
        """The folder of a local store."""
        return Path(self.url)

    def put(self, files: Mapping[str, bytes | Path], manifest: Mapping[str, Any]) -> str:
        """Store files and what there is to say about them; idempotent.

        Args:
            files: name -> content, or the path to copy it from. Names: letters, digits, '.', '_', '-'.
            manifest: JSON values; `files` and `format` are added.

        Returns:
            The artifact id: sha256 of the manifest, 64 hexadecimal digits.

        Raises:
            InputError: a name that cannot be used, a file that cannot be read, a place that cannot be written.
        """
        for key in _OURS:
            if key in manifest:
                raise InputError(f"manifest:{key}", "this key belongs to the store", "choose another one")
        for name in files:
            check_name(name, "artifact:file")
        self.place.settle(KINDS if self.signing.signs else _WRITTEN)
        with self.lock():
            listed = {name: self._put_blob(files[name]) for name in sorted(files)}
            data = canonical({**manifest, "files": listed, "format": FORMAT}).encode()
            artifact = hashlib.sha256(data).hexdigest()
            if self.signing.signs:
                self.place.write("signatures", f"{artifact}.json", self.signing.sign(artifact, data))
            self.place.write("manifests", f"{artifact}.json", data)
        return artifact

    def manifest(self, artifact: str) -> dict[str, Any]:
        """What was put with it, and `files`: name -> {sha256, size}.

        ArtifactError: missing or altered; without a good signature, where one is required.
        """
        manifest, data = self._manifest(artifact)
        name = f"{artifact}.json"
        where = self.place.where("signatures", name)
        self.signing.check(artifact, data, lambda: b"".join(self.place.read("signatures", name, where)), where)
        return manifest

    def unsigned_manifest(self, artifact: str) -> dict[str, Any]:
        """`manifest`, whoever signed it or not: for gc, which trusts nobody and keeps what is named."""
        return self._manifest(artifact)[0]

    def _manifest(self, artifact: str) -> tuple[dict[str, Any], bytes]:
        where, data = self.where(artifact), self.manifest_bytes(artifact)
        if hashlib.sha256(data).hexdigest() != artifact:
            raise ArtifactError(where, "the manifest is altered or cut short", RESTORE)
        try:
            manifest = json.loads(data)
        except (ValueError, RecursionError):
            manifest = None
        if not isinstance(manifest, dict):
            raise ArtifactError(where, "the manifest is no JSON object", RESTORE)
        if manifest.get("format") != FORMAT:
            what = f"format {shown(manifest.get('format'))} is unknown"
            raise ArtifactError(where, what, "use the version of tidegate that wrote it")
        if not _lists_files(manifest.get("files")):
            raise ArtifactError(where, "the manifest lists no files", RESTORE)
        return manifest, data

    def manifest_bytes(self, artifact: str) -> bytes:
        """The manifest as it is stored; not proved."""
        name = f"{check_sha256(artifact, 'artifact')}.json"
        return b"".join(self.place.read("manifests", name, self.where(artifact)))

    def read(self, artifact: str, name: str) -> bytes:
        """The bytes of one file, proved. ArtifactError where it is missing, cut short or altered."""
        return b"".join(self._proved(artifact, name, self.manifest(artifact)))

    def export(self, artifact: str, folder: str | Path) -> Path:
        """Write the proved files of an artifact into a folder, for programs that want paths; the folder."""
        manifest = self.manifest(artifact)
        for name in manifest["files"]:
            target = Path(folder) / check_name(name, f"{artifact}:file")
            durable.write_chunks(target, self._proved(artifact, name, manifest))
        return Path(folder)

    def verify(self, artifact: str) -> None:
        """Prove the manifest and every byte of its files. ArtifactError names the first that is broken."""
        manifest = self.manifest(artifact)
        for name in manifest["files"]:
            for _ in self._proved(artifact, name, manifest):
                pass

    def list(self) -> list[str]:
        """The ids of all artifacts, sorted; not proved."""
        return sorted(entry.name.removesuffix(".json") for entry in self.entries("manifests"))

    def blobs(self) -> Sequence[Entry]:
        """All blobs, referenced or not, sorted by name."""
        return self.entries("blobs")

    def entries(self, kind: str) -> Sequence[Entry]:
        """What is listed of a kind under a name of ours, sorted."""
        suffix = "" if kind == "blobs" else ".json"
        return sorted(entry for entry in self.place.entries(kind) if _is_ours(entry.name, suffix))

    def leftovers(self) -> Sequence[Entry]:
        """What puts that are under way, or were cut off, have beside their artifacts."""
        return sorted(self.place.leftovers())

    def lock(self, *, exclusive: bool = False) -> AbstractContextManager[Callable[[], None]]:
        """Puts share this lock; who removes takes it alone, and calls what it gives before each removal."""
        return self.place.lock(exclusive=exclusive)

    def remarks(self) -> Sequence[str]:
        """Try the place: what is worth knowing of it, in sentences. InputError where it cannot be used."""
        return self.place.remarks()

    def where(self, artifact: str) -> str:
        """Path or URL of the manifest of that artifact, for people."""
        return self.place.where("manifests", f"{check_sha256(artifact, 'artifact')}.json")

    def path_of(self, artifact: str) -> Path:
        """Where the manifest of that artifact lies, in a local store."""
        return Path(self.where(artifact))

    def _put_blob(self, content: bytes | Path) -> dict[str, Any]:
        def pieces() -> Iterator[bytes]:
            return slices(content) if isinstance(content, bytes) else read_file(content, str(content))

        sha256, size = self.place.add_blob(pieces)
        return {"sha256": sha256, "size": size}

    def _proved(self, artifact: str, name: str, manifest: Mapping[str, Any]) -> Iterator[bytes]:
        """The bytes of one file in pieces; raises at the end where they are not what the manifest says."""
        entry = manifest["files"].get(name) if isinstance(name, str) else None
        where = f"{self.where(artifact)}:{name if entry else shown(name)}"
        if entry is None:
            have = ", ".join(sorted(manifest["files"])) or "none"
            raise ArtifactError(where, "the artifact has no such file", f"its files are: {have}")
        digest = Digest()
        yield from digest.over(self.place.read("blobs", check_sha256(entry["sha256"], where), where))
        sha256, size = digest.pair
        if size != entry["size"]:
            raise ArtifactError(where, f"{size} bytes instead of {entry['size']}: cut short or altered", RESTORE)
        if sha256 != entry["sha256"]:
            raise ArtifactError(where, "the bytes are altered", RESTORE)


def _is_ours(name: str, suffix: str) -> bool:
    stem = name.removesuffix(suffix) if name.endswith(suffix) else ""
    return len(stem) == 64 and set(stem) <= set("0123456789abcdef")


def _lists_files(files: object) -> bool:
    """Is it name -> {sha256, size}: a manifest may have been written by anybody."""
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and "sha256" in entry and isinstance(entry.get("size"), int) for entry in files.values()
    )
