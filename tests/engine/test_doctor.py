"""The doctor names each planted fault with its cure, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from engine import __version__, doctor
from engine.doctor import Finding, State, examine, filesystem_of, version_of, versions
from engine.records import to_plain

GOOD = {
    "torch": "2.13.0+cpu",
    "lightning": "2.6.6",
    "ray": "2.60.0",
    "hydra-core": "1.3.8",
    "numpy": "2.3.1",
    "numba": "0.68.1",
    "pyarrow": "21.0.0",
    "safetensors": "0.6.2",
    "sqlalchemy": "2.1.9",
    "wandb": "0.31.0",
}
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests, and a disk with room."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(0, 0, 50 * doctor.GIB))
    monkeypatch.setattr(doctor, "filesystem_of", lambda _: "ext4")


def examined(folder: Path, **changes: str) -> dict[str, Finding]:
    installed = GOOD | {name.replace("_", "-"): version for name, version in changes.items()}
    found = examine(folder, lambda package: installed.get(package, ""))
    assert len({f.what for f in found}) == len(found)
    assert all(f.cure for f in found if f.state is not State.GOOD)
    return {f.what: f for f in found}


def faults(found: dict[str, Finding]) -> dict[str, State]:
    return {what: f.state for what, f in found.items() if f.state is not State.GOOD and what != "GPU"}


def test_a_good_machine_has_no_fault(tmp_path: Path) -> None:
    found = examined(tmp_path / "not" / "there" / "yet")
    assert not faults(found)
    assert found["torch"].found == "2.13.0+cpu"
    assert found["Ray"].found == "2.60.0, starts on this machine"
    assert found["W&B"].found == "0.31.0, offline: no WANDB_API_KEY"
    assert found["storage"].found == f"{tmp_path}: write, fsync and rename work"
    assert list(tmp_path.iterdir()) == []
    assert to_plain(list(found.values()))[0]["state"] == "good"


@pytest.mark.parametrize(
    ("package", "version", "what", "state", "cure"),
    [
        ("torch", "", "torch", State.BAD, "pip install 'torch>=2.10'"),
        ("torch", "2.9.1+cu128", "torch", State.BAD, "use 2.10 or later"),
        ("torch", "2.10.0", "torch", State.GOOD, ""),
        ("torch", "2.10.0rc1", "torch", State.GOOD, ""),
        ("lightning", "", "lightning", State.BAD, "pip install 'lightning>=2.6.6'"),
        ("lightning", "2.6.2", "lightning", State.BAD, "rotate this machine's credentials"),
        ("lightning", "2.6.3", "lightning", State.BAD, "GHSA-w37p-236h-pfx3"),
        ("lightning", "2.6.3.post1", "lightning", State.BAD, "malware"),
        ("lightning", "2.6.2rc1", "lightning", State.BAD, "malware"),
        ("lightning", "2.6.1", "lightning", State.WARN, "use 2.6.6 or later"),
        ("lightning", "2.6.20", "lightning", State.GOOD, ""),
        ("hydra_core", "", "hydra-core", State.BAD, "pip install"),
        ("hydra_core", "1.3.5", "hydra-core", State.BAD, "configs could call functions"),
        ("hydra_core", "1.3.6", "hydra-core", State.GOOD, ""),
        ("ray", "", "Ray", State.BAD, "pip install 'ray[tune]'"),
        ("ray", "2.53.0", "Ray", State.BAD, "use 2.54 or later"),
        ("ray", "2.54.0", "Ray", State.WARN, "use 2.59 or later, or set RAY_AUTH_MODE=token"),
        ("ray", "2.59.0", "Ray", State.GOOD, ""),
        ("numba", "", "Numba", State.BAD, "pip install numba"),
        ("wandb", "", "W&B", State.WARN, "track=none"),
        ("safetensors", "", "packages", State.BAD, "pip install safetensors"),
    ],
)
def test_versions_that_must_not_run(
    tmp_path: Path, package: str, version: str, what: str, state: State, cure: str
) -> None:
    found = examined(tmp_path, **{package: version})
    assert found[what].state is state
    assert cure in found[what].cure
    assert (version or "not installed") in found[what].found
    assert set(faults(found)) <= {what}


def test_every_package_that_is_missing_is_named(tmp_path: Path) -> None:
    found = {f.what: f for f in examine(tmp_path, lambda _: "")}
    assert found["packages"].cure == "pip install numpy pyarrow safetensors sqlalchemy"
    assert {what for what, f in found.items() if f.state is State.BAD} == {
        *("torch", "lightning", "hydra-core", "Ray", "Numba", "packages")
    }


def test_ray_without_authentication(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = examined(tmp_path)["Ray"]
    assert (found.state, found.cure) == (State.WARN, "unset RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert examined(tmp_path, ray="2.55.0")["Ray"].state is State.GOOD
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert examined(tmp_path)["Ray"].found == "2.60.0, ray://head:10001"


def test_a_key_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-secret")
    found = examined(tmp_path)
    assert found["W&B"].found == "0.31.0, online"
    assert "a-secret" not in str(found)


@pytest.mark.parametrize(
    ("version", "state"),
    [("3.10.14", State.WARN), ("3.11.0", State.GOOD), ("3.13.0rc2", State.GOOD), ("3.14.0", State.WARN)],
)
def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, state: State) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    found = examined(tmp_path)["Python"]
    assert (found.state, found.found) == (state, version)


# ---- where the loop writes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", ["", "deeper", "deeper/still"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, within: str) -> None:
    (tmp_path / "out").write_text("not a folder")
    found = examined(tmp_path / "out" / within)["storage"]
    assert (found.state, found.found) == (State.BAD, f"{tmp_path / 'out'} is no folder")
    assert "out=" in found.cure


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [("fsync", errno.EIO, "Input/output error"), ("replace", errno.EXDEV, "Invalid cross-device link")],
)
def test_a_disk_that_does_not_do_what_artifacts_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(doctor.os, step, fail)
    found = examined(tmp_path)["storage"]
    assert (found.state, found.found) == (State.BAD, f"{tmp_path}: {said}")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", refuse)
    found = examined(tmp_path)["storage"]
    assert (found.state, found.found) == (State.BAD, f"{tmp_path}: Permission denied")
    assert found.cure == "choose a folder that this user may write: out=..."


@pytest.mark.parametrize(("free", "state"), [(1.9, State.BAD), (2.1, State.GOOD)])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: State) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(0, 0, free * doctor.GIB))
    found = examined(tmp_path)["disk"]
    assert found.state is state
    assert "GiB free" in found.found


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "lustre", "fuse.sshfs"])
def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(doctor, "filesystem_of", lambda _: kind)
    found = examined(tmp_path)["file system"]
    assert (found.state, found.found) == (State.BAD, kind)
    assert "postgresql+psycopg://" in found.cure


MOUNTS = """\
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/home {root}/home nfs4 rw 0 0
/dev/sdb1 {root}/home/scratch xfs rw 0 0
server:/data {root}/with\\040space nfs rw 0 0
/dev/sdc1 {root}/twice xfs rw 0 0
server:/over {root}/twice nfs rw 0 0
short line
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS.format(root=tmp_path))
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("elsewhere", "ext4"),
        ("home", "nfs4"),
        ("home/me/out", "nfs4"),
        ("home/scratch/out", "xfs"),
        ("homely", "ext4"),
        ("with space/out", "nfs"),
        ("twice/out", "nfs"),
    ],
)
def test_the_deepest_mount_that_is_seen_holds_a_folder(tmp_path: Path, mounts: Path, folder: str, kind: str) -> None:
    assert filesystem_of(tmp_path / folder, mounts) == kind


