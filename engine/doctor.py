"""Is this machine fit: each finding is good, a warning or bad, and says what to do.

Looks without changing anything but a temporary file beside the loop's folder; versions are read from the packages'
metadata, so nothing heavy is imported and a broken package cannot break the examination.
"""

from __future__ import annotations

import enum
import os
import platform
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path

from engine import __version__
from engine.records import record

GIB = 1024**3
PACKAGES = (
    "torch",
    "lightning",
    "ray",
    "hydra-core",
    "numpy",
    "numba",
    "pyarrow",
    "safetensors",
    "sqlalchemy",
    "wandb",
)
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smbfs", "smb3", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs"}
    | {f"fuse.{kind}" for kind in ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "mount-s3", "juicefs")}
)


class State(enum.Enum):
    """How a finding stands."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@record
class Finding:
    """One line of the examination."""

    what: str
    state: State
    found: str
    cure: str = ""


def versions() -> dict[str, str]:
    """Versions of what a model depends on; packages that are not installed are left out."""
    found = {"tidegate": __version__, "python": platform.python_version()}
    return found | {name: version for name in PACKAGES if (version := version_of(name))}


def version_of(package: str) -> str:
    """The installed version; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def examine(folder: Path, version: Callable[[str], str] = version_of) -> list[Finding]:
    """All findings; `folder` is where the loop writes, `version` tells the version of a package."""
    return [
        _python(),
        _torch(version("torch")),
        _lightning(version("lightning")),
        _hydra(version("hydra-core")),
        _ray(version("ray")),
        _gpu(),
        _numba(version("numba")),
        _wandb(version("wandb")),
        _others(version),
        _storage(folder),
        _filesystem(folder),
        _disk(folder),
        _sqlite(sqlite3.sqlite_version_info),
    ]


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version: "2.10.0rc1+cu130" is (2, 10, 0)."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def _python() -> Finding:
    found = platform.python_version()
    good = (3, 11) <= _numbers(found)[:2] <= (3, 13)
    return Finding(
        what="Python",
        state=State.GOOD if good else State.WARN,
        found=found,
        cure="" if good else "use 3.11, 3.12 or 3.13: others are not tested",
    )


def _torch(version: str) -> Finding:
    if not version:
        return Finding(what="torch", state=State.BAD, found="not installed", cure="pip install 'torch>=2.10'")
    if _numbers(version) < (2, 10):
        return Finding(
            what="torch", state=State.BAD, found=version, cure="use 2.10 or later: loading weights was unsafe"
        )
    return Finding(what="torch", state=State.GOOD, found=version)


def _lightning(version: str) -> Finding:
    if _numbers(version)[:3] in ((2, 6, 2), (2, 6, 3)):
        cure = "uninstall it and rotate this machine's credentials: this release was malware (GHSA-w37p-236h-pfx3)"
        return Finding(what="lightning", state=State.BAD, found=version, cure=cure)
    if not version:
        return Finding(what="lightning", state=State.BAD, found="not installed", cure="pip install 'lightning>=2.6.6'")
    if _numbers(version) < (2, 6, 6):
        return Finding(what="lightning", state=State.WARN, found=version, cure="use 2.6.6 or later: it was tried")
    return Finding(what="lightning", state=State.GOOD, found=version)


def _hydra(version: str) -> Finding:
    if not version:
        return Finding(
            what="hydra-core", state=State.BAD, found="not installed", cure="pip install 'hydra-core>=1.3.6'"
        )
    if _numbers(version) < (1, 3, 6):
        cure = "use 1.3.6 or later: configs could call functions"
        return Finding(what="hydra-core", state=State.BAD, found=version, cure=cure)
    return Finding(what="hydra-core", state=State.GOOD, found=version)


def _ray(version: str) -> Finding:
    if not version:
        return Finding(what="Ray", state=State.BAD, found="not installed", cure="pip install 'ray[tune]'")
    if _numbers(version) < (2, 54):
        return Finding(what="Ray", state=State.BAD, found=version, cure="use 2.54 or later: its dashboard had no login")
    address, mode = os.environ.get("RAY_ADDRESS", ""), os.environ.get("RAY_AUTH_MODE", "")
    if mode == "disabled":
        return Finding(what="Ray", state=State.WARN, found=f"{version}, authentication off", cure="unset RAY_AUTH_MODE")
    if _numbers(version) < (2, 59) and mode != "token":
        cure = "use 2.59 or later, or set RAY_AUTH_MODE=token"
        return Finding(what="Ray", state=State.WARN, found=f"{version}, authentication off by default", cure=cure)
    return Finding(what="Ray", state=State.GOOD, found=f"{version}, {address or 'starts on this machine'}")


