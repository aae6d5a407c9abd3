"""Which mount holds a path: the deepest that is seen, links not followed, blanks in names."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.system.mounts import NETWORK_FILE_SYSTEMS, file_system

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw - proc proc rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw
31 30 8:17 / /home/scratch rw - xfs /dev/sdb1 rw
32 22 0:41 / /with\040space rw - nfs server:/data rw
33 22 8:33 / /twice rw - xfs /dev/sdc1 rw
34 33 0:42 / /twice rw - fuse.sshfs server:/over rw
a broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/elsewhere", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/out", "nfs4"),
        ("/home/scratch/out", "xfs"),
        ("/homely", "ext4"),
        ("/with space/out", "nfs"),
        ("/twice/out", "fuse.sshfs"),
    ],
)
def test_the_deepest_mount_that_is_seen_holds_a_path(folder: str, kind: str) -> None:
    assert file_system(Path(folder), MOUNTS) == kind


def test_without_a_mount_table_nothing_is_claimed() -> None:
    assert file_system(Path("/x"), "") == ""
    assert {"nfs4", "9p", "fuse.sshfs"} <= NETWORK_FILE_SYSTEMS