def test_links_are_followed_to_their_file_system(tmp_path: Path, mounts: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert filesystem_of(tmp_path / "link" / "out", mounts) == "nfs4"


def test_without_a_mount_table_nothing_is_claimed(tmp_path: Path) -> None:
    assert filesystem_of(tmp_path, tmp_path / "nowhere") == ""


# ---- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "mode"),
    [((3, 40, 1), "rollback journal"), ((3, 51, 2), "rollback journal"), ((3, 50, 7), "WAL"), ((3, 51, 3), "WAL")],
)
def test_sqlite_says_which_journal_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], mode: str
) -> None:
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version_info", version)
    found = examined(tmp_path)["SQLite"]
    assert found.state is State.GOOD
    assert found.found.startswith(f"{'.'.join(map(str, version))}: {mode}")


@pytest.mark.parametrize(
    ("driver", "cupy", "state", "said"),
    [
        (False, False, State.GOOD, "none: everything runs on the CPU"),
        (True, False, State.WARN, "a driver, but no CuPy"),
        (True, True, State.GOOD, "driver and CuPy are there"),
    ],
)
def test_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: bool, cupy: bool, state: State, said: str
) -> None:
    exists = Path.exists
    special = "/proc/driver/nvidia/version"
    monkeypatch.setattr(Path, "exists", lambda self: driver if str(self) == special else exists(self))
    monkeypatch.setattr(doctor.util, "find_spec", lambda _: object() if cupy else None)
    found = examined(tmp_path)["GPU"]
    assert (found.state, found.found) == (state, said)
    assert ("tidegate[gpu]" in found.cure) is (state is State.WARN)


def test_versions_are_those_of_the_packages() -> None:
    found = versions()
    assert found["tidegate"] == __version__
    assert found["torch"] == version_of("torch")
    assert version_of("no-such-package-anywhere") == ""
    assert "" not in found.values()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.13.0+cpu", (2, 13, 0)), ("2.6.2rc1", (2, 6, 2)), ("1.4.0.dev9", (1, 4, 0)), ("", ()), ("unknown", ())],
)
def test_the_release_of_a_version(text: str, numbers: tuple[int, ...]) -> None:
    assert doctor._numbers(text) == numbers
