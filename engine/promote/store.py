"""The artifact store: models, immutable, named by what they contain.

    <root>/blobs/<sha256>            the bytes of one file
    <root>/manifests/<sha256>.json   what belongs together: name, sha256 and size of each file, and whatever the
                                     trainer has to say; the artifact id is the sha256 of these bytes
    <root>/lock                      empty; held while files are put (shared) or removed (alone)

Blobs come first, the manifest last: an artifact that can be seen is whole. Nothing is ever changed in place,
nothing that is read back is a pickle, and no name that comes from outside becomes a path: paths are made of
sha256 alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import durable
from engine.errors import ArtifactError, InputError
from engine.promote.names import check_name, check_sha256, shown
from engine.records import canonical

FORMAT = 1  # of the manifest
_OURS = ("files", "format")
_RESTORE = "put an intact copy back, or use another model"


class Store:
    """Artifacts below one local folder. Many processes may put and read at once."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._settled = False

    def put(self, files: Mapping[str, bytes | Path], manifest: Mapping[str, Any]) -> str:
        """Store files and what there is to say about them; idempotent.

        Args:
            files: name -> content, or the path to copy it from. Names: letters, digits, '.', '_', '-'.
            manifest: JSON values; `files` and `format` are added.

        Returns:
            The artifact id: sha256 of the manifest, 64 hexadecimal digits.

        Raises:
            InputError: a name that cannot be used, a file that cannot be read, a disk that cannot be written.
        """
        for key in _OURS:
            if key in manifest:
                raise InputError(f"manifest:{key}", "this key belongs to the store", "choose another one")
        for name in files:
            check_name(name, "artifact:file")
        self._settle()
        with self.lock():
            listed = {name: self._put_blob(files[name]) for name in sorted(files)}
            data = canonical({**manifest, "files": listed, "format": FORMAT}).encode()
            artifact = hashlib.sha256(data).hexdigest()
            durable.write_bytes(self._manifest_path(artifact), data)
        return artifact

    def manifest(self, artifact: str) -> dict[str, Any]:
        """What was put with it, and `files`: name -> {sha256, size}. ArtifactError: missing or altered."""
        path = self._manifest_path(artifact)
        data = b"".join(_chunks(path, str(path)))
        if hashlib.sha256(data).hexdigest() != artifact:
            raise ArtifactError(str(path), "the manifest is altered or cut short", _RESTORE)
        try:
            manifest = json.loads(data)
        except (ValueError, RecursionError):
            manifest = None
        if not isinstance(manifest, dict):
            raise ArtifactError(str(path), "the manifest is no JSON object", _RESTORE)
        if manifest.get("format") != FORMAT:
            what = f"format {shown(manifest.get('format'))} is unknown"
            raise ArtifactError(str(path), what, "use the version of tidegate that wrote it")
        if not _lists_files(manifest.get("files")):
            raise ArtifactError(str(path), "the manifest lists no files", _RESTORE)
        return manifest

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
        return sorted(path.name.removesuffix(".json") for path in self._names("manifests", ".json"))

    def blobs(self) -> Sequence[Path]:
        """The paths of all blobs, referenced or not, sorted."""
        return sorted(self._names("blobs", ""))

    def leftovers(self) -> Sequence[Path]:
        """Temporary files: puts that are under way, or were cut off."""
        return sorted(
            path
            for kind in ("blobs", "manifests")
            for path in _entries(self._folder(kind))
            if path.name.endswith(durable.TEMPORARY)
        )

    @contextmanager
    def lock(self, *, exclusive: bool = False) -> Iterator[None]:
        """Puts share this lock; who removes takes it alone. The kernel frees it when its holder dies."""
        durable.make_folder(self.root)
        with durable.reported(self.root / "lock"):
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def path_of(self, artifact: str) -> Path:
        """Where the manifest of that artifact lies."""
        return self._manifest_path(artifact)

    def _settle(self) -> None:
        """Make our folders durable, once: whoever made them may have died before their names were synced."""
        if not self._settled:
            for kind in ("blobs", "manifests"):
                durable.make_folder(self._folder(kind))
            durable.sync_folder(self.root)
            durable.sync_folder(self.root.parent)
            self._settled = True

    def _put_blob(self, content: bytes | Path) -> dict[str, Any]:
        """Write one blob, also over an equal one: that heals a damaged blob, and tells gc it is in use."""
        sha, size = hashlib.sha256(), 0

        def counted(chunks: Iterable[bytes]) -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                sha.update(chunk)
                size += len(chunk)
                yield chunk

        chunks = _slices(content) if isinstance(content, bytes) else _chunks(content, str(content), follow=True)
        folder = self._folder("blobs")
        durable.write_chunks(folder / "blob", counted(chunks), name=lambda: folder / sha.hexdigest())
        return {"sha256": sha.hexdigest(), "size": size}

    def _proved(self, artifact: str, name: str, manifest: Mapping[str, Any]) -> Iterator[bytes]:
        """The bytes of one file in pieces; raises at the end where they are not what the manifest says."""
        entry = manifest["files"].get(name) if isinstance(name, str) else None
        where = f"{self._manifest_path(artifact)}:{name if entry else shown(name)}"
        if entry is None:
            have = ", ".join(sorted(manifest["files"])) or "none"
            raise ArtifactError(where, "the artifact has no such file", f"its files are: {have}")
        path = self._folder("blobs") / check_sha256(entry["sha256"], where)
        sha, size = hashlib.sha256(), 0
        for chunk in _chunks(path, where):
            sha.update(chunk)
            size += len(chunk)
            yield chunk
        if size != entry["size"]:
            raise ArtifactError(where, f"{size} bytes instead of {entry['size']}: cut short or altered", _RESTORE)
        if sha.hexdigest() != entry["sha256"]:
            raise ArtifactError(where, "the bytes are altered", _RESTORE)

    def _manifest_path(self, artifact: str) -> Path:
        return self._folder("manifests") / f"{check_sha256(artifact, 'artifact')}.json"

    def _folder(self, kind: str) -> Path:
        """One of our two folders; refused where a link leads it out of the store."""
        folder = self.root / kind
        if folder.is_symlink() and not folder.resolve().is_relative_to(self.root.resolve()):
            raise ArtifactError(str(folder), "this link leads out of the store", "make it a folder")
        return folder

    def _names(self, kind: str, suffix: str) -> Iterator[Path]:
        for path in _entries(self._folder(kind)):
            stem = path.name.removesuffix(suffix) if path.name.endswith(suffix) else ""
            if len(stem) == 64 and set(stem) <= set("0123456789abcdef"):
                yield path


def _lists_files(files: object) -> bool:
    """Is it name -> {sha256, size}: a manifest may have been written by anybody."""
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and "sha256" in entry and isinstance(entry.get("size"), int) for entry in files.values()
    )


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.iterdir()


def _slices(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), durable.CHUNK):
        yield data[start : start + durable.CHUNK]


def _chunks(path: Path, where: str, *, follow: bool = False) -> Iterator[bytes]:
    """The content of a file in pieces. Inside the store links are not followed."""
    flags = os.O_RDONLY | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    try:
        with open(os.open(path, flags), "rb") as file:
            while chunk := file.read(durable.CHUNK):
                yield chunk
    except FileNotFoundError:
        raise ArtifactError(where, "the file is missing", _RESTORE) from None
    except OSError as error:
        raise ArtifactError(where, f"cannot be read: {error.strerror or error}", _RESTORE) from error