def _gpu() -> Finding:
    driver = Path("/proc/driver/nvidia/version")
    if not driver.exists():
        return Finding(what="GPU", state=State.GOOD, found="none: everything runs on the CPU")
    if util.find_spec("cupy") is None:
        cure = "pip install 'tidegate[gpu]' for the CUDA kernels"
        return Finding(what="GPU", state=State.WARN, found="a driver, but no CuPy", cure=cure)
    return Finding(what="GPU", state=State.GOOD, found="driver and CuPy are there")


def _numba(version: str) -> Finding:
    if not version:
        return Finding(what="Numba", state=State.BAD, found="not installed", cure="pip install numba")
    return Finding(what="Numba", state=State.GOOD, found=f"{version}, {os.cpu_count()} CPUs")


def _wandb(version: str) -> Finding:
    if not version:
        return Finding(what="W&B", state=State.WARN, found="not installed", cure="pip install wandb, or track=none")
    mode = "online" if os.environ.get("WANDB_API_KEY") else "offline: no WANDB_API_KEY"
    return Finding(what="W&B", state=State.GOOD, found=f"{version}, {mode}")


def _others(version: Callable[[str], str]) -> Finding:
    """The packages that have no finding of their own."""
    absent = [name for name in ("numpy", "pyarrow", "safetensors", "sqlalchemy") if not version(name)]
    if absent:
        missing = " ".join(absent)
        return Finding(
            what="packages", state=State.BAD, found=f"not installed: {missing}", cure=f"pip install {missing}"
        )
    return Finding(what="packages", state=State.GOOD, found="all are installed")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _storage(folder: Path) -> Finding:
    """Write, fsync, rename: what every artifact goes through."""
    place = _existing(folder)
    within = folder.absolute().relative_to(place).parts
    if within and (place / within[0]).exists():
        cure = "choose a folder, or move the file away: out=..."
        return Finding(what="storage", state=State.BAD, found=f"{place / within[0]} is no folder", cure=cure)
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".tidegate-doctor-") as scratch:
            path = Path(scratch) / "a"
            with path.open("wb") as file:
                file.write(b"tide")
                file.flush()
                os.fsync(file.fileno())
            os.replace(path, path.with_name("b"))
    except OSError as error:
        cure = "choose a folder that this user may write: out=..."
        return Finding(what="storage", state=State.BAD, found=f"{place}: {error.strerror}", cure=cure)
    return Finding(what="storage", state=State.GOOD, found=f"{place}: write, fsync and rename work")


def _filesystem(folder: Path) -> Finding:
    """SQLite's locks do not hold on network file systems."""
    kind = filesystem_of(_existing(folder))
    if kind in NETWORK_FILESYSTEMS:
        cure = "put out= on a local disk, or promote.ledger=postgresql+psycopg://..."
        return Finding(what="file system", state=State.BAD, found=kind, cure=cure)
    return Finding(what="file system", state=State.GOOD, found=kind or "local")


def filesystem_of(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that holds `folder`, links followed; empty where the system does not tell."""
    folder = folder.resolve()
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    best, kind = -1, ""
    for fields in lines:
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1])  # a space is written \040
        if folder.is_relative_to(point) and len(point) >= best:  # of two mounts on one point the later one is seen
            best, kind = len(point), fields[2]
    return kind


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    if free < 2 * GIB:
        cure = "free some space, or put out= elsewhere"
        return Finding(what="disk", state=State.BAD, found=f"{free / GIB:.1f} GiB free", cure=cure)
    return Finding(what="disk", state=State.GOOD, found=f"{free / GIB:.0f} GiB free")


def _sqlite(version: tuple[int, ...]) -> Finding:
    """Builds that can lose committed rows in WAL mode (sqlite.org/wal.html#walresetbug)."""
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    found = ".".join(map(str, version))
    mode = "WAL" if fixed else "rollback journal, for this build's WAL can lose rows"
    return Finding(what="SQLite", state=State.GOOD, found=f"{found}: {mode}")
