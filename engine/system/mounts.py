"""Which file system holds a path, and which of them SQLite and a rename cannot be trusted on."""

from __future__ import annotations

import re
from pathlib import Path

# Locks and shared memory cannot be trusted there: SQLite's own manual warns against it.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "afs", "ceph", "9p", "glusterfs"}
    | {"ocfs2", "gfs2", "davfs"}
    | {f"fuse.{kind}" for kind in ("sshfs", "s3fs", "gcsfuse", "rclone", "glusterfs", "ceph", "blobfuse2", "mount-s3")}
    | {"fuse.juicefs"}
)


def file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that holds `path` (links are not followed), from Linux' mountinfo; empty where it
    cannot be told.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return ""
    best, found = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])  # a space is written \040
        if path.is_relative_to(point) and len(point) >= best:  # the last of equals lies on top
            best, found = len(point), right.split(" ")[0]
    return found
